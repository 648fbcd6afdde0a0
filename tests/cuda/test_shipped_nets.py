"""The nets of nets/, with few channels and small images, give on a device what the CPU gives."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.executor.predictor import Predictor
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.load import load_model
from caffe2py.predictor.placing import place
from caffe2py.predictor.session import Session
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import read_net
from caffe2py.registry.infer_net import Walk
from caffe2py.tensor.device import Device
from caffe2py.tensor.types import TensorType

NETS = Path(__file__).parents[2] / "nets"
sys.path.insert(0, str(NETS))
netkit = importlib.import_module("netkit")

GPU = Device("cuda")

#: Net -> (what numbers of channels are divided by, shape of an input without the batch).
SIZES = {
    "alexnet": (192, (3, 67, 67)),
    "inception_v1": (64, (3, 32, 32)),
    "lenet": (10, (1, 16, 16)),
    "mlp": (16, (20,)),
    "resnet50": (64, (3, 16, 16)),
    "squeezenet": (32, (3, 35, 35)),
}
#: The shapes for which they are made.
WHOLE = dict.fromkeys(SIZES, (3, 224, 224)) | {
    "alexnet": (3, 227, 227),
    "lenet": (1, 28, 28),
    "mlp": (784,),
}
BATCH = 1
CLASSES = 1000


class Reduced(netkit.Layers):
    """Layers with fewer channels, of whatever comes in."""

    factor = 1
    shape: tuple[int, ...] = ()

    def _sizes(self, x):
        known = Walk({"data": TensorType(np.dtype(np.float32), (BATCH, *self.shape))})
        for net in (self.init_net, self.net):
            for _ in known.steps(net.Proto()):
                pass
        return known.types[str(x)].full_shape

    def _fewer(self, count):
        if count == CLASSES:
            return count  # written down elsewhere in the net, too
        return max(1, count // self.factor // 2) * 2  # groups come in twos

    def conv(self, x, name, channels, kernel, *, group=1, **args):
        channels = self._sizes(x)[1], self._fewer(channels[1])
        return super().conv(x, name, channels, kernel, group=group, **args)

    def fc(self, x, name, sizes):
        deep = int(np.prod(self._sizes(x)[1:]))
        count = sizes[1] if sizes[1] <= 10 else self._fewer(sizes[1])
        return super().fc(x, name, (deep, count))

    def batch_norm(self, x, name, channels, factor=1.0):
        return super().batch_norm(x, name, self._sizes(x)[1], factor)

    def dropout(self, x, ratio):
        return self.net.Dropout(x, [f"{x}_kept", f"{x}_mask"], is_test=1, ratio=ratio)[0]


def built(name, monkeypatch, real):
    """The init net, the net with a loss and its gradients, and the blobs to compare."""
    factor, shape = (1, WHOLE[name]) if real else SIZES[name]
    layers = type("Layers", (Reduced,), {"factor": factor, "shape": shape})
    monkeypatch.setattr(netkit, "Layers", layers)
    init, net = importlib.import_module(name).build()
    prob = net.Proto().external_output[0]
    loss = net.AveragedLoss(net.LabelCrossEntropy([prob, "label"], "losses"), "loss")
    gradients = net.AddGradientOperators([loss])
    weights = [n for n in init.Proto().external_output if n in gradients]
    return init.Proto(), net.Proto(), [prob, "loss", *(str(gradients[n]) for n in weights)]


def run(net: NetDef, arrays, where) -> Workspace:
    workspace = Workspace()
    for name, array in arrays.items():
        workspace.feed(name, array, where.get(name, Device()))
    workspace.run_net_once(net)
    return workspace


@pytest.mark.gpu
@pytest.mark.parametrize("name", SIZES)
def test_forward_and_backward(name, monkeypatch, real):
    init, net, looked_at = built(name, monkeypatch, real)
    rng = np.random.default_rng(0)
    made = Workspace()
    made.run_net_once(init)
    arrays = {n: made.fetch_array(n) for n in init.external_output}
    shape = WHOLE[name] if real else SIZES[name][1]
    arrays["data"] = rng.standard_normal((BATCH, *shape)).astype(np.float32)
    classes = arrays[[n for n in arrays if n.endswith("_b")][-1]].size
    arrays["label"] = rng.integers(0, classes, BATCH).astype(np.int32)
    placed, where = place(net, GPU)
    left = {op.type for op in placed.op if not op.device_option.device_type}
    assert not left, f"on the CPU all the same: {left}"
    right, found = run(net, arrays, {}), run(placed, arrays, where)
    for blob in looked_at:
        expected, answer = right.fetch_array(blob), found.fetch_array(blob)
        scale = max(1e-3, float(np.abs(expected).max()))
        assert np.abs(answer - expected).max() / scale < 1e-4, blob


@pytest.mark.gpu
def test_the_digits_that_ship():
    """Trained weights."""
    model = load_model(NETS / "digits")
    pixels = np.random.default_rng(1).integers(0, 256, (1, 1, 8, 8)).astype(np.float32)
    answers = []
    for device in (None, GPU):
        session = Session(model, device)
        session.feed("data", pixels)
        session.run()
        answers.append(session.fetch(["prob"])["prob"])
    assert np.abs(answers[0] - answers[1]).max() < 1e-5


@pytest.mark.gpu
def test_the_operators_that_it_began_with():
    """Their net has gradients in it, and an operator that empties the workspace is not among it."""
    init, net = (read_net(NETS / "seed_operators" / f"{n}_net.pbtxt") for n in ("init", "predict"))
    made = Workspace()
    made.run_net_once(init)
    arrays = {name: made.fetch_array(name) for name in made.blobs()}
    arrays["data"] = np.random.default_rng(2).uniform(1, 3, (2, 1, 3)).astype(np.float32)
    placed, where = place(net, GPU)
    assert not {op.type for op in placed.op if not op.device_option.device_type}
    right, found = run(net, arrays, {}), run(placed, arrays, where)
    for blob in net.external_output:
        expected, answer = right.fetch_array(blob), found.fetch_array(blob)
        assert answer.dtype == expected.dtype
        assert np.allclose(answer, expected, rtol=1e-6), blob


@pytest.mark.gpu
def test_a_predictor_brings_its_inputs_to_where_the_net_is():
    init, net = (read_net(NETS / "mlp" / f"{n}_net.pbtxt") for n in ("init", "predict"))
    for each in (init, net):
        each.device_option.CopyFrom(GPU.to_option())
        for op in each.op:
            op.device_option.device_type = GPU.to_option().device_type
    pixels = np.random.default_rng(3).standard_normal((1, 784)).astype(np.float32)
    (found,) = Predictor(init, net).run([pixels])
    for each in (init, net):
        each.ClearField("device_option")
        for op in each.op:
            op.device_option.device_type = 0
    (right,) = Predictor(init, net).run([pixels])
    assert np.abs(found - right).max() < 1e-5


@pytest.mark.gpu
def test_what_is_fed_in_a_device_scope_is_there():
    workspace.ResetWorkspace()
    with core.DeviceScope(GPU.to_option()):
        workspace.FeedBlob("x", np.array([-1, 2], np.float32))
        net = core.Net("scope")
        net.Relu("x", "y")
    workspace.RunNetOnce(net)
    assert workspace.FetchBlob("y").tolist() == [0, 2]
