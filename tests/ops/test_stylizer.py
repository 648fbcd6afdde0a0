"""The noise of the stylizer's preprocessing: normal, repeated, the same in every run."""

import numpy as np

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

OP = "PackedInt8BGRANHWCToNCHWCStylizerPreprocess"


def _noise(shape, runs=1, **args):
    op = OperatorDef(type=OP, input=["X", "mean"], output=["Y"])
    op.arg.extend(make_argument(name, value) for name, value in args.items())
    workspace = Workspace()
    workspace.feed("X", np.zeros((*shape, 4), np.uint8))
    workspace.feed("mean", np.zeros(3, np.float32))
    workspace.create_net(NetDef(name="noise", op=[op]))
    found = []
    for _ in range(runs):
        workspace.run_net("noise")
        found.append(workspace.fetch_array("Y").copy())
    return found


def _in_order(y):
    """One image's numbers, colours running fastest."""
    return y.transpose(1, 2, 0).reshape(-1)


def test_noise_repeats_after_noise_size_numbers():
    (y,) = _noise((2, 20, 30), noise_size=37)
    for image in y:
        numbers = _in_order(image)
        assert np.array_equal(numbers, np.resize(numbers[:37], numbers.size))
    assert np.array_equal(y[0], y[1])
    assert len(np.unique(y)) == 37


def test_noise_is_normal_with_the_deviation_asked_for():
    (y,) = _noise((1, 100, 100), noise_size=30000, noise_std=5.0)
    assert abs(y.mean()) < 0.15
    assert abs(y.std() - 5) < 0.1
    assert abs((np.abs(y) < 5).mean() - 0.6827) < 0.02


def test_noise_is_the_same_in_every_run():
    first, second = _noise((1, 5, 5), runs=2)
    assert np.array_equal(first, second)
    assert first.std() > 5
