"""What an operator accepts: inputs, outputs, arguments, in-place pairs; and the check of a use."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any

from caffe2py.errors import ArgumentError, ArityError, InplaceError, RegistrationError
from caffe2py.proto import args as proto_args
from caffe2py.proto.caffe2_pb2 import Argument, NetDef, OperatorDef, TensorProto
from caffe2py.registry.trust import Need, Trust

#: Python type of a declared argument -> what it is called, and how `proto.args.typed` reads it.
#: bytes are strings that need not be text; Argument is the message itself, for large lists.
_KINDS: dict[Any, str] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "string",
    bytes: "bytes",
    Argument: "any value",
    list[int]: "ints",
    list[float]: "floats",
    list[str]: "strings",
    list[bytes]: "strings as bytes",
    TensorProto: "tensor",
    NetDef: "net",
}

#: How similar an unknown argument must be to a declared one to be taken for a misspelling.
_MISSPELT = 0.8


@dataclass(frozen=True)
class Arg:
    """One argument: its Python type or types (`int`, `list[float]`, ...), default and meaning.

    One that may be `apart` is an Argument whose floats may be missing: they are an array then, in
    `Args.apart`.
    """

    type: Any
    default: Any = None
    doc: str = ""
    required: bool = False
    apart: bool = False

    @property
    def types(self) -> tuple[Any, ...]:
        """The accepted types, most specific first."""
        return self.type if isinstance(self.type, tuple) else (self.type,)

    @property
    def type_name(self) -> str:
        """The types as users read them: "int or string"."""
        return " or ".join(_KINDS[t] for t in self.types)

    def read(self, argument: Argument) -> Any:
        """The value of an Argument message; ArgumentError when it is of none of the types.

        A net may have been taken out of its argument; then the default holds.
        """
        if NetDef in self.types and not any(f.name != "name" for f, _ in argument.ListFields()):
            return self.default
        failure: ArgumentError | None = None
        for type_ in self.types:
            try:
                return _read(argument, type_)
            except ArgumentError as error:
                failure = error
        if failure is None or len(self.types) == 1:
            raise failure or ArgumentError(f"argument '{argument.name}' has no type")
        found = str(failure).rpartition("found ")[2]
        raise ArgumentError(
            f"argument '{argument.name}': expected {self.type_name}, found {found}"
        ) from None


def _read(argument: Argument, type_: Any) -> Any:
    if type_ is Argument:
        return argument
    if type_ is bytes and argument.HasField("s"):
        return argument.s
    if type_ == list[bytes] and (argument.strings or not argument.HasField("s")):
        return list(argument.strings)
    kind = {bytes: "string", list[bytes]: "strings"}.get(type_, _KINDS[type_])
    return proto_args.typed(argument, kind)


class Args(SimpleNamespace):
    """The typed argument values of one operator, defaults filled in: `args.alpha`.

    `given` holds the names of those that the operator states itself, `apart` the floats that some
    of them lack: arrays that are nobody else's.
    """

    given: frozenset[str] = frozenset()
    apart: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Slot:
    """One declared input or output: "X", "bias?" (may be left out) or "inputs*" (any number)."""

    name: str
    optional: bool = False
    variadic: bool = False

    @classmethod
    def parse(cls, text: str) -> Slot:
        """Read one slot of a signature."""
        match = re.fullmatch(r"([A-Za-z_]\w*)([?*+]?)", text.strip())
        if not match:
            raise RegistrationError(f"{text!r} is no input or output name")
        return cls(match[1], match[2] in ("?", "*"), match[2] in ("*", "+"))


def _parse_slots(text: str) -> tuple[Slot, ...]:
    slots = tuple(Slot.parse(part) for part in text.split(",") if part.strip())
    for before, after in itertools.pairwise(slots):
        if before.variadic or (before.optional and not (after.optional or after.variadic)):
            raise RegistrationError(f"'{after.name}' cannot follow '{before.name}' in {text!r}")
    return slots


def _arity(slots: tuple[Slot, ...]) -> tuple[int, int | None]:
    least = sum(not s.optional for s in slots)
    return least, None if slots and slots[-1].variadic else len(slots)


def _count_text(least: int, most: int | None, exact: Collection[int] | None) -> str:
    if exact is not None:
        return " or ".join(str(n) for n in sorted(exact))
    if most is None:
        return f"at least {least}"
    return str(least) if least == most else f"{least} to {most}"


InplaceRule = Mapping[int, int | tuple[int, ...]] | Callable[[int, int], bool]


@dataclass(frozen=True)
class Schema:
    """The declaration of one operator, complete when it is registered.

    `quantized` operators take quantized tensors (and check which inputs are ones); others refuse
    them. `inplace` maps an input to the output (or outputs) that may be the same blob; `enforced`
    to the one that must be. `counts` narrows the number of inputs or outputs to a set. `need` is
    what a net from disk has to be trusted with before the operator is bound.
    """

    name: str
    signature: str
    args: Mapping[str, Arg] = field(default_factory=dict)
    inplace: InplaceRule = field(default_factory=dict)
    enforced: Mapping[int, int] = field(default_factory=dict)
    input_counts: Collection[int] | None = None
    output_counts: Collection[int] | None = None
    identical: bool = False
    quantized: bool = False
    onnx: str | None = None
    doc: str = ""
    example: str = ""
    need: Need | None = None
    inputs: tuple[Slot, ...] = field(init=False)
    outputs: tuple[Slot, ...] = field(init=False)

    def __post_init__(self) -> None:
        left, arrow, right = self.signature.partition("->")
        if not arrow:
            raise RegistrationError(f"{self.name}: signature {self.signature!r} lacks '->'")
        object.__setattr__(self, "inputs", _parse_slots(left))
        object.__setattr__(self, "outputs", _parse_slots(right))
        for name, arg in self.args.items():
            for type_ in arg.types:
                if type_ not in _KINDS:
                    raise RegistrationError(f"{self.name}: argument '{name}' has type {type_}")
        for name in self.need.arguments if self.need is not None else ():
            if name not in self.args:
                raise RegistrationError(f"{self.name} has no argument '{name}'")

    def require(self, trust: Trust, args: Args) -> None:
        """Raise TrustError where an operator with these arguments needs what is not granted."""
        if self.need is not None and self.need.applies(args):
            names = [text for text in vars(args).values() if isinstance(text, str)]
            trust.require(self.need.what, self.name, names)

    def allows_inplace(self, input_index: int, output_index: int) -> bool:
        """Whether this input and this output may be one blob."""
        if self.enforced.get(input_index) == output_index:
            return True
        if callable(self.inplace):
            return self.inplace(input_index, output_index)
        allowed = self.inplace.get(input_index, ())
        return output_index == allowed if isinstance(allowed, int) else output_index in allowed

    def inplace_pairs(self) -> list[tuple[int, int]]:
        """The permitted (input, output) pairs among the declared slots."""
        return [
            (i, o)
            for i in range(max(len(self.inputs), 1))
            for o in range(len(self.outputs))
            if self.allows_inplace(i, o)
        ]

    def verify(self, op: OperatorDef) -> Args:
        """Check one use and return its typed arguments.

        Raises ArityError, InplaceError or ArgumentError; messages name what is expected and found.
        """
        self._verify_count("input", op.input, self.inputs, self.input_counts)
        self._verify_count("output", op.output, self.outputs, self.output_counts)
        self._verify_inplace(op)
        return self._read_args(op)

    def _verify_count(
        self,
        what: str,
        names: Collection[str],
        slots: tuple[Slot, ...],
        exact: Collection[int] | None,
    ) -> None:
        least, most = _arity(slots)
        count = len(names)
        fine = count in exact if exact is not None else count >= least
        if fine and (most is None or count <= most):
            return
        declared = ", ".join(s.name for s in slots) or "none"
        raise ArityError(
            f"expected {_count_text(least, most, exact)} {what}(s) ({declared}), "
            f"found {count}: {', '.join(list(names)[:8]) or 'none'}"
        )

    def _verify_inplace(self, op: OperatorDef) -> None:
        fixed = [n for n, slot in zip(op.output, self.outputs, strict=False) if not slot.variadic]
        for name in fixed:
            if fixed.count(name) > 1:
                raise InplaceError(f"two outputs of {self.name} are both '{name}'")
        for o, name in enumerate(op.output):
            for i, other in enumerate(op.input):
                if name == other and not self.allows_inplace(i, o):
                    raise InplaceError(
                        f"output {o} '{name}' is also input {i}, and {self.name} does not allow "
                        f"that pair in place; allowed: {self._pairs_text()}"
                    )
        for i, o in self.enforced.items():
            if i < len(op.input) and o < len(op.output) and op.input[i] != op.output[o]:
                raise InplaceError(
                    f"output {o} must be the same blob as input {i} '{op.input[i]}', "
                    f"found '{op.output[o]}'"
                )

    def _pairs_text(self) -> str:
        pairs = self.inplace_pairs()
        return ", ".join(f"input {i} as output {o}" for i, o in pairs) or "none"

    def _read_args(self, op: OperatorDef) -> Args:
        values: dict[str, Any] = {n: arg.default for n, arg in self.args.items() if "*" not in n}
        seen: dict[str, Argument] = {}
        for argument in op.arg:
            if seen.setdefault(argument.name, argument) != argument:
                raise ArgumentError(f"argument '{argument.name}' is given twice, with two values")
            arg = self._declared(argument.name)
            if arg is not None:
                values[argument.name] = arg.read(argument)
            elif not op.is_gradient_op:  # gradient operators get all of the forward arguments
                self._refuse_misspelling(argument.name)
        for name, arg in self.args.items():
            if arg.required and name not in seen:
                raise ArgumentError(
                    f"argument '{name}' ({arg.type_name}) is required: {arg.doc or 'no default'}"
                )
        args = Args(**values)
        args.given = frozenset(seen)
        return args

    def _declared(self, name: str) -> Arg | None:
        """The declaration of an argument; "part_*_size" declares part_0_size, part_1_size, ..."""
        return self.args.get(name) or self.args.get(re.sub(r"\d+", "*", name, count=1))

    def _refuse_misspelling(self, name: str) -> None:
        near = difflib.get_close_matches(name, self.args, 1, _MISSPELT)
        if near:
            raise ArgumentError(f"{self.name} has no argument '{name}'; did you mean '{near[0]}'?")

    def input_name(self, index: int) -> str:
        """The declared name of an input; variadic ones are numbered."""
        return _slot_name(self.inputs, index)

    def output_name(self, index: int) -> str:
        """The declared name of an output; variadic ones are numbered."""
        return _slot_name(self.outputs, index)


def _slot_name(slots: tuple[Slot, ...], index: int) -> str:
    if index < len(slots) and not slots[index].variadic:
        return slots[index].name
    return f"{slots[-1].name}[{index - len(slots) + 1}]" if slots else f"[{index}]"
