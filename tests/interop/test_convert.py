"""`caffe2py convert` from and to ONNX, and from Caffe 1."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from caffe2py.predictor.load import load_model
from caffe2py.proto import caffe_pb2
from caffe2py.proto.files import write_message
from tests.cli.conftest import cli, failing  # noqa: F401  (fixtures)
from tests.interop.models import model, net, run_nets, value
from tests.interop.test_caffe1 import small_net, with_weights

node = helper.make_node


def _path(tmp_path, proto, name="m.onnx"):
    (tmp_path / name).write_bytes(proto.SerializeToString())
    return tmp_path / name


def _gemm():
    weights = {"w": np.ones((3, 4), np.float32), "b": np.zeros(3, np.float32)}
    nodes = [node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    return model(nodes, {"x": ("batch", 4)}, {"y": ("batch", 3)}, weights)


def test_there_and_back(cli, tmp_path):  # noqa: F811
    source = _path(tmp_path, _gemm())
    folder, back = tmp_path / "nets", tmp_path / "back.onnx"
    result = cli("convert", source, folder, "--input", "x=2x4")
    assert result.exit_code == 0, result.stderr
    assert "agrees with onnxruntime" in result.stdout
    assert sorted(p.name for p in folder.iterdir()) == ["init_net.pb", "predict_net.pb"]
    result = cli("convert", folder, back, "--input", "x=2x4", "--opset", "11")
    assert result.exit_code == 0, result.stderr
    assert "agrees with onnxruntime" in result.stdout
    assert onnx.load(back).opset_import[0].version == 11


def test_without_shapes_it_is_not_verified(cli, tmp_path):  # noqa: F811
    result = cli("convert", _path(tmp_path, _gemm()), tmp_path / "nets")
    assert result.exit_code == 0
    assert "not verified" in result.stderr
    assert cli("convert", tmp_path / "m.onnx", tmp_path / "n", "--no-verify").stderr == ""


def test_inputs_that_decide_are_fixed_by_their_values(cli, failing, tmp_path):  # noqa: F811
    inputs = {"x": (2, 3), "k": value("k", (1,), TensorProto.INT64)}
    proto = model([node("ReduceSum", ["x", "k"], ["y"])], inputs, {"y": None})
    path = _path(tmp_path, proto)
    text = failing(4, "convert", path, tmp_path / "nets")
    assert "--input k=values.npy fixes them" in text
    assert not (tmp_path / "nets").exists()
    np.save(tmp_path / "k.npy", np.array([1]))
    result = cli("convert", path, tmp_path / "nets", "--input", f"k={tmp_path / 'k.npy'}")
    assert result.exit_code == 0, result.stderr
    found = load_model(tmp_path / "nets")
    assert found.inputs == ("x",)


@pytest.mark.parametrize(
    ("code", "args", "text"),
    [
        (5, ["none.onnx", "nets"], "none.onnx: no such file"),
        (3, ["bad.onnx", "nets"], "bad.onnx: expected an ONNX model"),
        (2, ["m.onnx", "nets.pb"], "name a folder"),
        (2, ["m.onnx", "nets", "--input", "z=2x4"], "takes no blob 'z'"),
        (2, ["net.pb", "m2.onnx"], "the shape of input 'x' is needed"),
        (4, ["odd.pb", "m2.onnx", "--input", "x=2x4"], "1 operator(s) cannot be written"),
        (4, ["net.pb", "m2.onnx", "--input", "x=2x4", "--opset", "3"], "opset 3"),
        (2, ["m.onnx"], "FROM and TO are needed"),
        (3, ["m.onnx", "m.onnx", "nets"], "m.onnx: expected a model of Caffe 1"),
        (5, ["m.onnx", "file/nets"], "cannot be made"),
    ],
)
def test_refusals(failing, tmp_path, monkeypatch, code, args, text):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    _path(tmp_path, _gemm())
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 20)
    (tmp_path / "file").write_text("x")
    write_message("net.pb", net(("Relu", "x", "y", {})))
    write_message("odd.pb", net(("LpNorm", "x", "y", {})))
    before = {p.name for p in tmp_path.iterdir()}
    assert text in failing(code, "convert", *args)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_caffe_models(cli, tmp_path):  # noqa: F811
    proto = small_net()
    weights = with_weights(proto)
    (tmp_path / "deploy.prototxt").write_text(str(proto))
    (tmp_path / "w.caffemodel").write_bytes(weights.SerializeToString())
    files = [tmp_path / "deploy.prototxt", tmp_path / "w.caffemodel", tmp_path / "nets"]
    result = cli("convert", *files)
    assert result.exit_code == 0, result.stderr
    found = load_model(tmp_path / "nets")
    data = np.ones((1, 3, 8, 8), np.float32)
    outputs = run_nets(found.init, found.predict, {"data": data})
    assert outputs["prob"].sum() == pytest.approx(1)
    assert isinstance(proto, caffe_pb2.NetParameter)
