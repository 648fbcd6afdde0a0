"""Copies of a tensor one after the other along an axis, and their sum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe2py.errors import ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.kernels.elementwise import NUMERIC
from caffe2py.kernels.reduce import launch_sum
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, canonical_axis, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.types import TensorType, shape_text

ARGS = {
    "tiles": Arg(int, 1, "how many copies"),
    "axis": Arg(int, 0, "the axis along which they lie; negative ones count from the end"),
}


def _number(query: Query, name: str, index: int) -> int | None:
    """The argument, or the one element of an input, None where that is not known yet."""
    if len(query.inputs) <= index:
        value: int = getattr(query.args, name)
        return value
    require_dtype(query, index, "int32", "int64")
    shape = query.inputs[index].full_shape
    if shape is not None and math.prod(shape) != 1:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must have one element, found {shape_text(shape)}"
        )
    found = query.value(index)
    return None if found is None else int(found.reshape(-1)[0])


def _tiles_and_axis(query: Query) -> tuple[int | None, int | None]:
    """How many copies along which axis; None where it is not known before the run."""
    tiles, axis = _number(query, "tiles", 1), _number(query, "axis", 2)
    if tiles is not None and tiles < 0:
        raise ValueRangeError(f"'tiles' must be at least 0, found {tiles}")
    rank = query.inputs[0].rank
    return tiles, None if axis is None or rank is None else canonical_axis(axis, rank)


def _infer_tile(query: Query) -> Sequence[TensorType]:
    x = query.inputs[0]
    tiles, axis = _tiles_and_axis(query)
    if x.shape is None:
        return [x]
    if axis is None:
        return [x.with_shape((None,) * len(x.shape))]
    along = x.shape[axis]
    longer = None if along is None or tiles is None else along * tiles
    return [x.with_shape((*x.shape[:axis], longer, *x.shape[axis + 1 :]))]


def _from_inputs(op: OperatorDef) -> bool:
    return len(op.input) > 1


def _numbers(op: OperatorDef) -> range:
    return range(1, len(op.input))


tile = operator(
    "Tile",
    "X, tiles?, axis? -> Y",
    infer=_infer_tile,
    gradient="TileGradient(dY, tiles, axis) -> dX",
    onnx="Tile",
    arguments=ARGS,
    doc="""
    Y = X, `tiles` times, one after the other along `axis`. Both are arguments, or inputs of one
    element, int32 or int64, which come first. Any type. Raises ShapeError for an axis that X does
    not have, ValueRangeError for a negative number of copies.
    """,
    example="""
    X = [[1, 2], [3, 4]]; tiles = 2; axis = 1
    Y = [[1, 2, 1, 2], [3, 4, 3, 4]]
    """,
)


@tile.everywhere_dynamic(when=_from_inputs, reads=_numbers, anywhere=(1, 2))
def launch_tile(call: Call) -> Launch:
    """Repeat blocks: from the axis on X is one."""
    x, y = call.inputs[0], call.outputs[0]
    axis = _axis(call)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis:])
    tiles = y.shape[axis] // x.shape[axis] if x.shape[axis] else 0
    return launch_expand(x.reshape(outer, 1, inner), y.reshape(outer, tiles, inner))


def _axis(call: Call) -> int:
    axis = int(on_host(call.inputs[2]).reshape(-1)[0]) if len(call.inputs) == 3 else call.args.axis
    return canonical_axis(axis, call.inputs[0].ndim)


def _infer_tile_gradient(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *NUMERIC)
    dy = query.inputs[0]
    tiles, axis = _tiles_and_axis(query)
    if tiles == 0:
        raise ValueRangeError("'tiles' is 0: the shape of X cannot be told from no copies")
    if dy.shape is None:
        return [dy]
    if axis is None:
        return [dy.with_shape((None,) * len(dy.shape))]
    along = dy.shape[axis]
    if along is None or tiles is None:
        part = None
    else:
        part = along // tiles
        if part * tiles != along:
            raise ShapeError(
                f"axis {axis} of 'dY' {shape_text(dy.shape)} does not hold {tiles} equal parts"
            )
    return [dy.with_shape((*dy.shape[:axis], part, *dy.shape[axis + 1 :]))]


tile_gradient = operator(
    "TileGradient",
    "dY, tiles?, axis? -> dX",
    infer=_infer_tile_gradient,
    arguments=ARGS,
    doc="""
    dX = the sum of the `tiles` equal parts of dY along `axis`. Raises ShapeError if they are not
    equal, ValueRangeError for 0 parts (Caffe2 divides by zero there).
    """,
)


@tile_gradient.everywhere_dynamic(when=_from_inputs, reads=_numbers, anywhere=(1, 2))
def launch_tile_gradient(call: Call) -> list[Launch]:
    """Sum over the copies."""
    dy, dx = call.inputs[0], call.outputs[0]
    axis = _axis(call)
    tiles = int(on_host(call.inputs[1]).reshape(-1)[0]) if len(call.inputs) > 1 else call.args.tiles
    outer, inner = math.prod(dx.shape[:axis]), math.prod(dx.shape[axis:])
    return launch_sum(call, dy.reshape(outer, tiles, inner), (1,), dx)


# ---------------------------------------------------------------- NumpyTile


def _infer_numpy_tile(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, "int64", "int32")
    require_rank(query, 1, 1)
    data, counts = query.inputs[0], query.inputs[1].shape
    rank = data.rank
    if rank is not None and counts is not None and counts[0] not in (None, rank):
        raise ShapeError(
            f"'repeats' is {shape_text(counts)}, needs one number for each axis of 'data' "
            f"{shape_text(data.shape)}"
        )
    repeats = query.value(1)
    if repeats is not None and repeats.min(initial=0) < 0:
        raise ValueRangeError(f"'repeats' must not be negative, found {repeats.tolist()}")
    if data.shape is None:
        return [data]
    if repeats is None:
        return [data.with_shape((None,) * len(data.shape))]
    pairs = zip(data.shape, repeats.tolist(), strict=True)
    return [data.with_shape(tuple(None if n is None else n * k for n, k in pairs))]


numpy_tile = operator(
    "NumpyTile",
    "data, repeats -> tiled_data*",
    infer=_infer_numpy_tile,
    gradient=NotDifferentiable("Caffe2 has none"),
    output_counts={1},
    onnx="Tile",
    doc="""
    tiled_data = copies of data, repeats[k] times one after the other along each axis k, as
    numpy.tile does. Repeats is a vector of int64 or int32 with one number for each axis of data,
    which is of any type. Raises ShapeError for another number of them, ValueRangeError for a
    negative one.
    """,
    example="""
    data = [[1, 2]]; repeats = [2, 2]
    tiled_data = [[1, 2, 1, 2], [1, 2, 1, 2]]
    """,
)


@numpy_tile.everywhere_dynamic(reads=lambda op: [1], anywhere=(1,))
def launch_numpy_tile(call: Call) -> Launch:
    """Each axis becomes two, of which the first repeats."""
    x, repeats = call.inputs
    sizes = list(zip(on_host(repeats).tolist(), x.shape, strict=True))
    source = x.reshape([n for _, size in sizes for n in (1, size)])
    target = call.outputs[0].reshape([n for pair in sizes for n in pair])
    return launch_expand(source, target)
