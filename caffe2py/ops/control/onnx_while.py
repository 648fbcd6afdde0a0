"""ONNXWhile: a loop with a counter, a condition, carried values and collected ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError
from caffe2py.ops.control.common import tensor_of
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.context import BoundNet, Call, Scope
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array, Blob
from caffe2py.tensor.types import UNKNOWN, TensorType, shape_text


def _infer_loop(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "int64")
    require_dtype(query, 1, "bool", "int32", "int64")
    for k in (0, 1):
        shape = query.inputs[k].shape
        if shape is not None and product(shape) not in (None, 1):
            raise ShapeError(
                f"input {k} '{query.name(k)}' must have one element, found {shape_text(shape)}"
            )
    if query.args.disable_scopes and query.args.save_scopes:
        raise ArgumentError("save_scopes needs scopes, and disable_scopes switches them off")
    return [UNKNOWN] * query.outputs


_loop = operator(
    "ONNXWhile",
    "max_trip_count, first_iter_condition, initial* -> outputs*",
    infer=_infer_loop,
    gradient=NotDifferentiable("the workspaces of its rounds are not kept"),
    inplace=lambda i, o: True,
    doc="""
    ONNX's Loop. For t = 0, 1, ... body runs, in a workspace that also sees the outer blobs: while
    t < max_trip_count (if has_trip_count), and while the condition holds (if has_cond).

    The external inputs of body are the number of the round (int64), the condition, and n carried
    values, which begin as initial[0..n); its external outputs are the next condition, the next
    carried values, and k values that are collected. Outputs are the carried values at the end, then
    the collected ones, joined along the first axis (int32 of shape (0) if no round ran; ONNX joins
    them along a new axis, Caffe2 loses some of several).
    n is num_loop_carried_deps or, if that is -1, the number of initial inputs. Raises ArgumentError
    for a body that does not fit, ShapeError when a collected value changes its shape.
    """,
    example="""
    max_trip_count = 3, v = [1]; body: v2 = Add(v, v); external_output = [cond, v2, v2]
    outputs = [8], [2, 4, 8]
    """,
    body=Arg(NetDef, None, "the net of one round"),
    has_trip_count=Arg(int, 0, "1: max_trip_count counts"),
    has_cond=Arg(int, 0, "1: the condition counts"),
    save_scopes=Arg(int, 0, "1: every round has a workspace of its own; nothing shows it"),
    disable_scopes=Arg(int, 0, "1: the body runs in the outer workspace"),
    num_loop_carried_deps=Arg(int, -1, "how many values go around; -1: all initial ones"),
)


@dataclass
class _Loop:
    """A bound loop: the blobs of the body by what they are for, and what was collected so far."""

    net: BoundNet
    counter: Blob
    condition: Blob
    carried: list[Blob]
    results: list[Blob]
    collected: list[list[Array]] = field(default_factory=list)


def _bind(call: Call, carried: int) -> _Loop:
    body = call.args.body
    if body is None:
        raise ArgumentError("argument 'body' (net) is required")
    if len(body.external_input) < carried + 2 or len(body.external_output) < carried + 1:
        raise ArgumentError(
            f"with {carried} carried value(s) body must have at least {carried + 2} external "
            f"inputs and {carried + 1} external outputs, found {len(body.external_input)} and "
            f"{len(body.external_output)}"
        )
    wanted = len(body.external_output) - 1
    if len(call.op.output) != wanted:
        raise ArityError(
            f"body makes {wanted} value(s) besides the condition, but there are "
            f"{len(call.op.output)} outputs"
        )
    inside = call.scope if call.args.disable_scopes else call.scope.child()
    blobs = [_local(call, inside, name) for name in body.external_input[: carried + 2]]
    made = {name for op in body.op for name in op.output}
    if not call.args.disable_scopes:
        for name in sorted(made):
            inside.create_local_blob(name)
    net = inside.bind(body)
    results = [inside.create_blob(name) for name in body.external_output]
    return _Loop(net, blobs[0], blobs[1], blobs[2:], results)


def _local(call: Call, inside: Scope, name: str) -> Blob:
    return inside.create_blob(name) if call.args.disable_scopes else inside.create_local_blob(name)


@_loop.cpu_dynamic()
def run_loop(call: Call) -> None:
    """Run the loop."""
    args = call.args
    carried = args.num_loop_carried_deps
    carried = call.input_count - 2 if carried < 0 else carried
    inputs = call.inputs
    if "loop" not in call.kept:
        call.kept["loop"] = _bind(call, carried)
    loop: _Loop = call.kept["loop"]
    loop.collected = [[] for _ in loop.results[carried + 1 :]]
    limit, going = int(inputs[0].reshape(-1)[0]), bool(inputs[1].reshape(-1)[0])
    loop.condition.feed(inputs[1])
    for blob, value in zip(loop.carried, inputs[2:], strict=False):
        blob.feed(value)
    number = 0
    while (going or not args.has_cond) and (number < limit or not args.has_trip_count):
        loop.counter.feed(np.array(number, np.int64))
        going = _round(loop)
        number += 1
    _finish(call, loop)


def _round(loop: _Loop) -> bool:
    """Run the body once; what it says about another round."""
    loop.net.run()
    values = [np.array(tensor_of(blob, "output")) for blob in loop.results]
    for blob, value in zip(loop.carried, values[1:], strict=False):
        blob.feed(value)
    for found, value in zip(loop.collected, values[len(loop.carried) + 1 :], strict=True):
        if found and found[0].shape != value.shape:
            raise ShapeError(
                f"a collected value was {shape_text(found[0].shape)} in the first round, and is "
                f"{shape_text(value.shape)} now"
            )
        found.append(value)
    if values[0].size != 1:
        raise ShapeError(
            f"the condition must have one element, found {shape_text(values[0].shape)}"
        )
    loop.condition.feed(values[0])
    return bool(values[0].reshape(-1)[0])


def _finish(call: Call, loop: _Loop) -> None:
    """Write the outputs."""
    for k, blob in enumerate(loop.carried):
        value = tensor_of(blob, "carried value")
        call.output(k, value.shape, value.dtype)[...] = value
    for k, found in enumerate(loop.collected, len(loop.carried)):
        parts = [np.atleast_1d(value) for value in found]
        joined = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        call.output(k, joined.shape, joined.dtype)[...] = joined
