"""Gradient rules: from one OperatorDef and the names of its output gradients to backward operators.

A rule is written as text and parsed when the operator is registered:

    "ReluGradient(Y, dY) -> dX"            one operator; names are the schema's slots, d marks a
                                           gradient, the result gets the forward arguments
    "ConstantFill(X; value=0.0) -> dX"     arguments of its own, on top of the forward ones
    "Split(dC, split_info) -> dinputs"     a variadic slot stands for all of its blobs
    "AddGradient(dC, A.shape) -> dA"       only the shape of A is read, so A may be overwritten
    "dX = dY"                              no operator: the gradient passes through
    "dX = slice(indices, dY)"              a sparse gradient; dX_indices and dX_values are names
                                           for parts that an operator makes

or is a function `(op, output_grads) -> Gradient` where text is not enough. A rule gets sparse
output gradients only if it says so (TakesSlices).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from caffe2py.errors import NoGradientError, RegistrationError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.schema import Schema, Slot

GradientName = str | None


class GradientSlice(NamedTuple):
    """A sparse gradient: the blob of `values` has one row for each row number in `indices`.

    Rows that are named several times are added.
    """

    indices: Any
    values: Any


GradientRef = str | GradientSlice | None


@dataclass(frozen=True)
class Gradient:
    """Backward operators of one operator, and the gradient of each input (None: none).

    Of the blobs in `shapes` these operators read the type and shape, and no element.
    """

    ops: tuple[OperatorDef, ...]
    input_grads: tuple[GradientRef, ...]
    shapes: frozenset[str] = frozenset()


GradientFunction = Callable[[OperatorDef, Sequence[GradientName]], Gradient]


@dataclass(frozen=True)
class TakesSlices:
    """A function that also takes output gradients that are slices."""

    function: Callable[[OperatorDef, Sequence[GradientRef]], Gradient]


@dataclass(frozen=True)
class NamesBlobs:
    """A function for operators that know blobs by their names, in nets of theirs.

    It gets the operator as it is, even where an output is an input too.
    """

    function: GradientFunction

    def __call__(self, op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
        """What the function says."""
        return self.function(op, output_grads)


@dataclass(frozen=True)
class NoGradient:
    """The operator ends the backward pass silently: its inputs get no gradient."""

    reason: str


@dataclass(frozen=True)
class NotDifferentiable:
    """Reaching the operator in a backward pass is an error."""

    reason: str


GradientRule = str | GradientFunction | NamesBlobs | TakesSlices | NoGradient | NotDifferentiable


def gradient_name(blob: str) -> str:
    """The blob that holds the gradient of `blob`."""
    return f"{blob}_grad"


def gradient_op(
    forward: OperatorDef,
    type_: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    args: Mapping[str, Any] | None = None,
    *,
    copy_args: bool = True,
) -> OperatorDef:
    """A backward operator: device, engine and (if asked) arguments are those of `forward`.

    `args` come first and replace the forward ones of their names.
    """
    op = OperatorDef(type=type_, name="", input=inputs, output=outputs, is_gradient_op=True)
    if forward.HasField("device_option"):
        op.device_option.CopyFrom(forward.device_option)
    if forward.HasField("engine"):
        op.engine = forward.engine
    own = args or {}
    op.arg.extend(make_argument(name, value) for name, value in own.items())
    if copy_args:
        op.arg.extend(a for a in forward.arg if a.name not in own)
    return op


#: What the names of a slice's two blobs end in.
_PARTS = ("_indices", "_values")


@dataclass(frozen=True)
class _Step:
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    args: Mapping[str, Any] = field(default_factory=dict)


class TextRule:
    """A parsed gradient text; callable like a gradient function."""

    def __init__(self, schema: Schema, text: str) -> None:
        self.schema = schema
        self.text = text
        self.steps: list[_Step] = []
        self.passed: dict[str, str] = {}
        self.slices: dict[str, tuple[str, str]] = {}
        self.shapes: set[str] = set()
        for part in filter(None, (p.strip() for p in text.split("\n"))):
            self._parse(part)
        self._check_names()

    @property
    def operator_types(self) -> list[str]:
        """The types of the backward operators."""
        return [step.type for step in self.steps]

    def _parse(self, text: str) -> None:
        if through := re.fullmatch(r"(\w+)\s*=\s*(\w+)", text):
            self.passed[through[1]] = through[2]
        elif sparse := re.fullmatch(r"(\w+)\s*=\s*slice\((\w+)\s*,\s*(\w+)\)", text):
            self.slices[sparse[1]] = sparse[2], sparse[3]
        elif call := re.fullmatch(r"(\w+)\(([^;)]*)(?:;([^)]*))?\)\s*->\s*(.+)", text):
            self._parse_call(call)
        else:
            raise RegistrationError(f"{self.schema.name}: cannot read the gradient {text!r}")

    def _parse_call(self, call: re.Match[str]) -> None:
        args = {}
        for pair in filter(None, (p.strip() for p in (call[3] or "").split(","))):
            name, _, value = pair.partition("=")
            args[name.strip()] = ast.literal_eval(value.strip())
        read = [n.strip() for n in call[2].split(",") if n.strip()]
        names = tuple(n.removesuffix(".shape") for n in read)
        self.shapes.update(n for n, text in zip(names, read, strict=True) if n != text)
        results = tuple(n.strip() for n in call[4].split(","))
        self.steps.append(_Step(call[1], names, results, args))

    def _check_names(self) -> None:
        ins = {s.name for s in self.schema.inputs}
        outs = {s.name for s in self.schema.outputs}
        dense = {f"d{n}" for n in ins}
        made = dense | {f"d{n}{part}" for n in ins for part in _PARTS}
        passed = {f"d{n}" for n in outs}
        readable = ins | outs | passed | made
        for step in self.steps:
            self._refuse_unknown(step.inputs, readable)
            self._refuse_unknown(step.outputs, made)
        self._refuse_unknown((*self.passed, *self.slices), dense)
        self._refuse_unknown(tuple(self.passed.values()), passed)
        for parts in self.slices.values():
            self._refuse_unknown(parts, readable)

    def _refuse_unknown(self, names: tuple[str, ...], known: set[str]) -> None:
        for name in names:
            if name not in known:
                raise RegistrationError(
                    f"{self.schema.name}: gradient {self.text!r} names '{name}'; "
                    f"known there: {', '.join(sorted(known))}"
                )

    def __call__(self, op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
        """The backward operators of `op`."""
        names = self._blobs(op, output_grads)
        ops = []
        for step in self.steps:
            self._refuse_missing(op, step.inputs, names)
            inputs = [blob for n in step.inputs for blob in names[n]]
            outputs = [blob for n in step.outputs for blob in names[n]]
            ops.append(gradient_op(op, step.type, inputs, outputs, step.args))
        shapes = frozenset(blob for n in self.shapes for blob in names[n])
        return Gradient(tuple(ops), self._input_grads(op, names), shapes)

    def _input_grads(
        self, op: OperatorDef, names: Mapping[str, list[Any]]
    ) -> tuple[GradientRef, ...]:
        made = {n for step in self.steps for n in step.outputs}
        grads: list[GradientRef] = [None] * len(op.input)
        for slot, indices in _slot_indices(self.schema.inputs, len(op.input)):
            result = f"d{slot.name}"
            for k, index in enumerate(indices):
                if result in made:
                    grads[index] = gradient_name(op.input[index])
                elif result in self.passed:
                    source = names[self.passed[result]]
                    grads[index] = source[min(k, len(source) - 1)] if source else None
                elif result in self.slices:
                    self._refuse_missing(op, self.slices[result], names)
                    parts = [names[n][min(k, len(names[n]) - 1)] for n in self.slices[result]]
                    grads[index] = GradientSlice(*parts)
        return tuple(grads)

    def _refuse_missing(
        self, op: OperatorDef, read: tuple[str, ...], names: Mapping[str, list[Any]]
    ) -> None:
        missing = [n for n in read if None in names[n]]
        if missing:
            raise NoGradientError(
                f"{op.type}: the gradient {self.text!r} reads {missing[0]}, "
                "which nothing in the net provides"
            )

    def _blobs(self, op: OperatorDef, output_grads: Sequence[GradientName]) -> dict[str, list[Any]]:
        names: dict[str, list[Any]] = {}
        for slot, indices in _slot_indices(self.schema.inputs, len(op.input)):
            names[slot.name] = [op.input[i] for i in indices]
            made = [gradient_name(op.input[i]) for i in indices]
            names[f"d{slot.name}"] = made
            for part in _PARTS:
                names[f"d{slot.name}{part}"] = [name + part for name in made]
        for slot, indices in _slot_indices(self.schema.outputs, len(op.output)):
            names[slot.name] = [op.output[i] for i in indices]
            names[f"d{slot.name}"] = [output_grads[i] for i in indices]
        return names


def _slot_indices(slots: tuple[Slot, ...], count: int) -> list[tuple[Slot, list[int]]]:
    """For each slot the positions of its blobs; a variadic last slot takes the rest."""
    pairs: list[tuple[Slot, list[int]]] = []
    for i, slot in enumerate(slots):
        if slot.variadic:
            pairs.append((slot, list(range(i, count))))
        else:
            pairs.append((slot, [i] if i < count else []))
    return pairs
