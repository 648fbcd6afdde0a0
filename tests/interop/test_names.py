"""The entry points under the names that scripts use."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from caffe2py import core
from caffe2py.errors import UnsupportedError, UsageError
from caffe2py.interop.onnx import backend, frontend
from caffe2py.interop.onnx import helper as c2_helper
from caffe2py.interop.onnx.workspace import Workspace
from tests.interop.models import model, net, value

node = helper.make_node
WEIGHT = np.array([1, 2], np.float32)


def _data(*shape):
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


def _add():
    return model([node("Add", ["x", "w"], ["y"])], {"x": (2,)}, {"y": (2,)},
                 {"w": WEIGHT})  # fmt: skip


def test_old_names():
    program = """
import caffe2py.compat; caffe2py.compat.install()
import caffe2.python.onnx.backend as backend, caffe2.python.onnx.frontend as frontend
from caffe2.python.onnx import helper, workspace, backend_rep
from caffe2.python import caffe_translator
from caffe2.proto import caffe_pb2
import caffe2py.interop.onnx.backend as ours, caffe2py.interop.caffe1 as caffe1
assert backend is ours and caffe_translator is caffe1
assert backend.Caffe2Backend.prepare == backend.prepare
assert frontend.caffe2_net_to_onnx_model and helper.load_caffe2_net and workspace.Workspace
assert caffe_translator.TranslateModel and caffe_pb2.NetParameter
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_the_modules_need_no_onnx_to_be_imported():
    program = """
import sys
import caffe2py.interop.onnx.backend, caffe2py.interop.onnx.frontend, caffe2py.interop.caffe1
assert "onnx" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnsupportedError, match=r"pip install caffe2py\[onnx\]"):
        backend.prepare(b"x")


def test_an_old_package_is_refused(monkeypatch):
    monkeypatch.setattr(onnx, "__version__", "1.16.2")
    with pytest.raises(UnsupportedError, match="is too old"):
        backend.prepare(b"x")


@pytest.mark.parametrize("form", ["message", "bytes", "path"])
def test_prepare_and_run(form, tmp_path):
    made = _add()
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    given = {"message": made, "bytes": made.SerializeToString(), "path": path}[form]
    rep = backend.prepare(given, device="CPU:0")
    x = _data(2)
    for inputs in ([x], {"x": x}, x, (x,)):
        found = rep.run(inputs)
        np.testing.assert_array_equal(found[0], x + WEIGHT)
        np.testing.assert_array_equal(found.y, found[0])
    assert [op.type for op in rep.predict_net.op] == ["Add"]
    assert list(rep.init_net.external_output) == ["w"]
    assert rep.uninitialized == ["x"]
    assert rep.workspace.has_blob("w")


def test_wrong_inputs_are_named():
    rep = backend.prepare(_add())
    for inputs, text in (({"z": 1}, "no input 'z'"), ({}, "'x' is missing"), ([1, 2], "2 inputs")):
        with pytest.raises(UsageError, match=text):
            rep.run(inputs)


def test_devices():
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:0")
    with pytest.raises(UnsupportedError, match="no device 'TPU'"):
        backend.prepare(_add(), device="TPU")


def test_run_model_and_node():
    x = _data(2)
    np.testing.assert_array_equal(backend.run_model(_add(), [x])[0], x + WEIGHT)
    reduce = node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    found = backend.run_node(reduce, [_data(2, 3), np.array([1])])
    np.testing.assert_allclose(found.y, _data(2, 3).sum(1), rtol=1e-6)
    old = node("Squeeze", ["x"], ["y"], axes=[0])
    assert backend.run_node(old, {"x": _data(1, 3)}, opset_version=11).y.shape == (3,)
    assert not backend.is_compatible(model([node("Det", ["x"], ["y"])], {"x": (2, 2)}, {"y": ()}))


def test_values_decide_the_translation_of_each_run():
    inputs = {"x": (2, 3), "k": value("k", (1,), TensorProto.INT64)}
    rep = backend.prepare(model([node("ReduceSum", ["x", "k"], ["y"])], inputs, {"y": None}))
    with pytest.raises(UsageError, match="depend on the values of k"):
        _ = rep.predict_net
    x = _data(2, 3)
    for axis in (0, 1, 0, -1):
        found = rep.run([x, np.array([axis])])[0]
        np.testing.assert_allclose(found, x.sum(axis, keepdims=True), rtol=1e-6)
    fixed = backend.prepare(rep._model, raw_values_dict={"k": np.array([1])})
    np.testing.assert_allclose(fixed.run(x)[0], x.sum(1, keepdims=True), rtol=1e-6)


def test_nets_of_a_graph_run_in_a_workspace():
    init, predict = backend.Caffe2Backend.onnx_graph_to_caffe2_net(_add())
    workspace = Workspace()
    workspace.RunNetOnce(init)
    workspace.FeedBlob("x", _data(2))
    workspace.RunNetOnce(predict)
    name = workspace.CreateNet(predict)
    workspace.RunNet(name)
    np.testing.assert_array_equal(workspace.FetchBlob("y"), _data(2) + WEIGHT)
    assert workspace.HasBlob("w")
    assert workspace.Blobs() == ["w", "x", "y"]
    _, outputs = c2_helper.c2_native_run_net(init, predict, [_data(2)])
    np.testing.assert_array_equal(outputs.y, _data(2) + WEIGHT)
    _, outputs = c2_helper.c2_native_run_op(predict.op[0], {"x": _data(2), "w": _data(2)})
    np.testing.assert_array_equal(outputs[0], 2 * _data(2))
    with pytest.raises(UsageError, match="3 inputs for 1"):
        c2_helper.c2_native_run_net(init, predict, [1, 2, 3])


def test_frontend():
    init = core.Net("init")
    init.XavierFill([], "w", shape=[3, 4])
    init.ConstantFill([], "b", shape=[3], value=0.5)
    init.ConstantFill([], "x", shape=[1])  # a stand-in
    predict = net(("FC", "x w b", "y", {}), ("Relu", "y", "y", {}))
    predict.external_output.append("y")
    info = {"x": (TensorProto.FLOAT, (2, 4))}
    made = frontend.caffe2_net_to_onnx_model(predict, init, info)
    assert [n.op_type for n in made.graph.node] == ["Gemm", "Relu"]
    assert made.opset_import[0].version == 13
    assert (
        frontend.Caffe2Frontend.caffe2_net_to_onnx_graph(predict, init, info).output[0].name == "y"
    )
    tensors = frontend.caffe2_init_net_to_initializer(init)
    assert [t.name for t in tensors] == ["w", "b", "x"]
    with pytest.raises(UsageError, match="value_info lacks the input 'x'"):
        frontend.caffe2_net_to_onnx_model(predict, core.Net("none"), {})


def test_nets_in_files(tmp_path):
    made = net(("Relu", "x", "y", {}))
    c2_helper.save_caffe2_net(made, tmp_path / "n.pb", output_txt=True)
    assert c2_helper.load_caffe2_net(tmp_path / "n.pb") == made
    assert "Relu" in (tmp_path / "n.pbtxt").read_text()
