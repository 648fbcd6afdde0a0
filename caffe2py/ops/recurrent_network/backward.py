"""RecurrentNetworkGradient: the backward net of every step, from the last one to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from caffe2py.errors import ArgumentError, ValueRangeError
from caffe2py.kernels.elementwise import launch_map
from caffe2py.kernels.reduce import launch_sum
from caffe2py.ops.recurrent_network.arguments import (
    NETWORK_ARGS,
    STEP_ARGS,
    Link,
    aliases_of,
    links_of,
    net_of,
    require_ids,
    require_sequence,
)
from caffe2py.ops.recurrent_network.deferred import Deferred, Kept, defer_products
from caffe2py.ops.recurrent_network.steps import (
    Steps,
    Unrolled,
    array_of,
    clear_array,
    steps_of,
    tensor_of,
)
from caffe2py.proto.analysis import clone, external_inputs, nested_nets, rename_blobs
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import gradient_name
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType


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
    require_ids(query, given)
    require_sequence(query, given)
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
    the end. Links work as in the forward pass. A parameter's gradient is the sum over all steps;
    where an FC makes it of rows that all steps keep, that is one product after the last step.
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
        given = net_of(args.backward_step_net, "backward_step_net")
        net = clone(given, given.name)
        own = gradient_name(call.input_blob(self.given))
        links = [
            replace(link, external=call.output_blob(0)) if link.external == own else link
            for link in links_of(args, "backward_link")
        ]
        totals = self._totals(call)
        late = self._defer(args, net, links, totals)
        #: The outputs that are sums over the steps, added to step by step.
        self.summed = set(totals.values()) - {name for op in late.ops for name in op.output}
        #: Outer blobs of which every step overwrites its own one before anything reads that.
        self.overwritten = {link.external for link in links if _overwrites(net, link, links)}
        self._sum_parameters(net, totals)
        self._add_gradients(call, net)
        self.body = Unrolled(steps, net, links, call.device, late)
        self._parts: dict[int, tuple[Array, Array]] = {}

    def _totals(self, call: Call) -> dict[str, str]:
        """The output for each gradient of a parameter that the net makes."""
        totals = [call.output_blob(1 + k) for k in range(self.params)]
        names = list(call.args.param_grads) or totals
        if len(names) != self.params:
            raise ArgumentError(f"param has {self.params} value(s), param_grads {len(names)}")
        return dict(zip(names, totals, strict=True))

    def _defer(
        self, args: Args, net: NetDef, links: Sequence[Link], totals: dict[str, str]
    ) -> Deferred:
        """Take from the net what can be computed once for all steps."""
        made = {name for op in net.op for name in op.output}.difference(external_inputs(net))
        blobs = made.union(*(scope.local_blobs() for scope in self.steps.scopes[:1]))
        blobs |= {link.internal for link in links}
        states = {alias.source for alias in aliases_of(args)} | set(args.recurrent_states)
        kept = Kept(
            blobs - self.steps.shared,
            [*links, *links_of(args, "link")],
            self.steps.shared,
            {gradient_name(state) for state in states},
            net_of(args.step_net, "step_net"),
        )
        return defer_products(net, totals, kept)

    def _sum_parameters(self, net: NetDef, totals: dict[str, str]) -> None:
        """Let the net add a step's gradient of a parameter to the whole one."""
        rename_blobs(net, {name: f"{name}_tmpstep" for name in totals})
        for name, total in totals.items():
            if total in self.summed:
                net.op.add(type="Sum", input=[total, f"{name}_tmpstep"], output=[total])

    def _add_gradients(self, call: Call, net: NetDef) -> None:
        """Put before the net what adds the gradients of outputs to those of the states."""
        args: Args = call.args
        aliases = aliases_of(args)
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
        steps = len(tensor_of(call, self.given))
        if len(self.steps.scopes) < steps:
            raise ValueRangeError(
                f"the forward pass ran {len(self.steps.scopes)} step(s), the input has {steps}"
            )
        for k in range(1 + self.params):
            name = call.output_blob(k)
            if (k == 0 and name not in self.overwritten) or not steps or name in self.summed:
                clear_array(call, call.outputs[k])
        for state in call.args.recurrent_states:
            forward = array_of(call.scope, state)
            blob = call.scope.create_blob(gradient_name(state))
            array = blob.resize(forward.shape, forward.dtype, device=call.device)
            clear_array(call, array[steps if blob.name in self.overwritten else 0 :])
            if state in self.last:
                last = array[len(array) - 1 :]
                given = tensor_of(call, self.last[state]).reshape(last.shape)
                _add(call, given, last)
        self.body.run(call.scope, range(steps - 1, -1, -1))
        self._begin(call)

    def _begin(self, call: Call) -> None:
        """The gradients of the states' first values."""
        args = call.args
        pairs = zip(args.recurrent_states, args.initial_recurrent_state_ids, strict=True)
        for k, (state, number) in enumerate(pairs, 1 + self.params):
            gradient = array_of(call.scope, gradient_name(state))
            first = tensor_of(call, self.given + number)
            if first.ndim == 1:
                _sum_rows(call, gradient[0], call.outputs[k])
                continue
            source, part = self._parts.get(k, (None, gradient))
            if source is not gradient:
                part = gradient[: first.shape[0] if first.ndim == 3 else 1].reshape(first.shape)
                self._parts[k] = gradient, part
            call.share(k, part)


def _sum(a, b):
    return a + b


def _add(call: Call, given: Array, total: Array) -> None:
    """total += given at once."""
    if isinstance(total, np.ndarray):
        total += given
    else:
        call.run_now(launch_map(_sum, (total, given), total))


def _sum_rows(call: Call, rows: Array, total: Array) -> None:
    """total = the sum of the rows, at once."""
    if isinstance(total, np.ndarray):
        np.sum(rows, axis=0, out=total)
        return
    for launch in launch_sum(call, rows, (0,), total):
        call.run_now(launch)


def _overwrites(net: NetDef, link: Link, links: Sequence[Link]) -> bool:
    """Whether step t makes all of `external[t]` anew, and no step before it looks there."""
    makers = [op for op in net.op if link.internal in op.output]
    fresh = makers and link.internal not in makers[0].input and not [*nested_nets(makers[0])]
    later = all(x.offset >= 0 for x in links if x.external == link.external)
    read = {name for op in net.op for name in (*op.input, *op.output)}
    return bool(
        fresh
        and later
        and link.window == 1
        and link.offset == 0
        and link.internal not in external_inputs(net)
        and link.external not in read
    )


def _run_network_gradient(call: Call) -> None:
    steps = steps_of(call, -1)
    network = call.kept.get("network")
    if network is None or network.steps is not steps:
        network = call.kept["network"] = _Backward(call, steps)
    network.run(call)


_network_gradient_op.cpu_dynamic()(_run_network_gradient)
_network_gradient_op.cuda_dynamic(_run_network_gradient)
