"""Short convolutions against the definition: cuts, pads, blocks of channels, the turned filters."""

import numpy as np
import pytest

from caffe2py.kernels import winograd
from caffe2py.kernels.table import Table
from caffe2py.tensor.tensor import empty

#: images, channels, filters, height, width, rows and columns before and after
USES = [
    (2, 17, 18, 9, 11, 1),
    (1, 3, 2, 5, 7, 0),
    (1, 200, 9, 6, 6, 2),
    (1, 4, 5, 3, 70, 1),
    (1, 2, 2, 1, 1, 1),
    (0, 2, 2, 4, 4, 1),
]

#: Of the largest result: rounding grows with the coefficients of the transforms.
TOLERANCE = {
    ("float32", 2): 2e-6,
    ("float32", 4): 3e-5,
    ("float64", 2): 1e-14,
    ("float64", 4): 1e-13,
}


class Call:
    """The part of a call that convolutions use."""

    def scratch(self, shape, dtype, *, brief=False):
        return empty(shape, np.dtype(dtype))

    def run_now(self, launch):
        assert Table([launch]).run() == 0

    def prepare(self, key, size, dtype, fill):
        array = empty((size,), np.dtype(dtype))
        self.run_now(fill(array))
        return array


def defined(x, w, pad):
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = x.shape[2] - 2, x.shape[3] - 2
    return sum(
        np.einsum("oc,nchw->nohw", w[:, :, i, j], x[:, :, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    )


def plan_for(m, out, depth, dtype):
    return winograd.Plan.make(m, out, depth, np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("use", USES)
def test_it_is_the_correlation(use, m, dtype):
    images, channels, filters, height, width, pad = use
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (images, channels, height, width)).astype(dtype)
    w = rng.uniform(-1, 1, (filters, channels, 3, 3)).astype(dtype)
    bias = rng.uniform(-1, 1, filters).astype(dtype)
    out = (height + 2 * pad - 2, width + 2 * pad - 2)
    expected = defined(x, w.astype(np.float64), pad) + bias[:, None, None].astype(np.float64)
    plan = plan_for(m, out, channels + filters, dtype)
    for steady in (False, True):
        y = np.full((images, filters, *out), np.nan, dtype)
        launches = winograd.launch_winograd(
            Call(), x, w, bias, y, plan, (pad, pad), steady=steady, low=-0.5
        )
        assert len(launches) == 2 - steady
        assert Table(launches).run() == 0
        error = np.abs(y - np.maximum(expected, -0.5)).max(initial=0)
        assert error <= TOLERANCE[dtype, m] * np.abs(expected).max(initial=1)


@pytest.mark.parametrize("m", [2, 4])
def test_turned_filters_make_the_gradient(m):
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (2, 5, 8, 9))
    w = rng.uniform(-1, 1, (7, 5, 3, 3))
    dy = rng.uniform(-1, 1, (2, 7, 8, 9))
    dx = np.full_like(x, np.nan)
    plan = plan_for(m, (8, 9), 12, "float64")
    launches = winograd.launch_winograd(Call(), dy, w, None, dx, plan, (1, 1), flip=True)
    assert Table(launches).run() == 0
    assert np.isclose(np.sum(dx * x), np.sum(dy * defined(x, w, 1)))


def test_rows_are_taken_in_blocks():
    rng = np.random.default_rng(6)
    x, w = rng.uniform(-1, 1, (1, 3, 33, 20)), rng.uniform(-1, 1, (4, 3, 3, 3))
    whole = plan_for(4, (33, 20), 7, "float64")
    for rows in (1, 2, 4):
        y = np.full((1, 4, 33, 20), np.nan)
        part = winograd.Plan(4, (33, 20), rows, whole.across, whole.lanes)
        assert Table(winograd.launch_winograd(Call(), x, w, None, y, part, (1, 1))).run() == 0
        assert np.allclose(y, defined(x, w, 1))


def test_the_choice():
    def chosen(out, channels, filters, exact=False):
        plan = winograd.choose(out, channels, filters, np.dtype(np.float32), exact=exact)
        return plan and plan.m

    assert chosen((56, 56), 64, 64) == 4
    assert chosen((56, 56), 64, 64, exact=True) == 2
    assert chosen((56, 56), 3, 64) is None  # too few channels to pay for the transforms
    assert chosen((1, 1), 512, 512) is None  # a tile would be computed for one result
