"""RecurrentNetwork: a step net that runs once for every step of a sequence, and the way back.

Every step has a workspace of its own, in which the step net is bound once. Links let blobs there
be one step of a longer blob outside: of the input, or of the states of all steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    BlobTypeError,
    MissingBlobError,
    NoGradientError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.proto.analysis import clone, external_inputs, rename_blobs
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.proto.text import from_text
from caffe2py.registry.context import BoundNet, Call, Scope
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator, verify
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array, Blob, Tensor
from caffe2py.tensor.types import UNKNOWN, TensorType, shape_text

Dims = tuple[int | None, ...]

STEP_ARGS: dict[str, Arg] = {
    "step_net": Arg((NetDef, str), None, "the net of one step, or its text"),
    "timestep": Arg(str, "timestep", "blob that holds the step's number in its workspace"),
    "recurrent_states": Arg(list[str], (), "blobs for the states of all steps"),
    "initial_recurrent_state_ids": Arg(list[int], (), "which inputs are the states' first values"),
    "link_internal": Arg(list[str], (), "blobs of the step net that are parts of outer blobs"),
    "link_external": Arg(list[str], (), "the outer blob of each link: a state, or the input"),
    "link_offset": Arg(list[int], (), "step of the outer blob that belongs to step 0"),
    "alias_src": Arg(list[str], (), "the states that outputs are parts of"),
    "alias_dst": Arg(list[str], (), "the outputs"),
    "alias_offset": Arg(list[int], (), "where each output begins; negative: from the end"),
    "param": Arg(list[int], (), "which inputs are parameters that get a gradient"),
    "param_grads": Arg(list[str], (), "their gradients' blobs in the backward step net"),
    "outputs_with_grads": Arg(list[int], (), "the outputs whose gradients come in"),
    "backward_step_net": Arg((NetDef, str), "", "the backward net of one step, or its text"),
    "backward_link_internal": Arg(list[str], (), "as link_internal, for the backward step net"),
    "backward_link_external": Arg(list[str], (), "as link_external; gradients"),
    "backward_link_offset": Arg(list[int], (), "as link_offset"),
    "enable_rnn_executor": Arg(bool, False, "accepted; steps run one after another"),
}
NETWORK_ARGS: dict[str, Arg] = {
    **STEP_ARGS,
    "link_window": Arg(list[int], (), "number of steps that each link covers; 1 by default"),
    "backward_link_window": Arg(list[int], (), "as link_window, for the backward step net"),
    "recompute_blobs_on_backward": Arg(
        list[str], (), "blobs that the backward step net makes anew; all steps share them"
    ),
    "backward_alias_src": Arg(list[str], (), "accepted, not used"),
    "backward_alias_dst": Arg(list[str], (), "accepted, not used"),
    "backward_alias_offset": Arg(list[int], (), "accepted, not used"),
    "rnn_executor.num_threads": Arg(int, None, "accepted, not used"),
    "rnn_executor.max_cuda_streams": Arg(int, None, "accepted, not used"),
}


# ---------------------------------------------------------------- what the arguments say


@dataclass(frozen=True)
class _Link:
    """`internal` of step t is `external[t + offset : t + offset + window]`."""

    internal: str
    external: str
    offset: int
    window: int


@dataclass(frozen=True)
class _Alias:
    """`target` is `source[offset:]`."""

    source: str
    target: str
    offset: int


def _require_lengths(args: Args, *names: str) -> None:
    """ArgumentError unless these lists are as long as the first one."""
    counts = {name: len(getattr(args, name)) for name in names}
    if len(set(counts.values())) > 1:
        text = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ArgumentError(f"these arguments must have one length: {text}")


def _links(args: Args, prefix: str) -> list[_Link]:
    names = [f"{prefix}_{part}" for part in ("internal", "external", "offset")]
    windows = tuple(getattr(args, f"{prefix}_window", ()))
    _require_lengths(args, *names, *([f"{prefix}_window"] if windows else []))
    inner, outer, offsets = (getattr(args, name) for name in names)
    sizes = windows or (1,) * len(inner)
    links = [_Link(*row) for row in zip(inner, outer, offsets, sizes, strict=True)]
    for link in links:
        if link.window < 1:
            raise ArgumentError(f"{prefix}_window must be at least 1, found {link.window}")
    return links


def _aliases(args: Args) -> list[_Alias]:
    names = ("alias_src", "alias_dst", "alias_offset")
    _require_lengths(args, *names)
    aliases = [_Alias(*row) for row in zip(*(getattr(args, name) for name in names), strict=True)]
    for alias in aliases:
        if alias.source not in args.recurrent_states:
            known = ", ".join(args.recurrent_states) or "none"
            raise ArgumentError(f"alias_src '{alias.source}' is no recurrent state; those: {known}")
    return aliases


def _net(value: NetDef | str | None, name: str) -> NetDef:
    """The net in an argument; ArgumentError where there is none, or none with a name."""
    if not value:
        raise ArgumentError(f"argument '{name}' (net or its text) is required")
    net = value if isinstance(value, NetDef) else from_text(value, NetDef)
    if not net.name:
        raise ArgumentError(f"the net in '{name}' must have a name")
    return net


# ---------------------------------------------------------------- the steps


class Steps:
    """The workspaces of a network's steps: what the forward pass leaves to the backward one."""

    def __init__(self, outer: Scope, shared: Iterable[str], timestep: str) -> None:
        self._between = outer.child()
        self.shared = frozenset(shared)
        for name in self.shared:
            self._between.create_local_blob(name)
        self._timestep = timestep
        self.scopes: list[Scope] = []

    def grow(self, count: int) -> None:
        """Have at least `count` steps."""
        for number in range(len(self.scopes), count):
            scope = self._between.child()
            scope.create_local_blob(self._timestep).feed(np.array([number], np.int32))
            self.scopes.append(scope)


class _Unrolled:
    """A net that is bound in the workspace of every step, and its links."""

    def __init__(self, steps: Steps, net: NetDef, links: Sequence[_Link]) -> None:
        self.steps = steps
        self.links = tuple(links)
        self._net = net
        read = set(external_inputs(net))
        made = {name for op in net.op for name in op.output}
        # what a step makes is its own, even if a blob of that name happens to exist outside
        self._local = sorted(
            {link.internal for link in links} | made.difference(read, steps.shared)
        )
        self._made = made
        self._bound: list[BoundNet] = []
        self._outer: tuple[Array, ...] = ()
        self._lent: list[tuple[_Link, Blob, Array]] = []
        self._seen = -1

    def run(self, scope: Scope, order: range) -> None:
        """Run the steps in this order; every link's outer blob is found in `scope`."""
        outer = tuple(_array_of(scope, link.external) for link in self.links)
        self._bind(len(order))
        if len(self._outer) != len(outer) or any(
            a is not b for a, b in zip(outer, self._outer, strict=True)
        ):
            self._lend(outer, len(order))
        for number in order:
            self._bound[number].run()
        if self._seen != Blob.changes:
            self._require_in_place()
            self._seen = Blob.changes

    def _bind(self, count: int) -> None:
        self.steps.grow(count)
        if len(self._bound) < count:
            self._outer = ()  # the new steps have no links yet
        for number in range(len(self._bound), count):
            scope = self.steps.scopes[number]
            for name in self._local:
                scope.create_local_blob(name)
            self._bound.append(scope.bind(clone(self._net, f"{self._net.name}[{number}]")))

    def _lend(self, outer: tuple[Array, ...], count: int) -> None:
        self._lent.clear()
        for number in range(count):
            for link, array in zip(self.links, outer, strict=True):
                begin = number + link.offset
                if not 0 <= begin <= begin + link.window <= len(array):
                    raise ValueRangeError(
                        f"'{link.internal}' of step {number} of {count} would be "
                        f"'{link.external}'[{begin}:{begin + link.window}], "
                        f"which has {len(array)} steps"
                    )
                blob = self.steps.scopes[number].create_local_blob(link.internal)
                part = array[begin : begin + link.window]
                blob.lend(part)
                self._lent.append((link, blob, part))
        self._outer = outer

    def _require_in_place(self) -> None:
        """ShapeError where the net has made a linked blob that does not fit its outer one."""
        for link, blob, part in self._lent:
            found = blob.array
            if link.internal not in self._made or found is None:
                continue
            if found.size != part.size or found.dtype != part.dtype:
                self._outer = ()
                raise ShapeError(
                    f"net '{self._net.name}' makes '{link.internal}' {TensorType.of(found)}; "
                    f"a step of '{link.external}' is {TensorType.of(part)}"
                )


def _array_of(scope: Scope, name: str) -> Array:
    blob = scope.find(name)
    if blob is None:
        raise MissingBlobError(f"'{name}', which a link names, does not exist")
    if blob.array is None or blob.array.ndim == 0:
        raise BlobTypeError(f"'{name}', which a link names, must hold a tensor with steps")
    return blob.array


def _tensor(call: Call, index: int) -> Array:
    value = call.value(index)
    if not isinstance(value, Tensor):
        raise BlobTypeError(
            f"input {index} '{call.input_blob(index)}': expected a tensor, "
            f"found {type(value).__name__}"
        )
    return value.array


def steps_of(call: Call, index: int) -> Steps:
    """The steps in an input; BlobTypeError for anything else."""
    steps = call.value(index)
    if not isinstance(steps, Steps):
        raise BlobTypeError(
            f"'{call.input_blob(index)}' must hold the steps of a RecurrentNetwork, "
            f"found {type(steps).__name__}"
        )
    return steps


# ---------------------------------------------------------------- forward


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


def _require_ids(query: Query, first: int) -> None:
    args = query.args
    _require_lengths(args, "recurrent_states", "initial_recurrent_state_ids")
    for name in ("initial_recurrent_state_ids", "param"):
        for number in getattr(args, name):
            if not 0 <= number < len(query.inputs) - first:
                raise ArgumentError(
                    f"{name}: there is no input {number} among {len(query.inputs) - first}"
                )


def _require_sequence(query: Query, index: int) -> None:
    require_dtype(query, index, *FLOATS)
    shape = query.inputs[index].shape
    if shape is not None and len(shape) < 2:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must be (T,N,...), found {shape_text(shape)}"
        )


def _infer_network(query: Query) -> Sequence[TensorType]:
    args = query.args
    _require_ids(query, 0)
    _require_sequence(query, 0)
    ids = list(args.initial_recurrent_state_ids)
    for index in ids:
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *ids) if ids else None
    shapes = {
        name: _state_shape(query, index)
        for name, index in zip(args.recurrent_states, ids, strict=True)
    }
    types = [_alias_type(alias, dtype, shapes[alias.source]) for alias in _aliases(args)]
    # the outputs stand in the order of their aliases, and the last one holds the steps
    return [*types, UNKNOWN] if len(types) + 1 == query.outputs else [UNKNOWN] * query.outputs


def _alias_type(alias: _Alias, dtype: Any, shape: Dims | None) -> TensorType:
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
        self.aliases = _aliases(args)
        self.steps = Steps(call.scope, args.recompute_blobs_on_backward, args.timestep)
        net = _net(args.step_net, "step_net")
        self.body = _Unrolled(self.steps, net, _links(args, "link"))
        self._parts: dict[str, tuple[Array, Array]] = {}

    def run(self, call: Call) -> None:
        self._keep_steps(call)
        x = _tensor(call, 0)
        for name, index in zip(
            call.args.recurrent_states, call.args.initial_recurrent_state_ids, strict=True
        ):
            self._begin(call.scope.create_blob(name), x, _tensor(call, index))
        self.body.run(call.scope, range(len(x)))
        for alias in self.aliases:
            self._share(call.scope, alias)

    def _keep_steps(self, call: Call) -> None:
        blob = call.scope.find(call.output_blob(-1))
        if blob is None or blob.value is not self.steps:
            call.put(-1, self.steps)

    def _begin(self, state: Blob, x: Array, first: Array) -> None:
        before = first.shape[0] if first.ndim == 3 else 1
        array = state.resize((len(x) + before, x.shape[1], first.shape[-1]), first.dtype)
        array[:before] = first

    def _share(self, scope: Scope, alias: _Alias) -> None:
        """Let the output be a part of its state; the same view as long as the state stays."""
        state = _array_of(scope, alias.source)
        source, part = self._parts.get(alias.target, (None, state))
        if source is not state:
            part = state[alias.offset :] if alias.offset else state[:]
            self._parts[alias.target] = state, part
        scope.create_blob(alias.target).share(part)


@_network.cpu_dynamic()
def _run_network(call: Call) -> None:
    if "network" not in call.kept:
        call.kept["network"] = _Forward(call)
    call.kept["network"].run(call)


# ---------------------------------------------------------------- backward


def _infer_network_gradient(query: Query) -> Sequence[TensorType]:
    args = query.args
    given = len(args.outputs_with_grads)
    count = 1 + len(args.param) + len(args.initial_recurrent_state_ids)
    if query.outputs != count or len(query.inputs) < given + 2:
        raise ArgumentError(
            f"expected {count} outputs (the input's, the parameters' and the first states' "
            f"gradients), and at least {given + 2} inputs; "
            f"found {query.outputs} and {len(query.inputs)}"
        )
    _require_ids(query, given)
    _require_sequence(query, given)
    wanted = [0, *args.param, *args.initial_recurrent_state_ids]
    return [query.inputs[given + k] for k in wanted]


_network_gradient_op = operator(
    "RecurrentNetworkGradient",
    "inputs* -> outputs*",
    infer=_infer_network_gradient,
    doc="""
    Runs backward_step_net for t = T - 1, ... 1, 0 in the workspaces of the forward steps.

    Inputs are the gradients of outputs_with_grads, then all inputs and outputs of the
    RecurrentNetwork; outputs the gradients of its first input, of the parameters and of the states'
    first values. The gradient of a state S is a blob S_grad of the same shape; its last step begins
    as zeros. The gradient of an output that is S[1:] is added to it step by step, that of S[-1:] at
    the end. Links work as in the forward pass. A parameter's gradient is the sum over all steps.
    """,
    arguments=STEP_ARGS
    | {name: NETWORK_ARGS[name] for name in ("link_window", "backward_link_window")},
)


class _Backward:
    """A bound RecurrentNetworkGradient."""

    def __init__(self, call: Call, steps: Steps) -> None:
        args = call.args
        self.steps = steps
        self.given = len(args.outputs_with_grads)
        self.params = len(args.param)
        self.last: dict[str, int] = {}  # state -> input that is the gradient of its last step
        given = _net(args.backward_step_net, "backward_step_net")
        net = clone(given, given.name)
        self._sum_parameters(call, net)
        self._add_gradients(call, net)
        own = gradient_name(call.input_blob(self.given))
        links = [
            replace(link, external=call.output_blob(0)) if link.external == own else link
            for link in _links(args, "backward_link")
        ]
        self.body = _Unrolled(steps, net, links)
        self._parts: dict[int, tuple[Array, Array]] = {}

    def _sum_parameters(self, call: Call, net: NetDef) -> None:
        """Let the net add a step's gradient of a parameter to the whole one."""
        args: Args = call.args
        totals = [call.output_blob(1 + k) for k in range(self.params)]
        names = list(args.param_grads) or totals
        if len(names) != self.params:
            raise ArgumentError(f"param has {self.params} value(s), param_grads {len(names)}")
        rename_blobs(net, {name: f"{name}_tmpstep" for name in names})
        for total, name in zip(totals, names, strict=True):
            net.op.add(type="Sum", input=[total, f"{name}_tmpstep"], output=[total])

    def _add_gradients(self, call: Call, net: NetDef) -> None:
        """Put before the net what adds the gradients of outputs to those of the states."""
        args: Args = call.args
        aliases = _aliases(args)
        added = []
        for position, output in enumerate(args.outputs_with_grads):
            if not 0 <= output < len(aliases) or aliases[output].offset not in (1, -1):
                raise ArgumentError(
                    f"outputs_with_grads: output {output} must be an alias of offset 1 or -1"
                )
            state = aliases[output].source
            if aliases[output].offset == -1:
                self.last[state] = position
                continue
            total = gradient_name(state)
            added.append(
                OperatorDef(
                    type="rnn_internal_accumulate_gradient_input",
                    input=[args.timestep, call.input_blob(position), total],
                    output=[total],
                    arg=[make_argument("offset", 1)],
                )
            )
        step = list(net.op)
        del net.op[:]
        net.op.extend([*added, *step])

    def run(self, call: Call) -> None:
        steps = len(_tensor(call, self.given))
        if len(self.steps.scopes) < steps:
            raise ValueRangeError(
                f"the forward pass ran {len(self.steps.scopes)} step(s), the input has {steps}"
            )
        for k in range(1 + self.params):
            call.outputs[k][...] = 0
        for state in call.args.recurrent_states:
            forward = _array_of(call.scope, state)
            blob = call.scope.create_blob(gradient_name(state))
            array = blob.resize(forward.shape, forward.dtype)
            array[...] = 0
            if state in self.last:
                array[-1:] += _tensor(call, self.last[state]).reshape(array[-1:].shape)
        self.body.run(call.scope, range(steps - 1, -1, -1))
        self._begin(call)

    def _begin(self, call: Call) -> None:
        """The gradients of the states' first values."""
        args = call.args
        pairs = zip(args.recurrent_states, args.initial_recurrent_state_ids, strict=True)
        for k, (state, number) in enumerate(pairs, 1 + self.params):
            gradient = _array_of(call.scope, gradient_name(state))
            first = _tensor(call, self.given + number)
            if first.ndim == 1:
                np.sum(gradient[0], axis=0, out=call.outputs[k])
                continue
            source, part = self._parts.get(k, (None, gradient))
            if source is not gradient:
                part = gradient[: first.shape[0] if first.ndim == 3 else 1].reshape(first.shape)
                self._parts[k] = gradient, part
            call.share(k, part)


@_network_gradient_op.cpu_dynamic()
def _run_network_gradient(call: Call) -> None:
    steps = steps_of(call, -1)
    network = call.kept.get("network")
    if network is None or network.steps is not steps:
        network = call.kept["network"] = _Backward(call, steps)
    network.run(call)
