"""InferenceLSTM: a whole LSTM over whole sequences, with the weights of other frameworks."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, ArityError, ShapeError
from caffe2py.kernels.copy import launch_transpose
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.inference_lstm import Direction, launch_direction
from caffe2py.kernels.linalg import ENGINES
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]

#: The inputs before the weights.
_FIRST = 3


def _ways(args: Args) -> int:
    return 2 if args.bidirectional else 1


def _require_inputs(query: Query) -> None:
    """As many as the layers need, all of one type; ArityError and DTypeError otherwise."""
    args = query.args
    if args.num_layers < 1:
        raise ArgumentError(f"num_layers must be positive, found {args.num_layers}")
    each = 4 if args.has_biases else 2
    wanted = _FIRST + args.num_layers * _ways(args) * each
    if len(query.inputs) != wanted:
        raise ArityError(
            f"expected {wanted} inputs with {args.num_layers} layer(s) of {_ways(args)} "
            f"direction(s) and {each} weights each, found {len(query.inputs)}"
        )
    for index in range(wanted):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, *range(wanted))
    for index in range(_FIRST):
        require_rank(query, index, 3)


def _states(query: Query, batch: int | None) -> Dims:
    """The shape of the states: those of all directions, rows, sizes."""
    shape = require_same_shape(query, 1, 2) or (None, None, None)
    count = query.args.num_layers * _ways(query.args)
    wanted = (count, batch, None)
    for found, size in zip(shape, wanted, strict=True):
        if None not in (found, size) and found != size:
            raise ShapeError(f"the states must be {shape_text(wanted)}, found {shape_text(shape)}")
    return (count, shape[1] if batch is None else batch, shape[2])


def _require_shape(query: Query, index: int, wanted: Dims) -> None:
    require_rank(query, index, len(wanted))
    for found, size in zip(query.inputs[index].shape or (), wanted, strict=False):
        if None not in (found, size) and found != size:
            raise ShapeError(
                f"input {index} must be {shape_text(wanted)}, "
                f"found {shape_text(query.inputs[index].shape)}"
            )


def _infer(query: Query) -> Sequence[TensorType]:
    _require_inputs(query)
    args = query.args
    x = query.inputs[0].shape or (None, None, None)
    steps, batch = (x[1], x[0]) if args.batch_first else (x[0], x[1])
    state = _states(query, batch)
    size = state[2]
    wide = None if size is None else 4 * size
    joined = None if size is None else size * _ways(args)
    index = _FIRST
    for layer in range(args.num_layers):
        for _ in range(_ways(args)):
            _require_shape(query, index, (wide, x[2] if layer == 0 else joined))
            _require_shape(query, index + 1, (wide, size))
            for bias in (2, 3) if args.has_biases else ():
                _require_shape(query, index + bias, (wide,))
            index += 4 if args.has_biases else 2
    rows = state[1]
    output = (rows, steps, joined) if args.batch_first else (steps, rows, joined)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    return [TensorType(dtype, shape) for shape in (output, state, state)]


_lstm = operator(
    "InferenceLSTM",
    "input, hidden_0?, cell_0?, weights* -> output, hidden, cell",
    infer=_infer,
    gradient=NoGradient("it is made for inference"),
    doc="""
    num_layers layers of c = sigmoid(f) * c + sigmoid(i) * tanh(g), h = sigmoid(o) * tanh(c) with
    the gates (i, f, g, o) = W_x x[t] + b_x + W_h h + b_h, each layer over the h of the one before.

    input (T, N, D), or (N, T, D) with batch_first; output has H, or 2 * H in place of D. The states
    are (L, N, H) at the beginning (hidden_0, cell_0) and at the end; L counts all directions of all
    layers. For each of these the inputs have W_x (4 * H, D), W_h (4 * H, H) and with has_biases
    b_x, b_h (4 * H,). A second direction begins at the last step, and its h follow the first's.
    """,
    example="""
    input = [[[1]]]; hidden_0 = [[[0]]]; cell_0 = [[[1]]]
    W_x = [[0], [0], [0], [0]]; W_h = [[0], [0], [0], [0]]; has_biases = 0
    output = [[[0.2311]]]; hidden = [[[0.2311]]]; cell = [[[0.5]]]
    """,
    num_layers=Arg(int, 1, "how many layers stand one on the other"),
    has_biases=Arg(bool, True, "weights include biases"),
    batch_first=Arg(bool, False, "the first axis of input and output counts sequences"),
    bidirectional=Arg(bool, False, "each layer also goes from the last step to the first"),
)


@_lstm.cpu
def _launch_lstm(call: Call) -> list[Launch]:
    args = call.args
    x, hidden, cell, *weights = call.inputs
    y, *last = call.outputs
    launches: list[Launch] = []
    steps, batch = x.shape[:2]
    if args.batch_first:
        steps, batch = batch, steps
        turned = call.scratch((steps, batch, x.shape[2]), x.dtype)
        launches.append(launch_transpose(x, (1, 0, 2), turned))
        x = turned
    size, ways = hidden.shape[2], _ways(args)
    gates = call.scratch((steps, batch, 4 * size), x.dtype)
    each = 4 if args.has_biases else 2
    for k in range(args.num_layers * ways):
        own = weights[k * each : (k + 1) * each]
        biases = (own[2], own[3]) if args.has_biases else None
        way = Direction(own[0], own[1], biases, hidden[k], cell[k])
        if k % ways == 0:
            done = k == (args.num_layers - 1) * ways and not args.batch_first
            made = y if done else call.scratch((steps, batch, ways * size), x.dtype)
        ends, column = (last[0][k], last[1][k]), k % ways * size
        launches += launch_direction(call, x, way, gates, ends, made, column, k % ways == 1)
        if k % ways == ways - 1:
            x = made
    if args.batch_first:
        launches.append(launch_transpose(x, (1, 0, 2), y))
    return launches


_lstm.cuda_engines(_launch_lstm, *ENGINES)
