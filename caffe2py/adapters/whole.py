"""New databases that appear whole or not at all, whatever their type."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import caffe2py.adapters.lmdb_file
import caffe2py.adapters.minidb  # noqa: F401  (both register their types)
from caffe2py.adapters.db import Mode, Transaction, open_database
from caffe2py.errors import FileError, UsageError

__all__ = ["TYPES", "Writer", "records", "whole_database"]

#: The types that can be written.
TYPES = ("minidb", "lmdb")

#: Records that one transaction of lmdb holds.
_BATCH = 1000


class Writer:
    """Takes records; each key once, where the type of database keeps a key once."""

    def __init__(self, path: str, type_: str, place: str) -> None:
        self.path = path
        self.count = 0
        #: Whether the keys came in the order in which an lmdb keeps them.
        self.sorted = True
        self._last = b""
        self._hashes: set[int] | None = set() if type_ == "lmdb" else None
        self._database = open_database(type_, place, Mode.new)
        self._transaction: Transaction | None = self._database.new_transaction()

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record; UsageError for a key that would take the place of another's record."""
        self._require_new(key)
        self.sorted &= key >= self._last
        self._last = key
        self.count += 1
        if self._transaction is not None:
            self._transaction.put(key, value)
            if self.count % _BATCH == 0:
                self._transaction.commit()

    def _require_new(self, key: bytes) -> None:
        if self._hashes is None:
            return
        known = hash(key) in self._hashes
        self._hashes.add(hash(key))
        if not known or self._transaction is None:
            return
        self._transaction.commit()
        cursor = self._database.new_cursor()
        cursor.seek(key)
        if cursor.valid() and cursor.key() == key:
            text = key.decode(errors="backslashreplace")[:80]
            raise UsageError(
                f"{self.path}: an lmdb has each key once, and '{text}' is there twice",
                hint="--type minidb",
            )

    def close(self) -> None:
        """Finish."""
        if self._transaction is not None:
            self._transaction.commit()
        self._transaction = None  # one that is open locks an lmdb
        self._database.close()

    def abort(self) -> None:
        """Leave what was there before."""
        self._transaction = None
        with contextlib.suppress(Exception):
            self._database.abort()


@contextlib.contextmanager
def whole_database(path: str, type_: str) -> Iterator[Writer]:
    """A new database at `path`, which takes an old one's place when it is left without an error.

    After an error nothing has changed and nothing is left over. Raises FileError where it cannot be
    written, UnsupportedError for a type that there is not.
    """
    if type_ != "lmdb":
        writer = Writer(path, type_, path)
        with _finished(writer):
            yield writer
        return
    if Path(path).exists() and not Path(path).is_dir():
        raise FileError("is a file, and an lmdb is a folder", where=path)
    with _scratch_folder(path) as scratch:
        writer = Writer(path, type_, scratch)
        with _finished(writer):
            yield writer
        with _writing(path):
            _put_in_place(Path(scratch), Path(path))


@contextlib.contextmanager
def _finished(writer: Writer) -> Iterator[None]:
    try:
        yield
        with _writing(writer.path):
            writer.close()
    except BaseException:
        writer.abort()
        raise


@contextlib.contextmanager
def _scratch_folder(path: str) -> Iterator[str]:
    target = Path(os.path.abspath(path))  # noqa: PTH100
    with _writing(path):
        scratch = tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        yield scratch
    except FileError as error:
        if error.where == scratch:  # a folder that nobody knows
            error.where = path
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put_in_place(scratch: Path, target: Path) -> None:
    """Make the new data the target's, in one step."""
    if not target.is_dir():
        (scratch / "lock.mdb").unlink(missing_ok=True)
        mask = os.umask(0)
        os.umask(mask)
        scratch.chmod(0o777 & ~mask)
        scratch.replace(target)
        return
    (scratch / "data.mdb").replace(target / "data.mdb")
    (target / "lock.mdb").unlink(missing_ok=True)  # it counts the readers of what was there


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", where=path) from None


def records(path: str, type_: str) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a database in its order; ModelFormatError where it is damaged."""
    with open_database(type_, path, Mode.read) as database:
        cursor = database.new_cursor()
        while cursor.valid():
            yield cursor.key(), cursor.value()
            cursor.next()
