"""`caffe2py run`."""

import json
import re

import numpy as np
import pytest

from caffe2py.proto.caffe2_pb2 import PROTO_CUDA, PlanDef
from caffe2py.registry import threads
from tests.toy import INIT, PREDICT, fill, net, op

X = np.array([[-1.0, 0.0, 2.0]], np.float32)
Z = np.array([[1.0, 2.0, 5.0]], np.float32)


@pytest.fixture
def model(tmp_path, save):
    """A folder with both nets, an input and what comes out."""
    save("predict_net.pb", PREDICT)
    save("init_net.pb", INIT)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "z.npy", Z)
    return tmp_path


def test_text(cli, model):
    result = cli("run", model, "--input", model / "x.npy")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "z: float32 (1,3)"
    assert lines[1].split() == ["min", "1", "max", "5", "mean", "2.66667", "std", "1.69967"]
    assert [line.split() for line in lines[2:]] == [["2", "5"], ["1", "2"], ["0", "1"]]


def test_json(cli, model):
    result = cli("run", model, "--input", f"x={model}/x.npy", "--json")
    found = json.loads(result.stdout)["outputs"]["z"]
    assert (found["dtype"], found["shape"]) == ("float32", [1, 3])
    assert (found["min"], found["max"], found["non_finite"]) == (1, 5, 0)
    assert found["values"] == [1, 2, 5]
    assert [t["index"] for t in found["top"]] == [2, 1, 0]


def test_json_has_no_nan(cli, save):
    path = save("x.pb", net(op("Relu", "x", "y")))
    np.save(path.with_suffix(".npy"), np.array([np.inf, 1], np.float32))
    result = cli("run", path, "--json", "--input", path.with_suffix(".npy"))
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert found["outputs"]["y"]["non_finite"] == 1
    assert found["outputs"]["y"]["values"] == [None, 1]


def test_labels(cli, model):
    (model / "labels.txt").write_text("red\ngreen\n")
    result = cli("run", model, "--input", model / "x.npy", "--labels", model / "labels.txt")
    assert [line.split()[2:] for line in result.stdout.splitlines()[2:]] == [[], ["green"], ["red"]]


def test_other_outputs_and_files(cli, model):
    out = model / "all.npz"
    args = ("run", model, "--input", model / "x.npy", "--output", "y", "--output", "w")
    assert cli(*args, "-o", out).exit_code == 0
    with np.load(out) as found:
        assert sorted(found) == ["w", "y"]
        assert np.array_equal(found["y"], np.maximum(X, 0))
    cli("run", model, "--input", model / "x.npy", "-o", model / "one.npy")
    assert np.array_equal(np.load(model / "one.npy"), Z)


def test_expect(cli, model):
    args = ("run", model, "--input", model / "x.npy")
    result = cli(*args, "--expect", model / "z.npy")
    assert result.exit_code == 0
    assert "z equals what is expected: largest error 0" in result.stdout
    np.savez(model / "wrong.npz", z=Z + np.float32(0.5))
    result = cli(*args, "--expect", model / "wrong.npz")
    assert result.exit_code == 1
    assert "z DIFFERS FROM what is expected: largest error 0.5" in result.stdout
    assert "3 of 3 beyond tolerance" in result.stdout
    assert cli(*args, "--expect", model / "wrong.npz", "--atol", "0.6").exit_code == 0
    assert cli(*args, "--expect", model / "wrong.npz", "--rtol", "0.4").exit_code == 0
    found = json.loads(cli(*args, "--expect", model / "wrong.npz", "--json").stdout)["expect"]["z"]
    assert (found["fits"], found["max_abs"], found["mismatches"]) == (False, 0.5, 3)


def test_expect_of_another_shape_or_name(cli, failing, model):
    args = ("run", model, "--input", model / "x.npy", "--expect", model / "bad.npz")
    np.savez(model / "bad.npz", z=Z[0])
    result = cli(*args)
    assert result.exit_code == 1
    assert "it has the shape (1,3), expected (3)" in result.stdout
    np.savez(model / "bad.npz", q=Z)
    assert "names 'q', which is no output (outputs: z)" in failing(2, *args)


def test_timing(cli, model):
    result = cli("run", model, "--input", model / "x.npy", "--iter", "7", "--warmup", "2")
    assert "milliseconds per iter: mean " in result.stdout
    assert "(7 iterations)" in result.stdout
    made = cli("run", model, "--input", "1x3", "--iter", "7", "--json")
    found = json.loads(made.stdout)["milliseconds"]
    assert found["iterations"] == 7
    assert found["min"] <= found["p50"] <= found["p90"] <= found["max"]


def test_an_environment_that_says_nonsense_is_named(cli, model, monkeypatch):
    monkeypatch.setattr(threads, "_count", 0)
    monkeypatch.setenv("CAFFE2PY_THREADS", "many")
    result = cli("run", model, "--input", "x=1,2,3")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: CAFFE2PY_THREADS is 'many'; expected a number")


def test_threads_and_device(cli, model):
    args = ("run", model, "--input", model / "x.npy", "--expect", model / "z.npy")
    assert cli(*args, "--threads", "1").exit_code == 0
    assert cli(*args, "--device", "cpu").exit_code == 0


def test_device_overrides_the_net(cli, failing, save):
    wants_cuda = net(op("Relu", "x", "y"))
    wants_cuda.op[0].device_option.device_type = PROTO_CUDA
    wants_cuda.op[0].device_option.device_id = 99
    path = save("x.pb", wants_cuda)
    missing = re.compile("no NVIDIA driver|are not installed|no device cuda:99")
    assert missing.search(failing(4, "run", path, "--input", "3"))
    assert cli("run", path, "--input", "3", "--device", "cpu").exit_code == 0
    assert missing.search(failing(4, "run", path, "--input", "3", "--device", "cuda:99"))
    assert "'tpu' is not a device" in failing(4, "run", path, "--device", "tpu")


def test_plan(cli, save):
    plan = PlanDef(name="p", network=[INIT, PREDICT])
    for name in ("toy_init", "toy"):
        plan.execution_step.add(name=f"step_{name}").network.append(name)
    path = save("plan.pb", plan)
    np.save(path.with_suffix(".npy"), X)
    result = cli("run", path, "--input", path.with_suffix(".npy"), "--iter", "2", "-q")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("z: float32 (1,3)")


def test_stand_in_is_used_with_a_warning(cli, save):
    save("init_net.pb", net(fill("w", [1, 2, 3]), fill("x", [5, 5, 5], [1, 3])))
    path = save("predict_net.pb", PREDICT)
    result = cli("run", path)
    assert result.exit_code == 0
    assert result.stderr == "warning: input 'x' is not given: it is what the init net makes\n"


def test_image(cli, save, tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "p.png")
    path = save("x.pb", net(op("Relu", "x", "y")))
    out = tmp_path / "y.npy"
    result = cli(
        "run",
        path,
        "--input",
        tmp_path / "p.png",
        "--size",
        "2x3",
        "--mean",
        "10",
        "--scale",
        "0.5",
        "-o",
        out,
    )
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(np.load(out), np.broadcast_to([[[[10]], [[5]], [[0]]]], (1, 3, 2, 3)))


def test_a_net_without_a_name(cli, save):
    path = save("x.pb", net(op("Relu", "x", "y"), name=""))
    assert cli("run", path, "--input", "3", "--iter", "2").exit_code == 0


def test_blob_names_cannot_control_the_terminal(cli, save):
    path = save("x.pb", net(op("Relu", "x", "\x1b[31my")))
    result = cli("run", path, "--input", "3")
    assert "\x1b" not in result.stdout
    assert "\\x1b[31my: float32 (3)" in result.stdout


def test_unknown_output(failing, model):
    line = failing(1, "run", model, "--input", model / "x.npy", "--output", "zz")
    assert "blob 'zz' does not exist" in line


def test_files_that_cannot_be_written_or_read(failing, model):
    args = ("run", model, "--input", model / "x.npy")
    assert "cannot be written" in failing(5, *args, "-o", model / "no" / "x.npz")
    assert "ends in neither" in failing(2, *args, "-o", model / "x.txt")
    assert "cannot be read" in failing(5, *args, "--labels", model / "none.txt")
    assert "no such file" in failing(5, *args, "--expect", model / "none.npy")


def test_a_declared_output_that_stays_empty_is_left_out(cli, save):
    path = save("x.pb", net(op("Dropout", "x", "y mask", is_test=1), gives="y mask"))
    result = cli("run", path, "--input", "3")
    assert result.exit_code == 0
    assert result.stdout.startswith("y: float32 (3)")
    assert "mask: " not in result.stdout
    assert "warning: output 'mask' holds nothing" in result.stderr


def test_fused_nets_answer_alike_and_lose_nothing_that_is_asked_for(cli, tmp_path, save):
    rng = np.random.default_rng(0)
    net_ = net(
        op("Conv", "x w", "c", kernel=3),
        op("Relu", "c", "r"),
        op("Conv", "r w", "y", kernel=3),
        name="fused",
        reads="x w",
        gives="y",
    )
    save("predict_net.pb", net_)
    save("init_net.pb", net(fill("w", rng.uniform(-1, 1, 9).tolist(), [1, 1, 3, 3]), name="init"))
    np.save(tmp_path / "x.npy", rng.uniform(-1, 1, (1, 1, 8, 8)).astype(np.float32))
    found = []
    for options in ([], ["--no-optimize"], ["--output", "y", "--output", "c"]):
        result = cli("run", tmp_path, "--input", tmp_path / "x.npy", "--json", *options)
        assert result.exit_code == 0, result.stderr
        found.append(json.loads(result.stdout)["outputs"])
    assert np.allclose(found[0]["y"]["mean"], found[1]["y"]["mean"], rtol=1e-5)
    assert found[2]["y"] == found[0]["y"]
    assert found[2]["c"]["min"] < 0
