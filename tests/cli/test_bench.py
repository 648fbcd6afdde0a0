"""`caffe2py bench` and `caffe2py profile`: nothing here depends on how long anything takes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from caffe2py.executor.ceilings import Ceilings
from caffe2py.proto.caffe2_pb2 import PlanDef
from caffe2py.tensor.serialize import blob_from_proto, parse_blob, serialize_blob
from tests.toy import INIT, PREDICT, net, op

DIGITS = Path(__file__).parents[2] / "nets" / "digits"
FEW = ("--iter", "3", "--warmup", "1")


@pytest.fixture(autouse=True)
def _quick_ceilings(monkeypatch):
    """They take a while to measure, and are tested by themselves."""
    import caffe2py.cli.bench as bench
    import caffe2py.cli.profile as profile

    for module in (bench, profile):
        monkeypatch.setattr(module, "measure_ceilings", lambda threads: Ceilings(100.0, 10.0))


@pytest.fixture
def model(tmp_path, save):
    """A folder with the toy net: z = relu(x) + w."""
    save("predict_net.pb", PREDICT)
    save("init_net.pb", INIT)
    return tmp_path


def test_text(cli):
    result = cli("bench", DIGITS, *FEW)
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: input 'data' is not given: random values, float32(1,1,8,8)\n"
    )
    first, figures, samples, *others = result.stdout.splitlines()
    number = r"[\d.e+-]+"
    pattern = rf"Main run finished. Milliseconds per iter: {number}. Iters per second: {number}"
    assert re.fullmatch(pattern, first)
    names = ("min", "median", "mean", "p90", "p95", "p99", "max")
    assert [word for word in figures.split() if word in names] == list(names)
    assert samples.strip().startswith("3 samples")
    assert "kernels compiled" in result.stdout
    assert others[-2].startswith("peak memory")
    assert "of arrays: weights" in others[-1]


def test_json(cli):
    found = json.loads(cli("bench", DIGITS, *FEW, "--json", "--run-individual", "-q").stdout)
    run = found["milliseconds"]
    assert found["iterations"] == 3
    assert run["min"] <= run["median"] <= run["p90"] <= run["p95"] <= run["p99"] <= run["max"]
    assert list(found["before"]) == ["load", "init", "inputs", "bind", "first_run", "warmup"]
    assert found["peak_memory_bytes"] > 1e6
    assert found["ceilings"] == {"gflops": 100, "gigabytes_per_second": 10}
    assert sum(one["share"] for one in found["operators"]) == pytest.approx(1)
    assert sum(one["count"] for one in found["types"]) == len(found["operators"])
    convolution = next(one for one in found["operators"] if "Conv" in one["type"])
    assert convolution["multiply_adds"] > 0
    seconds = convolution["milliseconds"] / 1000
    assert convolution["gflops"] == pytest.approx(2 * convolution["multiply_adds"] / seconds / 1e9)
    rate = convolution["bytes_moved"] / seconds / 1e9
    assert convolution["gigabytes_per_second"] == pytest.approx(rate)


def test_every_operator_is_in_the_table(cli):
    text = cli("bench", DIGITS, *FEW, "--run-individual", "--no-optimize").stdout
    table = text[text.index("#  type") :].splitlines()
    assert table[0].split() == [
        "#", "type", "operator", "ms", "share", "GFLOP/s", "of", "peak", "GB/s", "of", "copy",
    ]  # fmt: skip
    types = [line.split()[1] for line in table[1 : table.index("")]]
    assert types.count("Conv") == 2
    assert types[-1] == "Softmax"
    assert "this machine now: 100.0 GFLOP/s" in text


def test_the_flags_of_caffe2(cli, model):
    out = model / "out"
    result = cli(
        "bench",
        f"--net={model}/predict_net.pb", "--init_net", model / "init_net.pb",
        "--input", "x", "--input_dims", "2,3;", "--input_type", "float",
        "--warmup", 1, "--iter", 2, "--run_individual=true", "--backend", "builtin",
        "--output", "z", "--output_folder", out, "--text_output=false",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "Milliseconds per iter" in result.stdout
    assert "Relu" in result.stdout
    found = blob_from_proto(parse_blob((out / "z.pb").read_bytes()))
    assert found.shape == (2, 3)


def test_outputs_as_text(cli, model):
    args = ("--input-dims", "3", "--output", "*", "--output-folder", model / "o", "--text_output")
    assert cli("bench", model, *FEW, *args).exit_code == 0
    found = np.loadtxt(model / "o" / "z.txt")
    assert np.all((found >= [1, 2, 3]) & (found <= [2, 3, 4]))


def test_inputs_from_files(cli, model):
    x = np.array([-1, 0, 5], np.float32)
    (model / "x.blob").write_bytes(serialize_blob("x", x))
    np.save(model / "x.npy", x)
    for name in ("x.blob", "x.npy"):
        args = ("--input_file", model / name, "--output_folder", model / "o", "--text_output")
        assert cli("bench", model, *FEW, *args).exit_code == 0
        assert np.loadtxt(model / "o" / "z.txt").tolist() == [1, 2, 8]


def test_types_of_inputs(cli, save):
    path = save("x.pb", net(op("Cast", "x", "y", to="float"), op("Add", "y z", "u")))
    args = ("--input_dims", "4;1,4", "--input_type", "uint8_t;float", "--input", "x,z")
    assert cli("bench", path, *FEW, *args).exit_code == 0


def test_a_plan_is_timed_as_a_whole(cli, failing, save):
    plan = PlanDef(name="p", network=[INIT, PREDICT])
    plan.execution_step.add(name="s").network.extend(["toy_init", "toy"])
    path = save("plan.pb", plan)
    args = ("bench", path, *FEW, "--input", "x=1x3")
    assert cli(*args).stdout.startswith("Main run finished.")
    assert "this is a plan" in failing(2, *args, "--run-individual")


@pytest.mark.parametrize(
    ("code", "args", "match"),
    [
        (2, [], "name one net"),
        (2, ["NET", "--net", "x"], "name one net"),
        (1, ["NET"], "input 'x' is not given, and the net does not tell its shape"),
        (2, ["NET", "--input-dims", "1;2"], "2 shape(s) and 2 type(s) for the inputs x"),
        (2, ["NET", "--input-dims", "1,-3"], "'1,-3' is no shape"),
        (2, ["NET", "--input-dims", "a"], "'a' is no shape"),
        (2, ["NET", "--input-dims", "3", "--input-type", "complex"], "'complex' is no type"),
        (2, ["NET", "--input-dims", "3", "--input-file", "x"], "exclude each other"),
        (2, ["NET", "--input-file", "x,y"], "2 file(s) for the inputs x"),
        (5, ["NET", "--input-file", "/nowhere/x"], "cannot be read"),
        (2, ["NET", "--input-dims", "3", "--input", "y"], "takes no blob 'y'"),
        (1, ["NET", "--input-dims", "2"], "op #1 Add"),
        (5, ["NET", "--input-dims", "3", "--output-folder", "/proc/none"], "cannot be written"),
        (2, ["NET", "--iter", "0"], "--iter"),
    ],
)
def test_refused(failing, model, code, args, match):
    command = [str(model) if arg == "NET" else arg for arg in args]
    assert match in failing(code, "bench", *command)


# ---------------------------------------------------------------- profile


def test_profile(cli, tmp_path):
    path = tmp_path / "t.json"
    result = cli("profile", DIGITS, *FEW, "--trace", path, "--no-optimize", "-q")
    assert result.exit_code == 0
    assert "#  type" in result.stdout
    assert "type" in result.stdout.split("\n\n")[1]
    trace = json.loads(path.read_text())
    events = trace["traceEvents"]
    for event in events:
        assert {"name", "ph", "pid", "tid", "args"} <= event.keys()
        assert event["ph"] in ("M", "X", "C")
    named = [e for e in events if e["ph"] == "M"]
    assert [e["name"] for e in named] == ["process_name", "thread_name", "thread_name"]
    timed = [e for e in events if e["ph"] == "X"]
    assert all({"ts", "dur", "cat"} <= e.keys() and e["dur"] >= 0 <= e["ts"] for e in timed)
    iterations = [e for e in timed if e["cat"] == "net"]
    operators = [e for e in timed if e["cat"] != "net"]
    assert len(iterations) == 3
    assert len(operators) % 3 == 0
    keys = {"type", "name", "inputs", "outputs", "input_shapes", "output_shapes", "index"}
    assert all(keys <= e["args"].keys() for e in operators)
    first = next(e for e in operators if e["cat"] == "Conv")
    assert first["args"]["input_shapes"][0] == "float32(1,1,8,8)"
    assert first["args"]["GFLOP/s"] > 0
    counters = [e for e in events if e["ph"] == "C"]
    assert len(counters) == 3
    assert all(e["args"]["MB"] > 1 for e in counters)


def test_operators_lie_within_their_iteration(cli, tmp_path):
    path = tmp_path / "t.json"
    cli("profile", DIGITS, *FEW, "--trace", path)
    timed = [e for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"]
    whole = [e for e in timed if e["cat"] == "net"]
    for event in timed:
        end = event["ts"] + event["dur"]
        assert any(
            w["ts"] <= event["ts"] + 0.01 and end <= w["ts"] + w["dur"] + 0.01 for w in whole
        )


def test_profile_as_json(cli):
    found = json.loads(cli("profile", DIGITS, *FEW, "--json", "-q").stdout)
    assert found["iterations"] == 3
    assert found["types"][0]["share"] >= found["types"][-1]["share"]


def test_profile_refuses(failing, tmp_path):
    assert "cannot be written" in failing(
        5, "profile", DIGITS, *FEW, "-q", "--trace", tmp_path / "no" / "t.json"
    )
    assert "name one net" in failing(2, "profile")
