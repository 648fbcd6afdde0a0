"""Rows: copies along an axis, and their sum."""

import numpy as np

from caffe2py.errors import ArityError, DTypeError, InplaceError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample, uniform

F4 = np.ones((2, 3), np.float32)
TWO = np.array([2], np.int32)

TILES = [
    ((5,), {}),
    ((5,), {"tiles": 3}),
    ((2, 3), {"tiles": 2, "axis": 1}),
    ((2, 3), {"tiles": 3, "axis": -1}),
    ((2, 3, 4), {"tiles": 2, "axis": -3}),
    ((2, 3, 4), {"tiles": 4, "axis": 1}),
    ((13, 33), {"tiles": 3, "axis": 0}),
    ((0, 3), {"tiles": 2, "axis": 1}),
]
NONE = ((2, 3), {"tiles": 0, "axis": 1})


def _uses(first, args):
    """The same with numbers as arguments and as inputs."""
    tiles, axis = args.get("tiles", 1), args.get("axis", 0)
    # no copies do not tell what shape X had, and float16 cannot be summed
    smooth = tiles > 0 and first.dtype != np.float16
    yield Sample([first], args, gradient=smooth)
    yield Sample([first, np.array([tiles], np.int32)], {"axis": axis}, gradient=smooth)
    numbers = np.array([tiles], np.int64), np.array([axis], np.int32)
    yield Sample([first, *numbers], gradient=smooth)


def _numbers(tiles_input, axis_input, tiles, axis):
    if tiles_input is not None:
        tiles = int(tiles_input[0])
    return tiles, axis if axis_input is None else int(axis_input[0])


def _tile(x, tiles_input=None, axis_input=None, tiles=1, axis=0):
    tiles, axis = _numbers(tiles_input, axis_input, tiles, axis)
    return np.concatenate([x] * tiles, axis) if tiles else np.take(x, [], axis)


def _samples(rng):
    for dtype in ("float32", "float64", "int32", "int64", "uint8", "bool", "float16"):
        for shape, args in [*TILES, NONE]:
            yield from _uses(uniform(-9, 9)(rng, shape, np.dtype(dtype)), args)
    words = np.array([[b"a", b"bc"], [b"", b"d"]], object)
    yield Sample([words], {"tiles": 2, "axis": 1})


def _tile_gradient(dy, tiles_input=None, axis_input=None, tiles=1, axis=0):
    tiles, axis = _numbers(tiles_input, axis_input, tiles, axis)
    return sum(np.split(dy, tiles, axis)).astype(dy.dtype)


def _gradients(rng):
    for dtype in ("float32", "float64", "int32", "int64"):
        for shape, args in TILES:
            full = _tile(np.zeros(shape), **args).shape
            yield from _uses(uniform(-9, 9)(rng, full, np.dtype(dtype)), args)


def _errors():
    return [
        Bad([F4], ShapeError, "axis 2 is out of range", args={"axis": 2}),
        Bad([F4], ValueRangeError, "at least 0, found -1", args={"tiles": -1}),
        Bad([F4, np.array([2, 3], np.int32)], ShapeError, "must have one element"),
        Bad([F4, TWO, np.array([-3], np.int32)], ShapeError, "axis -3 is out of range"),
        Bad([F4, F4[0, :1]], DTypeError, "is float32; supported: int32, int64"),
        Bad([F4], InplaceError, "does not allow", same=[(0, 0)]),
        Bad([F4, TWO, TWO, TWO], ArityError, "expected 1 to 3"),
    ]


CASES = [
    Case("Tile", _tile, _samples, bad=_errors()),
    Case(
        "TileGradient",
        _tile_gradient,
        _gradients,
        bad=[
            *_errors(),
            Bad([F4], ShapeError, "does not hold 2 equal parts", args={"tiles": 2, "axis": 1}),
            Bad([F4], ValueRangeError, "'tiles' is 0", args={"tiles": 0}),
            Bad([F4 > 0], DTypeError, "is bool"),
        ],
    ),
]
