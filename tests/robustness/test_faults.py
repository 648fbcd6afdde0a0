"""Every call that can fail, failing once: what was there before stays, or the new is whole.

The calls that open, write, sync, replace and make are counted while something is saved. Then it is
saved again with the first of them failing, with the second, and so on, until nothing fails.
"""

import errno
import io
import os
import sys
import tempfile
from contextlib import contextmanager

import numpy as np
import pytest
from click.testing import CliRunner

import caffe2py.core  # noqa: F401
from caffe2py.adapters.whole import records, whole_database
from caffe2py.cli import program
from caffe2py.errors import Error, FileError
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.save import write_arrays
from caffe2py.proto.files import read_net, write_message
from caffe2py.training.checkpoint import Checkpoint, newest, remove_litter, write_checkpoint
from tests.learning import Files
from tests.toy import INIT, PREDICT, op

#: What is made to fail, and how.
CALLS = {
    (os, "open"): errno.EMFILE,
    (os, "fsync"): errno.EIO,
    (os, "replace"): errno.EACCES,
    (os, "rename"): errno.EACCES,
    (os, "fdopen"): errno.EMFILE,
    (io, "open"): errno.EMFILE,
    (tempfile, "mkstemp"): errno.ENOSPC,
    (tempfile, "mkdtemp"): errno.ENOSPC,
}


def _cleaning():
    """Whether it is a folder's removal that asks: after a fault there is nothing else to do."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "rmtree":
        frame = frame.f_back
    return frame is not None


class Full(io.BufferedWriter):
    """A file whose writing can fail, as on a full disk."""

    gate = None

    def write(self, data):
        Full.gate("write", errno.ENOSPC)
        return super().write(data)


@contextmanager
def failing(number, folder, monkeypatch):
    """Let call `number` fail, of those that concern the folder; gives a list of the calls."""
    calls = []

    def gate(name, error):
        if _cleaning():
            return
        calls.append(name)
        if len(calls) == number:
            raise OSError(error, os.strerror(error), str(folder))

    def concerns(args, named):
        first = args[0] if args else ""
        texts = [first, *named.values()]
        return isinstance(first, int) or any(str(folder) in str(text) for text in texts)

    def wrapped(real, name, error):
        def call(*args, **named):
            if concerns(args, named):
                gate(name, error)
            made = real(*args, **named)
            if isinstance(made, io.BufferedWriter) and str(folder) in str(args[0]):
                return Full(made.detach())
            return made

        return call

    with monkeypatch.context() as patch:
        Full.gate = staticmethod(gate)
        for (module, name), error in CALLS.items():
            patch.setattr(module, name, wrapped(getattr(module, name), name, error))
        yield calls


def sweep(save, check, folder, monkeypatch, clean=lambda: None):
    """Fail each call once; `check` is given whether saving said that all went well."""
    for number in range(1, 400):
        with failing(number, folder, monkeypatch) as calls:
            failure = None
            try:
                save()
            except Error as error:
                failure = error
        well = failure is None
        assert well or str(folder) in str(failure)  # it names the path
        clean()
        check(well)
        if well and len(calls) < number:
            return len(calls)
    raise AssertionError("it never ends")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_messages(tmp_path, monkeypatch):
    path = tmp_path / "net.pb"

    def check(well):
        assert read_net(path) in ((INIT,) if well else (PREDICT, INIT))
        assert names(tmp_path) == ["net.pb"]
        write_message(path, PREDICT)

    write_message(path, PREDICT)
    assert sweep(lambda: write_message(path, INIT), check, tmp_path, monkeypatch) >= 4


def test_minidb(tmp_path, monkeypatch):
    path = tmp_path / "saved.minidb"
    workspace = Workspace()
    made = op("Save", "x", "", db=str(path), db_type="minidb", absolute_path=1)

    def save(value):
        workspace.feed("x", np.full(5, value, np.float32))
        workspace.run_operator_once(made)

    def check(well):
        load = op("Load", "", "x", db=str(path), db_type="minidb", absolute_path=1)
        workspace.run_operator_once(load)
        assert workspace.fetch("x")[0] in ((2,) if well else (1, 2))
        assert names(tmp_path) == ["saved.minidb"]
        save(1)

    save(1)
    assert sweep(lambda: save(2), check, tmp_path, monkeypatch) >= 4


@pytest.mark.parametrize("type_", ["minidb", "lmdb"])
def test_databases(tmp_path, monkeypatch, type_):
    path = tmp_path / "db"

    def save(value):
        with whole_database(str(path), type_) as writer:
            for number in range(3):
                writer.put(b"%d" % number, value)

    def check(well):
        values = [value for _, value in records(str(path), type_)]
        assert values in ([[b"new"] * 3] if well else [[b"old"] * 3, [b"new"] * 3])
        assert names(tmp_path) == ["db"]
        save(b"old")

    save(b"old")
    assert sweep(lambda: save(b"new"), check, tmp_path, monkeypatch) >= 2


def test_arrays(tmp_path, monkeypatch):
    path = tmp_path / "w.npz"

    def save(value):
        write_arrays(str(path), {"w": np.full(3, value)})

    def check(well):
        with np.load(path) as found:
            assert found["w"][0] in ((2,) if well else (1, 2))
        assert names(tmp_path) == ["w.npz"]
        save(1)

    save(1)
    assert sweep(lambda: save(2), check, tmp_path, monkeypatch) >= 3


def test_checkpoints(tmp_path, monkeypatch):
    def state(iteration):
        return Checkpoint(iteration, 0.0, {"w": np.full(4, iteration)}, {})

    def check(well):
        found = newest(tmp_path)[1]
        assert found.iteration in ((2,) if well else (1, 2))
        assert found.values["w"][0] == found.iteration
        assert len(names(tmp_path)) <= 2
        for path in tmp_path.iterdir():
            path.unlink()
        write_checkpoint(tmp_path, state(1), 2)

    write_checkpoint(tmp_path, state(1), 2)
    points = sweep(
        lambda: write_checkpoint(tmp_path, state(2), 2),
        check,
        tmp_path,
        monkeypatch,
        clean=lambda: remove_litter(tmp_path),
    )
    assert points >= 4


def test_resume(tmp_path, monkeypatch):
    """A training that goes on: its folder stays one that goes on."""
    files = Files(tmp_path)
    runner = CliRunner()

    def command(*args):
        return runner.invoke(program, [str(a) for a in args])

    assert command(*files.saving()).exit_code == 0
    more = [20]

    def save():
        done = command("resume", files.run, "--iterations", more[0])
        if done.exit_code:
            raise FileError(done.stderr)

    def check(well):
        done = command("resume", files.run, "--iterations", more[0])
        assert done.exit_code == 0, done.stderr
        assert newest(files.run)[1].iteration == more[0]
        assert not [n for n in names(files.run) if n.endswith(".tmp")]
        more[0] += 1

    assert sweep(save, check, files.run, monkeypatch) >= 8
