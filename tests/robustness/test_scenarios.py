"""Disks that are full, too few open files, two writers, folders that are not there: by name."""

import os
import subprocess
import sys

import numpy as np
import pytest

from caffe2py.proto.files import read_net, write_message
from tests.learning import Files
from tests.toy import INIT, PREDICT, fill, net, op

#: A process with a limit: then the command line.
LIMITED = """
import resource, sys
from caffe2py.cli import program
import caffe2py.core
resource.setrlimit(resource.{limit}, ({value}, {value}))
program.main(sys.argv[1:])
"""


def limited(limit, value, *args, cwd=None):
    code = LIMITED.format(limit=limit, value=value)
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "CAFFE2PY_CACHE_DIR": os.environ.get("CAFFE2PY_CACHE_DIR", "")},
    )


def require_named(done, *parts):
    assert done.returncode == 5, (done.returncode, done.stderr)
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    for part in parts:
        assert str(part) in line


LARGE = net(fill("w", range(60_000)), name="large")


@pytest.fixture
def large(tmp_path):
    """A model of 300 kB."""
    (tmp_path / "from").mkdir()
    write_message(tmp_path / "from" / "predict_net.pb", net(op("Add", "x w", "y"), reads="x w"))
    write_message(tmp_path / "from" / "init_net.pb", LARGE)
    return tmp_path / "from"


@pytest.mark.parametrize("there", [True, False], ids=["over an old one", "new"])
@pytest.mark.parametrize(
    ("command", "target"),
    [
        (("extract-weights", "FROM", "-o"), "w.npz"),
        (("extract-weights", "FROM", "-o"), "w.safetensors"),
        (("convert", "FROM/init_net.pb"), "made.pb"),
        (("run", "FROM", "--input", "60000", "-o"), "y.npz"),
    ],
    ids=["npz", "safetensors", "pb", "outputs"],
)
def test_a_full_disk(large, tmp_path, command, target, there):
    path = tmp_path / "to" / target
    path.parent.mkdir()
    if there:
        path.write_bytes(b"what was there")
    args = [part.replace("FROM", str(large)) for part in command]
    require_named(limited("RLIMIT_FSIZE", 50_000, *args, path), path, "File too large")
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"what was there"] * there


def test_a_full_disk_while_training(tmp_path):
    files = Files(tmp_path)
    done = limited("RLIMIT_FSIZE", 2000, *files.saving())
    require_named(done, files.run, "File too large")
    assert not [p.name for p in files.run.iterdir() if p.suffix == ".tmp"]
    again = limited("RLIMIT_FSIZE", 10_000_000, *files.saving())
    if again.returncode:  # it had begun
        again = limited("RLIMIT_FSIZE", 10_000_000, "resume", files.run)
    assert again.returncode == 0, again.stderr


def test_too_few_open_files(large):
    done = limited("RLIMIT_NOFILE", 3, "print", large / "init_net.pb")
    require_named(done, "Too many open files")


@pytest.mark.parametrize("target", ["missing/made.pb", "file/made.pb", ".", "/dev/full"])
def test_places_that_cannot_be_written(large, tmp_path, target):
    (tmp_path / "file").write_bytes(b"")
    done = limited("RLIMIT_CORE", 0, "convert", large / "init_net.pb", target, cwd=tmp_path)
    assert done.returncode in (2, 5), done.stderr
    assert done.stderr.startswith("error: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "from"]


def test_two_writers(tmp_path):
    """Whoever comes last wins, whole."""
    path = tmp_path / "net.pb"
    code = (
        "import sys; from caffe2py.proto.files import read_net, write_message;"
        "net = read_net(sys.argv[1]); [write_message(sys.argv[2], net) for _ in range(200)]"
    )
    sources = {"a.pb": PREDICT, "b.pb": INIT}
    for name, made in sources.items():
        write_message(tmp_path / name, made)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / name, path]) for name in sources
    ]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert read_net(path) in (PREDICT, INIT)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pb", "b.pb", "net.pb"]


def test_two_trainings_in_one_folder(tmp_path):
    files = Files(tmp_path)
    slow = [a for a in files.saving() if a not in ("--epochs", 3)]
    command = [sys.executable, "-m", "caffe2py", *map(str, slow), "--iterations", "1000000"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (files.run / "run.json").exists():
            assert first.poll() is None
        done = limited("RLIMIT_CORE", 0, "resume", files.run)
        assert done.returncode == 2
        assert "another process trains here" in done.stderr
    finally:
        first.kill()
        first.wait()


def test_inputs_that_are_cut_short(large, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1000))
    data = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(data[:-9])
    done = limited("RLIMIT_CORE", 0, "run", large, "--input", f"x={tmp_path / 'x.npy'}")
    require_named(done, "x.npy", "cannot be read")
