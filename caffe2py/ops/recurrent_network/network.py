"""RecurrentNetwork: a step net that runs once for every step of a sequence.

Every step has a workspace of its own, in which the step net is bound once. Links let blobs there
be one step of a longer blob outside: of the input, or of the states of all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.errors import NoGradientError, ShapeError, ValueRangeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.ops.recurrent_network.arguments import (
    NETWORK_ARGS,
    Alias,
    aliases_of,
    links_of,
    net_of,
    require_ids,
    require_sequence,
)
from caffe2py.ops.recurrent_network.steps import Steps, Unrolled, array_of, put_array, tensor_of
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Scope
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator, verify
from caffe2py.tensor.tensor import Array, Blob
from caffe2py.tensor.types import UNKNOWN, TensorType, shape_text

Dims = tuple[int | None, ...]


def _state_shape(query: Query, index: int) -> Dims | None:
    """The shape of a state for all steps, from the input and its first value."""
    x, first = query.inputs[0].shape, query.inputs[index].shape
    if first is None or x is None:
        return None
    if not 1 <= len(first) <= 3:
        raise ShapeError(
            f"input {index} '{query.name(index)}' is the first value of a state: it must have 1 to "
            f"3 dimensions, found {shape_text(first)}"
        )
    batch = x[1]
    if len(first) > 1:
        if None not in (batch, first[-2]) and batch != first[-2]:
            raise ShapeError(
                f"input {index} '{query.name(index)}' {shape_text(first)} must have the batch size "
                f"{batch} of '{query.name(0)}' {shape_text(x)}"
            )
        batch = first[-2] if batch is None else batch
    before = first[0] if len(first) == 3 else 1
    steps = None if x[0] is None or before is None else x[0] + before
    return steps, batch, first[-1]


def _infer_network(query: Query) -> Sequence[TensorType]:
    args = query.args
    require_ids(query, 0)
    require_sequence(query, 0)
    ids = list(args.initial_recurrent_state_ids)
    for index in ids:
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *ids) if ids else None
    shapes = {
        name: _state_shape(query, index)
        for name, index in zip(args.recurrent_states, ids, strict=True)
    }
    types = [_alias_type(alias, dtype, shapes[alias.source]) for alias in aliases_of(args)]
    # the outputs stand in the order of their aliases, and the last one holds the steps
    return [*types, UNKNOWN] if len(types) + 1 == query.outputs else [UNKNOWN] * query.outputs


def _alias_type(alias: Alias, dtype: Any, shape: Dims | None) -> TensorType:
    if shape is None:
        return TensorType(dtype)
    steps = shape[0]
    if steps is None:
        length = -alias.offset if alias.offset < 0 else None
    else:
        begin = alias.offset if alias.offset >= 0 else steps + alias.offset
        if not 0 <= begin <= steps:
            raise ValueRangeError(
                f"'{alias.target}' would begin at step {begin} of '{alias.source}', "
                f"which has {steps}"
            )
        length = steps - begin
    return TensorType(dtype, (length, *shape[1:]))


def _network_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """From the gradients of outputs_with_grads those of the input, parameters, first states."""
    args = verify(op)
    given = [output_grads[k] for k in args.outputs_with_grads]
    for k, name in zip(args.outputs_with_grads, given, strict=True):
        if name is None:
            raise NoGradientError(f"RecurrentNetwork: the gradient of '{op.output[k]}' is missing")
    wanted = [0, *args.param, *args.initial_recurrent_state_ids]
    inputs = [*(name for name in given if name), *op.input, *op.output]
    outputs = [gradient_name(op.input[k]) for k in wanted]
    grads = [gradient_name(name) if k in wanted else None for k, name in enumerate(op.input)]
    return Gradient((gradient_op(op, "RecurrentNetworkGradient", inputs, outputs),), tuple(grads))


_network = operator(
    "RecurrentNetwork",
    "inputs+ -> output, outputs+",
    infer=_infer_network,
    gradient=_network_gradient,
    doc="""
    Runs step_net for t = 0, 1, ... T - 1, each time in a workspace of that step.

    The first input is the sequence (T, N, ...), further ones are the first values of the states,
    parameters, and whatever else the step net reads. A state is a blob (B + T, N, D) outside of the
    steps; it begins with its first value, which is (B, N, D), or (N, D) or (D) with B = 1. Link k
    makes the blob link_internal[k] of step t the part of link_external[k] that begins at
    t + link_offset[k] and has link_window[k] steps; it shares its memory. So a cell that reads its
    state at offset 0 and writes it at offset B is recurrent. Output alias_dst[k] shares the memory
    of the state alias_src[k] from step alias_offset[k] on. The last output holds the workspaces
    of the steps for RecurrentNetworkGradient.

    Other blobs that the step net makes stay in the step's workspace. Outer blobs are seen there.
    """,
    example="""
    inputs = x [[[1]], [[2]], [[3]]], h0 [[[0]]]; step_net: h = Add(x_t, h_prev)
    recurrent_states = h_states; initial_recurrent_state_ids = 1; alias h_all = h_states[1:]
    links x_t = x[t], h_prev = h_states[t], h = h_states[t + 1]
    h_all = [[[1]], [[3]], [[6]]]
    """,
    arguments=NETWORK_ARGS,
)


class _Forward:
    """A bound RecurrentNetwork."""

    def __init__(self, call: Call) -> None:
        args = call.args
        self.aliases = aliases_of(args)
        self.steps = Steps(call.scope, args.recompute_blobs_on_backward, args.timestep)
        net = net_of(args.step_net, "step_net")
        self.body = Unrolled(self.steps, net, links_of(args, "link"), call.device)
        self._parts: dict[str, tuple[Array, Array]] = {}

    def run(self, call: Call) -> None:
        self._keep_steps(call)
        x = tensor_of(call, 0)
        for name, index in zip(
            call.args.recurrent_states, call.args.initial_recurrent_state_ids, strict=True
        ):
            self._begin(call, call.scope.create_blob(name), x, tensor_of(call, index))
        self.body.run(call.scope, range(len(x)))
        for alias in self.aliases:
            self._share(call.scope, alias)

    def _keep_steps(self, call: Call) -> None:
        blob = call.scope.find(call.output_blob(-1))
        if blob is None or blob.value is not self.steps:
            call.put(-1, self.steps)

    def _begin(self, call: Call, state: Blob, x: Array, first: Array) -> None:
        before = first.shape[0] if first.ndim == 3 else 1
        shape = (len(x) + before, x.shape[1], first.shape[-1])
        array = state.resize(shape, first.dtype, device=call.device)
        put_array(call, array[:before], first)

    def _share(self, scope: Scope, alias: Alias) -> None:
        """Let the output be a part of its state; the same view as long as the state stays."""
        state = array_of(scope, alias.source)
        source, part = self._parts.get(alias.target, (None, state))
        if source is not state:
            part = state[alias.offset :] if alias.offset else state[:]
            self._parts[alias.target] = state, part
        scope.create_blob(alias.target).share(part)


def _run_network(call: Call) -> None:
    if "network" not in call.kept:
        call.kept["network"] = _Forward(call)
    call.kept["network"].run(call)


_network.cpu_dynamic()(_run_network)
_network.cuda_dynamic(_run_network)
