"""The smaller public modules: printing, drawing, logging, guarding, predicting."""

import json
import subprocess
import sys

import numpy as np
import pytest

from caffe2py import core, dyndep, experiment_util, net_drawer, net_printer, utils, workspace
from caffe2py.adapters import dot
from caffe2py.errors import Error, MissingBlobError, UnsupportedError, UsageError
from caffe2py.graph.drawing import Drawing
from caffe2py.proto import caffe2_pb2


@pytest.fixture
def net():
    made = core.Net("front")
    made.FC(["x", "w", "b"], "y", axis=1)
    made.Relu("y", "y")
    made.Softmax("y", "z", engine="SOME")
    return made


def test_nets_are_printed_as_programs(net):
    assert net_printer.to_string(net.Proto()).splitlines()[1:] == [
        f"{net}.FC(['x', 'w', 'b'], ['y'], axis=1)",
        f"{net}.Relu(['y'], ['y'])",
        f"{net}.Softmax(['y'], ['z'])",
    ]
    plain = net_printer.to_string(net, c2_syntax=False, factor_prefixes=True)
    assert plain.splitlines() == [
        f"# net: {net}",
        "y = FC(x, w, b, axis=1)",
        "y = Relu(y)",
        "z = Softmax(y)",
    ]
    assert net_printer.factor_prefix(["conv1", "conv2"], True) == "conv[1, 2]"
    device = core.DeviceOption(caffe2_pb2.CUDA, 1)
    assert net_printer.format_device_option(device) == "DeviceOption(1, 1, '')"


def test_steps_are_printed_with_what_surrounds_them(net):
    inner = core.execution_step("inner", net, num_iter=3)
    step = core.execution_step("outer", [inner, net], concurrent_substeps=True)
    lines = net_printer.to_string(step).splitlines()
    assert lines[:3] == ["with parallel():", "    with step(inner):", "        with loop(3):"]
    with pytest.raises(UsageError, match="cannot print a int"):
        net_printer.to_string(3)


def test_plans_are_analyzed():
    first, second = core.Net("first"), core.Net("second")
    first.ConstantFill([], "x", shape=[1])
    second.Relu("x", "y")
    net_printer.analyze(core.execution_step("s", [first, second]))
    with pytest.raises(AssertionError, match="Blob undefined: x"):
        net_printer.analyze(core.execution_step("s", [second, first]))
    twice = [core.execution_step(name, core.Net(first.Proto())) for name in "ab"]
    with pytest.raises(Error, match="multiple parallel steps: x"):
        net_printer.analyze(core.execution_step("s", twice, concurrent_substeps=True))


def test_nets_are_drawn(net, monkeypatch, tmp_path):
    graph = net_drawer.GetPydotGraphMinimal(net)
    assert hasattr(graph, "create_png") == dot.available()
    monkeypatch.setattr(dot, "available", lambda: False)
    graph = net_drawer.GetPydotGraph(net, name="drawn", rankdir="TB")
    assert isinstance(graph, Drawing)
    text = graph.to_string()
    assert text.startswith('digraph "drawn" {\nrankdir=TB;\n')
    assert '"Relu (op#1)" -> "y1";' in text  # y is written twice
    assert [(e.start, e.end) for e in net_drawer.GetPydotGraphMinimal(net).edges] == [
        ("FC (op#0)", "Relu (op#1)"),
        ("Relu (op#1)", "Softmax (op#2)"),
    ]
    net_drawer.GetGraphInJson(net, tmp_path / "net.json")
    found = json.loads((tmp_path / "net.json").read_text())
    assert [node["label"] for node in found["nodes"] if node["type"] == "op"] == [
        "FC",
        "Relu",
        "Softmax",
    ]
    assert len(found["edges"]) == 8
    assert net_drawer.GetGraphPngSafe(lambda: 3).startswith(b"\x89PNG")


def test_minimal_dependencies():
    made = core.Net("chain")
    made.Relu("a", "b")
    made.Relu("b", "c")
    made.Sum(["b", "c"], "d")
    nodes = net_drawer.GetOpNodeProducer(True)
    for minimal, edges in [(False, 3), (True, 2)]:
        graph = net_drawer.minimal_graph(made, None, "LR", minimal, nodes)
        assert len(graph.edges) == edges
        assert "Sum (op#2)\nd" in graph.nodes


def test_plans_are_drawn(net):
    plan = core.Plan("plan")
    plan.AddStep(core.execution_step("step", [net, net], num_iter=2))
    graph = net_drawer.plan_graph(plan.Proto())
    assert [node.attributes.get("label", node.name) for node in graph.nodes.values()] == [
        "step\n",
        str(net),
    ]
    assert list(net_drawer.GetOperatorMapForPlan(plan.Proto())) == [f"plan_{net}"]


def test_libraries(tmp_path):
    dyndep.InitOpsLibrary("@/caffe2/caffe2/contrib/nccl:nccl_ops")
    dyndep.InitOpsLibrary("nowhere/other.so")
    assert dyndep.GetImportedOpsLibraries() == {"@/caffe2/caffe2/contrib/nccl:nccl_ops"}
    (tmp_path / "own.so").touch()
    with pytest.raises(UnsupportedError, match="for the real Caffe2"):
        dyndep.InitOpsLibrary(str(tmp_path / "own.so"))


def test_training_is_logged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    class Logger(experiment_util.ExternalLogger):
        def set_runtime_args(self, runtime_args):
            seen.append(runtime_args["rate"])

        def log(self, log_dict):
            seen.append(log_dict["input_count"])
            raise ValueError("lost")

    log = experiment_util.ModelTrainerLog("try", {"rate": 0.1}, [Logger()])
    log.log(10, 1, {"loss": 0.5, "accuracy": 0.25})
    log.log(30, 2, {"loss": 0.25, "accuracy": 0.5})
    lines = (tmp_path / log.filename).read_text().splitlines()
    assert lines[0] == "# {'rate': 0.1}"
    assert lines[1].endswith("cumulative_batch_count,inputs_per_sec,accuracy,loss")
    assert lines[3].endswith("0.5,0.25")
    assert seen == [0.1, 10, 20]


def test_what_hangs_is_ended():
    program = """
import time
from caffe2py import timeout_guard
with timeout_guard.CompleteInTimeOrDie(30): pass
try:
    with timeout_guard.CompleteInTimeOrDie(0.1): time.sleep(20)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "interrupted\n"
    assert "time.sleep" in done.stderr or "line" in done.stderr


@pytest.fixture
def nets():
    init, net = core.Net("init"), core.Net("predict")
    init.ConstantFill([], "w", shape=[3, 2], value=2.0)
    init.ConstantFill([], "b", shape=[3], value=1.0)
    net.FC(["x", "w", "b"], "y")
    net.Add(["y", "q"], "z")
    net.AddExternalOutput("y", "z")
    return init, net


def test_predictor(nets):
    x, q = np.ones((2, 2), np.float32), np.ones((2, 3), np.float32)
    for make in (lambda n: n, lambda n: n.Proto(), lambda n: n.Proto().SerializeToString()):
        predictor = workspace.Predictor(*map(make, nets))
        assert predictor.input_names == ["x", "q"]
        for inputs in ([x, q], (x, q), {"x": x, "q": q}):
            y, z = predictor.run(inputs)
            assert np.all(y == 5)
            assert np.all(z == 6)
    with pytest.raises(MissingBlobError, match="Blob does not exist: nothing"):
        predictor.run({"nothing": x})
    with pytest.raises(UsageError, match="5 inputs for a net with 4"):
        predictor.run([x] * 5)


def test_behind_the_modules(nets):
    assert core.C is workspace.C
    inner = workspace.C.Workspace()
    inner.create_blob("x").feed(np.ones((2, 2), np.float32))
    inner.feed_blob("q", np.ones((2, 3), np.float32))
    assert inner.run(nets[0])
    assert inner.run(nets[1].Proto())
    assert np.all(inner.blobs["z"].fetch() == 6)
    assert np.all(inner.fetch_blob("y") == 5)
    below = workspace.C.Workspace(inner)
    assert below.has_blob("z")
    assert inner.create_net(nets[1]).run() is None
    assert "Relu" in workspace.C.nearby_opnames("Relo")
    assert workspace.C.OpSchema.get("Relu").name == "Relu"
    assert workspace.C.OpSchema.get("Nothing") is None
    assert workspace.C.op_registry_key("Relu", "X") == "Relu_ENGINE_X"
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = workspace.C.nothing_such
    with pytest.raises(UsageError):
        inner.run(3)


def test_nets_are_timed(nets):
    workspace.ResetWorkspace()
    workspace.RunNetOnce(nets[0])
    workspace.FeedBlob("x", np.ones((2, 2), np.float32))
    workspace.FeedBlob("q", np.ones((2, 3), np.float32))
    workspace.CreateNet(nets[1])
    assert len(workspace.BenchmarkNet(nets[1].Name(), 1, 2)) == 1
    assert len(workspace.BenchmarkNet(nets[1], 1, 2, True)) == 3
    assert workspace.GetBlobSizeBytes("x") == 16
    assert workspace.StringifyProto(nets[0]) == nets[0].Proto().SerializeToString()


def test_messages_in_either_form(tmp_path):
    proto = caffe2_pb2.NetDef(name="n")
    for content in (str(proto), proto.SerializeToString()):
        assert utils.TryReadProtoWithClass(caffe2_pb2.NetDef, content) == proto
        found = utils.GetContentFromProtoString(content, {caffe2_pb2.NetDef: lambda n: n.name})
        assert found == "n"
    (tmp_path / "n.pbtxt").write_text(str(proto))
    utils.ConvertProtoToBinary(caffe2_pb2.NetDef, tmp_path / "n.pbtxt", tmp_path / "n.pb")
    assert (tmp_path / "n.pb").read_bytes() == proto.SerializeToString()
    one, two = (core.CreateOperator("Relu", "x", "y", name) for name in "ab")
    assert not utils.OpAlmostEqual(one, two)
    assert utils.OpAlmostEqual(one, two, "name")


def test_records():
    class Record:
        def __init__(self, *blobs):
            self.blobs = list(blobs)

        def has_blobs(self):
            return True

        def field_blobs(self):
            return self.blobs

    record, made = Record("x", "y"), core.Net("records")
    assert made.set_input_record(record) is record
    assert made.input_record() is made.Clone("copy").input_record() is record
    assert made.external_inputs == ["x", "y"]
    assert made.set_output_record(record) is made.output_record()
    with pytest.raises(UsageError, match="twice"):
        made.set_input_record(Record("x"))


def test_names_must_be_text():
    with pytest.raises(UsageError, match="UTF-8"):
        workspace.FeedBlob("a\udc80", np.zeros(1))
    with pytest.raises(UsageError, match="UTF-8"):
        workspace.FeedBlob(b"\xff", np.zeros(1))
    with pytest.raises(UsageError, match=r"Relu.*names must be text in UTF-8"):
        core.CreateOperator("Relu", "a\udc80", "b")


def test_calls_that_make_no_sense():
    with pytest.raises(UsageError, match="no folder can be made"):
        workspace.ResetWorkspace("/proc/none/there")
    with pytest.raises(UsageError, match="num_iter must be an integer, found 'two'"):
        workspace.RunNet("net", "two")
