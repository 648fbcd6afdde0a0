"""The database type "minidb": one file of records, each a header of two lengths, key and value.

int32 length of the key, int32 length of the value, key, value     (little-endian)
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Self

from caffe2py.adapters.db import Mode, register
from caffe2py.adapters.paths import open_file
from caffe2py.errors import FileError, ModelFormatError, UnsupportedError, ValueRangeError

_HEADER = struct.Struct("<ii")
_LONGEST = 2**31 - 1


class MiniCursor:
    """A place in the file; a damaged record raises ModelFormatError when it is reached."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _open(path, "rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._record: tuple[bytes, bytes] | None = None
        self._number = -1
        self.next()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def valid(self) -> bool:
        """Whether there is a record at this place."""
        return self._record is not None

    def next(self) -> None:
        """Read the next record."""
        offset = self._file.tell()
        left = self._size - offset
        self._number += 1
        self._record = None
        if left <= 0:
            return
        if left < _HEADER.size:
            raise self._damaged(offset, f"a header of {_HEADER.size} bytes", f"{left} byte(s)")
        key_length, value_length = _HEADER.unpack(self._file.read(_HEADER.size))
        left -= _HEADER.size
        # checked before anything is read, so that a wrong length cannot ask for gigabytes
        if key_length < 0 or value_length < 0:
            raise self._damaged(offset, "lengths of 0 or more", f"{key_length}, {value_length}")
        if key_length + value_length > left:
            raise self._damaged(
                offset,
                f"a key of {key_length} and a value of {value_length} bytes",
                f"{left} byte(s) up to the end of the file",
            )
        self._record = self._file.read(key_length), self._file.read(value_length)

    def key(self) -> bytes:
        """The key at this place."""
        return self._here()[0]

    def value(self) -> bytes:
        """The value at this place."""
        return self._here()[1]

    def seek_to_first(self) -> None:
        """Go back to the first record."""
        self._file.seek(0)
        self._number = -1
        self.next()

    def supports_seek(self) -> bool:
        """No: the file has no index."""
        return False

    def seek(self, key: bytes) -> None:
        """Refused."""
        raise UnsupportedError("a minidb has no index: it cannot seek a key", where=self._path)

    def _here(self) -> tuple[bytes, bytes]:
        if self._record is None:
            what = "there is no record in it" if self._number == 0 else "there are no more records"
            raise FileError(what, where=self._path)
        return self._record

    def _damaged(self, offset: int, expected: str, found: str) -> ModelFormatError:
        return ModelFormatError(
            f"damaged minidb: record {self._number} at byte {offset}: expected {expected}, "
            f"found {found}",
            where=self._path,
        )


class MiniTransaction:
    """Writes records; what was not committed is when the transaction is deleted, as in Caffe2."""

    def __init__(self, path: str, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._open = True

    def __del__(self) -> None:
        if self._open and not self._file.closed:
            self.commit()

    def put(self, key: bytes, value: bytes) -> None:
        """Append a record; ValueRangeError for one of 2 GiB or more."""
        for what, data in (("key", key), ("value", value)):
            if len(data) > _LONGEST:
                raise ValueRangeError(
                    f"a {what} of {len(data)} bytes is too long: at most {_LONGEST}",
                    where=self._path,
                    hint="a smaller chunk_size",
                )
        with _writing(self._path):
            self._file.write(_HEADER.pack(len(key), len(value)))
            self._file.write(key)
            self._file.write(value)

    def commit(self) -> None:
        """Hand what was put to the system."""
        with _writing(self._path):
            self._file.flush()


class MiniDB:
    """A minidb file. A new one takes the place of an old one when it is closed, whole."""

    def __init__(self, path: str, mode: Mode) -> None:
        self._path = path
        self._mode = mode
        self._temporary: str | None = None
        self._file: IO[bytes] | None = None
        if mode is Mode.read:
            _open(path, "rb").close()
        elif mode is Mode.write:
            self._file = _open(path, "ab")
        else:
            self._file = self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *rest: object) -> None:
        if failure is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if not sys.is_finalizing():  # then there is not much left to close it with
            with contextlib.suppress(Exception):
                self.close()

    def _begin(self) -> IO[bytes]:
        folder, name = os.path.split(os.path.abspath(self._path))  # noqa: PTH100
        if os.path.isdir(self._path):  # noqa: PTH112
            raise FileError("is a folder, not a file", where=self._path)
        with _writing(self._path):
            number, self._temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
            try:
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(number, 0o666 & ~mask)
                return os.fdopen(number, "wb")
            except OSError:
                os.close(number)
                self.abort()
                raise

    def new_cursor(self) -> MiniCursor:
        """A cursor at the first record."""
        return MiniCursor(self._path)

    def new_transaction(self) -> MiniTransaction:
        """A transaction; FileError if the database was opened for reading, or is closed."""
        if self._file is None:
            raise FileError("is not open for writing", where=self._path)
        return MiniTransaction(self._path, self._file)

    def close(self) -> None:
        """Finish writing: a new file is complete on the disk before it replaces an old one."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            with _writing(self._path):
                file.flush()
                os.fsync(file.fileno())
                file.close()
                if self._temporary is not None:
                    os.replace(self._temporary, self._path)  # noqa: PTH105
                    self._temporary = None
        except BaseException:
            self._file = file
            self.abort()
            raise

    def abort(self) -> None:
        """Close without replacing what was there."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # a full disk takes nothing of what is buffered
                file.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)  # noqa: PTH108
            self._temporary = None


def _open(path: str, mode: str) -> IO[bytes]:
    try:
        return open_file(path, mode)
    except FileNotFoundError:
        raise FileError("no such file", where=path, hint="check the path") from None
    except OSError as error:
        raise FileError(f"cannot be opened: {error.strerror}", where=path) from None


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", where=path) from None


register(MiniDB, "minidb", "MiniDB")
