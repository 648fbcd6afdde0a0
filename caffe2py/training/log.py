"""The log of a training: one JSON object a line, for each iteration."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from caffe2py.errors import FileError, ModelFormatError
from caffe2py.proto.files import replace_file

__all__ = ["Log", "read_log"]


class Log:
    """Appends lines to a file, each at once."""

    def __init__(self, path: str | Path, *, after: int = 0) -> None:
        """Begin a log, or go on with one after so many iterations: later lines are dropped.

        Raises FileError for a file that cannot be written.
        """
        self.path = Path(path)
        kept = [line for number, line in _kept(self.path) if number <= after] if after else []
        replace_file(self.path, "".join(kept).encode())
        try:
            self._file: io.TextIOWrapper = self.path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise FileError(f"cannot be written: {error.strerror}", where=str(path)) from None

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line; numbers that JSON lacks (NaN, infinities) become null."""
        try:
            self._file.write(json.dumps({k: _plain(v) for k, v in record.items()}) + "\n")
        except OSError as error:
            raise FileError(f"cannot be written: {error.strerror}", where=str(self.path)) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log; half a line at its end, of a process that was killed, is left out.

    Raises FileError for a file that cannot be read, ModelFormatError for another kind of file.
    """
    try:
        text = Path(path).read_text("utf-8", errors="replace")
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    records = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        found = _record(line)
        if found is not None:
            records.append(found)
        elif line.endswith("\n") and line.strip():
            raise ModelFormatError(
                f"line {number} is no JSON object with an iteration: {line.strip()!r:.60}",
                where=str(path),
                hint="the file that caffe2py train --log writes",
            )
    if not records:
        raise ModelFormatError("holds no iterations", where=str(path))
    return records


def _kept(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    for line in text.splitlines(keepends=True):
        record = _record(line)
        if record is not None and line.endswith("\n"):
            yield record["iteration"], line


def _record(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    known = isinstance(found, dict) and isinstance(found.get("iteration"), int)
    return found if known else None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
