"""Vector code of short rows, squares and tables, at sizes around whole vectors, against numpy."""

import numpy as np
import pytest

from caffe2py.kernels.copy import launch_transpose
from caffe2py.kernels.pool import Pool
from caffe2py.kernels.reduce import launch_max, launch_min, launch_sum
from caffe2py.kernels.segment import BY_ITEM, BY_PLACE, PLAIN, launch_segment_sum, walk_lengths
from caffe2py.kernels.table import Table
from caffe2py.kernels.window import Window
from caffe2py.tensor.tensor import empty

FLOATS = ("float32", "float64")


class Call:
    def scratch(self, shape, dtype, *, brief=False):
        return empty(shape, np.dtype(dtype))


def run(launches):
    launches = launches if isinstance(launches, list) else [launches]
    assert Table(launches).run() == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "float16"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((16, 16), (1, 0)),
        ((17, 100), (1, 0)),
        ((129, 65), (1, 0)),
        ((3, 40), (1, 0)),
        ((2, 3, 5, 7), (0, 2, 3, 1)),
        ((2, 5, 7, 3), (0, 3, 1, 2)),
        ((2, 20, 4, 9), (0, 2, 3, 1)),
        ((2, 3, 20, 18), (3, 1, 0, 2)),
        ((3, 2, 40), (2, 1, 0)),
    ],
)
def test_transposed(shape, axes, dtype):
    x = np.random.default_rng(1).integers(0, 256, shape).astype(dtype)
    y = np.empty(tuple(shape[a] for a in axes), dtype)
    run(launch_transpose(x, axes, y))
    assert np.array_equal(y, x.transpose(axes))


@pytest.mark.parametrize("dtype", [*FLOATS, "int32"])
@pytest.mark.parametrize("width", [1, 7, 8, 15, 16, 17, 49, 63, 64, 65, 128, 200])
def test_rows_reduced(width, dtype):
    x = (np.random.default_rng(2).normal(size=(3, width)) * 50).astype(dtype)
    for launch, reference in ((launch_sum, np.sum), (launch_max, np.max), (launch_min, np.min)):
        y = np.empty(3, dtype)
        run(launch(Call(), x, (1,), y))
        assert np.allclose(y, reference(x.astype(np.float64), axis=1), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("place", [0, 1, 20, 48])
def test_a_nan_counts_as_the_first_of_a_row_only(place):
    x = np.ones((1, 49), np.float32)
    x[0, place] = np.nan
    y = np.empty(1, np.float32)
    run(launch_max(Call(), x, (1,), y))
    assert np.isnan(y[0]) == (place == 0)


@pytest.mark.parametrize("place", [0, 1, 20, 48])
def test_a_nan_is_the_largest_of_a_window(place):
    x = np.full((2, 1, 7, 7), -3, np.float32)
    x[1].reshape(-1)[place] = np.nan
    y = np.empty((2, 1, 1, 1), np.float32)
    run(
        Pool(Window((7, 7), (1, 1), (1, 1), (0,) * 4), x.shape, last=False).launch_max(Call(), x, y)
    )
    assert y[0, 0, 0, 0] == -3
    assert np.isnan(y[1, 0, 0, 0])


def spread(x, dy, window, out):
    """The gradient by its definition: each largest element of a window takes what comes to it."""
    top, left, bottom, right = window.pads
    pads = [(0, 0), (0, 0), (top, bottom), (left, right)]
    wide = np.pad(x, pads, constant_values=-np.inf)
    dx = np.zeros_like(wide)
    for i, j in np.ndindex(*out):
        rows = slice(i * window.stride[0], i * window.stride[0] + window.kernel[0])
        columns = slice(j * window.stride[1], j * window.stride[1] + window.kernel[1])
        part = wide[:, :, rows, columns]
        largest = part.max(axis=(2, 3), keepdims=True)
        dx[:, :, rows, columns] += (part == largest) * dy[:, :, i : i + 1, j : j + 1]
    height, width = x.shape[2:]
    return dx[:, :, top : top + height, left : left + width]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("image", [(4, 5), (5, 33), (7, 7), (3, 70), (1, 1), (6, 32)])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        ((1, 1), (2, 2), (0, 0, 0, 0)),
        ((2, 2), (2, 2), (1, 1, 1, 1)),
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((3, 3), (1, 1), (1, 1, 1, 1)),
        ((5, 4), (1, 2), (2, 3, 4, 0)),
        ((2, 5), (3, 2), (0, 4, 1, 2)),
    ],
)
def test_the_largest_take_the_gradient(image, kernel, stride, pads, dtype):
    window = Window(kernel, stride, (1, 1), pads)
    out = window.out(image)
    rng = np.random.default_rng(3)
    x = rng.integers(0, 9, (2, 3, *image)).astype(dtype)  # small numbers: there are equal ones
    pool = Pool(window, x.shape, last=False)
    y, dx = np.empty((2, 3, *out), dtype), np.full(x.shape, np.nan, dtype)
    dy = rng.normal(size=y.shape).astype(dtype)
    run(pool.launch_max(Call(), x, y))
    run(pool.launch_max_gradient(x, y, dy, dx))
    assert np.allclose(dx, spread(x, dy, window, out), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("last", [False, True])
def test_a_window_over_the_whole_image(last, dtype):
    rng = np.random.default_rng(4)
    shape, axes = ((3, 5, 7, 21), (1, 2)) if last else ((3, 21, 5, 7), (2, 3))
    x = rng.integers(-9, 9, shape).astype(dtype)
    window = Window((5, 7), (1, 1), (1, 1), (0,) * 4)
    pool = Pool(window, shape, last=last)
    y = np.empty(x.max(axis=axes, keepdims=True).shape, dtype)
    dy, dx = rng.normal(size=y.shape).astype(dtype), np.empty(shape, dtype)
    run(pool.launch_average(Call(), x, y, include_pad=False))
    assert np.allclose(y, x.mean(axis=axes, keepdims=True), rtol=1e-5, atol=1e-5)
    run(pool.launch_average_gradient(Call(), dy, dx, include_pad=False))
    assert np.allclose(dx, np.broadcast_to(dy / 35, shape), rtol=1e-5)
    run(pool.launch_max(Call(), x, y))
    assert np.array_equal(y, x.max(axis=axes, keepdims=True))
    run(pool.launch_max_gradient(x, y, dy, dx))
    assert np.array_equal(dx, np.where(x == y, dy, 0))


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", [1, 15, 16, 33, 64, 130])
@pytest.mark.parametrize("weighting", [PLAIN, BY_ITEM, BY_PLACE])
def test_rows_looked_up(weighting, width, dtype, index):
    rng = np.random.default_rng(5)
    table = rng.normal(size=(50, width)).astype(dtype)
    lengths = np.array([3, 0, 1, 30, 6], np.int32)
    indices = rng.integers(0, 50, 40).astype(index)
    weights = rng.normal(size=40).astype(dtype)
    used = {
        PLAIN: np.ones(40),
        BY_ITEM: weights,
        BY_PLACE: np.concatenate([weights[:n] for n in lengths]),
    }[weighting]
    rows = np.split(table[indices] * used[:, None], np.cumsum(lengths)[:-1])
    expected = np.stack([part.sum(axis=0) for part in rows])
    y, call = np.full((5, width), np.nan, dtype), Call()
    given = None if weighting == PLAIN else weights
    walk = walk_lengths(call, lengths, 40)
    options = {"indices": indices, "weights": given, "weighting": weighting}
    run(launch_segment_sum(call, walk, table, y, **options))
    assert np.allclose(y, expected, rtol=1e-4, atol=1e-4)
