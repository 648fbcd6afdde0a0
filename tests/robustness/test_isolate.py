"""Commands in a child process: what it says is passed on, and what kills it is named."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from caffe2py.cli import isolate
from caffe2py.errors import Error, UsageError
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import write_message
from caffe2py.tensor.memory import memory_used, parse_size, set_memory_budget
from caffe2py.tensor.tensor import empty
from tests.toy import net, op


@pytest.fixture
def run(tmp_path):
    """`run(net, "--max-seconds", 2)` in a process of its own."""

    def start(made, *args):
        write_message(tmp_path / "n.pb", made)
        command = [sys.executable, "-m", "caffe2py", "run", "--isolate", tmp_path / "n.pb", *args]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, timeout=120
        )

    return start


def forever():
    """A loop that gets nowhere."""
    made = net(
        op("ConstantFill", "", "c", shape=[1], dtype=5, value=True),
        op("While", "c", "c"),
        gives="c",
    )
    body = NetDef(name="body", op=[op("Copy", "c", "c2"), op("Copy", "c2", "c")])
    made.op[1].arg.add(name="loop_net").n.CopyFrom(body)
    return made


def test_what_the_child_says(run):
    done = run(net(op("Relu", "x", "y"), reads="x", gives="y"), "--input", "x=3:f32:ones")
    assert (done.returncode, done.stderr) == (0, "")
    assert "values 1, 1, 1" in done.stdout


def test_an_error_in_the_child(run):
    done = run(net(op("Rellu", "x", "y"), reads="x", gives="y"), "--input", "x=3")
    assert done.returncode == 4
    assert done.stderr.count("error: ") == 1
    assert "'Rellu' is not a Caffe2 operator" in done.stderr


def test_a_net_that_does_not_end(run):
    done = run(forever(), "--max-seconds", 4)
    assert done.returncode == 1
    assert "error: the isolated process" in done.stderr
    assert "4 s" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_child_that_dies(monkeypatch, number):
    died = f"import os; os.kill(os.getpid(), {int(number)})"
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command: real([sys.executable, "-c", died]))
    with pytest.raises(Error, match=f"the isolated process died: {number.name}") as caught:
        isolate.run_isolated(["run"], 60)
    assert caught.value.exit_code == 1


def test_its_limits():
    look = (
        "import resource as r; from caffe2py.cli.isolate import _limit; _limit(1 << 30, 7);"
        "print(*(r.getrlimit(x)[0] for x in (r.RLIMIT_DATA, r.RLIMIT_CPU, r.RLIMIT_CORE)));"
        "bytearray(4 << 30)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(3 << 30), "7", "0"]
    assert "MemoryError" in done.stderr


# ---------------------------------------------------------------- memory


def test_all_arrays_together_have_a_budget():
    before = set_memory_budget(memory_used() + (1 << 20))
    try:
        held = [empty((200_000,), np.dtype(np.uint8)) for _ in range(5)]
        with pytest.raises(Error, match=r"other arrays take \d+; the budget is"):
            empty((200_000,), np.dtype(np.uint8))
        held.pop()
        assert empty((200_000,), np.dtype(np.uint8)).size == 200_000
        with pytest.raises(Error, match=r"needs 2000000 bytes.*; the budget is"):
            empty((2_000_000,), np.dtype(np.uint8))
    finally:
        set_memory_budget(before)


def test_on_the_command_line(run):
    made = net(op("ConstantFill", "", "y", shape=[1 << 20]), gives="y")
    done = run(made, "--max-memory", "1M")
    assert done.returncode == 5
    assert "float32(1048576) needs 4194304 bytes; the budget is 1048576" in done.stderr


@pytest.mark.parametrize(
    ("text", "count"),
    [("100", 100), ("1K", 1024), ("1.5k", 1536), ("500MB", 500 << 20), ("4GiB", 4 << 30)],
)
def test_sizes(text, count):
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "-1", "4X", "G", "1e9", "9" * 40])
def test_no_sizes(text):
    with pytest.raises(UsageError, match="is no size"):
        parse_size(text)
