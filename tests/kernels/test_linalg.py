"""Matrix products: every transposition, shape, batch and start, against numpy in float64."""

import itertools

import numpy as np
import pytest

from caffe2py.errors import ShapeError
from caffe2py.kernels.linalg import PER_COLUMN, PER_ROW, launch_product, launch_transpose
from caffe2py.kernels.table import Table
from caffe2py.tensor.tensor import empty

#: rows, columns, terms: tiles and blocks that are empty, single, full, cut off
SIZES = [
    (1, 1, 1),
    (3, 5, 7),
    (4, 16, 4),
    (5, 600, 257),
    (33, 513, 515),
    (1, 300, 1030),
    (0, 3, 2),
    (3, 0, 2),
    (3, 4, 0),
]
TRANSPOSED = list(itertools.product((False, True), (False, True)))


class Scratch:
    """The part of a call that products use."""

    def scratch(self, shape, dtype, *, brief=False):
        return empty(shape, np.dtype(dtype))


def run(*args, **options):
    launches = launch_product(Scratch(), *args, **options)
    assert Table(launches).run() == 0


def draw(rng, rows, columns, transposed, dtype="float32", batch=()):
    shape = (*batch, columns, rows) if transposed else (*batch, rows, columns)
    return rng.uniform(-1, 1, shape).astype(dtype)


def straight(x, transposed):
    x = x.astype(np.float64)
    return np.swapaxes(x, -1, -2) if transposed else x


def assert_near(found, expected):
    tolerance = 3e-5 if found.dtype == np.float32 else 1e-13
    assert found.shape == expected.shape
    assert np.all(np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("left", "right"), TRANSPOSED)
@pytest.mark.parametrize("size", SIZES)
def test_product(size, left, right, dtype):
    rows, columns, deep = size
    rng = np.random.default_rng(7)
    a, b = draw(rng, rows, deep, left, dtype), draw(rng, deep, columns, right, dtype)
    c = rng.uniform(-1, 1, (rows, columns)).astype(dtype)
    before, product = c.astype(np.float64), straight(a, left) @ straight(b, right)
    flags = {"transpose_a": left, "transpose_b": right}
    run(a, b, c, add=True, **flags)
    assert_near(c, before + product)
    c.fill(np.nan)
    run(a, b, c, **flags)
    assert_near(c, product)
    bias = rng.uniform(-1, 1, columns).astype(dtype)
    run(a, b, c, bias=bias, bias_of=PER_COLUMN, **flags)
    assert_near(c, product + bias)
    bias = rng.uniform(-1, 1, rows).astype(dtype)
    run(a, b, c, bias=bias, bias_of=PER_ROW, **flags)
    assert_near(c, product + bias[:, None])


@pytest.mark.parametrize(("left", "right"), TRANSPOSED)
@pytest.mark.parametrize("batches", [(3, 3), (3, 1), (1, 3), (3, None), (None, 3), (0, 0), (0, 1)])
def test_batches(batches, left, right):
    rng = np.random.default_rng(8)
    some, other = [() if n is None else (n,) for n in batches]
    a, b = draw(rng, 5, 6, left, batch=some), draw(rng, 6, 7, right, batch=other)
    product = straight(a, left) @ straight(b, right)
    c = np.full(product.shape, np.nan, np.float32)
    run(a, b, c, transpose_a=left, transpose_b=right)
    assert_near(c, product)
    total = np.full((5, 7), np.nan, np.float32)
    run(a, b, total, transpose_a=left, transpose_b=right)
    assert_near(total, product.sum(0))


def test_what_is_not_a_number_stays_one():
    a, b = np.zeros((5, 9), np.float32), np.ones((9, 40), np.float32)
    b[3, 7] = np.nan
    b[4, 8] = np.inf
    for right in (False, True):
        c = np.empty((5, 40), np.float32)
        run(a, np.ascontiguousarray(b.T) if right else b, c, transpose_b=right)
        assert np.isnan(c[:, 7:9]).all()
        assert np.isfinite(np.delete(c, [7, 8], 1)).all()


def test_the_same_bits_again():
    rng = np.random.default_rng(9)
    a, b = draw(rng, 70, 300, False), draw(rng, 300, 90, False)
    results = []
    for _ in range(2):
        c = np.empty((70, 90), np.float32)
        run(a, b, c)
        results.append(c.tobytes())
        b = b.copy()  # at another address
    assert results[0] == results[1]


def test_sizes_that_do_not_fit():
    a, b, c = (np.ones(shape, np.float32) for shape in ((2, 3), (4, 5), (2, 5)))
    with pytest.raises(ShapeError, match=r"a, b, c = \(1,2,3\), \(1,4,5\), \(1,2,5\)"):
        run(a, b, c)
    with pytest.raises(ShapeError, match="do not fit"):
        run(a, b[:3], c[:, :4].copy())
    with pytest.raises(ShapeError, match=r"a bias of 2 for a product of \(2,5\)"):
        run(a, np.ones((3, 5), np.float32), c, bias=a[:, 0].copy())
    with pytest.raises(ShapeError, match="do not fit"):
        run(np.ones((2, 2, 3), np.float32), np.ones((3, 3, 5), np.float32), c)


def test_transpose():
    x = np.random.default_rng(10).uniform(size=(2, 35, 19))
    y = np.empty((2, 19, 35))
    assert Table([launch_transpose(x, y)]).run() == 0
    assert np.array_equal(y, np.swapaxes(x, 1, 2))
    with pytest.raises(ShapeError, match="transposed is not"):
        launch_transpose(x, x)
