"""Geometry of windows: counted by hand and by sliding, with unknown sizes and wrong arguments."""

import itertools

import numpy as np
import pytest

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.window import (
    BEGIN,
    CAFFE_LEGACY_POOLING,
    DILATION,
    END,
    IMAGE,
    KERNEL,
    OUT,
    SAME,
    STRIDE,
    VALID,
    WINDOW_ARGS,
    Window,
    channels_last,
    join_image,
    split_image,
)
from caffe2py.registry.schema import Args


def args(**given):
    return Args(**{name: arg.default for name, arg in WINDOW_ARGS.items()} | given)


def test_windows_fit_as_often_as_they_can_be_moved():
    sizes = itertools.product(
        range(1, 9), range(1, 4), range(1, 4), range(1, 3), range(3), range(3)
    )
    for size, kernel, stride, dilation, begin, end in sizes:
        window = Window((kernel,), (stride,), (dilation,), (begin, end))
        reach = dilation * (kernel - 1) + 1
        count = len(range(-begin, size + end - reach + 1, stride))
        if count:
            assert window.out((size,)) == (count,)
        else:
            with pytest.raises(ShapeError, match="does not fit"):
                window.out((size,))


#: legacy_pad, image, kernel, stride, pad -> output, begin, end (as Caffe2 answers)
LEGACY = [
    (VALID, 6, 3, 2, 0, 2, 0, 0),
    (SAME, 6, 3, 2, 0, 3, 0, 1),
    (SAME, 5, 3, 2, 0, 3, 1, 1),
    (SAME, 6, 2, 1, 0, 6, 0, 1),
    (SAME, 6, 1, 4, 0, 2, 0, -1),
    (SAME, 8, 1, 4, 0, 2, -1, -2),
    (CAFFE_LEGACY_POOLING, 5, 2, 2, 0, 3, 0, 2),
    (CAFFE_LEGACY_POOLING, 4, 2, 2, 0, 2, 0, 0),
    (CAFFE_LEGACY_POOLING, 3, 2, 3, 1, 2, 1, 1),
    (CAFFE_LEGACY_POOLING, 5, 2, 3, 1, 2, 1, 1),
    (CAFFE_LEGACY_POOLING, 6, 3, 2, 1, 4, 1, 3),
    (CAFFE_LEGACY_POOLING, 2, 3, 2, 0, 1, 0, 2),
]


@pytest.mark.parametrize(
    ("legacy", "size", "kernel", "stride", "pad", "out", "begin", "end"), LEGACY
)
def test_legacy_padding(legacy, size, kernel, stride, pad, out, begin, end):
    window = Window.read(args(kernel=kernel, stride=stride, pad=pad, legacy_pad=legacy), 1)
    assert window.out((size,)) == (out,)
    fitted = window.on((size,))
    assert fitted.pads == (begin, end)
    assert fitted.out((size,)) == (out,)


def test_spellings():
    one = Window.read(args(kernel=3, stride=2, pad=1, dilation=2), 2)
    pair = Window.read(
        args(kernel_h=3, kernel_w=3, stride_h=2, stride_w=2, dilation_h=2, dilation_w=2,
             pad_t=1, pad_l=1, pad_b=1, pad_r=1), 2)  # fmt: skip
    many = Window.read(args(kernels=[3, 3], strides=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1]), 2)
    assert one == pair == many == Window((3, 3), (2, 2), (2, 2), (1, 1, 1, 1))
    sides = Window.read(args(kernel=3, pad_t=1, pad_l=2, pad_b=3, pad_r=4), 2)
    assert sides.pads == (1, 2, 3, 4)
    assert Window.read(args(kernel=2, stride=3), 3).stride == (3, 3, 3)


def test_unknown_sizes():
    window = Window.read(args(kernel=3), 2)
    assert window.out((None, 7)) == (None, 5)
    assert Window.read(args(global_pooling=1), 2).out((None, 7)) == (1, 1)


def test_global_pooling_takes_the_image():
    window = Window.read(args(global_pooling=1, kernel=2), 2)
    assert window.on((4, 5)).kernel == (4, 5)
    assert window.on((4, 5)).out((4, 5)) == (1, 1)


def test_table():
    table = Window.read(args(kernels=[2, 3], pads=[0, 1, 2, 1], strides=[1, 2]), 2).table((5, 6))
    assert table.dtype == np.int64
    expected = {IMAGE: (5, 6), OUT: (6, 3), KERNEL: (2, 3), STRIDE: (1, 2), DILATION: (1, 1)}
    for row, values in expected.items():
        assert tuple(table[row]) == (1, *values)
    assert table[BEGIN].tolist() == [0, 0, 1]
    assert table[END].tolist() == [0, 2, 1]


def test_orders():
    assert not channels_last(args(order="nchw"))
    assert channels_last(args(order="NHWC"))
    with pytest.raises(ArgumentError, match="found 'CHW'"):
        channels_last(args(order="CHW"))
    for last, shape in ((False, (2, 3, 4, 5)), (True, (2, 4, 5, 3))):
        assert split_image(shape, last) == (2, 3, (4, 5))
        assert join_image(2, 3, (4, 5), last) == shape


@pytest.mark.parametrize("shape", [(), (2, 3), (1,) * 6, (2, 0, 3), (2, 3, 0)])
def test_what_is_no_image(shape):
    with pytest.raises(ShapeError, match="images must"):
        split_image(shape, False)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "must be given"),
        ({"kernel": 0}, "at least 1"),
        ({"kernel": 3, "stride": 0}, "at least 1"),
        ({"kernel": 3, "kernels": [2, 2]}, "different values"),
        ({"kernel": 3, "pad": 1, "pads": [2, 2, 2, 2]}, "different values"),
        ({"kernel": 3, "stride": 3, "stride_h": 2}, "different values"),
        ({"global_pooling": 1, "pad": 1}, "global_pooling"),
        ({"global_pooling": 1, "stride": 2}, "global_pooling"),
        ({"kernel": 3, "legacy_pad": 2, "pad": 1}, "sets the pads itself"),
        ({"kernel": 3, "pad": 2**31}, "too large"),
    ],
)
def test_wrong_arguments(given, match):
    with pytest.raises(ArgumentError, match=match):
        Window.read(args(**given), 2)
