"""Convolutions on a simulated device by kernels of ours: of one to three axes, in either order."""

import numpy as np
import pytest

from caffe2py.kernels.cuda import convolve, tiles
from caffe2py.tensor.device import CPU
from tests.cuda.test_products import check, numbers, run

# more than four channels and filters of a group are tiles' work, fewer are threads'
CASES = {
    "many filters": ((2, 5, 3, 2), 5, (2, 2), {"pad": 0}),
    "strides": ((1, 5, 3, 4), 5, (2, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    "dilations": ((1, 5, 4, 5), 5, (2, 2), {"dilations": [2, 3], "pad": 1}),
    "groups": ((1, 10, 3, 3), 10, (2, 2), {"group": 2, "stride": 2, "pad": 1}),
    "each channel by itself": ((2, 3, 4, 3), 3, (2, 2), {"group": 3, "pad": 1}),
    "one axis": ((2, 5, 5), 6, (3,), {"strides": [2], "pads": [2, 1]}),
    "three axes": ((1, 5, 2, 1, 2), 5, (2, 2, 2), {"pads": [0, 1, 0, 0, 0, 1]}),
    "pads that cut": ((1, 5, 5, 4), 5, (2, 2), {"pads": [-1, 0, 0, -1]}),
}


def arrays(case, last, *, transposed=False):
    (batch, channels, *image), filters, kernel, more = CASES[case]
    args = {**more, "kernels": list(kernel), "order": "NHWC" if last else "NCHW"}
    per_group = (filters if transposed else channels) // args.get("group", 1)
    first = channels if transposed else filters
    x = numbers(batch, *image, channels) if last else numbers(batch, channels, *image)
    w = numbers(first, *kernel, per_group) if last else numbers(first, per_group, *kernel)
    return x, w, numbers(filters), args


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_convolutions_and_their_gradients(case, last):
    x, w, bias, args = arrays(case, last)
    check("Conv", [x, w, bias], **args)
    (y,) = run("Conv", [x, w, bias], 1, CPU, **args)
    check("ConvGradient", [x, w, numbers(*y.shape)], 3, atol=1e-4, **args)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", ["strides", "one axis"])
def test_transposed_convolutions_and_their_gradients(case, last):
    x, w, bias, args = arrays(case, last, transposed=True)
    check("ConvTranspose", [x, w, bias], **args)
    (y,) = run("ConvTranspose", [x, w, bias], 1, CPU, **args)
    check("ConvTransposeGradient", [x, w, numbers(*y.shape)], 3, atol=1e-4, **args)


def test_long_sums_of_filters_are_cut_into_shares(monkeypatch):
    monkeypatch.setattr(tiles, "_STEPS", 1)
    x, w, dy = numbers(2, 1, 6, 6), numbers(5, 1, 2, 2), numbers(2, 5, 5, 5)
    check("ConvGradient", [x, w, dy], 2, atol=1e-4, kernel=2, no_bias=1)


def test_what_is_added_and_limited_comes_after_the_last_share(monkeypatch):
    monkeypatch.setattr(tiles, "_STEPS", 1)
    x, w, bias, added = numbers(1, 9, 3, 3), numbers(5, 9, 2, 2), numbers(5), numbers(1, 5, 2, 2)
    check("FusedConv", [x, w, bias, added], kernel=2, bias=True, sum=True, relu=True, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_few_filters_by_threads_and_blocks(rows):
    x, w, dy = numbers(1, 3, 5, 5), numbers(rows, 3, 2, 2), numbers(1, rows, 4, 4)
    check("Conv", [x, w], kernel=2)
    check("ConvGradient", [x, w, dy], 3, kernel=2)


def test_terms_of_large_arrays_are_64_bit_numbers():
    places = np.array([[0, 0, 2**20]], np.int64)
    nothing = np.zeros(1, np.int64)
    assert convolve._terms(nothing, places, (1, 1, 2**11)).dtype == np.int64
    assert convolve._terms(nothing, places, (1, 1, 2**10)).dtype == np.int32
