"""The project's own nets: the files are what the scripts make, and the nets run."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

from caffe2py import workspace
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.files import read_net

NETS = Path(__file__).parents[2] / "nets"

#: Script -> a shape of `data` to run it on; large nets get small images where they take them.
SHAPES = {
    "seed_operators": (2, 1, 3),
    "mlp": (3, 784),
    "lenet": (2, 1, 28, 28),
    "alexnet": (1, 3, 227, 227),
    "squeezenet": (1, 3, 96, 96),
    "inception_v1": (1, 3, 96, 96),
    "resnet50": (1, 3, 64, 64),
}
#: Scripts that end in one probability for each of so many classes.
CLASSES = {name: 10 if name in ("mlp", "lenet") else 1000 for name in SHAPES}
del CLASSES["seed_operators"]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.syspath_prepend(NETS)
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")


def build(name):
    return importlib.import_module(name).build()


def feed_data(name):
    data = np.random.default_rng(7).uniform(0.5, 1.5, SHAPES[name]).astype(np.float32)
    workspace.FeedBlob("data", data)
    return data


def test_every_script_is_here():
    assert {path.stem for path in NETS.glob("*.py")} == {*SHAPES, "netkit"}


@pytest.mark.parametrize("name", SHAPES)
def test_files_are_fresh(name):
    netkit = importlib.import_module("netkit")
    for path, text in netkit.texts(name, importlib.import_module(name).build).items():
        assert path.read_text("utf-8") == text, f"python nets/{name}.py makes another {path.name}"
        assert len(read_net(path).op) > 0


def test_a_script_writes_its_files(monkeypatch, tmp_path, capsys):
    netkit = importlib.import_module("netkit")
    monkeypatch.setattr(netkit, "HERE", tmp_path)
    importlib.import_module("mlp").main()
    written = [tmp_path / "mlp" / f"{kind}_net.pbtxt" for kind in ("init", "predict")]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    assert written[1].read_text() == (NETS / "mlp" / "predict_net.pbtxt").read_text()


@pytest.mark.parametrize("name", CLASSES)
def test_classifiers_run(name):
    init_net, net = build(name)
    feed_data(name)
    expected = [SHAPES[name][0], CLASSES[name]]
    shapes, types = workspace.InferShapesAndTypes([init_net, net], {"data": SHAPES[name]})
    assert shapes["prob"] == expected
    workspace.RunNetOnce(init_net)
    workspace.RunNetOnce(net)
    prob = workspace.FetchBlob("prob")
    assert list(prob.shape) == expected
    assert prob.dtype == np.float32
    assert np.isfinite(prob).all()
    assert np.allclose(prob.sum(axis=1), 1, atol=1e-5)
    assert prob.max() < 0.9, "the weights are so large that one class takes all"
    fetched = {blob: list(workspace.FetchBlob(blob).shape) for blob in workspace.Blobs()}
    assert fetched == {blob: shapes[blob] for blob in fetched}
    assert set(types) == set(fetched)


def test_seed_operators_run():
    init_net, net = build("seed_operators")
    x = feed_data("seed_operators")
    workspace.RunNetOnce(init_net)
    workspace.RunNetOnce(net)
    given, wide = workspace.FetchBlobs(["given_grad", "wide_grad"])
    expected = {
        "zero_grad": np.zeros_like(x),
        "negative": -x,
        "negative_grad": -given,
        "same": x,
        "same_grad": -given,
        "reciprocal": 1 / x,
        "reciprocal_grad": -given / x**2,
        "expanded": np.broadcast_to(x, (2, 4, 3)),
        "expanded_grad": wide.sum(axis=1, keepdims=True),
        "longer": x[np.newaxis],
        "longer_grad": x,
        "squeezed": x[:, 0],
        "squeezed_grad": x,
        "flat": x.reshape(-1),
        "flat_grad": x,
        "whole": x.astype(np.int32),
        "whole_grad": np.trunc(x),
    }
    assert [str(blob) for blob in net.external_outputs] == list(expected)
    for blob, value in expected.items():
        found = workspace.FetchBlob(blob)
        assert found.dtype == value.dtype, blob
        np.testing.assert_allclose(found, value, rtol=1e-6, err_msg=blob)


@pytest.mark.parametrize("name", ["mlp", "lenet", "seed_operators"])
def test_weights_are_the_same_in_every_run(name):
    def weights():
        workspace.ResetWorkspace()
        workspace.RunNetOnce(build(name)[0])
        return {blob: workspace.FetchBlob(blob).tobytes() for blob in workspace.Blobs()}

    first = weights()
    assert first == weights()
    random = [data for blob, data in first.items() if blob.endswith(("_w", "_grad"))]
    assert len(set(random)) == len(random)


def test_the_table_in_the_readme():
    table = (NETS / "README.md").read_text("utf-8")
    for name in SHAPES:
        assert row(name) in table.splitlines()


def row(name):
    """The line of the README that belongs to a script."""
    init_net, net = build(name)
    shapes, _ = workspace.InferShapesAndTypes([init_net], {})
    count = sum(math.prod(shapes[str(blob)]) for blob in init_net.external_outputs)
    kinds = [op.type for op in net.Proto().op]
    operators = f"{len(kinds)}: {', '.join(sorted(set(kinds)))}"
    if name == "seed_operators":
        return f"| {name} | data (2, 1, 3) | 17 blobs | {operators} | {count} |"
    size = {"alexnet": "227", "lenet": "28"}.get(name, "224")
    shape = "N, 784" if name == "mlp" else f"N, {SHAPES[name][1]}, {size}, {size}"
    return f"| {name} | data ({shape}) | prob (N, {CLASSES[name]}) | {operators} | {count:,} |"
