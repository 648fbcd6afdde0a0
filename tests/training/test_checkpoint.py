"""Checkpoints are sound or not there, whatever happens to the process or the disk."""

import os
import zipfile

import numpy as np
import pytest

from caffe2py.errors import FileError, ModelFormatError
from caffe2py.training.checkpoint import (
    Checkpoint,
    newest,
    read_checkpoint,
    remove_litter,
    saved,
    write_checkpoint,
)

VALUES = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float16),
    "flags": np.array([True, False]),
    "scope/words": np.array([b"a", b"\xff\x00"], object),
    "text": b"whatever",
    "new\nline": np.array([np.nan, -0.0]),
}
RANDOM = {("net", 0, 3): (2**64 - 1, 5), ("net", 1, 0): (1, 0)}


def checkpoint(iteration):
    return Checkpoint(iteration, 1.25, VALUES, RANDOM)


def test_there_and_back(tmp_path):
    path = write_checkpoint(tmp_path, checkpoint(7), keep=3)
    found = read_checkpoint(path)
    assert (found.iteration, found.seconds, found.random) == (7, 1.25, RANDOM)
    assert list(found.values) == list(VALUES)
    for name, value in VALUES.items():
        made = found.values[name]
        assert type(made) is type(value)
        if name == "scope/words" or isinstance(value, bytes):
            assert np.array_equal(made, value)
        else:
            assert (made.dtype, made.shape) == (value.dtype, value.shape)
            assert made.tobytes() == value.tobytes()


def test_numpy_reads_the_weights(tmp_path):
    path = write_checkpoint(tmp_path, checkpoint(7), keep=3)
    with np.load(path, allow_pickle=False) as found:
        assert np.array_equal(found["w"], VALUES["w"])


def test_the_same_state_is_the_same_file(tmp_path):
    first = write_checkpoint(tmp_path, checkpoint(7), keep=3).read_bytes()
    assert write_checkpoint(tmp_path, checkpoint(7), keep=3).read_bytes() == first


def test_the_last_are_kept(tmp_path):
    for iteration in (1, 5, 10, 200):
        write_checkpoint(tmp_path, checkpoint(iteration), keep=2)
    assert [p.name for p in saved(tmp_path)] == [
        "checkpoint-0000000200.npz",
        "checkpoint-0000000010.npz",
    ]


def damaged(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "empty":
        return b""
    if kind == "truncated":
        return data[: len(data) // 2]
    if kind == "one bit in a weight":
        data[bytes(data).index(VALUES["w"].tobytes()) + 5] ^= 1
    if kind == "one bit in the manifest":
        data[bytes(data).index(b'"iteration": 9') + 13] ^= 1
    if kind == "not a zip":
        return b"hello" * 100
    return data


@pytest.mark.parametrize(
    "kind",
    ["empty", "truncated", "one bit in a weight", "one bit in the manifest", "not a zip"],
)
def test_damage_is_seen_and_an_older_one_is_taken(tmp_path, kind):
    write_checkpoint(tmp_path, checkpoint(8), keep=3)
    path = write_checkpoint(tmp_path, checkpoint(9), keep=3)
    path.write_bytes(damaged(path, kind))
    with pytest.raises(ModelFormatError, match="checkpoint-0000000009"):
        read_checkpoint(path)
    chosen, found, wrong = newest(tmp_path)
    assert (chosen.name, found.iteration, len(wrong)) == ("checkpoint-0000000008.npz", 8, 1)
    chosen.write_bytes(b"")
    with pytest.raises(ModelFormatError, match=r"none of 2 checkpoint\(s\) is sound"):
        newest(tmp_path)


def test_no_byte_may_change(tmp_path):
    """A sweep: whatever byte is flipped, the file is refused or says the very same."""
    path = write_checkpoint(tmp_path, Checkpoint(3, 0.5, {"w": VALUES["w"]}, RANDOM), keep=1)
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        try:
            found = read_checkpoint(path)
        except ModelFormatError:
            continue
        assert (found.iteration, found.random) == (3, RANDOM), position
        assert np.array_equal(found.values["w"], VALUES["w"]), position


def test_another_format_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("caffe2py.training.checkpoint._FORMAT", 2)
    path = write_checkpoint(tmp_path, checkpoint(1), keep=1)
    monkeypatch.undo()
    with pytest.raises(ModelFormatError, match="has the format 2, known is 1"):
        read_checkpoint(path)


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_failing_disk_leaves_the_older_one(tmp_path, monkeypatch, call):
    write_checkpoint(tmp_path, checkpoint(8), keep=1)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif call == "replace":
        monkeypatch.setattr("pathlib.Path.replace", fail)
    else:
        monkeypatch.setattr("pathlib.Path.open", fail)
    with pytest.raises(FileError, match=r"checkpoint-0000000009.*No space left"):
        write_checkpoint(tmp_path, checkpoint(9), keep=1)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-0000000008.npz"]
    assert newest(tmp_path)[1].iteration == 8


def test_litter_of_killed_processes_is_removed(tmp_path):
    for name in (".0123456789abcdef.tmp", ".lock", "notes.tmp"):
        (tmp_path / name).touch()
    remove_litter(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "notes.tmp"]


def test_what_an_archive_claims_is_not_believed(tmp_path):
    path = tmp_path / "checkpoint-0000000001.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "[]")
    with pytest.raises(ModelFormatError, match="manifest is not what was written"):
        read_checkpoint(path)
    with pytest.raises(FileError, match="cannot be read"):
        saved(tmp_path / "none")
