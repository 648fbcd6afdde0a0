"""Arguments of operators and nets, to and from Python values."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import EncodeError, Message

from caffe2py.errors import ArgumentError
from caffe2py.proto.caffe2_pb2 import Argument, NetDef, OperatorDef

__all__ = ["KINDS", "find", "get_value", "make_argument", "typed"]

_INT64 = range(-(2**63), 2**63)

# Field of Argument -> what one value of it is called in messages, singular and plural.
_SINGLE = {
    "i": "int",
    "f": "float",
    "s": "string",
    "t": "tensor",
    "n": "net",
}
_LISTS = {
    "ints": "ints",
    "floats": "floats",
    "strings": "strings",
    "tensors": "tensors",
    "nets": "nets",
    "qtensors": "quantised tensors",
}

#: What :func:`typed` can be asked for -> how messages call it.
KINDS = {
    "int": "an int",
    "float": "a float",
    "bool": "a bool (0 or 1)",
    "string": "a string",
    "ints": "a list of ints",
    "floats": "a list of floats",
    "strings": "a list of strings",
    "tensor": "a tensor",
    "net": "a net",
    "tensors": "a list of tensors",
    "nets": "a list of nets",
}


def make_argument(name: str, value: object) -> Argument:
    """An Argument that carries ``value``.

    =====================================  ======================================================
    value                                  field
    =====================================  ======================================================
    bool, int                              i
    float                                  f, rounded to 32 bits
    str (as UTF-8), bytes                  s
    NetDef                                 n
    any other message (TensorProto too)    s, serialised, as Caffe2's own scripts write it
    list or other iterable of these        ints, floats, strings, nets
    ints and floats mixed                  floats
    empty list                             none
    NumPy scalar, NumPy array (flattened)  as the Python scalar or list of the same values
    =====================================  ======================================================

    Raises ArgumentError, naming argument and type, for everything else: None, a list in a list,
    an int outside of 64 bits, text that is no Unicode.
    """
    argument = _named(name)
    plain = _plain(value)
    if isinstance(plain, int):
        argument.i = _int64(name, plain)
    elif isinstance(plain, float):
        argument.f = plain
    elif isinstance(plain, NetDef):
        argument.n.CopyFrom(plain)
    elif isinstance(plain, (str, bytes, bytearray, Message)):
        argument.s = _bytes(name, plain)
    elif isinstance(plain, Iterable):
        _set_list(argument, [_plain(item) for item in plain])
    else:
        raise ArgumentError(f"argument '{name}' cannot hold a {type(value).__name__}")
    return argument


def get_value(argument: Argument) -> Any:
    """The value of an argument as int, float, bytes, TensorProto, NetDef, or a list of those.

    An argument without a value gives an empty list, which is how an empty list is written.
    """
    for field in _SINGLE:
        if argument.HasField(field):
            return getattr(argument, field)
    for field in _LISTS:
        values = getattr(argument, field)
        if len(values):
            return list(values)
    return []


def find(owner: OperatorDef | NetDef, name: str) -> Argument | None:
    """The argument of that name of an operator or a net, or None."""
    for argument in owner.arg:
        if argument.name == name:
            found: Argument = argument
            return found
    return None


def typed(argument: Argument, kind: str, where: str | None = None) -> Any:
    """The value of an argument that has to be of one kind, a key of KINDS.

    An int also serves as a float, 0 and 1 as a bool, ints as floats; nothing else is converted: a
    float is no int even where it is whole. No value at all is an empty list. Strings are decoded
    as UTF-8.

    Raises ArgumentError naming the argument, what was expected and what was found; ``where`` (the
    net and operator) goes in front.
    """
    value = _typed(argument, kind)
    if value is None:
        raise ArgumentError(
            f"argument '{argument.name}': expected {KINDS[kind]}, found {_found(argument)}",
            where=where,
        )
    return value


def _plain(value: Any) -> Any:
    """A NumPy scalar or array as Python values, anything else as it is."""
    if not hasattr(value, "tolist"):  # known by its method, so that this layer needs no NumPy
        return value
    return (value.reshape(-1) if getattr(value, "ndim", 0) > 1 else value).tolist()


def _named(name: str) -> Argument:
    try:
        argument = Argument()
        argument.name = name  # unlike the constructor, takes no None
        return argument
    except (TypeError, ValueError):
        raise ArgumentError(f"the name of an argument has to be text, not {name!a:.40}") from None


def _set_list(argument: Argument, values: list[Any]) -> None:
    name = argument.name
    if all(isinstance(value, int) for value in values):
        argument.ints.extend([_int64(name, value) for value in values])
    elif all(isinstance(value, (int, float)) for value in values):
        argument.floats.extend([_float(name, value) for value in values])
    elif all(isinstance(value, NetDef) for value in values):
        for value in values:  # extend() would refuse deep nets, by way of the binary form
            argument.nets.add().CopyFrom(value)
    elif all(isinstance(value, (str, bytes, bytearray, Message)) for value in values):
        argument.strings.extend([_bytes(name, value) for value in values])
    else:
        kinds = ", ".join(sorted({type(value).__name__ for value in values}))
        raise ArgumentError(f"argument '{name}' cannot hold a list of {kinds}")


def _int64(name: str, value: int) -> int:
    plain = int(value)  # protobuf wants no bool
    if plain not in _INT64:
        raise ArgumentError(f"argument '{name}': an int does not fit in 64 bits")
    return plain


def _float(name: str, value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ArgumentError(f"argument '{name}': an int is too large for a float") from None


def _bytes(name: str, value: str | bytes | bytearray | Message) -> bytes:
    try:
        if isinstance(value, Message):
            data: bytes = value.SerializeToString()
            return data
        return value.encode() if isinstance(value, str) else bytes(value)
    except UnicodeEncodeError:
        raise ArgumentError(f"argument '{name}': a string is not valid Unicode") from None
    except EncodeError as error:
        raise ArgumentError(f"argument '{name}': {error}") from None


def _typed(argument: Argument, kind: str) -> Any:
    """The value, or None where the argument holds nothing that may serve."""
    if kind == "int":
        return argument.i if argument.HasField("i") else None
    if kind == "float":
        return _number(argument)
    if kind == "bool":
        return bool(argument.i) if argument.HasField("i") and argument.i in (0, 1) else None
    if kind == "string":
        return _decoded(argument, argument.s) if argument.HasField("s") else None
    if kind == "tensor":
        return argument.t if argument.HasField("t") else None
    if kind == "net":
        return argument.n if argument.HasField("n") else None
    return _typed_list(argument, kind)


def _typed_list(argument: Argument, kind: str) -> list[Any] | None:
    values = list(getattr(argument, kind))
    if kind == "floats" and not values:
        values = [float(value) for value in argument.ints]
    if not values and get_value(argument) != []:
        return None  # it holds a value of another kind
    if kind == "strings":
        return [_decoded(argument, value) for value in values]
    return values


def _number(argument: Argument) -> float | None:
    if argument.HasField("f"):
        return argument.f
    return float(argument.i) if argument.HasField("i") else None


def _decoded(argument: Argument, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ArgumentError(
            f"argument '{argument.name}': expected text, found bytes that are not UTF-8"
        ) from None


def _found(argument: Argument) -> str:
    """What an argument holds: "an int 3", "a string 'abc'", "a list of ints (length 3)"."""
    for field, kind in _SINGLE.items():
        if argument.HasField(field):
            article = "an" if kind == "int" else "a"
            return f"{article} {kind}{_shown(getattr(argument, field))}"
    for field, kind in _LISTS.items():
        if len(getattr(argument, field)):
            return f"a list of {kind} (length {len(getattr(argument, field))})"
    return "no value"


def _shown(value: object) -> str:
    """A space and the value, where it is short enough to show."""
    if isinstance(value, bytes):
        text = value[:40].decode(errors="replace")
        return f" {text!r}" + ("..." if len(value) > 40 else "")
    if isinstance(value, float):
        return f" {value:g}"
    return f" {value}" if isinstance(value, int) else ""
