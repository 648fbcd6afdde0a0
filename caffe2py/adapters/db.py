"""Databases of keys and values in order: what is common to the types that there are.

A type is a module here that registers itself; `open_database` finds it by name.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import Protocol, Self

from caffe2py.errors import Error, FileError, UnsupportedError, ValueRangeError

__all__ = [
    "Cursor",
    "Database",
    "Mode",
    "Reader",
    "Transaction",
    "database_exists",
    "known_types",
    "open_database",
    "register",
]


class Mode(enum.Enum):
    """What a database is opened for; the names are Caffe2's."""

    read = 0
    write = 1
    new = 2


class Cursor(Protocol):
    """A place in a database."""

    def valid(self) -> bool:
        """Whether there is a record at this place."""

    def next(self) -> None:
        """Go to the next record."""

    def key(self) -> bytes:
        """The key at this place; FileError behind the last one."""

    def value(self) -> bytes:
        """The value at this place; errors as `key`."""

    def seek_to_first(self) -> None:
        """Go to the first record."""

    def supports_seek(self) -> bool:
        """Whether `seek` works."""

    def seek(self, key: bytes) -> None:
        """Go to the first record with this key or a later one; UnsupportedError if it cannot."""


class Transaction(Protocol):
    """Records that are written together."""

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record."""

    def commit(self) -> None:
        """Write what was put so far."""


class Database(Protocol):
    """An open database; leaving a `with` closes it, or with an error leaves the old one."""

    def new_cursor(self) -> Cursor:
        """A cursor at the first record."""

    def new_transaction(self) -> Transaction:
        """A transaction."""

    def close(self) -> None:
        """Finish writing; the files are as they should be after this."""

    def abort(self) -> None:
        """Close, and leave what was there before if it was opened as new."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(self, failure: object, *rest: object) -> None:
        """Close, or abort after a failure."""


Opener = Callable[[str, Mode], Database]

_types: dict[str, Opener] = {}

#: Types of Caffe2's that there is no module for.
_ABSENT = {"leveldb", "rocksdb", "zmqdb", "protodb", "ProtoDB", "LevelDB"}


def register(opener: Opener, *names: str) -> None:
    """Let databases of these types be opened by `opener(path, mode)`."""
    for name in names:
        _types[name] = opener


def known_types() -> list[str]:
    """The names of the types, sorted."""
    return sorted(_types)


def open_database(type_: str, path: str, mode: Mode) -> Database:
    """Open a database.

    Raises UnsupportedError for a type that there is not, FileError where the file is missing or may
    not be read or written, ModelFormatError for a damaged one.
    """
    opener = _types.get(type_)
    if opener is None:
        known = ", ".join(known_types())
        what = "is not available here" if type_ in _ABSENT else "is unknown"
        raise UnsupportedError(
            f"Cannot find db implementation of type '{type_}' (while trying to open '{path}'): "
            f"the type {what}; there are {known}",
            hint="convert it to minidb or lmdb where it can still be read"
            if type_ in _ABSENT
            else None,
        )
    return opener(path, mode)


def database_exists(type_: str, path: str) -> bool:
    """Whether there is a database that can be opened; UnsupportedError for an unknown type."""
    try:
        open_database(type_, path, Mode.read).close()
    except FileError:
        return False
    return True


class Reader:
    """Records one after another, from the beginning again after the last: for several threads.

    Of `num_shards` readers each gets every num_shards-th record, beginning with number `shard_id`.
    """

    def __init__(
        self,
        database: Database,
        *,
        type_: str = "",
        path: str = "",
        num_shards: int = 1,
        shard_id: int = 0,
    ) -> None:
        if num_shards < 1 or not 0 <= shard_id < num_shards:
            raise ValueRangeError(
                f"shard_id must be at least 0 and below num_shards, found shard {shard_id} of "
                f"{num_shards}"
            )
        self.database = database
        self.type = type_
        self.path = path
        self.num_shards = num_shards
        self.shard_id = shard_id
        self._lock = threading.Lock()
        self._cursor = database.new_cursor()
        self._rewind()

    def read(self) -> tuple[bytes, bytes]:
        """The next key and value; FileError if there is no record at all."""
        with self._lock:
            found = self._cursor.key(), self._cursor.value()
            for _ in range(self.num_shards):
                self._cursor.next()
                if not self._cursor.valid():
                    self._rewind()
                    break
            return found

    def key(self) -> bytes:
        """The key of the record that is read next."""
        with self._lock:
            return self._cursor.key()

    def seek(self, key: bytes) -> None:
        """Read on from this key."""
        with self._lock:
            self._cursor.seek_to_first()
            while self._cursor.valid() and self._cursor.key() != key:
                self._cursor.next()
            if not self._cursor.valid():
                self._rewind()

    def cursor(self) -> Cursor:
        """A cursor of its own at the first record."""
        return self.database.new_cursor()

    def _rewind(self) -> None:
        self._cursor.seek_to_first()
        for _ in range(self.shard_id):
            self._cursor.next()
            if not self._cursor.valid():
                raise self._too_few()

    def _too_few(self) -> Error:
        return ValueRangeError(
            f"there is no record number {self.shard_id} for the shard of this number",
            where=self.path or None,
        )
