"""From the net of one step to the operator that runs it over a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.modeling.recurrent.backward import BackwardStep
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.gradient import gradient_name

__all__ = ["recurrent_net", "set_rnn_executor_config"]

#: A blob of the step net, and the blob outside that belongs to it.
Pair = tuple[Any, Any]
#: A blob of the step net (or a state), a blob outside, and at which step of that it begins.
Row = tuple[str, str, int]


class _Network:
    """What the arguments of RecurrentNetwork are put together from."""

    def __init__(
        self, step: Net, sequence: Pair, starts: Sequence[Pair], following: Mapping[str, Any]
    ) -> None:
        self.step = step.Proto()
        self.sequence = sequence
        self.starts = starts
        self.following = following
        self.forward: list[Row] = []
        self.backward: list[Row] = []
        self.aliases: list[Row] = []
        self.states: list[str] = []
        self.outputs: list[Any] = []

    def references(self, timestep: Any) -> list[BlobReference]:
        """What the step reads from outside and is neither a state nor the sequence: parameters."""
        known = {str(self.sequence[0])}
        known.update(str(blob) for pair in self.starts for blob in pair)
        if timestep is not None:
            known.add(str(timestep))
        return [BlobReference(b) for b in self.step.external_input if b not in known]

    def add_state(self, before: str, state: str, way_back: BackwardStep | None) -> None:
        """A state that a step reads as `before`, kept for all steps in the blob `state`."""
        after = self.following[before]
        name = str(after)
        self.states.append(state)
        self.forward += [(before, state, 0), (name, state, 1)]
        self.aliases += [(state, f"{name}_all", 1), (state, f"{name}_last", -1)]
        self.outputs += [after + "_all", after + "_last"]
        if way_back is not None:
            way_back.declare([gradient_name(name)])
            states = gradient_name(state)
            self.backward.append((gradient_name(name), states, 1))
            self.backward.append((way_back.gradient(before), states, 0))

    def add_sequence(self, way_back: BackwardStep | None) -> None:
        """The input, of which each step reads its part."""
        inner, outer = map(str, self.sequence)
        self.forward.append((inner, outer, 0))
        if way_back is not None:
            self.backward.append((way_back.mapped(inner), gradient_name(outer), 0))
            way_back.declare(self.step.external_input)
            way_back.declare(self.step.external_output)
            way_back.add_up()


def _columns(prefix: str, names: Sequence[str], rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as the lists that the operator takes."""
    return {f"{prefix}_{name}": [row[k] for row in rows] for k, name in enumerate(names)}


def _backward_arguments(
    found: _Network, way_back: BackwardStep, parameters: Mapping[str, int], wanted: Sequence[int]
) -> dict[str, Any]:
    learnt = [name for name in parameters if way_back.gradients.get(name) is not None]
    links = _columns("backward_link", ("internal", "external", "offset"), found.backward)
    arguments: dict[str, Any] = {
        "param": [parameters[name] for name in learnt],
        **links,
        "outputs_with_grads": wanted,
        "recompute_blobs_on_backward": way_back.recomputed,
        "param_grads": [way_back.mapped(name) for name in learnt],
    }
    if way_back.net.Proto().op:
        arguments["backward_step_net"] = way_back.net.Proto()
    return arguments


def recurrent_net(
    net: Net,
    cell_net: Net,
    inputs: Sequence[Pair],
    initial_cell_inputs: Sequence[Pair],
    links: Mapping[Any, Any],
    timestep: Any = None,
    scope: str | None = None,
    outputs_with_grads: Sequence[int] = (0,),
    recompute_blobs_on_backward: Sequence[Any] | None = None,
    forward_only: bool = False,
) -> Any:
    """Add a RecurrentNetwork to `net` that runs `cell_net` for every step of a sequence.

    `inputs` holds one pair: the blob that a step reads, and the sequence (T, N, ...) that it is a
    part of. `initial_cell_inputs` are the states: what a step reads, and the blob with the first
    value; `links` says for each which blob of a step is the state of the next one. What else the
    step reads are parameters, whose gradients are added up over all steps.

    Returns for each state two blobs, its values (T, N, ...) and its last value (1, N, ...);
    `outputs_with_grads` numbers those whose gradients will come in. Blobs in
    `recompute_blobs_on_backward` are computed again on the way back, not kept for every step. With
    `forward_only` there is no way back. Names begin with `scope`, or a free name.

    Raises UsageError for several sequences, NoGradientError where a state has no influence.
    """
    if len(inputs) != 1:
        raise UsageError(f"recurrent_net takes one input sequence, found {len(inputs)}")
    found = _Network(
        cell_net, inputs[0], initial_cell_inputs, {str(k): v for k, v in links.items()}
    )
    free = net.NextName("recurrent")
    prefix = free if scope is None else scope
    references = found.references(timestep)
    way_back = None if forward_only else BackwardStep(found.step, recompute_blobs_on_backward)
    for before, _ in initial_cell_inputs:
        found.add_state(str(before), f"{prefix}/{before}_states", way_back)
    found.add_sequence(way_back)
    found.step.type = "simple"
    read = [inputs[0][1], *(first for _, first in initial_cell_inputs), *references]
    names = [str(blob) for blob in read]
    arguments: dict[str, Any] = {
        **_columns("alias", ("src", "dst", "offset"), found.aliases),
        "recurrent_states": found.states,
        "initial_recurrent_state_ids": [names.index(str(b)) for _, b in initial_cell_inputs],
        **_columns("link", ("internal", "external", "offset"), found.forward),
        "enable_rnn_executor": 1,
        "step_net": found.step,
        "timestep": "timestep" if timestep is None else str(timestep),
    }
    if way_back is not None:
        parameters = {str(blob): names.index(str(blob)) for blob in references}
        arguments |= _backward_arguments(found, way_back, parameters, outputs_with_grads)
    made = net.RecurrentNetwork(read, [*found.outputs, f"{prefix}/step_workspaces"], **arguments)
    return made[:-1]  # the steps themselves are of use to the way back alone


def set_rnn_executor_config(
    rnn_op: OperatorDef, num_threads: int | None = None, max_cuda_streams: int | None = None
) -> None:
    """Add the options of Caffe2's executor of steps to a RecurrentNetwork(Gradient) operator.

    They have no effect here, but travel with the net.
    """
    if rnn_op.type not in ("RecurrentNetwork", "RecurrentNetworkGradient"):
        raise UsageError(f"{rnn_op.type} is no recurrent network")
    options = {"num_threads": num_threads, "max_cuda_streams": max_cuda_streams}
    for name, value in options.items():
        if value is not None:
            rnn_op.arg.append(make_argument(f"rnn_executor.{name}", value))
