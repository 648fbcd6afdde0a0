"""Gradient rules: from one OperatorDef and the names of its output gradients to backward operators.

A rule is written as text and parsed when the operator is registered:

    "ReluGradient(Y, dY) -> dX"            one operator; names are the schema's slots, d marks a
                                           gradient, the result gets the forward arguments
    "ConstantFill(X; value=0.0) -> dX"     arguments of its own, on top of the forward ones
    "Split(dC, split_info) -> dinputs"     a variadic slot stands for all of its blobs
    "dX = dY"                              no operator: the gradient passes through

or is a function `(op, output_grads) -> Gradient` where text is not enough.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caffe2py.errors import NoGradientError, RegistrationError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.schema import Schema, Slot

GradientName = str | None


@dataclass(frozen=True)
class Gradient:
    """Backward operators of one operator, and the gradient blob of each input (None: none)."""

    ops: tuple[OperatorDef, ...]
    input_grads: tuple[GradientName, ...]


GradientFunction = Callable[[OperatorDef, Sequence[GradientName]], Gradient]


@dataclass(frozen=True)
class NoGradient:
    """The operator ends the backward pass silently: its inputs get no gradient."""

    reason: str


@dataclass(frozen=True)
class NotDifferentiable:
    """Reaching the operator in a backward pass is an error."""

    reason: str


GradientRule = str | GradientFunction | NoGradient | NotDifferentiable


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
    """A backward operator: device, engine and (if asked) arguments are those of `forward`."""
    op = OperatorDef(type=type_, input=inputs, output=outputs, is_gradient_op=True)
    if forward.HasField("device_option"):
        op.device_option.CopyFrom(forward.device_option)
    if forward.HasField("engine"):
        op.engine = forward.engine
    own = args or {}
    if copy_args:
        op.arg.extend(a for a in forward.arg if a.name not in own)
    op.arg.extend(make_argument(name, value) for name, value in own.items())
    return op


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
        for part in filter(None, (p.strip() for p in text.split("\n"))):
            self._parse(part)
        self._check_names()

    @property
    def operator_types(self) -> list[str]:
        """The types of the backward operators."""
        return [step.type for step in self.steps]

    def _parse(self, text: str) -> None:
        through = re.fullmatch(r"(\w+)\s*=\s*(\w+)", text)
        if through:
            self.passed[through[1]] = through[2]
            return
        call = re.fullmatch(r"(\w+)\(([^;)]*)(?:;([^)]*))?\)\s*->\s*(.+)", text)
        if not call:
            raise RegistrationError(f"{self.schema.name}: cannot read the gradient {text!r}")
        args = {}
        for pair in filter(None, (p.strip() for p in (call[3] or "").split(","))):
            name, _, value = pair.partition("=")
            args[name.strip()] = ast.literal_eval(value.strip())
        names = tuple(n.strip() for n in call[2].split(",") if n.strip())
        results = tuple(n.strip() for n in call[4].split(","))
        self.steps.append(_Step(call[1], names, results, args))

    def _check_names(self) -> None:
        ins = {s.name for s in self.schema.inputs}
        outs = {s.name for s in self.schema.outputs}
        made = {f"d{n}" for n in ins}
        readable = ins | outs | {f"d{n}" for n in outs} | made
        for step in self.steps:
            self._refuse_unknown(step.inputs, readable)
            self._refuse_unknown(step.outputs, made)
        self._refuse_unknown(tuple(self.passed), made)
        self._refuse_unknown(tuple(self.passed.values()), {f"d{n}" for n in outs})

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
            inputs = [blob for n in step.inputs for blob in names[n]]
            missing = [n for n in step.inputs if None in names[n]]
            if missing:
                raise NoGradientError(
                    f"{op.type}: the gradient {self.text!r} reads {missing[0]}, "
                    "which nothing in the net provides"
                )
            outputs = [blob for n in step.outputs for blob in names[n]]
            ops.append(gradient_op(op, step.type, [i for i in inputs if i], outputs, step.args))
        made = {n for step in self.steps for n in step.outputs}
        grads: list[GradientName] = [None] * len(op.input)
        for slot, indices in _slot_indices(self.schema.inputs, len(op.input)):
            for k, index in enumerate(indices):
                if f"d{slot.name}" in made:
                    grads[index] = gradient_name(op.input[index])
                elif f"d{slot.name}" in self.passed:
                    source = names[self.passed[f"d{slot.name}"]]
                    grads[index] = source[min(k, len(source) - 1)] if source else None
        return Gradient(tuple(ops), tuple(grads))

    def _blobs(self, op: OperatorDef, output_grads: Sequence[GradientName]) -> dict[str, list[str]]:
        names: dict[str, list[Any]] = {}
        for slot, indices in _slot_indices(self.schema.inputs, len(op.input)):
            names[slot.name] = [op.input[i] for i in indices]
            names[f"d{slot.name}"] = [gradient_name(op.input[i]) for i in indices]
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
