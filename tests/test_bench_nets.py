"""tools/bench_nets.py: workloads in files, caffe2py in a process of its own, tables of ratios."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe2py.proto.files import write_message
from tests.toy import INIT, PREDICT
from tools import bench_nets
from tools.peers.workloads import chosen, draw, own, read_folder

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "bench_nets.py"


def run(*args):
    return subprocess.run(
        [sys.executable, TOOL, "--peers", "--rounds", "1", "--seconds", "0.01", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_own_workloads(tmp_path):
    found = tmp_path / "found.jsonl"
    done = run("--select", "chain_100_relu_10", "op_fc_64x512x512", "--json", found)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["milliseconds", "caffe2py", "outputs"]
    records = [json.loads(line) for line in found.read_text().splitlines()]
    assert [record["workload"] for record in records] == ["chain_100_relu_10", "op_fc_64x512x512"]
    assert all(record["engines"]["caffe2py"]["seconds"] > 0 for record in records)


@pytest.fixture
def folder(tmp_path):
    """Two workloads: one that runs, one whose net is broken."""
    array = {"name": "x", "shape": [2, 3], "dist": "uniform", "a": -1, "b": 1, "dtype": "float32"}
    for name, net in (("A_toy", PREDICT), ("B_broken", INIT)):
        path = tmp_path / name
        path.mkdir()
        write_message(path / "predict_net.pb", net)
        meta = {"name": name, "group": name[0], "inputs": [array], "params": [], "outputs": ["z"]}
        (path / "meta.json").write_text(json.dumps(meta))
    write_message(tmp_path / "A_toy" / "init_net.pb", INIT)
    return tmp_path


def test_a_folder_of_workloads(folder):
    done = run("--workloads", folder)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split()[0] == "A_toy"
    assert "B_broken: caffe2py failed: " in done.stdout
    assert run("--workloads", folder, "--select", "A_").returncode == 0


def test_reading(folder):
    toy, broken = read_folder(folder)
    assert (toy.name, toy.group, toy.inputs, toy.outputs) == ("A_toy", "A", ["x"], ["z"])
    assert toy.init == INIT
    assert broken.init is None
    ops = toy.described()["ops"]
    assert [o["type"] for o in ops] == ["Relu", "Add"]
    assert ops[1]["input_shapes"] == [[2, 3], [3]]


@pytest.mark.parametrize(
    ("more", "check"),
    [
        ({"dist": "const", "a": 4}, lambda x: np.all(x == 4)),
        ({"dist": "randint", "a": 2, "b": 5}, lambda x: set(x.reshape(-1)) <= {2, 3, 4}),
        ({"dist": "uniform", "a": 1, "b": 2}, lambda x: np.all((x >= 1) & (x <= 2))),
        ({"dist": "normal", "a": 9, "b": 0.1}, lambda x: abs(x.mean() - 9) < 1),
        ({"dist": "values", "values": range(6)}, lambda x: x.reshape(-1).tolist() == [*range(6)]),
    ],
)
def test_arrays(more, check):
    spec = {"name": "n", "shape": (2, 3), "dtype": "float32", **more}
    array = draw(spec)
    assert (array.shape, array.dtype) == ((2, 3), np.float32)
    assert check(array)
    assert np.array_equal(array, draw(spec))


def test_own_nets_can_be_described():
    for name, make in own().items():
        work = make()
        assert work.name == name
        described = work.described()
        assert all(None not in op["output_shapes"][:1] for op in described["ops"])


def test_selection():
    assert chosen("A_x", [])
    assert chosen("A_x", ["A_"])
    assert not chosen("A_x", ["A_y", "B_"])


# ---------------------------------------------------------------- tables


def record(name, group, **engines):
    answers = {
        engine: value
        if isinstance(value, dict)
        else {"ok": True, "seconds": value, "error_of_output": 0.0}
        for engine, value in engines.items()
    }
    return {"workload": name, "group": group, "engines": answers}


RECORDS = [
    record("one", "A", caffe2py=0.001, torch=0.004, caffe2=0.002),
    record("two", "A", caffe2py=0.001, torch=0.001, caffe2={"refused": "no such thing"}),
    record(
        "three",
        "B",
        caffe2py=0.002,
        torch={"ok": True, "seconds": 1.0, "error_of_output": 0.5},
        caffe2={"error": "it died"},
    ),
]
NAMES = ["caffe2py", "torch", "caffe2"]


def test_rows():
    assert bench_nets.row(RECORDS[0], NAMES) == [
        "one", "1", "4", "2", "4.00", "2.00", "2 agree (0e+00)",
    ]  # fmt: skip
    assert bench_nets.row(RECORDS[1], NAMES)[3] == "-"
    assert bench_nets.row(RECORDS[2], NAMES)[2:6] == ["!1000", "failed", "", ""]


def test_means_count_what_agrees():
    found = bench_nets.means(RECORDS, NAMES)
    assert found == [
        ["A", "2.00 (2)", "2.00 (1)", "1.41 (2)"],
        ["B", "", "", ""],
        ["all", "2.00 (2)", "2.00 (1)", "1.41 (2)"],
    ]


def test_report_says_what_is_missing():
    lines = bench_nets.report(RECORDS, NAMES).splitlines()
    assert "two: caffe2 cannot express it: no such thing" in lines
    assert "three: torch does not agree: error 0.5" in lines
    assert "three: caffe2 failed: it died" in lines


# ---------------------------------------------------------------- what peers make of operators


@pytest.fixture
def layers(monkeypatch):
    """Workers import by bare names; so that these do not stay, they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "peers"))
    before = set(sys.modules)
    yield importlib.import_module("layers")
    for name in {"layers", "worker", "engine_torch", "onnx_graph"} - before:
        sys.modules.pop(name, None)


def operator(type_, *shapes, **args):
    return {"type": type_, "args": args, "input_shapes": list(shapes)}


def test_windows(layers):
    found = layers.window(operator("Conv", kernel=3, pad_t=1, stride_w=2))
    assert found == ([3, 3], [1, 2], [1, 1], [1, 0, 0, 0])
    found = layers.window(operator("Conv", kernels=[2, 3], pads=[1, 2, 3, 4], dilation=2))
    assert found == ([2, 3], [1, 1], [2, 2], [1, 2, 3, 4])
    for refused in ({"order": "NHWC"}, {"legacy_pad": 3}, {"kernels": [1, 1, 1]}):
        with pytest.raises(Exception, match="Conv: "):
            layers.window(operator("Conv", **refused))


def test_broadcasting(layers):
    assert layers.aligned(operator("Add", [2, 3], [2, 3], broadcast=1)) is None
    assert layers.aligned(operator("Add", [2, 3, 4], [3], broadcast=1, axis=1)) == [1, 3, 1]
    assert layers.aligned(operator("Add", [2, 3, 4], [4], broadcast=1)) == [1, 1, 4]


def test_dense_layers(layers):
    assert layers.dense(operator("FC", [2, 3, 4], [5, 12])) == ([2, 12], [5, 12], [2, 5])
    found = layers.dense(operator("FC", [2, 3, 4], [5, 4], axis=2))
    assert found == ([6, 4], [5, 4], [2, 3, 5])


def test_sums_of_what_was_expanded(layers):
    assert layers.summed_axes(operator("ExpandGradient", [4, 2, 3], [2, 1])) == ([0, 2], [2, 1])


def available(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


@pytest.mark.parametrize(
    ("name", "modules"), [("torch", ["torch"]), ("onnxruntime", ["onnx", "onnxruntime"])]
)
def test_peers_agree(name, modules):
    if not available(*modules):
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, TOOL, "--peers", name, "--rounds", "1", "--seconds", "0.01"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 agree") == len(own())
