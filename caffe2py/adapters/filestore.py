"""Values by key in a folder, for processes that wait for each other."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from caffe2py.adapters.paths import child_of, open_file, require_inside
from caffe2py.errors import FileError, KernelError

#: Seconds that one process waits for another, and between two looks.
TIMEOUT = 30.0
_PAUSE = 0.01


class FileStore:
    """One file for each key, written whole or not at all.

    `add` needs file locks, which network folders may not have.
    """

    def __init__(self, path: str, prefix: str = "") -> None:
        self._root = child_of(path, _file_name(prefix)) if prefix else path
        self._folder = Path(self._root)
        self._ended = False
        require_inside(self._root)
        with _failing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)

    def set(self, key: str, value: bytes) -> None:
        """Give a key a value."""
        with _failing(self._folder):
            number, temporary = tempfile.mkstemp(prefix=".new.", dir=self._folder)
            with os.fdopen(number, "wb") as file:
                file.write(value)
            Path(temporary).replace(self._place(key))

    def get(self, key: str, timeout: float = TIMEOUT) -> bytes:
        """The value of a key, waiting until it has one; KernelError when the time is up."""
        self.wait([key], timeout)
        with _failing(self._folder):
            return self._read(key)

    def add(self, key: str, amount: int) -> int:
        """Add to a number, which begins at 0; returns the sum."""
        with _failing(self._folder), self._locked():
            place = self._place(key)
            total = int(self._read(key) if place.exists() else b"0") + amount
            self.set(key, str(total).encode())
            return total

    def has(self, keys: Sequence[str]) -> bool:
        """Whether all keys have a value."""
        return all(self._place(key).exists() for key in keys)

    def wait(self, keys: Sequence[str], timeout: float = TIMEOUT) -> None:
        """Wait until all keys have a value; KernelError when the time is up."""
        deadline = time.monotonic() + timeout
        while not self.has(keys):
            missing = [key for key in keys if not self._place(key).exists()]
            if self._ended or time.monotonic() > deadline:
                why = "was cancelled" if self._ended else f"ended after {timeout:g} s"
                raise KernelError(f"waiting for {', '.join(missing[:8])} in '{self._folder}' {why}")
            time.sleep(_PAUSE)

    def cancel(self) -> None:
        """Let nobody wait any more."""
        self._ended = True

    def _place(self, key: str) -> Path:
        return self._folder / _file_name(key)

    def _read(self, key: str) -> bytes:
        with open_file(child_of(self._root, _file_name(key)), "rb") as file:
            content: bytes = file.read()
        return content

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl

        with open_file(child_of(self._root, ".lock"), "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _file_name(key: str) -> str:
    """A key as the name of a file: other characters than letters and digits by their number."""
    return "k" + re.sub(r"[^A-Za-z0-9_-]", lambda m: f"%{ord(m[0]):x};", key)


@contextlib.contextmanager
def _failing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{error.strerror or error}", where=str(folder)) from None
