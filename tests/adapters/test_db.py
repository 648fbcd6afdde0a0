"""Databases: the bytes of a minidb, damage, whole or nothing, and the types there are."""

import struct

import numpy as np
import pytest

import caffe2py.adapters.lmdb_file
import caffe2py.adapters.minidb  # noqa: F401  (both register their types)
from caffe2py.adapters import db
from caffe2py.adapters.db import Mode, Reader, open_database
from caffe2py.core import C
from caffe2py.errors import (
    FileError,
    ModelFormatError,
    UnsupportedError,
    ValueRangeError,
)
from caffe2py.executor.workspace import Workspace
from tests.toy import op

DATA = [(b"key%d" % n, b"value%d" % n) for n in range(4)]
FILE = b"".join(struct.pack("<ii", len(k), len(v)) + k + v for k, v in DATA)

#: What the real Caffe2 writes for X = float32 [0, 1, 2] named "f", and for the string "hello".
TENSOR = (
    b"\x04\x00\x00\x00,\x00\x00\x00f#%0\n\x01f\x12\x06Tensor\x1a\x1f\x08\x03\x10\x01\x1a\x0c\x00"
    b"\x00\x00\x00\x00\x00\x80?\x00\x00\x00@:\x01fB\x02\x08\x00Z\x04\x08\x00\x10\x03"
)
STRING = b'\x03\x00\x00\x00\x19\x00\x00\x00str\n\x03str\x12\x0bstd::string"\x05hello'


def pairs(path, type_="minidb"):
    with open_database(type_, str(path), Mode.read) as database:
        cursor = database.new_cursor()
        found = []
        while cursor.valid():
            found.append((cursor.key(), cursor.value()))
            cursor.next()
        return found


def write(path, data=DATA, type_="minidb", mode=Mode.new):
    with open_database(type_, str(path), mode) as database:
        transaction = database.new_transaction()
        for key, value in data:
            transaction.put(key, value)
        transaction.commit()


@pytest.mark.parametrize("type_", ["minidb", "lmdb"])
def test_what_was_written_can_be_read(tmp_path, type_):
    path = tmp_path / "db"
    write(path, type_=type_)
    assert pairs(path, type_) == DATA
    write(path, [(b"more", b"")], type_, Mode.write)
    assert dict(pairs(path, type_)) == {**dict(DATA), b"more": b""}
    write(path, [(b"new", b"1")], type_)
    assert pairs(path, type_) == [(b"new", b"1")]
    assert db.database_exists(type_, str(path))
    assert not db.database_exists(type_, str(tmp_path / "nowhere"))


def test_the_bytes_of_a_minidb(tmp_path):
    write(tmp_path / "db")
    assert (tmp_path / "db").read_bytes() == FILE


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (np.arange(3, dtype=np.float32), "f", TENSOR),
        ("hello", "str", STRING),
    ],
    ids=["tensor", "string"],
)
def test_save_writes_what_caffe2_writes(tmp_path, value, name, expected):
    workspace = Workspace()
    workspace.feed(name, value)
    path = str(tmp_path / "db")
    workspace.run_operator_once(op("Save", name, "", db=path, db_type="minidb", absolute_path=1))
    assert (tmp_path / "db").read_bytes() == expected


@pytest.mark.parametrize("length", range(1, len(FILE)))
def test_a_truncated_file_says_where(tmp_path, length):
    path = tmp_path / "db"
    path.write_bytes(FILE[:length])
    ends = np.cumsum([8 + len(k) + len(v) for k, v in DATA])
    if length in ends:
        assert len(pairs(path)) == list(ends).index(length) + 1
        return
    with pytest.raises(ModelFormatError, match=r"db: damaged minidb: record \d at byte \d+"):
        pairs(path)


LYING = {
    "more than there is": (3, 2**31 - 1),
    "negative": (-1, 5),
    "both": (2**31 - 1, 2**31 - 1),
}


@pytest.mark.parametrize("what", LYING)
def test_a_lying_length_allocates_nothing(tmp_path, what):
    path = tmp_path / "db"
    path.write_bytes(FILE + struct.pack("<ii", *LYING[what]) + b"abc")
    with pytest.raises(ModelFormatError, match=f"record 4 at byte {len(FILE)}: expected"):
        pairs(path)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "db"
    write(path)
    workspace = Workspace()
    workspace.feed("x", np.ones(3))
    workspace.run_operator_once(op("CreateBlobsQueue", "", "q"))
    with pytest.raises(RuntimeError, match="blob 'q' holds a BlobsQueue"):
        workspace.run_operator_once(
            op("Save", "x q", "", db=str(path), db_type="minidb", absolute_path=1)
        )
    assert path.read_bytes() == FILE
    assert list(tmp_path.iterdir()) == [path]


def test_shards_share_the_records(tmp_path):
    path = str(tmp_path / "db")
    write(path)
    for shard in range(3):
        database = open_database("minidb", path, Mode.read)
        reader = Reader(database, num_shards=3, shard_id=shard)
        found = [reader.read() for _ in range(3)]
        own = DATA[shard::3]
        assert found == (own * 3)[:3]
    with pytest.raises(ValueRangeError, match="no record number 4"):
        Reader(open_database("minidb", path, Mode.read), num_shards=9, shard_id=4)


def test_types_that_there_are_not(tmp_path):
    with pytest.raises(UnsupportedError, match=r"'leveldb'.*not available here; there are.*minidb"):
        open_database("leveldb", "x", Mode.read)
    with pytest.raises(UnsupportedError, match=r"'quick'.*is unknown"):
        open_database("quick", "x", Mode.read)
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileError, match=str(path)):
            open_database("minidb", str(path), Mode.read)


def test_without_the_lmdb_package(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(UnsupportedError, match=r"pip install caffe2py\[lmdb\]"):
        open_database("lmdb", str(tmp_path), Mode.read)


def test_scripts_reach_databases_through_the_native_library(tmp_path):
    path = str(tmp_path / "db")
    database = C.create_db("minidb", path, C.Mode.write)
    for key, value in DATA:
        transaction = database.new_transaction()
        transaction.put(key, value)
        del transaction
    del database
    assert pairs(path) == DATA
    assert {"minidb", "lmdb"} <= set(C.registered_dbs())
