"""`draw`, `view` and `tensorboard`: pictures, Netron on this machine only, and files of events."""

import json
import signal
import struct
import sys
import tempfile
import types
import urllib.request
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.graph_pb2 import GraphDef

from caffe2py.proto.caffe2_pb2 import ExecutionStep, NetDef, PlanDef
from caffe2py.proto.files import read_net
from tests.toy import op

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "nets" / "digits"
PLAN = PlanDef(
    name="p",
    network=[NetDef(name="n", op=[op("Relu", "x", "y")])],
    execution_step=[ExecutionStep(name="s", network=["n"])],
)


# ---------------------------------------------------------------- draw


@pytest.mark.parametrize("flags", [(), ("--blobs",), ("--minimal",), ("--init",)])
@pytest.mark.parametrize(("name", "begin"), [("a.svg", "<svg"), ("a.dot", "digraph")])
def test_pictures(cli, tmp_path, flags, name, begin):
    out = tmp_path / name
    result = cli("draw", DIGITS, "-o", out, *flags)
    assert result.exit_code == 0, result.stderr
    first = out.read_text()
    assert first.startswith(begin)
    cli("draw", DIGITS, "-o", out, *flags)
    assert out.read_text() == first
    assert ("GivenTensorFill" in first) == ("--init" in flags)


def test_plans_are_drawn(cli, save, tmp_path):
    for name in ("a.svg", "a.gv"):
        assert cli("draw", save("plan.pb", PLAN), "-o", tmp_path / name).exit_code == 0
        assert "s" in (tmp_path / name).read_text()


def test_what_cannot_be_drawn(failing, save, tmp_path):
    net = save("x.pb", NetDef(op=[op("Relu", "x", "y")]))
    out = tmp_path / "a.svg"
    assert "ends in none of .svg" in failing(2, "draw", net, "-o", tmp_path / "a.png")
    assert "exclude each other" in failing(2, "draw", net, "-o", out, "--blobs", "--minimal")
    assert "no init net" in failing(2, "draw", net, "-o", out, "--init")
    assert "no such file" in failing(5, "draw", tmp_path / "no.pb", "-o", out)
    (tmp_path / "junk.pb").write_bytes(b"\xff" * 20)
    assert "junk.pb" in failing(3, "draw", tmp_path / "junk.pb", "-o", out)
    assert "cannot be written" in failing(5, "draw", net, "-o", tmp_path / "no" / "a.svg")
    assert not out.exists()


# ---------------------------------------------------------------- view


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_netron_shows_a_pair_to_this_machine_only(process, monkeypatch, tmp_path, how):
    child = process("view", DIGITS, "--no-browser", TMPDIR=str(tmp_path))
    line = child.stdout.readline()
    address = line.split()[1]
    assert address.startswith("http://127.0.0.1:"), (line, child.stderr.read())
    for name in ("predict_net.pb", "init_net.pb"):
        with urllib.request.urlopen(f"{address}/data/{name}", timeout=10) as reply:
            assert read_net(reply.read()).op
    assert list(tmp_path.iterdir())
    child.send_signal(how)
    child.wait(10)
    assert list(tmp_path.iterdir()) == []


def test_netron_is_started_with_what_it_can_read(cli, save, monkeypatch):
    seen = {}

    def start(path, address, browse):
        folder = Path(path).parent
        seen.update({p.name: read_net(p) for p in folder.iterdir()}, address=address, browse=browse)
        return address

    stub = types.SimpleNamespace(start=start, wait=lambda: None, stop=lambda: None)
    monkeypatch.setitem(sys.modules, "netron", stub)
    fills = [op("GaussianFill", "", "w", shape=[3, 2]), op("GivenTensorFill", "", "b", shape=[3])]
    fills[1].arg.add(name="values").floats.extend([1, 2, 3])
    save("init_net.pb", NetDef(name="i", op=[*fills, op("Split", "b", "b1 b2 b3")]))
    net = save("predict_net.pb", NetDef(name="n" * 90, op=[op("FC", "x w b", "y")]))
    result = cli("view", net, "--port", 8123)
    assert result.exit_code == 0, result.stderr
    assert "http://127.0.0.1:8123" in result.stdout
    assert (seen["address"], seen["browse"]) == (("127.0.0.1", 8123), True)
    init = {tuple(o.output): o for o in seen["init_net.pb"].op}
    assert init["w",].type == "XavierFill"  # nothing but its shape is shown
    assert list(init["w",].arg[0].ints) == [3, 2]
    assert list(init["b",].arg[1].floats) == [1, 2, 3]
    assert all(len(names) == 1 for names in init)
    assert len(seen["predict_net.pb"].name) < 64


def test_without_netron(failing, monkeypatch):
    monkeypatch.setitem(sys.modules, "netron", None)
    before = set(Path(tempfile.gettempdir()).glob("caffe2py-view-*"))
    assert "pip install caffe2py[netron]" in failing(4, "view", DIGITS)
    assert set(Path(tempfile.gettempdir()).glob("caffe2py-view-*")) == before


def test_plans_cannot_be_viewed(failing, save):
    assert "this is a plan" in failing(2, "view", save("plan.pb", PLAN), "--no-browser")


# ---------------------------------------------------------------- tensorboard


def events(folder):
    found = []
    for path in sorted(Path(folder).iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


def test_a_graph_and_curves(cli, tmp_path):
    log = tmp_path / "log.jsonl"
    rows = [{"iteration": k, "loss": 1 / k, "note": "x", "lost": None} for k in (1, 2, 3)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "board"
    result = cli("tensorboard", "--net", DIGITS, "--log", log, "-o", out)
    assert result.exit_code == 0, result.stderr
    found = events(out)
    (graph,) = (GraphDef.FromString(e.graph_def) for e in found if e.graph_def)
    net = read_net(DIGITS / "predict_net.pb")
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert [n.op for n in graph.node if n.op != "Blob"] == [o.type for o in net.op]
    assert {i for n in graph.node for i in n.input} <= set(names)
    curve = [(e.step, v.tag, v.simple_value) for e in found for v in e.summary.value]
    assert curve == [(k, "loss", pytest.approx(1 / k)) for k in (1, 2, 3)]


def test_graphs_take_any_name(cli, save, tmp_path):
    ops = [op("Relu", "x", "x"), op("Relu", "x", "a/b"), op("Sum", "a/b a/b", "_c"), op("Print")]
    ops[1].output[0] = "snow 雪"
    ops[2].input[:] = ["snow 雪"]
    ops[2].arg.add(name="long").ints.extend(range(100))
    cli("tensorboard", "--net", save("n.pb", NetDef(op=ops)), "-o", tmp_path / "o")
    (graph,) = (GraphDef.FromString(e.graph_def) for e in events(tmp_path / "o") if e.graph_def)
    assert [(n.name, n.op, list(n.input)) for n in graph.node] == [
        ("x", "Blob", []),
        ("x_1", "Relu", ["x"]),
        ("snow__", "Relu", ["x_1"]),
        ("._c", "Sum", ["snow__"]),
        ("Print", "Print", []),
    ]
    assert graph.node[3].attr["long"].s.endswith(b"7, ... 100 in all]")


def test_what_tensorboard_does_not_get(failing, save, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert "name a net or a log" in failing(2, "tensorboard", "-o", out)
    assert "this is a plan" in failing(2, "tensorboard", "--net", save("p.pb", PLAN), "-o", out)
    assert "cannot be read" in failing(5, "tensorboard", "--log", tmp_path / "no", "-o", out)
    (tmp_path / "file").touch()
    message = failing(5, "tensorboard", "--net", DIGITS, "-o", tmp_path / "file")
    assert "file: cannot be written" in message
    for name in [m for m in sys.modules if m.startswith("tensorboardX")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert "pip install caffe2py[tensorboard]" in failing(
        4, "tensorboard", "--net", DIGITS, "-o", out
    )
    assert not out.exists()
