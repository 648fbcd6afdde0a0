"""`caffe2py db`: whole or not at all, nothing lost, and every bad file by name."""

import errno
import itertools
import json
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe2py.adapters import db as databases
from caffe2py.adapters.whole import records, whole_database
from caffe2py.errors import Error
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import TensorProtos
from tests.toy import op

TYPES = ("minidb", "lmdb")


@pytest.fixture
def photos(tmp_path):
    """A folder of 4 cats and 3 dogs, and what is no photo."""
    folder = tmp_path / "photos"
    for label, count in (("cat", 4), ("dog", 3)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((10 + number, 12, 3), 20 * number, np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    (folder / "dog" / "notes.txt").write_text("good")
    (folder / ".hidden").mkdir()
    return folder


def contents(path, type_):
    return list(records(str(path), type_))


def made(path, type_, count=5, key=b"k%d"):
    with whole_database(str(path), type_) as writer:
        for number in range(count):
            writer.put(key % number, b"v" * number)
    return path


def leftovers(folder, *expected):
    """That there is nothing in a folder but what is expected."""
    return sorted(p.name for p in Path(folder).iterdir()) == sorted(expected)


# ---------------------------------------------------------------- make-images


@pytest.mark.parametrize("type_", TYPES)
def test_photos_become_batches(cli, photos, tmp_path, type_):
    out = tmp_path / f"out.{type_}"
    result = cli("db", "make-images", photos, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert "label 0: cat" in result.stdout
    assert "7 records" in result.stdout
    assert "1 files that are no photos" in result.stderr
    assert leftovers(tmp_path, "photos", out.name)
    keys = [key for key, _ in contents(out, type_)]
    assert keys[0] == b"00000000_cat/0.png"
    assert keys == sorted(keys)
    workspace = Workspace()
    args = {"db": str(out), "db_type": type_, "batch_size": 7, "scale": 10, "crop": 10}
    workspace.run_operator_once(op("ImageInput", "", "data label", is_test=1, **args))
    assert workspace.fetch("label").tolist() == [0] * 4 + [1] * 3
    assert workspace.fetch("data")[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 0, 20, 40]


def test_lists_and_orders(cli, photos, tmp_path):
    lines = ["cat/1.png 5", "", "dog/0.png\t-3", "cat/0.png 7"]
    listed = photos / "list.txt"
    listed.write_text("\n".join(lines))
    out = tmp_path / "out.minidb"

    def labels():
        protos = [TensorProtos.FromString(value) for _, value in contents(out, "minidb")]
        return [p.protos[1].int32_data[0] for p in protos]

    assert cli("db", "make-images", listed, "-o", out).exit_code == 0
    assert labels() == [5, -3, 7]
    assert cli("db", "make-images", listed, "-o", out, "--shuffle", 1).exit_code == 0
    once = labels()
    assert sorted(once) == [-3, 5, 7]
    elsewhere = tmp_path / "list.txt"
    listed.rename(elsewhere)
    done = cli("db", "make-images", elsewhere, "--root", photos, "-o", out, "--shuffle", 1)
    assert done.exit_code == 0
    assert labels() == once


def test_raw_pixels(cli, photos, tmp_path):
    out = tmp_path / "out.minidb"
    args = ("db", "make-images", photos, "-o", out, "--raw", "--json")

    def shapes():
        return {
            tuple(TensorProtos.FromString(value).protos[0].dims)
            for _, value in contents(out, "minidb")
        }

    result = cli(*args)
    assert json.loads(result.stdout)["records"] == 7
    assert shapes() == {(10 + n, 12, 3) for n in range(4)}
    assert cli(*args, "--scale", 24, "--gray").exit_code == 0
    assert shapes() == {(24, 28, 1), (24, 26, 1), (24, 24, 1), (26, 24, 1)}
    assert cli(*args, "--scale", 6, "--warp").exit_code == 0
    assert shapes() == {(6, 6, 3)}


def lie(path):
    """Let a PNG claim to be 50000 x 50000."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 50_000, 50_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lie, "too large an image"),
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:48]), "cannot be read as an image"),
        (lambda path: path.write_text("<html>"), "not an image"),
    ],
)
def test_a_damaged_photo_stops_it_by_name(cli, failing, photos, tmp_path, harm, why):
    old = made(tmp_path / "out.minidb", "minidb")
    harm(photos / "dog" / "1.png")
    message = failing(5, "db", "make-images", photos, "-o", old)
    assert "dog/1.png" in message
    assert why in message
    assert len(contents(old, "minidb")) == 5
    assert leftovers(tmp_path, "photos", "out.minidb")
    result = cli("db", "make-images", photos, "-o", old, "--skip-damaged")
    assert result.exit_code == 0
    assert "dog/1.png" in result.stderr
    assert len(contents(old, "minidb")) == 6


@pytest.mark.parametrize(
    ("lines", "code", "why"),
    [
        ("cat/0.png", 2, "line 1: expected the name of a file and a label"),
        ("cat/0.png 1\ncat/1.png x", 2, "line 2: expected"),
        (f"cat/0.png {2**31}", 2, "line 1: expected"),
        ("5", 2, "line 1: expected"),
        ("cat/9.png 1", 5, "cat/9.png: no such file"),
        ("cat 1", 5, "cat: no such file"),
        ("", 2, "names no photos"),
    ],
)
def test_lists_that_are_wrong(failing, photos, tmp_path, lines, code, why):
    (photos / "list").write_text(lines)
    assert why in failing(code, "db", "make-images", photos / "list", "-o", tmp_path / "out")
    assert leftovers(tmp_path, "photos")


def test_command_lines_that_are_wrong(failing, photos, tmp_path):
    out = tmp_path / "out"
    make = ("db", "make-images", photos, "-o", out)
    assert "they need --raw" in failing(2, *make, "--scale", 5)
    assert "--warp needs --scale" in failing(2, *make, "--raw", "--warp")
    assert "no such file" in failing(5, "db", "make-images", tmp_path / "no", "-o", out)
    assert "has no folders" in failing(2, "db", "make-images", photos / "cat", "-o", out)
    (photos / "b").write_bytes(b"\xff\xfe")
    assert "it is no text" in failing(2, "db", "make-images", photos / "b", "-o", out)
    source = made(tmp_path / "a.minidb", "minidb")
    assert "two parts have one name" in failing(2, "db", "split", source, "-o", out, "-o", out)
    split = ("db", "split", source, "-o", out, "--shares")
    for shares in ("1,2", "x", "0", "inf", "nan"):
        assert "expected 1 numbers above 0" in failing(2, *split, shares)
    assert not out.exists()


# ---------------------------------------------------------------- convert, split, stat


@pytest.mark.parametrize("one", TYPES)
@pytest.mark.parametrize("other", TYPES)
def test_converting_loses_nothing(cli, tmp_path, one, other):
    data = made(tmp_path / f"a.{one}", one, 2500, b"%08d")
    out = tmp_path / f"b.{other}"
    for _ in range(2):  # the second one takes the first one's place
        assert cli("db", "convert", data, "-o", out).exit_code == 0
        assert contents(out, other) == contents(data, one)
    assert cli("db", "convert", out, "-o", out).exit_code == 0
    assert contents(out, other) == contents(data, one)
    assert leftovers(tmp_path, data.name, out.name)


def test_keys_that_an_lmdb_cannot_keep(cli, failing, tmp_path):
    source = tmp_path / "a.minidb"
    with whole_database(str(source), "minidb") as writer:
        for key in (b"b", b"a", b"c", b"b"):
            writer.put(key, b"")
    old = made(tmp_path / "out.lmdb", "lmdb")
    assert "'b' is there twice" in failing(2, "db", "convert", source, "-o", old)
    assert len(contents(old, "lmdb")) == 5
    with whole_database(str(source), "minidb") as writer:
        writer.put(b"k" * 600, b"")
    assert "out.lmdb: lmdb: " in failing(5, "db", "convert", source, "-o", old)
    with whole_database(str(source), "minidb") as writer:
        writer.put(b"b", b"1")
        writer.put(b"a", b"2")
    result = cli("db", "convert", source, "-o", old)
    assert "in the order of their keys now" in result.stderr
    assert contents(old, "lmdb") == [(b"a", b"2"), (b"b", b"1")]
    assert leftovers(tmp_path, "a.minidb", "out.lmdb")


@pytest.mark.parametrize(
    ("shares", "counts"), [(None, (4, 3, 3)), ("8,1,1", (8, 1, 1)), ("1,1,3", (2, 2, 6))]
)
def test_parts_share_the_records(cli, tmp_path, shares, counts):
    source = made(tmp_path / "a.minidb", "minidb", 10)
    outs = [tmp_path / name for name in ("x.minidb", "y.lmdb", "z")]
    named = [word for out in outs for word in ("-o", out)]
    extra = () if shares is None else ("--shares", shares)
    assert cli("db", "split", source, *named, *extra).exit_code == 0
    parts = [contents(o, t) for o, t in zip(outs, ("minidb", "lmdb", "minidb"), strict=True)]
    assert tuple(map(len, parts)) == counts
    assert sorted(itertools.chain(*parts)) == contents(source, "minidb")


def test_counting(cli, photos, tmp_path):
    out = tmp_path / "out.lmdb"
    cli("db", "make-images", photos, "-o", out)
    result = cli("db", "stat", out, "--decode")
    assert result.exit_code == 0
    for text in ("lmdb, 7 records", "string (1), int32 (1)", "PNG 10 x 12", "in order"):
        assert text in result.stdout
    found = json.loads(cli("db", "stat", out, "--json").stdout)
    assert found["labels"] == {"0": 4, "1": 3}
    assert found["images"]["PNG 13 x 12"] == 1
    assert found["damaged"] == []
    blobs = tmp_path / "blobs.minidb"
    workspace = Workspace()
    workspace.feed("x", np.ones(3, np.float32))
    workspace.run_operator_once(
        op("Save", "x", "", db=str(blobs), db_type="minidb", absolute_path=1)
    )
    assert "blob: Tensor" in cli("db", "stat", blobs).stdout
    empty = made(tmp_path / "empty.minidb", "minidb", 0)
    assert "minidb, 0 records" in cli("db", "stat", empty).stdout
    assert "other" in cli("db", "stat", made(tmp_path / "o.minidb", "minidb", 1)).stdout


def test_counting_finds_damaged_photos(cli, photos, tmp_path):
    out = tmp_path / "out.minidb"
    cli("db", "make-images", photos, "-o", out)
    data = bytearray(out.read_bytes())
    data[data.rindex(b"IDAT") + 8] ^= 0xFF  # the size stays, the pixels go
    out.write_bytes(data)
    assert cli("db", "stat", out).exit_code == 0
    result = cli("db", "stat", out, "--decode")
    assert result.exit_code == 1
    assert "record '00000006_dog/2.png'" in result.stderr


# ---------------------------------------------------------------- damage


def _truncated(path):
    path.write_bytes(made(path, "minidb").read_bytes()[:-1])


def _short_lmdb(path):
    path.mkdir()
    (path / "data.mdb").write_bytes(b"\0" * 100)


def _truncated_lmdb(path):
    data = made(path, "lmdb", 3000) / "data.mdb"
    (path / "lock.mdb").unlink(missing_ok=True)
    os.truncate(data, data.stat().st_size - 4096)


@pytest.mark.parametrize(
    ("make", "code", "why"),
    [
        (_truncated, 3, "damaged minidb: record 4"),
        (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50), 3, "damaged minidb: record 0"),
        (lambda p: p.write_bytes(struct.pack("<ii", 2**31 - 1, 2**31 - 1)), 3, "record 0"),
        (lambda p: p.mkdir(), 5, "cannot be opened"),
        (lambda p: None, 5, "no such file"),
        (_short_lmdb, 3, "is no lmdb"),
        (_truncated_lmdb, 3, "damaged lmdb: expected"),
    ],
)
@pytest.mark.parametrize("command", ["convert", "split", "stat"])
def test_foreign_and_truncated_databases(failing, tmp_path, make, code, why, command):
    source = tmp_path / "source"
    make(source)
    before = {p.name for p in tmp_path.iterdir()}
    out = [] if command == "stat" else ["-o", tmp_path / "out"]
    message = failing(code, "db", command, source, *out)
    assert str(source) in message
    assert why in message
    assert {p.name for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("type_", TYPES)
def test_every_write_that_can_fail(monkeypatch, tmp_path, type_):
    """Fail the first, second, ... call into the system: the old database stays, or the new is."""
    path = tmp_path / f"out.{type_}"
    old = contents(made(path, type_), type_)
    targets = [(os, "fsync"), (os, "replace"), (Path, "replace"), (os, "fdopen")]
    targets += [(tempfile, "mkstemp"), (tempfile, "mkdtemp")]
    messages = []
    for owner, name in targets:
        with monkeypatch.context() as patched:
            calls = []

            def fail(*args, calls=calls, **kwargs):
                calls.append(args)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patched.setattr(owner, name, fail)
            try:
                made(path, type_, 9)
            except Error as error:
                messages.append(str(error))
        assert leftovers(tmp_path, path.name), name
        found = contents(path, type_)
        assert len(found) == (5 if calls else 9)
        if calls:
            assert found == old
        made(path, type_)
    assert len(messages) == {"minidb": 4, "lmdb": 3}[type_]
    assert set(messages) == {f"{path}: cannot be written: No space left on device"}


@pytest.mark.parametrize("type_", TYPES)
def test_a_full_disk(process, tmp_path, type_):
    path = tmp_path / f"out.{type_}"
    made(path, type_)
    source = tmp_path / "source.minidb"
    with whole_database(str(source), "minidb") as writer:
        for number in range(64):
            writer.put(b"%d" % number, bytes(65536))
    code = f"""
import resource, sys
from caffe2py.cli import program
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))  # no file may become larger
program.main(["db", "convert", {str(source)!r}, "-o", {str(path)!r}])
"""
    child = process(code=code)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 5, stderr
    assert stderr.startswith(f"error: {path}: ")
    assert len(contents(path, type_)) == 5
    assert leftovers(tmp_path, path.name, source.name)


def test_places_where_nothing_can_be_written(failing, tmp_path):
    source = made(tmp_path / "a.minidb", "minidb")
    for type_ in TYPES:
        missing = tmp_path / "no" / "out"
        message = failing(5, "db", "convert", source, "-o", missing, "--type", type_)
        assert f"{missing}: cannot be written" in message
    (tmp_path / "folder").mkdir()
    assert "is a folder" in failing(
        5, "db", "convert", source, "-o", tmp_path / "folder", "--type", "minidb"
    )
    assert "is a file, and an lmdb is a folder" in failing(
        5, "db", "convert", source, "-o", source, "--type", "lmdb"
    )
    assert len(contents(source, "minidb")) == 5
    assert leftovers(tmp_path, "a.minidb", "folder")


def test_readers_keep_what_they_read(tmp_path):
    path = made(tmp_path / "out.lmdb", "lmdb", 3)
    reader = databases.open_database("lmdb", str(path), databases.Mode.read)
    cursor = reader.new_cursor()
    made(path, "lmdb", 7, b"z%d")
    seen = []
    while cursor.valid():
        seen.append(cursor.key())
        cursor.next()
    assert seen == [b"k0", b"k1", b"k2"]
