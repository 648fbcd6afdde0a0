"""Messages as text: the .pbtxt form, and short lines for people."""

import re
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from caffe2py.errors import ModelFormatError
from caffe2py.proto.analysis import MAX_MESSAGE_DEPTH, check_depth
from caffe2py.proto.args import get_value
from caffe2py.proto.caffe2_pb2 import Argument, DeviceTypeProto, NetDef, OperatorDef, TensorProto

__all__ = ["from_text", "short", "short_net", "to_text"]

_SHOWN_ITEMS = 8
_SHOWN_CHARACTERS = 60

M = TypeVar("M", bound=Message)

# What matters for the depth of braces: strings and comments, whose braces do not count, and the
# brackets; `<...>` is an older spelling of `{...}`. A string that is not closed runs to the end of
# its line, and `*+` never tries less: otherwise such texts would take quadratic time.
_TOKEN = re.compile(
    r"""
    "(?:[^"\\\n]|\\.)*+"?  |  '(?:[^'\\\n]|\\.)*+'?  |  \#[^\n]*
    |  (?P<open>[{<])  |  (?P<close>[}>])  |  (?P<line>\n)
    """,
    re.VERBOSE | re.DOTALL,
)
_UNKNOWN_FIELD = re.compile(r'Message type "([^"]+)" has no field named "([^"]+)"')


def to_text(message: Message) -> str:
    """A message in protobuf's text format: one field a line, in the order of their numbers.

    Parsing the result gives an equal message. Raises ModelFormatError where messages nest deeper
    than the limits of :mod:`caffe2py.proto.analysis`.
    """
    check_depth(message)
    text: str = text_format.MessageToString(message, as_utf8=True)
    return text


def from_text(text: str, message_type: type[M], *, partial: bool = False) -> M:
    """The message that a text in protobuf's text format describes.

    With `partial` fields that the message lacks are passed over. Raises ModelFormatError, naming
    the line: not this format, a field that the message lacks (it is named too), a value of a wrong
    type, nesting beyond the limits of
    :mod:`caffe2py.proto.analysis`.
    """
    _check_braces(text)
    message: M = message_type()
    try:
        text_format.Parse(text, message, allow_unknown_field=partial)
    except text_format.ParseError as error:
        raise _parse_error(error, message) from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        name = message.DESCRIPTOR.name
        raise ModelFormatError(f"not a text {name}: {error!s:.200}") from None
    check_depth(message)
    return message


def short(op: OperatorDef) -> str:
    """An operator on one line: ``Y = Conv(X, W, b; kernel=3, stride=2) [CUDNN, cuda:1]``.

    At most eight items of any list are shown, at most sixty characters of any string, and of a
    tensor only its shape.
    """
    arguments = [f"{_clip(arg.name)}={_argument(arg)}" for arg in op.arg[:_SHOWN_ITEMS]]
    inside = [_names(op.input), _joined(arguments, len(op.arg))]
    notes = [_clip(op.engine), _device(op)]
    line = f"{_clip(op.type)}({'; '.join(filter(None, inside))})"
    if op.output:
        line = f"{_names(op.output)} = {line}"
    return f"{line} [{', '.join(filter(None, notes))}]" if any(notes) else line


def short_net(net: NetDef) -> str:
    """A net on a few lines: a heading with its external blobs, then one line an operator."""
    kind = f" ({_clip(net.type)})" if net.type else ""
    count = len(net.op)
    lines = [f"net '{_clip(net.name)}'{kind}: {count} operator{'' if count == 1 else 's'}"]
    for label, names in (("reads", net.external_input), ("gives", net.external_output)):
        if names:
            lines.append(f"  {label} {_names(names)}")
    lines.extend(f"  #{index} {short(op)}" for index, op in enumerate(net.op))
    return "\n".join(lines)


def _check_braces(text: str) -> None:
    """Measure the depth of a text before the parser, which recurses, sees it."""
    line, depth = 1, 0
    for token in _TOKEN.finditer(text):
        if token["line"]:
            line += 1
        elif token["close"]:
            depth -= 1
        elif token["open"]:
            depth += 1
            if depth > MAX_MESSAGE_DEPTH:
                raise ModelFormatError(
                    f"line {line}: messages are nested more than {MAX_MESSAGE_DEPTH} deep"
                )
        else:
            line += token[0].count("\n")  # a backslash may join lines inside a string


def _parse_error(error: text_format.ParseError, message: Message) -> ModelFormatError:
    text, line = str(error), error.GetLine()
    unknown = _UNKNOWN_FIELD.search(text)
    where = "" if line is None else f"line {line}: "
    if unknown:
        return ModelFormatError(f"{where}{unknown[1]} has no field '{unknown[2]}'")
    # The parser puts "line:column : " first, and may quote a whole line of the text.
    reason = re.sub(r"^\d+:\d+ : ", "", text)
    reason = reason if len(reason) <= 200 else f"{reason[:100]} ... {reason[-100:]}"
    return ModelFormatError(f"{where}not a text {message.DESCRIPTOR.name}: {reason}")


def _argument(argument: Argument) -> str:
    value = get_value(argument)
    if isinstance(value, list):
        first = [_value(item) for item in value[:_SHOWN_ITEMS]]
        return f"[{_joined(first, len(value))}]"
    return _value(value)


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return _quoted(value)
    if isinstance(value, float):
        return f"{value:.7g}"  # as many digits as 32 bits can tell apart
    if isinstance(value, NetDef):
        return f"net '{_clip(value.name)}' of {len(value.op)} operators"
    if isinstance(value, TensorProto):
        return f"tensor({_joined([str(dim) for dim in value.dims])})"
    return "quantised tensor" if isinstance(value, Message) else str(value)


def _names(names: Sequence[str]) -> str:
    return _joined([_clip(name) for name in names[:_SHOWN_ITEMS]], len(names))


def _joined(items: list[str], total: int | None = None) -> str:
    """The first items with commas between, and how many there are in all if there are more."""
    total = len(items) if total is None else total
    shown = ", ".join(items[:_SHOWN_ITEMS])
    return shown if total <= _SHOWN_ITEMS else f"{shown}, ... {total} in all"


def _quoted(value: bytes) -> str:
    try:
        return f"'{_clip(value.decode())}'"
    except UnicodeDecodeError:
        return f"{len(value)} bytes"


def _clip(text: str | bytes) -> str:
    """A name fit for a line: not too long, and no control character reaches the terminal."""
    if isinstance(text, bytes):  # how protobuf hands out a string that is not UTF-8
        text = text.decode(errors="replace")
    if len(text) > _SHOWN_CHARACTERS:
        text = text[: _SHOWN_CHARACTERS - 3] + "..."
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _device(op: OperatorDef) -> str:
    """The device as "cuda:1"; nothing where the operator names none."""
    if not op.HasField("device_option"):
        return ""
    number, index = op.device_option.device_type, op.device_option.device_id
    known = number in DeviceTypeProto.values()
    kind = DeviceTypeProto.Name(number).removeprefix("PROTO_").lower() if known else f"#{number}"
    return kind if kind == "cpu" else f"{kind}:{index}"
