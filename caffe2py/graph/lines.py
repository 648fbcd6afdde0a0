"""Where in the user's program the operators of a net were created.

Kept beside the NetDef, not in it: a net that was built is the same message wherever that happened.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from caffe2py.proto.caffe2_pb2 import OperatorDef

_PACKAGE = str(Path(__file__).parents[1])

#: What an operator is recognised by when somebody has moved it in the NetDef.
_Key = tuple[str, tuple[str, ...]]


class Line(str):
    """A line of the user's program, "file.py:12"; `full` is "/path/file.py:12:function"."""

    full: str

    def __new__(cls, text: str, full: str) -> Line:
        """A line with both texts."""
        made = super().__new__(cls, text)
        made.full = full
        return made

    def __reduce__(self) -> tuple[type[Line], tuple[str, str]]:
        return Line, (str(self), self.full)


def user_line() -> Line | None:
    """Where the user's program is, as "file.py:12": the innermost call outside this package."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_PACKAGE):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    code = frame.f_code
    number = frame.f_lineno
    full = f"{code.co_filename}:{number}:{code.co_name}"
    return Line(f"{_short(code.co_filename)}:{number}", full)


def _short(file: str) -> str:
    """The path from the current folder, if the file lies below it."""
    try:
        return file.removeprefix(f"{Path.cwd()}/")
    except OSError:  # the folder was removed
        return file


class Lines:
    """The creation lines of operators, found again by type and outputs."""

    def __init__(self) -> None:
        self._entries: list[tuple[_Key, str]] = []

    def add(self, ops: Iterable[OperatorDef], lines: Iterable[str | None]) -> None:
        """Note where operators were created; those without a line are passed over."""
        for op, line in zip(ops, lines, strict=True):
            if line is not None:
                self._entries.append((_key(op), line))

    def of(self, ops: Sequence[OperatorDef]) -> list[str | None]:
        """The line of each operator, None where it is not known."""
        known: defaultdict[_Key, deque[str]] = defaultdict(deque)
        for key, line in self._entries:
            known[key].append(line)
        return list(self._matched(ops, known))

    @staticmethod
    def _matched(
        ops: Sequence[OperatorDef], known: defaultdict[_Key, deque[str]]
    ) -> Iterator[str | None]:
        for op in ops:
            lines = known.get(_key(op))
            yield lines.popleft() if lines else None


def _key(op: OperatorDef) -> _Key:
    return op.type, tuple(op.output)
