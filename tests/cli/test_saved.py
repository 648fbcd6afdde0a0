"""`caffe2py run` of saved predictors, and `caffe2py extract-weights`."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from caffe2py import workspace
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor import predictor_exporter as exporter
from tests.toy import INIT, PREDICT, fill, net, op

W = np.array([1, 2, 3], np.float32)


def save_predictor(path, type_, **parameters):
    for name, array in parameters.items():
        workspace.FeedBlob(name, array)
    shapes = {"x": (1, 3), "z": (1, 3)}
    meta = exporter.PredictorExportMeta(PREDICT, list(parameters), ["x"], ["z"], shapes)
    exporter.save_to_db(type_, path, meta)


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """Writes a predictor with these parameters and gives its path."""
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")

    def write(name="m.minidb", type_="minidb", **parameters):
        save_predictor(tmp_path / name, type_, **(parameters or {"w": W}))
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("name", "type_", "place"),
    [
        ("m.minidb", "minidb", "m.minidb"),
        ("model", "minidb", "model"),
        ("m", "lmdb", "m"),
        ("m", "lmdb", "m/data.mdb"),
    ],
)
def test_run(cli, saved, tmp_path, name, type_, place):
    saved(name, type_)
    np.save(tmp_path / "x.npy", np.array([[-1, 0, 2]], np.float32))
    result = cli("run", tmp_path / place, "--input", tmp_path / "x.npy", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["outputs"]["z"]["values"] == [1, 2, 5]


@pytest.mark.parametrize("command", ["check", "print", "summary"])
def test_looking_at_one(cli, saved, command):
    result = cli(command, saved())
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""


def test_bench_takes_the_declared_shape(cli, saved):
    result = cli("bench", saved(), "--iter", "1", "--json")
    assert result.exit_code == 0
    assert "random values, float32(1,3)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 1, "input 'x' is not given"),
        (["--input", "x=1x4"], 1, "op #1 Add"),
        (["--init", "init_net.pb"], 2, "is a database, which has its own init net"),
    ],
    ids=["no input", "shape", "init"],
)
def test_run_refuses(failing, saved, arguments, code, message):
    assert message in failing(code, "run", saved(), *arguments)


@pytest.mark.parametrize("content", [b"", b"\x05", b"text of some kind"])
def test_run_of_no_database(failing, tmp_path, content):
    (tmp_path / "m.minidb").write_bytes(content)
    line = failing(3, "run", tmp_path / "m.minidb")
    assert str(tmp_path / "m.minidb") in line


def test_weights_of_a_saved_predictor(cli, saved, tmp_path):
    result = cli("extract-weights", saved(), "-o", tmp_path / "w.npz")
    assert result.exit_code == 0, result.stderr
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["weight", "type", "shape"],
        ["w", "float32", "(3)"],
        ["1", "weights,", "3", "values,", "12", "B:", str(tmp_path / "w.npz")],
    ]
    with np.load(tmp_path / "w.npz") as found:
        assert list(found) == ["w"]
        np.testing.assert_array_equal(found["w"], W)


@pytest.mark.parametrize("source", ["folder", "predict_net.pb", "init_net.pb", "alone.pb"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_weights_of_nets(cli, save, tmp_path, source, suffix):
    save("predict_net.pb", PREDICT)
    save("init_net.pb", INIT)
    place = tmp_path if source == "folder" else tmp_path / source
    if source == "alone.pb":
        place = save(source, INIT)
    result = cli("extract-weights", place, "-o", tmp_path / f"w{suffix}", "--json")
    assert json.loads(result.stdout) == {"weights": {"w": {"dtype": "float32", "shape": [3]}}}
    found = (
        dict(np.load(tmp_path / "w.npz"))
        if suffix == ".npz"
        else load_file(tmp_path / "w.safetensors")
    )
    assert list(found) == ["w"]
    np.testing.assert_array_equal(found["w"], W)


def test_weights_of_every_type(cli, tmp_path):
    """Caffe2's own file, with integers, flags and texts."""
    golden = Path(__file__).parents[1] / "golden" / "predictors.npz"
    with np.load(golden) as outer, np.load(io.BytesIO(outer["npz"].tobytes())) as packed:
        (tmp_path / "m.minidb").write_bytes(packed["types/file"].tobytes())
    assert cli("extract-weights", tmp_path / "m.minidb", "-o", tmp_path / "w.npz").exit_code == 0
    with np.load(tmp_path / "w.npz") as found:
        assert {n: (a.dtype.kind, a.shape) for n, a in found.items()} == {
            "table": ("i", (12, 5)),
            "bias": ("f", (5,)),
            "words": ("S", (12,)),
            "flags": ("b", (3,)),
        }
        assert found["table"][11, 4] == 59 * 1000003
        assert found["words"][2].decode() == "größe"
    result = cli("extract-weights", tmp_path / "m.minidb", "-o", tmp_path / "w.safetensors")
    assert result.exit_code == 4
    assert "holds no texts, as 'words' does (try: an .npz)" in result.stderr
    assert not (tmp_path / "w.safetensors").exists()


REFUSED = {
    "ending": ("m.minidb", "w.txt", 2, "ends in none of .npz, .safetensors"),
    "no weights": ("relu.pb", "w.npz", 3, "there are no weights in it"),
    "no init net": ("predict_net.pb", "w.npz", 3, "the init net is missing"),
    "no file": ("none.minidb", "w.npz", 5, "no such file"),
    "no folder": ("m.minidb", "none/w.npz", 5, "cannot be written"),
    "no folder for tensors": ("m.minidb", "none/w.safetensors", 5, "cannot be written"),
}


@pytest.mark.parametrize(("source", "out", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_weights_refused(failing, saved, save, tmp_path, source, out, code, message):
    saved()
    save("relu.pb", net(op("Relu", "x", "y"), name="relu"))
    save("predict_net.pb", net(op("Add", "x b", "y"), fill("c", [1]), name="n"))
    assert message in failing(code, "extract-weights", tmp_path / source, "-o", tmp_path / out)
