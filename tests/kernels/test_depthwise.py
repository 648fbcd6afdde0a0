"""Filters of each channel's own, against a plain sum: windows, steps, pads, several a channel."""

import numpy as np
import pytest

from caffe2py.kernels.depthwise import launch_depthwise
from caffe2py.kernels.table import Table
from caffe2py.kernels.window import Window
from caffe2py.tensor.tensor import empty

#: image, kernel, stride, dilation, pads, filters a channel
USES = [
    ((6, 9), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    ((7, 8), (3, 3), (2, 2), (1, 1), (1, 0, 0, 1), 2),
    ((9, 40), (3, 3), (3, 3), (1, 1), (0, 2, 2, 0), 1),
    ((4, 1), (3, 3), (1, 1), (1, 1), (2, 3, 2, 3), 1),
    ((9, 21), (5, 5), (1, 1), (1, 1), (2, 2, 2, 2), 1),
    ((8, 37), (5, 5), (2, 2), (1, 1), (1, 3, 2, 4), 2),
    ((5, 6), (2, 5), (1, 2), (2, 1), (1, 2, 3, 4), 3),
    ((11,), (4,), (2,), (1,), (3, 1), 1),
    ((3, 4, 5), (2, 3, 3), (1, 1, 1), (1, 1, 1), (1,) * 6, 1),
]


class Call:
    def scratch(self, shape, dtype, *, brief=False):
        return empty(shape, np.dtype(dtype))


def defined(x, w, window, out):
    rank = len(out)
    pads = list(zip(window.pads[:rank], window.pads[rank:], strict=True))
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pads])
    w = w.reshape(x.shape[1], -1, *window.kernel).astype(np.float64)
    y = 0
    for k in np.ndindex(*window.kernel):
        steps = zip(k, window.dilation, window.stride, out, strict=True)
        part = x[(..., *(slice(i * d, i * d + s * (n - 1) + 1, s) for i, d, s, n in steps))]
        y = y + part[:, :, None] * w[(None, ..., *k)][(..., *[None] * rank)]
    return y.reshape(len(x), -1, *out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use", USES)
def test_it_is_the_correlation(use, dtype):
    image, kernel, stride, dilation, pads, filters = use
    window = Window(kernel, stride, dilation, pads)
    out = window.out(image)
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (2, 3, *image)).astype(dtype)
    w = rng.uniform(-1, 1, (3 * filters, 1, *kernel)).astype(dtype)
    bias = rng.uniform(-1, 1, 3 * filters).astype(dtype)
    expected = defined(x, w, window, out)
    for shift, low in ((None, -np.inf), (bias, -0.25)):
        y = np.full((2, 3 * filters, *out), np.nan, dtype)
        assert Table(launch_depthwise(Call(), x, w, shift, y, window, low)).run() == 0
        wanted = expected if shift is None else expected + shift.reshape(-1, *[1] * len(out))
        assert np.allclose(y, np.maximum(wanted, low), rtol=1e-5, atol=1e-5)
