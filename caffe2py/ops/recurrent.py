"""Recurrent cells: one step of an LSTM or a GRU; and how a step finds its part of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DeviceError,
    Error,
    ShapeError,
    ValueRangeError,
)
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.recurrent import (
    launch_add_step,
    launch_gru,
    launch_gru_gradient,
    launch_lstm,
    launch_lstm_gradient,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import Operator, operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.place import device_of, on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

LENGTHS = {
    "sequence_lengths": Arg(bool, True, "seq_lengths is an input; else timestep takes its place"),
    "drop_states": Arg(bool, False, "an ended sequence's state is 0 instead of its last one"),
}
LSTM_ARGS = {"forget_bias": Arg(float, 0.0, "added to the forget gate"), **LENGTHS}

#: Whole state of a cell step: number of states, then of gates a state element.
_LSTM, _GRU = (2, 4), (1, 3)

Dims = tuple[int | None, ...]


def _infer_unit(query: Query, kind: tuple[int, int], given: int) -> tuple[TensorType, TensorType]:
    """The types of a state and of the gates; `given` counts the states behind the timestep."""
    states, gates = kind
    lengths = bool(query.args.sequence_lengths)
    step = states + 1 + lengths
    if len(query.inputs) != step + 1 + given:
        raise ArityError(
            f"expected {step + 1 + given} inputs with sequence_lengths {int(lengths)}, "
            f"found {len(query.inputs)}"
        )
    alike = [*range(states), *range(step + 1, step + 1 + given)]
    floats = [*alike, states]
    for index in floats:
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 3)
    dtype = require_same_dtype(query, *floats)
    state = _require_gates(query, require_same_shape(query, *alike), states, gates)
    for index in range(states + 1, step + 1):
        require_dtype(query, index, "int32")
    _require_sizes(query, state, step, lengths)
    factor = None if state is None or state[2] is None else gates * state[2]
    wide = None if state is None else (*state[:2], factor)
    return TensorType(dtype, state), TensorType(dtype, wide)


def _require_gates(query: Query, state: Dims | None, index: int, factor: int) -> Dims | None:
    """The shape of a state as far as it or the gates tell; ShapeError unless they fit."""
    gates = query.inputs[index].shape
    if gates is not None and gates[2] is not None and gates[2] % factor:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must be (1,N,{factor}*D), "
            f"found {shape_text(gates)}"
        )
    if gates is not None:
        size = None if gates[2] is None else gates[2] // factor
        own: Dims = (gates[0], gates[1], size)
        if state is not None and any(
            a is not None and b is not None and a != b for a, b in zip(state, own, strict=True)
        ):
            raise ShapeError(
                f"input {index} '{query.name(index)}' must be {factor} times as wide as the state "
                f"{shape_text(state)}, found {shape_text(gates)}"
            )
        state = (
            own
            if state is None
            else tuple(b if a is None else a for a, b in zip(state, own, strict=True))
        )
    if state is not None and state[0] not in (None, 1):
        raise ShapeError(f"states must be (1,N,D), found {shape_text(state)}")
    return state


def _require_sizes(query: Query, state: Dims | None, step: int, lengths: bool) -> None:
    """One length a row, and a timestep; ShapeError otherwise."""
    shape = query.inputs[step].shape
    if shape is not None and product(shape) == 0:
        raise ShapeError(f"input {step} '{query.name(step)}' must hold the number of the step")
    if not lengths or state is None:
        return
    shape = query.inputs[step - 1].shape
    size = None if shape is None else product(shape)
    if size is not None and state[1] is not None and size != state[1]:
        raise ShapeError(
            f"input {step - 1} '{query.name(step - 1)}' must have one length for each of the "
            f"{state[1]} row(s), found {shape_text(shape)}"
        )


def _lengths_and_step(call: Call, at: int) -> tuple[Array | None, Array, int]:
    """seq_lengths (None: there are none), timestep, and the index of the input behind them."""
    args: Args = call.args
    if not args.sequence_lengths:
        return None, call.inputs[at], at + 1
    lengths = call.inputs[at]
    if device_of(lengths) != call.device:
        raise DeviceError(
            f"input {at} '{call.input_blob(at)}' is on {device_of(lengths)}, expected on "
            f"{call.device}",
            hint="core.InjectCrossDeviceCopies, or a Copy operator before it",
        )
    return lengths, call.inputs[at + 1], at + 2


def _everywhere(made: Operator, launch: Callable[[Call], Launch], states: int) -> None:
    """Devices find the timestep on the host, as in Caffe2, or have it; it decides on the launch."""

    def reads(op: OperatorDef) -> list[int]:
        lengths = next((a.i for a in op.arg if a.name == "sequence_lengths"), 1)
        return [states + 1 + bool(lengths)]

    made.cpu(launch)
    made.cuda_dynamic(launch, reads=reads, anywhere=(states + 1, states + 2))


# ---------------------------------------------------------------- LSTM


def _infer_lstm(query: Query) -> Sequence[TensorType]:
    return [_infer_unit(query, _LSTM, 0)[0]] * 2


_lstm = operator(
    "LSTMUnit",
    "hidden_prev, cell_prev, gates, seq_lengths, timestep? -> hidden, cell",
    infer=_infer_lstm,
    gradient=(
        "LSTMUnitGradient(hidden_prev, cell_prev, gates, seq_lengths, timestep, hidden, cell, "
        "dhidden, dcell) -> dhidden_prev, dcell_prev, dgates"
    ),
    doc="""
    cell = sigmoid(f + forget_bias) * cell_prev + sigmoid(i) * tanh(g),
    hidden = sigmoid(o) * tanh(cell).

    States are (1, N, D), and gates (1, N, 4 * D) holds i, f, o and g in that order. Where
    timestep >= seq_lengths[n] the sequence n has ended: its states stay as they were, or become 0
    with drop_states. Both are int32; with sequence_lengths = 0 there are only four inputs, timestep
    the last of them.
    """,
    example="""
    cell_prev = [[[1]]]; gates = [[[0, 0, 0, 0]]]; seq_lengths = [1]; timestep = [0]
    hidden = [[[0.2311]]]; cell = [[[0.5]]]
    """,
    arguments=LSTM_ARGS,
)


def _launch_lstm(call: Call) -> Launch:
    h, c, gates = call.inputs[:3]
    lengths, step, _ = _lengths_and_step(call, 3)
    hidden, cell = call.outputs
    bias, drop = call.args.forget_bias, bool(call.args.drop_states)
    return launch_lstm((h, c), gates, lengths, step, bias, drop, (hidden, cell))


_everywhere(_lstm, _launch_lstm, 2)


def _infer_lstm_gradient(query: Query) -> Sequence[TensorType]:
    state, gates = _infer_unit(query, _LSTM, 4)
    return [state, state, gates]


_lstm_gradient = operator(
    "LSTMUnitGradient",
    "hidden_prev, cell_prev, gates, seq_lengths, timestep, hidden, cell, dhidden, dcell? "
    "-> dhidden_prev, dcell_prev, dgates",
    infer=_infer_lstm_gradient,
    doc="""
    With the gates' activations i, f, o, g and dc = dcell + dhidden * o * (1 - tanh(cell) ** 2):
    dcell_prev = dc * f, dhidden_prev = 0, and dgates holds dc * g * i * (1 - i),
    dc * cell_prev * f * (1 - f), dhidden * tanh(cell) * o * (1 - o) and dc * i * (1 - g ** 2).

    Where a sequence has ended, dhidden and dcell go through (zeros with drop_states), and dgates
    is 0. With sequence_lengths = 0 the fourth input is left out.
    """,
    arguments=LSTM_ARGS,
)


def _launch_lstm_gradient(call: Call) -> Launch:
    before, gates = call.inputs[1:3]
    lengths, step, at = _lengths_and_step(call, 3)
    _, cell, dhidden, dcell = call.inputs[at:]
    dh, dc, dgates = call.outputs
    bias, drop = call.args.forget_bias, bool(call.args.drop_states)
    given, out = (dhidden, dcell), (dh, dc, dgates)
    return launch_lstm_gradient(before, gates, lengths, step, bias, drop, cell, given, out)


_everywhere(_lstm_gradient, _launch_lstm_gradient, 2)


# ---------------------------------------------------------------- GRU


def _infer_gru(query: Query) -> Sequence[TensorType]:
    return [_infer_unit(query, _GRU, 0)[0]]


_gru = operator(
    "GRUUnit",
    "hidden_prev, gates, seq_lengths, timestep? -> hidden",
    infer=_infer_gru,
    gradient=(
        "GRUUnitGradient(hidden_prev, gates, seq_lengths, timestep, hidden, dhidden) "
        "-> dhidden_prev, dgates"
    ),
    doc="""
    hidden = sigmoid(u) * hidden_prev + (1 - sigmoid(u)) * tanh(o).

    States are (1, N, D), and gates (1, N, 3 * D) holds r, u and o in that order. The reset gate r
    is not read: it has been used before, to make o. Where timestep >= seq_lengths[n] the sequence
    n has ended: its state stays as it was, or becomes 0 with drop_states. Both are int32; with
    sequence_lengths = 0 there are only three inputs, timestep the last of them.
    """,
    example="""
    hidden_prev = [[[1]]]; gates = [[[0, 0, 0]]]; seq_lengths = [1]; timestep = [0]
    hidden = [[[0.5]]]
    """,
    arguments=LENGTHS,
)


def _launch_gru(call: Call) -> Launch:
    h, gates = call.inputs[:2]
    lengths, step, _ = _lengths_and_step(call, 2)
    return launch_gru(h, gates, lengths, step, bool(call.args.drop_states), call.outputs[0])


_everywhere(_gru, _launch_gru, 1)


def _infer_gru_gradient(query: Query) -> Sequence[TensorType]:
    return _infer_unit(query, _GRU, 2)


_gru_gradient = operator(
    "GRUUnitGradient",
    "hidden_prev, gates, seq_lengths, timestep, hidden, dhidden? -> dhidden_prev, dgates",
    infer=_infer_gru_gradient,
    doc="""
    With u and o after their activations: dhidden_prev = dhidden * u, and dgates holds 0,
    dhidden * (hidden_prev - o) * u * (1 - u) and dhidden * (1 - u) * (1 - o ** 2).

    Where a sequence has ended, dhidden goes through (zeros with drop_states), and dgates is 0.
    With sequence_lengths = 0 the third input is left out.
    """,
    arguments=LENGTHS,
)


def _launch_gru_gradient(call: Call) -> Launch:
    h, gates = call.inputs[:2]
    lengths, step, at = _lengths_and_step(call, 2)
    dhidden = call.inputs[at + 1]
    dh, dgates = call.outputs
    drop = bool(call.args.drop_states)
    return launch_gru_gradient(h, gates, lengths, step, drop, dhidden, (dh, dgates))


_everywhere(_gru_gradient, _launch_gru_gradient, 1)


# ---------------------------------------------------------------- what step nets are made of


def _require_timestep(query: Query) -> None:
    require_dtype(query, 0, "int32")
    shape = query.inputs[0].shape
    if shape is not None and product(shape) == 0:
        raise ShapeError(f"input 0 '{query.name(0)}' must hold the number of the step")


def _require_steps(query: Query, index: int) -> Dims | None:
    shape = query.inputs[index].shape
    if shape is not None and not shape:
        raise ShapeError(f"input {index} '{query.name(index)}' must have steps, found a scalar")
    return shape


def _infer_link(query: Query) -> Sequence[TensorType]:
    args = query.args
    if args.offset < 0 or args.window < 1:
        raise ArgumentError(
            f"offset must be at least 0 and window at least 1, found {args.offset}, {args.window}"
        )
    _require_timestep(query)
    shape = _require_steps(query, 1)
    dtype = query.inputs[1].dtype
    part = None if shape is None else (args.window, *shape[1:])
    return [TensorType(dtype, part), TensorType(dtype, shape)]


_link = operator(
    "rnn_internal_apply_link",
    "timestep, external -> internal, external_out",
    infer=_infer_link,
    enforced={1: 1},
    doc="""
    internal = external[timestep + offset : timestep + offset + window], sharing its memory.

    RecurrentNetwork does this itself for all of its links.
    """,
    example="""
    timestep = [1]; external = [[1], [2], [3]]; offset = 1, window = 1
    internal = [[3]]
    """,
    offset=Arg(int, -1, "where the part of step 0 begins"),
    window=Arg(int, -1, "number of steps in a part"),
)


def _apply_link(call: Call) -> None:
    step, external = call.inputs
    begin = int(on_host(step).reshape(-1)[0]) + call.args.offset
    end = begin + call.args.window
    if not 0 <= begin <= end <= len(external):
        raise ValueRangeError(f"steps {begin} to {end} are not within {len(external)} steps")
    call.share(0, external[begin:end])


_link.cpu_dynamic()(_apply_link)
_link.cuda_dynamic(_apply_link, anywhere=(0,))


def _infer_accumulate(query: Query) -> Sequence[TensorType]:
    if query.args.offset < 0:
        raise ArgumentError(f"offset must be at least 0, found {query.args.offset}")
    _require_timestep(query)
    for index in (1, 2):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, 1, 2)
    given, total = _require_steps(query, 1), _require_steps(query, 2)
    if given is not None and total is not None:
        sizes = product(given[1:]), product(total[1:])
        if None not in sizes and sizes[0] != sizes[1]:
            raise ShapeError(
                f"a step of input 1 '{query.name(1)}' {shape_text(given)} and of input 2 "
                f"'{query.name(2)}' {shape_text(total)} must have one size"
            )
    return [TensorType(dtype, total)]


_accumulate = operator(
    "rnn_internal_accumulate_gradient_input",
    "timestep, gradient, total -> total_out, others*",
    infer=_infer_accumulate,
    enforced={2: 0},
    doc="""
    total[timestep + offset] += gradient[timestep].

    RecurrentNetworkGradient puts it before its step net for every output that has a gradient.
    """,
    example="""
    timestep = [0]; gradient = [[1], [2]]; total = [[5], [6], [7]]; offset = 1
    total_out = [[5], [7], [7]]
    """,
    offset=Arg(int, -1, "how many steps later the total stands"),
)


def _launch_accumulate(call: Call) -> Launch:
    step, given, total = call.inputs

    def explain(status: int) -> Error:
        return ValueRangeError(
            f"timestep plus {call.args.offset} is not among the {len(given)} and {len(total)} steps"
        )

    rows = [array.reshape(len(array), _per_step(array)) for array in (given, total)]
    return launch_add_step(rows[0], step, call.args.offset, rows[1], explain)


_accumulate.cpu(_launch_accumulate)
_accumulate.cuda_dynamic(_launch_accumulate, reads=lambda op: [0], anywhere=(0,))


def _per_step(array: Array) -> int:
    return int(np.prod(array.shape[1:], dtype=np.int64))
