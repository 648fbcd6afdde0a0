"""The database type "lmdb". Needs the lmdb package (`pip install caffe2py[lmdb]`)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self
from weakref import WeakValueDictionary

from caffe2py.adapters.db import Mode, register
from caffe2py.errors import FileError, ModelFormatError, UnsupportedError

#: How large a file may become; it takes no more than is in it.
_MAP_SIZE = 1 << 40

#: The mark of the two pages at the beginning, how much of them is read, and the least size of one.
_MAGIC, _META_SIZE, _SMALLEST_PAGE = bytes.fromhex("dec0efbe"), 152, 512

#: What is open for reading: one process may open a database only once.
_read: WeakValueDictionary[str, Any] = WeakValueDictionary()


class LMDBCursor:
    """A place in the database, in the order of the keys."""

    def __init__(self, path: str, environment: Any) -> None:
        self._path = path
        self._valid = False
        with _failing(path):
            self._transaction = environment.begin()
            self._cursor = self._transaction.cursor()
        self.seek_to_first()

    def valid(self) -> bool:
        """Whether there is a record at this place."""
        return self._valid

    def next(self) -> None:
        """Go to the next record."""
        with _failing(self._path):
            self._valid = self._cursor.next()

    def key(self) -> bytes:
        """The key at this place."""
        return bytes(self._here()[0])

    def value(self) -> bytes:
        """The value at this place."""
        return bytes(self._here()[1])

    def seek_to_first(self) -> None:
        """Go to the first record."""
        with _failing(self._path):
            self._valid = self._cursor.first()

    def supports_seek(self) -> bool:
        """Yes."""
        return True

    def seek(self, key: bytes) -> None:
        """Go to this key or the first one behind it."""
        with _failing(self._path):
            self._valid = self._cursor.set_range(key)

    def _here(self) -> tuple[bytes, bytes]:
        if not self._valid:
            raise FileError("there are no more records", where=self._path)
        with _failing(self._path):
            found: tuple[bytes, bytes] = self._cursor.item()
        return found


class LMDBTransaction:
    """Records that are written together."""

    def __init__(self, path: str, environment: Any) -> None:
        self._path = path
        self._environment = environment
        self._transaction = environment.begin(write=True)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._transaction.commit()

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record, or replace the one of this key."""
        with _failing(self._path):
            self._transaction.put(key, value)

    def commit(self) -> None:
        """Write what was put so far."""
        with _failing(self._path):
            self._transaction.commit()
            self._transaction = self._environment.begin(write=True)


class LMDB:
    """An LMDB folder; a file is opened as one without a folder."""

    def __init__(self, path: str, mode: Mode) -> None:
        lmdb = _lmdb()
        self._path = path
        place = Path(path)
        if mode is Mode.read and not place.exists():
            raise FileError("no such file", where=path, hint="check the path")
        if mode is Mode.read:
            _require_whole(place if place.is_file() else place / "data.mdb", path)
        if mode is Mode.new:
            _remove_old(place)
        self._mode = mode
        key = os.fspath(place.resolve())
        shared = _read.get(key) if mode is Mode.read else None
        with _failing(path):
            self._environment = shared or lmdb.open(
                key,
                subdir=not place.is_file(),
                readonly=mode is Mode.read,
                lock=mode is not Mode.read,
                map_size=_MAP_SIZE,
                readahead=False,
            )
        if mode is Mode.read:
            _read[key] = self._environment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def new_cursor(self) -> LMDBCursor:
        """A cursor at the first record."""
        return LMDBCursor(self._path, self._environment)

    def new_transaction(self) -> LMDBTransaction:
        """A transaction."""
        with _failing(self._path):
            return LMDBTransaction(self._path, self._environment)

    def close(self) -> None:
        """Close the files once nothing reads them any more."""
        if self._mode is Mode.read:
            return  # other readers may share it; it is closed with the last of them
        with _failing(self._path):
            self._environment.close()

    def abort(self) -> None:
        """As close: every transaction is whole, or not there."""
        self.close()


def _lmdb() -> Any:
    try:
        import lmdb
    except ImportError:
        raise UnsupportedError(
            "databases of type lmdb need the lmdb package; needs: pip install caffe2py[lmdb]"
        ) from None
    return lmdb


def _remove_old(place: Path) -> None:
    """Make room for a new database."""
    for name in ("data.mdb", "lock.mdb"):
        (place / name).unlink(missing_ok=True)


def _require_whole(data: Path, path: str) -> None:
    """Raise ModelFormatError for a file that is shorter than it says, or no lmdb.

    The library reads it as memory: to look behind its end would end the process.
    """
    try:
        with data.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = _Meta.read(file.read(_META_SIZE))
            page = first.page_size if first is not None else 0
            if first is None or page < _SMALLEST_PAGE or page & (page - 1):
                raise ModelFormatError("is no lmdb", where=path)
            file.seek(page)
            second = _Meta.read(file.read(_META_SIZE))
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=path) from None
    newest = max((m for m in (first, second) if m is not None), key=lambda m: m.transaction)
    if second is None or size < (newest.last_page + 1) * page:
        raise ModelFormatError(
            f"damaged lmdb: expected {(newest.last_page + 1) * page} bytes, found {size}",
            where=path,
        )


class _Meta(NamedTuple):
    """What a page at the beginning of a file says: sizes, and which of two pages is newer."""

    page_size: int
    last_page: int
    transaction: int

    @classmethod
    def read(cls, data: bytes) -> _Meta | None:
        """From the first bytes of the page; None if they are something else."""
        if len(data) < _META_SIZE or data[16:20] != _MAGIC:
            return None
        return cls(*struct.unpack_from("<I", data, 40), *struct.unpack_from("<QQ", data, 136))


@contextlib.contextmanager
def _failing(path: str) -> Iterator[None]:
    try:
        yield
    except _lmdb().Error as error:
        raise FileError(f"lmdb: {error}", where=path) from None


register(LMDB, "lmdb", "LMDB")
