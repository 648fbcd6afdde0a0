"""Weights from files into workspaces, pairs of nets as files, and profiles for notebooks."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from safetensors.numpy import save_file

from caffe2py import core, workspace
from caffe2py.errors import (
    DTypeError,
    FileError,
    MissingBlobError,
    ModelFormatError,
    NetError,
    ShapeError,
    UsageError,
)
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.load import load_model
from caffe2py.predictor.load_weights import load_weights, read_weights
from caffe2py.predictor.pair import write_pair
from caffe2py.predictor.profiling import profile
from caffe2py.predictor.session import Session
from caffe2py.predictor.weights import weights_net
from caffe2py.proto.caffe2_pb2 import NetDef, PlanDef
from caffe2py.proto.files import write_message
from tests.toy import op

WEIGHTS = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1, -2], np.int64),
}


@pytest.fixture(params=["npz", "safetensors", "pb", "folder"])
def stored(request, tmp_path):
    """The weights, in a file of any kind."""
    path = tmp_path / f"weights.{request.param}"
    if request.param == "npz":
        np.savez(path, **WEIGHTS)
    elif request.param == "safetensors":
        save_file(WEIGHTS, path)
    elif request.param == "pb":
        write_message(path, weights_net("init", WEIGHTS))
    else:
        path.mkdir()
        write_message(path / "init_net.pb", weights_net("init", WEIGHTS))
        write_message(
            path / "predict_net.pb", NetDef(op=[op("Add", f"x {n}", n * 2) for n in WEIGHTS])
        )
    return path


def test_weights_from_any_file(stored):
    ws = Workspace()
    found = load_weights(stored, ws)
    assert set(found) == set(WEIGHTS)
    for name, array in WEIGHTS.items():
        for value in (found[name], ws.fetch(name)):
            assert value.dtype == array.dtype
            np.testing.assert_array_equal(value, array)
    assert set(load_weights(stored, Workspace(), names=["b"])) == {"b"}


def test_the_current_workspace_is_the_default(stored):
    workspace.ResetWorkspace()
    load_weights(stored)
    np.testing.assert_array_equal(workspace.FetchBlob("w"), WEIGHTS["w"])
    workspace.ResetWorkspace()


@pytest.mark.parametrize(
    ("held", "names", "error", "match"),
    [
        (np.zeros((3, 2), np.float32), None, ShapeError, r"'w' is \(2,3\).* has \(3,2\)"),
        (np.zeros((2, 3), np.float64), None, DTypeError, "'w' is float32.* has float64"),
        (None, ["b", "ww"], MissingBlobError, "no weights 'ww'; did you mean w"),
    ],
)
def test_nothing_is_fed_unless_all_fits(stored, held, names, error, match):
    ws = Workspace()
    ws.create_blob("b")
    if held is not None:
        ws.feed("w", held)
    with pytest.raises(error, match=match) as caught:
        load_weights(stored, ws, names=names)
    assert stored.name in str(caught.value)
    assert ws.blob("b").value is None


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.npz", b"junk", FileError),
        ("a.safetensors", b"\xff" * 100, FileError),
        ("a.safetensors", b"", FileError),
        ("a.pb", b"\xff" * 30, ModelFormatError),
    ],
)
def test_damaged_files(tmp_path, name, content, error):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=name):
        read_weights(tmp_path / name)
    with pytest.raises(FileError, match="no such file"):
        read_weights(tmp_path / f"no-{name}")


# ---------------------------------------------------------------- pairs


def test_a_pair_is_the_model(tmp_path):
    (tmp_path / "made").mkdir()
    source = tmp_path / "net.pb"
    write_message(source, NetDef(name="é" * 70, op=[op("Mul", "x w", "y")]))
    write_message(tmp_path / "net_init.pb", weights_net("i", {"w": WEIGHTS["w"]}))
    assert write_pair(tmp_path / "made", load_model(source)).name == "predict_net.pb"
    model = load_model(tmp_path / "made")
    assert model.predict.name == "_" * 60
    session = Session(model)
    session.feed("x", WEIGHTS["w"])
    session.run()
    np.testing.assert_array_equal(session.fetch(["y"])["y"], WEIGHTS["w"] ** 2)


def test_a_net_without_weights_is_one_file(tmp_path):
    write_message(tmp_path / "a.pb", NetDef(op=[op("Relu", "x", "y")]))
    write_pair(tmp_path, load_model(tmp_path / "a.pb"))
    assert {p.name for p in tmp_path.iterdir()} == {"a.pb", "predict_net.pb"}
    write_message(
        tmp_path / "plan.pb", PlanDef(network=[NetDef(name="n", op=[op("Relu", "x", "y")])])
    )
    with pytest.raises(UsageError, match="this is a plan"):
        write_pair(tmp_path, load_model(tmp_path / "plan.pb"))


# ---------------------------------------------------------------- profiles


def test_profiles_for_notebooks():
    workspace.ResetWorkspace()
    net = core.Net("timed")
    net.Relu("x", "<y>")
    for k in range(70):
        net.Sigmoid("<y>", f"z{k}")
    workspace.FeedBlob("x", np.ones(100, np.float32))
    workspace.CreateNet(net)
    found = profile(net, iterations=3)
    assert [one.op.type for one in found.operators] == ["Relu"] + ["Sigmoid"] * 70
    assert found.seconds == pytest.approx(sum(one.seconds for one in found.types))
    assert sum(one.share for one in found.operators) == pytest.approx(1)
    page = ElementTree.fromstring(found._repr_html_())
    texts = ["".join(cell.itertext()) for cell in page.iter("td")]
    assert {"Relu", "Sigmoid", "70", "#0 Relu", "<y>", "11 more"} <= set(texts)
    assert str(found).startswith("timed: 71 operators, ")
    assert "Relu  <y>" in str(found)
    with pytest.raises(NetError):
        profile("nowhere")
    workspace.ResetWorkspace()
