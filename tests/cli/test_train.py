"""`caffe2py train`, `caffe2py resume`, `caffe2py plot`."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from click.testing import CliRunner

from caffe2py import core
from caffe2py.cli import program
from caffe2py.cli import train as module
from caffe2py.proto.files import read_net, write_message
from tests.cli.conftest import ROOT
from tests.learning import Files, rows, weights
from tests.toy import fill, net, op


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def losses(path):
    return [(r["iteration"], r["loss"]) for r in records(path)]


def test_a_run(cli, files):
    result = cli(*files.saving())
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0][:6] == ["trained", "15", "iterations", "(3", "epochs)", "in"]
    assert [line[0] for line in lines[1:]] == ["loss", "learning_rate", "test_loss", "saved", "log"]
    assert sorted(p.name for p in files.run.iterdir()) == [
        ".lock",
        "checkpoint-0000000005.npz",
        "checkpoint-0000000010.npz",
        "checkpoint-0000000015.npz",
        "init_net.pb",
        "log.jsonl",
        "run.json",
        "test_net.pb",
        "train_net.pb",
    ]
    found = records(files.run / "log.jsonl")
    assert [r["iteration"] for r in found] == list(range(1, 16))
    assert [r["iteration"] for r in found if "test_loss" in r] == [5, 10, 15]
    assert set(found[4]) == {
        "iteration", "loss", "learning_rate", "epoch", "test_loss", "seconds"
    }  # fmt: skip
    assert found[-1]["test_loss"] < found[4]["test_loss"]


def test_json(cli, files):
    result = cli(*files.arguments("--json", "--log", files.folder / "x.jsonl"))
    found = json.loads(result.stdout)
    assert (found["iterations"], found["of"], found["iteration"]) == (15, 15, 15)
    assert found["log"] == str(files.folder / "x.jsonl")
    assert len(records(files.folder / "x.jsonl")) == 15


def test_how_often(cli, files):
    arguments = [a for a in files.saving() if a not in ("--epochs", 3)]
    more = ("--iterations", 12, "--every", 4, "--keep", 2, "--test-every", 6)
    assert cli(*arguments, *more).exit_code == 0
    names = sorted(p.name for p in files.run.glob("checkpoint*"))
    assert names == ["checkpoint-0000000008.npz", "checkpoint-0000000012.npz"]
    tested = [r["iteration"] for r in records(files.run / "log.jsonl") if "test_loss" in r]
    assert tested == [6, 12]


def test_a_model_to_predict_with(cli, files):
    predict = net(
        op("FC", "x hidden_w hidden_b", "h"),
        op("Relu", "h", "h"),
        op("FC", "h found_w found_b", "sum"),
        name="predict",
        reads="x hidden_w hidden_b found_w found_b",
        gives="sum",
    )
    write_message(files.folder / "p.pb", predict)
    result = cli(*files.saving("--predict", files.folder / "p.pb", epochs=80))
    assert f"model          {files.run}/model" in result.stdout
    assert list(read_net(files.run / "model" / "init_net.pb").external_output) == [
        "hidden_w", "hidden_b", "found_w", "found_b"
    ]  # fmt: skip
    expected = rows(2, 3)
    np.save(files.folder / "x.npy", expected["x"])
    out = files.folder / "y.npy"
    assert (
        cli("run", files.run / "model", "--input", files.folder / "x.npy", "-o", out).exit_code == 0
    )
    assert np.allclose(np.load(out), expected["wanted"], atol=0.6)


def test_seeds_and_the_same_bits(cli, files):
    found = []
    for seed, folder in [(0, "a"), (0, "b"), (7, "c")]:
        files.run = files.folder / folder
        assert cli(*files.saving("--seed", seed)).exit_code == 0
        found.append((weights(files.run), losses(files.run / "log.jsonl")))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_net_that_reads_its_own_rows(cli, files):
    train = net(
        op("UniformFill", "", "x", shape=[3]),
        op("Sub", "x w", "d"),
        op("SquaredL2Distance", "x w", "ds"),
        op("AveragedLoss", "ds", "loss"),
        name="t",
    )
    write_message(files.train, train)
    write_message(files.init, net(fill("w", [1, 2, 3]), name="i"))
    arguments = ["train", files.init, files.train, "--loss", "loss"]
    assert cli(*arguments, "--iterations", 3).exit_code == 0
    assert cli(*arguments, "--epochs", 3).exit_code == 2


def test_a_plan_trains_as_well(cli, files):
    """What the real Caffe2 would run: init net once, then the train net again and again."""
    init, train = (core.Net(read_net(path)) for path in (files.init, files.train))
    for name, value in rows().items():
        init.GivenTensorFill([], name, shape=value.shape, values=value.reshape(-1))
    plan = core.Plan("plan")
    plan.AddStep(core.execution_step("begin", init))
    plan.AddStep(core.execution_step("train", train, num_iter=60))
    path = files.folder / "plan.pbtxt"
    write_message(path, plan.Proto())
    result = cli("run", path, "--output", "loss", "--output", "optimizer_iteration", "--json", "-q")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["outputs"]
    assert found["optimizer_iteration"]["values"] == [60]
    assert found["loss"]["values"][0] < 0.5


# ---------------------------------------------------------------- going on


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run of 40 epochs that nothing stops ends with."""
    files = Files(tmp_path_factory.mktemp("whole"))
    arguments = [str(a) for a in files.saving(epochs=40)]
    assert CliRunner().invoke(program, arguments).exit_code == 0
    return weights(files.run), losses(files.run / "log.jsonl")


def test_a_longer_run_is_one_that_was_longer(cli, files, whole):
    assert cli(*files.saving(epochs=13)).exit_code == 0
    result = cli("resume", files.run)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "nothing is left to do: 65 iterations are done",
    )
    assert cli("resume", files.run, "--epochs", 40).exit_code == 0
    assert (weights(files.run), losses(files.run / "log.jsonl")) == whole
    assert cli("resume", files.run).stdout.startswith("nothing is left to do: 200 iterations")


def test_it_goes_on_from_an_older_checkpoint_if_the_newest_is_damaged(cli, files, whole):
    assert cli(*files.saving("--every", 10, epochs=40)).exit_code == 0
    newest = files.run / "checkpoint-0000000200.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    result = cli("resume", files.run)
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    assert "is no sound checkpoint" in result.stderr
    assert "an older checkpoint is taken" in result.stderr
    assert (weights(files.run), losses(files.run / "log.jsonl")) == whole


def test_it_begins_at_the_beginning_without_a_checkpoint(cli, files, whole):
    assert cli(*files.saving(epochs=40)).exit_code == 0
    for path in files.run.glob("checkpoint*"):
        path.unlink()
    assert cli("resume", files.run).exit_code == 0
    assert (weights(files.run), losses(files.run / "log.jsonl")) == whole


SLOW = """
import sys, time
from caffe2py.training import trainer
step = trainer.Trainer.step
def slow(self):
    time.sleep(0.01)
    return step(self)
trainer.Trainer.step = slow
from caffe2py.cli import main
sys.argv = ["caffe2py", *{arguments}]
main()
"""


@pytest.fixture
def slowly(process):
    """A process that takes its time over each iteration."""
    return lambda *args: process(code=SLOW.format(arguments=[str(a) for a in args]))


def wait_for(child, files, iteration):
    """Until a checkpoint of that iteration or a later one is there."""
    name = f"checkpoint-{iteration:010d}.npz"
    for _ in range(3000):
        if child.poll() is not None:
            pytest.fail(f"it ended: {child.stderr.read()}")
        if any(path.name >= name for path in files.run.glob("checkpoint-*.npz")):
            return
        time.sleep(0.01)
    pytest.fail("no checkpoint")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(cli, slowly, files, whole, number, status):
    child = slowly(*files.saving("--every", 50, epochs=40))
    for _ in range(3000):
        log = files.run / "log.jsonl"
        if log.exists() and len(log.read_text().splitlines()) > 20:
            break
        time.sleep(0.01)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == status
    reached = weights(files.run)[0]
    assert 20 < reached < 200
    assert err.strip() == (
        f"stopped after iteration {reached} of 200; go on with: caffe2py resume {files.run}"
    )
    assert out.startswith(f"trained {reached} iterations")
    result = cli("resume", files.run)
    assert result.exit_code == 0
    assert (weights(files.run), losses(files.run / "log.jsonl")) == whole


def test_interrupted_with_nothing_to_save_to(slowly, files):
    log = files.folder / "x.jsonl"
    child = slowly(*files.arguments("--log", log, epochs=1000))
    while not log.exists() or not log.read_text():
        time.sleep(0.01)
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.strip().endswith("of 5000; nothing is saved (try: --save DIR)")


def test_killed_again_and_again(cli, slowly, files, whole):
    """SIGKILL at any moment: a checkpoint at every iteration is being written nearly always."""
    arguments = files.saving("--every", 1, epochs=40)
    reached = 0
    for wait in (0.0, 0.003, 0.011, 0.05):
        child = slowly(*arguments)
        wait_for(child, files, reached + 1)
        time.sleep(wait)
        child.kill()
        child.wait()
        before, reached = reached, weights(files.run)[0]
        assert before < reached < 200
        arguments = ["resume", files.run]
    assert cli("resume", files.run).exit_code == 0
    assert (weights(files.run), losses(files.run / "log.jsonl")) == whole
    assert not list(files.run.glob("*.tmp"))
    assert not list(files.run.glob(".*.tmp"))


def test_two_do_not_train_in_one_folder(failing, slowly, files):
    child = slowly(*files.saving("--every", 1, epochs=100))
    wait_for(child, files, 1)
    assert "another process trains here" in failing(2, "resume", files.run)
    child.kill()
    child.wait()


# ---------------------------------------------------------------- on a terminal


def on_terminal(*args):
    """What a command line writes to a terminal on stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-m", "caffe2py", *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 4096):
            text += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert child.wait(60) == 0
    return text.decode()


def test_a_bar_on_a_terminal_only(cli, files):
    text = on_terminal(*files.arguments("--test", files.test))
    assert "15/15" in text
    assert "test_loss" in text
    assert on_terminal(*files.arguments("-q")) == ""
    assert cli(*files.arguments()).stderr == ""


# ---------------------------------------------------------------- wrong input


def test_usage(failing, files):
    arguments = files.arguments()
    short = [a for a in arguments if a not in ("--epochs", 3)]
    assert "how long to train is not said (try: --epochs 10" in failing(2, *short)
    assert "exclude each other" in failing(2, *arguments, "--iterations", 5)
    assert "--predict needs --save DIR" in failing(2, *arguments, "--predict", files.test)
    assert "--batch 40" in failing(2, *arguments, "--batch", 41)
    assert "--loss 'lss': the net makes no such blob" in failing(2, *arguments, "--loss", "lss")


def test_swapped_nets(failing, files):
    line = failing(3, "train", files.train, files.init, "--data", files.data, "--epochs", 1)
    assert line.startswith(f"{files.train}: as an init net it makes all from nothing, and this")
    assert f"caffe2py train {files.init} {files.train}" in line


def test_a_plan_is_no_net_to_train(failing, files):
    from caffe2py.proto.caffe2_pb2 import PlanDef

    plan = PlanDef(name="p", network=[net(op("Relu", "x", "y"))])
    plan.execution_step.add(name="s").network.append("toy")
    write_message(files.train, plan)
    assert "is a plan, and training takes a net" in failing(2, *files.arguments())


def test_missing_rows(failing, files):
    line = failing(1, "train", files.init, files.train, "--epochs", 1)
    assert line == (
        "net 'learn': the train net reads 'x', 'wanted', which nothing makes (try: --data FILE.npz)"
    )
    np.savez(files.data, x=rows()["x"], wantd=rows()["wanted"])
    line = failing(1, *files.arguments())
    assert "rows.npz: holds no array 'wanted'" in line
    assert "it holds x, wantd; did you mean 'wantd'?" in line
    files.write_rows()
    files.data.unlink()
    assert "rows.npz: no such file" in failing(5, *files.arguments())


def test_no_rows_to_test_on(failing, files):
    np.savez(files.data, **rows())
    line = failing(2, *files.saving())
    assert "rows.npz: it holds no arrays to test on" in line
    np.savez(files.folder / "test.npz", **{f"test/{n}": a for n, a in rows(1, 3).items()})
    assert failing(2, *files.saving("--test-data", files.data)) == line


@pytest.mark.parametrize(
    ("arrays", "code", "message"),
    [
        ({"train/x": rows()["x"][:, :5]}, 1, "with x float32(8,5), wanted float32(8,1) of "),
        ({"train/x": rows()["x"].astype(np.float64)}, 1, "(try: save 'x' as float32)"),
        ({"train/x": rows()["x"].astype(complex)}, 1, "array 'x': no tensor holds complex64"),
        ({"train/x": rows()["x"][:30]}, 1, "different numbers of rows: 'x' 30, 'wanted' 40"),
        ({"train/x": np.array([None] * 40)}, 5, "holds Python objects (a pickle)"),
        ({"test/x": rows(1, 10)["x"][:, :2]}, 1, "net 'measure', op #0 FC"),
    ],
)
def test_rows_of_another_kind(failing, files, arrays, code, message):
    arrays = {n: a.astype(np.complex64) if a.dtype == complex else a for n, a in arrays.items()}
    files.write_rows(**arrays)
    line = failing(code, *files.saving())
    assert message in line
    assert "rows.npz" in line
    assert not files.run.exists(), "a run that has not begun leaves no folder"


def test_places_that_cannot_be_written(failing, files):
    files.run = files.data / "run"
    assert f"{files.run}: cannot be written: Not a directory" in failing(5, *files.saving())
    line = failing(5, *files.arguments("--log", files.folder / "none" / "x.jsonl"))
    assert "x.jsonl: cannot be written: No such file" in line


def test_a_folder_that_is_taken_or_holds_nothing(cli, failing, files):
    assert cli(*files.saving()).exit_code == 0
    before = weights(files.run)
    line = failing(2, *files.saving())
    assert f"holds a run already (try: caffe2py resume {files.run}" in line
    assert weights(files.run) == before
    assert "holds no run: there is no run.json" in failing(5, "resume", files.folder)
    assert not (files.folder / ".lock").exists()
    assert "holds no run" in failing(5, "resume", files.folder / "nowhere")
    (files.run / "run.json").write_text('{"batch": 8, "colour": "red"}')
    assert "run.json: unknown setting 'colour'" in failing(3, "resume", files.run)
    (files.run / "run.json").write_text("hello")
    assert "run.json: is no run" in failing(3, "resume", files.run)


def test_other_rows_than_those_it_began_with(cli, failing, files):
    assert cli(*files.saving()).exit_code == 0
    files.write_rows(**{"train/x": rows()["x"] + 1})
    line = failing(2, "resume", files.run, "--epochs", 5)
    assert "is not what the run began with" in line
    files.write_rows()
    moved = files.data.rename(files.folder / "moved.npz")
    assert "no such file" in failing(5, "resume", files.run, "--epochs", 5)
    assert cli("resume", files.run, "--epochs", 5, "--data", moved).exit_code == 0


def test_a_loss_that_is_not_finite(cli, failing, files):
    wild = rows()["x"].copy()
    wild[:] = 1e30
    files.write_rows(**{"train/x": wild})
    line = failing(1, *files.saving())
    assert line.startswith("iteration 1: the loss 'loss' is inf (try: --check-finite")
    assert records(files.run / "log.jsonl")[-1]["loss"] is None
    line = failing(1, "resume", files.run, "--check-finite")
    assert line.startswith("iteration 1: net 'learn', op #4 SquaredL2Distance: it is the first to")
    assert "'distance' holds 8 infinite of 8 elements; it read 'found' from " in line


def test_what_an_operator_refuses(failing, files):
    train = read_net(files.train)
    train.op.add(type="Gather", input=["wanted", "rows"], output=["picked"])
    write_message(files.train, train)
    files.write_rows(**{"train/rows": np.full(40, 99, np.int32)})
    line = failing(1, *files.arguments())
    assert line.startswith("iteration 1: net 'learn', op #")
    assert " Gather: " in line


def test_interrupts_elsewhere_than_in_the_main_thread(files):
    import threading

    caught = []

    def run():
        with module._Interrupts().caught():
            caught.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [True]


def test_the_second_interrupt_ends_at_once():
    interrupts = module._Interrupts()
    before = signal.getsignal(signal.SIGINT)
    with interrupts.caught():
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


# ---------------------------------------------------------------- plot


@pytest.fixture
def log(files):
    path = files.folder / "log.jsonl"
    lines = [{"iteration": k, "loss": 1 / k, "test_accuracy": 1 - 1 / k} for k in range(1, 9)]
    lines[3] = {"iteration": 4, "loss": None}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_plot(cli, log, suffix, magic):
    out = log.with_suffix(f".{suffix}")
    result = cli("plot", log, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{out}: 8 iterations, loss, test_accuracy\n"
    assert out.read_bytes().startswith(magic)
    before = out.read_bytes()
    assert cli("plot", log.parent, "-o", out, "--log-scale").exit_code == 0
    assert out.read_bytes() != before


def test_plot_shows_what_is_in_the_log(cli, log):
    from PIL import Image

    out = log.with_suffix(".png")
    assert cli("plot", log, "-o", out).exit_code == 0
    with Image.open(out) as picture:
        assert picture.size == (960, 600)
        assert len(set(picture.convert("RGB").get_flattened_data())) > 50


def test_plot_without_matplotlib(failing, log, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    line = failing(4, "plot", log, "-o", log.with_suffix(".png"))
    assert "pip install caffe2py[plot]" in line


def test_plot_refuses(failing, log):
    assert "ends in none of .png, .svg, .pdf" in failing(2, "plot", log, "-o", "x.gif")
    assert "cannot be read" in failing(5, "plot", log.with_name("none"), "-o", "x.png")
    assert "cannot be written" in failing(5, "plot", log, "-o", log.parent / "no" / "x.png")
    log.write_text("hello\n")
    assert "line 1 is no JSON object" in failing(3, "plot", log, "-o", "x.png")
