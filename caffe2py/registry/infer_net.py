"""Types of every blob of a net, before it runs: the inference rules of its operators, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import Error
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import Operator, lookup
from caffe2py.registry.place import located, operator_place
from caffe2py.registry.schema import Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType, checked_numel

#: Values that shape-giving inputs may have: more elements are data, not a shape.
_MAX_VALUES = 64

ContentsRule = Callable[["Step", Mapping[str, Array]], Array | None]


@dataclass(frozen=True)
class Step:
    """One operator of a net and what is known of its blobs when its turn comes.

    `args` is None and `outputs` are unknown where `error` says why nothing can be inferred.
    """

    index: int
    op: OperatorDef
    operator: Operator | None
    args: Args | None
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    error: Error | None = None


class Walk:
    """What is known of blobs, growing as the operators of one net after another are inferred.

    `types` are types by blob name, `values` the contents of blobs that give shapes.
    """

    def __init__(
        self,
        types: Mapping[str, TensorType] | None = None,
        values: Mapping[str, Array] | None = None,
    ) -> None:
        self.types = dict(types or {})
        self.values = dict(values or {})

    def steps(self, net: NetDef) -> Iterator[Step]:
        """Every operator in order, with the types of its inputs and outputs.

        An operator in error ends nothing: its outputs are unknown, and the walk goes on, so that
        all errors of a net are found.
        """
        for index, op in enumerate(net.op):
            step = _step(net, index, op, self.types, self.values)
            made = {
                name: array
                for name, rules in zip(op.output, (_CONTENTS, _SECOND_CONTENTS), strict=False)
                if (array := _contents(step, self.values, rules)) is not None
            }
            for name, type_ in zip(op.output, step.outputs, strict=True):
                self.types[name] = type_
                self.values.pop(name, None)
            self.values.update(made)
            yield step


def infer_net(
    net: NetDef, known: Mapping[str, TensorType], values: Mapping[str, Array] | None = None
) -> dict[str, TensorType]:
    """The type of every blob after the net has run, the `known` ones included.

    `known` are the types of blobs that the net reads, `values` the contents of those that give
    shapes. What cannot be told before the run is unknown. Raises the first operator's error with
    its place, as an executor would ("net 'n', op #3 FC: ...").
    """
    walk = Walk(known, values)
    for step in walk.steps(net):
        if step.error is not None:
            raise step.error
    return walk.types


def _step(
    net: NetDef,
    index: int,
    op: OperatorDef,
    types: Mapping[str, TensorType],
    contents: Mapping[str, Array],
) -> Step:
    inputs = tuple(types.get(name, UNKNOWN) for name in op.input)
    operator: Operator | None = None
    args: Args | None = None
    try:
        with located(lambda: operator_place(net.name, index, op)):
            operator = lookup(op.type)
            args = operator.schema.verify(op)
            outputs = _infer(operator, op, args, inputs, contents)
    except Error as error:
        return Step(index, op, operator, args, inputs, (UNKNOWN,) * len(op.output), error)
    return Step(index, op, operator, args, inputs, outputs)


def _infer(
    operator: Operator,
    op: OperatorDef,
    args: Args,
    inputs: tuple[TensorType, ...],
    contents: Mapping[str, Array],
) -> tuple[TensorType, ...]:
    def value(position: int) -> Any:
        return contents.get(op.input[position])

    outputs = operator.infer(Query(operator.schema, inputs, args, len(op.output), value))
    for type_ in outputs:
        if type_.full_shape is not None:
            checked_numel(type_.full_shape, type_.dtype.itemsize if type_.dtype else 1)
    return outputs


# ---------------------------------------------------------------- contents known before the run


def _contents(
    step: Step, contents: Mapping[str, Array], rules: Mapping[str, ContentsRule]
) -> Array | None:
    """The contents of an output, where the operator's arguments or types determine them."""
    if step.error is not None or step.args is None or not step.outputs:
        return None
    rule = rules.get(step.op.type)
    if rule is None:
        return None
    try:
        return rule(step, contents)
    except (Error, ValueError, TypeError, OverflowError, AttributeError):
        return None  # not knowing is never wrong


def _given(step: Step, contents: Mapping[str, Array]) -> Array | None:
    """GivenTensor*Fill: the argument `values`, if it is a short list of integers."""
    shape = step.outputs[0].full_shape
    given: Any = getattr(step.args, "values", None)
    given = getattr(given, "ints", given)  # a large list stays the Argument message
    if shape is None or given is None or len(given) > _MAX_VALUES or step.op.input:
        return None
    return np.array(list(given), step.outputs[0].dtype).reshape(shape)


def _constant(step: Step, contents: Mapping[str, Array]) -> Array | None:
    """ConstantFill of integers with a shape of its own."""
    shape, dtype = step.outputs[0].full_shape, step.outputs[0].dtype
    if shape is None or dtype is None or dtype.kind not in "iu":
        return None
    if checked_numel(shape) > _MAX_VALUES:
        return None
    value = next((a.i for a in step.op.arg if a.name == "value"), 0)
    return np.full(shape, value, dtype)


def _shape(step: Step, contents: Mapping[str, Array]) -> Array | None:
    """Shape: the dimensions of the input, or those that `axes` names."""
    shape = step.inputs[0].full_shape
    if shape is None:
        return None
    axes = list(getattr(step.args, "axes", None) or range(len(shape)))
    return np.array([shape[axis] for axis in axes], np.int64)


def _cast(step: Step, contents: Mapping[str, Array]) -> Array | None:
    """Cast of known contents to another integer type."""
    dtype = step.outputs[0].dtype
    found = contents.get(step.op.input[0])
    return None if found is None or dtype is None else found.astype(dtype)


def _copy(step: Step, contents: Mapping[str, Array]) -> Array | None:
    """Operators that pass contents on."""
    return contents.get(step.op.input[0])


def _widths(step: Step, contents: Mapping[str, Array]) -> Array | None:
    """Concat's second output: how long each input is along the axis that they do not share."""
    args: Any = step.args
    shapes = [x.full_shape for x in step.inputs]
    if args.add_axis and "axis" in args.given:
        return np.ones(len(shapes), np.int32)
    channels = 1 if args.order.upper() == "NCHW" else 3
    axis = args.axis if "axis" in args.given else channels
    if any(shape is None for shape in shapes):
        return None
    return np.array([shape[axis] for shape in shapes if shape], np.int32)


_CONTENTS: dict[str, ContentsRule] = {
    "GivenTensorIntFill": _given,
    "GivenTensorInt64Fill": _given,
    "ConstantFill": _constant,
    "Shape": _shape,
    "Cast": _cast,
    "Copy": _copy,
    "EnsureCPUOutput": _copy,
    "StopGradient": _copy,
}

#: The same of second outputs.
_SECOND_CONTENTS: dict[str, ContentsRule] = {"Concat": _widths}
