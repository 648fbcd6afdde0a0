"""Pooling where values are special, and images large enough for every path of the loops."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef


def run(type_, arrays, **args):
    workspace = Workspace()
    for name, value in arrays.items():
        workspace.feed(name, value)
    op = OperatorDef(type=type_, input=list(arrays), output=["out"])
    op.arg.extend(make_argument(name, value) for name, value in args.items())
    workspace.run_operator_once(op)
    return workspace.fetch("out")


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("pad", [0, 1])
def test_a_window_with_nan_has_no_maximum(order, place, pad):
    x = np.zeros((1, 1, 3, 3), np.float32)
    x.reshape(-1)[place] = np.nan
    x = x if order == "NCHW" else x.reshape(1, 3, 3, 1)
    y = run("MaxPool", {"X": x}, kernel=3, pad=pad, order=order).reshape(3 - 2 * (1 - pad), -1)
    reached = np.zeros((3, 3), bool)
    i, j = divmod(place, 3)
    reached[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2] = True
    assert np.array_equal(np.isnan(y), reached if pad else [[True]])


def test_minus_infinity_is_a_value_like_others():
    x = np.full((1, 1, 4, 4), -np.inf, np.float32)
    assert np.all(run("MaxPool", {"X": x}, kernel=3, pad=1) == -np.inf)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_a_window_outside_gives_zero_and_takes_none(kind, order):
    x = np.ones((1, 1, 4) if order == "NCHW" else (1, 4, 1), np.float32)
    args = {"kernels": [1], "strides": [5], "legacy_pad": 3, "order": order}
    y = run(kind, {"X": x}, **args)
    assert y.reshape(-1).tolist() == [1, 0]
    dx = run(f"{kind}Gradient", {"X": x, "Y": y, "dY": np.full_like(y, 3)}, **args)
    assert dx.reshape(-1).tolist() == [3, 0, 0, 0]


def test_every_maximum_gets_the_whole_gradient():
    x = np.float32([[[2, 2, 1, 2]]])
    y, dy = np.float32([[[2, 2, 2]]]), np.float32([[[1, 10, 100]]])
    dx = run("MaxPoolGradient", {"X": x, "Y": y, "dY": dy}, kernels=[2])
    assert dx.tolist() == [[[1, 11, 0, 100]]]


def _views(x, kernel, stride):
    view = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
    return view[:, :, ::stride, ::stride]


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7])
def test_wide_images(order, stride, kernel):
    """Wider than the vectors of any machine, with rest."""
    rng = np.random.default_rng(kernel)
    x = rng.standard_normal((1, 2, 11, 151)).astype(np.float32)
    views = _views(x, kernel, stride)
    axes = (-2, -1)
    last = order == "NHWC"
    image = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    args = {"kernel": kernel, "stride": stride, "order": order}
    for kind, expected in (("MaxPool", views.max(axes)), ("AveragePool", views.mean(axes))):
        y = run(kind, {"X": image}, **args)
        np.testing.assert_allclose(np.moveaxis(y, -1, 1) if last else y, expected, atol=1e-6)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        dx = run(f"{kind}Gradient", {"X": image, "Y": y, "dY": dy}, **args)
        # each window's gradient arrives once: as a whole, or in equal parts
        np.testing.assert_allclose(dx.sum(), dy.sum(), atol=2e-3)
        assert dx.shape == image.shape
