"""Correlations as other operators use them: the transposed one with a bias, both orders, blocks."""

import numpy as np
import pytest

from caffe2py.kernels.convolve import Correlation
from caffe2py.kernels.table import Table
from caffe2py.kernels.window import Window
from caffe2py.tensor.tensor import empty

#: groups, channels and filters of a group, image, kernel, stride, pad
USES = [
    (1, 3, 4, (6, 7), 3, 2, 1),
    (1, 2, 3, (5, 5), 1, 1, 0),
    (1, 2, 3, (4, 4), 4, 1, 0),
    (2, 3, 2, (6, 5), 3, 1, 1),
    (2, 17, 18, (6, 5), 2, 1, 1),
    (1, 300, 20, (4, 5), 2, 1, 0),
]


class Scratch:
    def scratch(self, shape, dtype, *, brief=False):
        return empty(shape, np.dtype(dtype))


def run(launches):
    assert Table(launches).run() == 0


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("groups", "channels", "filters", "image", "kernel", "stride", "pad"), USES
)
def test_gradients_are_the_transposed_maps(
    groups, channels, filters, image, kernel, stride, pad, last
):
    """<Y, conv(X, W)> = <dX, X> = <dW, W>; a bias is added to every element of its channel."""
    rank = len(image)
    window = Window((kernel,) * rank, (stride,) * rank, (1,) * rank, (pad,) * 2 * rank)
    use = Correlation(2, groups, channels, filters, image, window, last)
    rng = np.random.default_rng(3)

    def draw(n, depth, sizes):
        return rng.uniform(-1, 1, (n, *sizes, depth) if last else (n, depth, *sizes))

    x = draw(2, groups * channels, image)
    w = draw(groups * filters, channels, window.kernel)
    dy = draw(2, groups * filters, window.out(image))
    y, dw, dx, shifted = (np.full_like(a, np.nan) for a in (dy, w, x, x))
    bias = rng.uniform(-1, 1, groups * channels)
    run(use.launch(Scratch(), x, w, None, y))
    run(use.launch_filter_gradient(Scratch(), x, dy, dw))
    run(use.launch_image_gradient(Scratch(), dy, w, dx))
    run(use.launch_image_gradient(Scratch(), dy, w, shifted, bias))
    total = np.sum(y * dy)
    assert np.isclose(np.sum(dw * w), total)
    assert np.isclose(np.sum(dx * x), total)
    wide = bias if last else bias.reshape(-1, *[1] * rank)
    assert np.allclose(shifted, dx + wide)
