"""What operators with nets share: conditions, nets among the arguments, backward passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, BlobTypeError, DTypeError, NoGradientError, ShapeError
from caffe2py.proto.args import find
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.context import BoundNet, Call
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import service
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array, Blob
from caffe2py.tensor.types import UNKNOWN, TensorType, dtype_name, shape_text


def infer_condition(query: Query) -> Sequence[TensorType]:
    """The first input is one bool; nothing is known of the outputs."""
    require_dtype(query, 0, "bool")
    shape = query.inputs[0].shape
    if shape is not None and product(shape) not in (None, 1):
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have one element, found {shape_text(shape)}"
        )
    return [UNKNOWN] * query.outputs


def tensor_of(blob: Blob, what: str) -> Array:
    """The tensor in a blob; BlobTypeError where it holds something else, or nothing."""
    if blob.array is None:
        held = "nothing" if blob.value is None else type(blob.value).__name__
        raise BlobTypeError(f"{what} '{blob.name}': expected a tensor, found {held}")
    return blob.array


def truth(blob: Blob) -> bool:
    """The one bool in a blob; BlobTypeError, DTypeError or ShapeError for anything else."""
    array = tensor_of(blob, "condition")
    if array.dtype != np.bool_:
        raise DTypeError(f"condition '{blob.name}' is {dtype_name(array.dtype)}; supported: bool")
    if array.size != 1:
        raise ShapeError(
            f"condition '{blob.name}' must have one element, found {shape_text(array.shape)}"
        )
    return bool(on_host(array).reshape(-1)[0])


def own_net(call: Call, name: str) -> BoundNet | None:
    """The net in an argument, bound to the operator's workspace when it is first needed."""
    net = getattr(call.args, name)
    if net is None:
        return None
    if name not in call.kept:
        call.kept[name] = call.scope.bind(net)
    bound: BoundNet = call.kept[name]
    return bound


# ---------------------------------------------------------------- gradients


@dataclass
class Backward:
    """Backward operators of a nested net, and the gradients of its blobs by name."""

    net: NetDef
    gradients: dict[str, str]
    reads: list[str] = field(init=False)
    writes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        reads: dict[str, None] = {}
        writes: dict[str, None] = {}
        for op in self.net.op:
            reads.update((name, None) for name in op.input if name not in writes)
            writes.update(dict.fromkeys(op.output))
        self.reads, self.writes = list(reads), list(writes)


def backward_net(net: NetDef, given: Mapping[str, str]) -> Backward:
    """The backward pass of a nested net, as a net, from the gradients `given` for its blobs.

    Raises NoGradientError where a gradient inside is sparse.
    """
    ops, found = service("nested nets").backward(net, given)
    made = NetDef()
    made.CopyFrom(net)
    if made.name:
        made.name += "_grad"
    del made.op[:]
    del made.external_input[:]
    del made.external_output[:]
    made.op.extend(ops)
    gradients = {}
    for blob, gradient in found.items():
        if gradient is not None and not isinstance(gradient, str):
            raise NoGradientError(
                f"the gradient of '{blob}' in net '{net.name}' is sparse, and must not leave it",
                hint="dense_gradient=1 where the operator has it, or EnsureDense",
            )
        if gradient is not None:
            gradients[blob] = gradient
    return Backward(made, gradients)


def net_argument(op: OperatorDef, name: str) -> NetDef | None:
    """The net in an argument of an OperatorDef, if it has one."""
    argument = find(op, name)
    return argument.n if argument is not None and argument.HasField("n") else None


def required_net(op: OperatorDef, name: str) -> NetDef:
    """As net_argument; ArgumentError where it is missing."""
    net = net_argument(op, name)
    if net is None:
        raise ArgumentError(f"argument '{name}' (net) is required")
    return net


def distinct_gradients(
    op: OperatorDef, output_grads: Sequence[str | None]
) -> tuple[list[OperatorDef], dict[str, str]]:
    """The gradient of each output that has one, none of them shared, and the copies that takes.

    The first output with a gradient keeps it; the others get "<output>_<gradient>_DEDUP".
    """
    copies: list[OperatorDef] = []
    given: dict[str, str] = {}
    for output, gradient in zip(op.output, output_grads, strict=True):
        if gradient is None or output in given:
            continue
        if gradient in given.values():
            own = f"{output}_{gradient}_DEDUP"
            copies.append(copy_op(gradient, own))
            gradient = own
        given[output] = gradient
    if not given:
        raise NoGradientError(f"no output of {op.type} has a gradient")
    return copies, given


def copy_op(source: str, target: str) -> OperatorDef:
    """An operator that copies a blob."""
    return OperatorDef(type="Copy", input=[source], output=[target])


def gradient_of_nets(forward: OperatorDef, **fields: Any) -> OperatorDef:
    """A backward operator of the same type, place and name (with "_grad") as the forward one."""
    made = OperatorDef()
    made.CopyFrom(forward)
    if made.name:
        made.name += "_grad"
    for name in ("input", "output", "arg", "control_input"):
        made.ClearField(name)
        getattr(made, name).extend(fields.get(name, ()))
    made.is_gradient_op = True
    return made
