"""Saved nets with their weights as arrays, which go from the file to their place in one copy."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from caffe2py.errors import Error
from caffe2py.proto.caffe2_pb2 import Argument, NetDef, OperatorDef
from caffe2py.proto.files import MAX_BYTES, Source, read_net
from caffe2py.proto.outline import RECORD, Floats, Text, outline
from caffe2py.proto.wire import FIXED32, WireError
from caffe2py.tensor.tensor import ALIGNMENT, Array, empty

__all__ = ["StoredNet", "read_stored_net"]

#: Files of fewer bytes are read as messages are.
_WORTH = 1 << 18
#: Bytes looked at when the lengths of messages are read, and bytes read at once otherwise.
_PAGE, _PIECE = 1 << 10, 1 << 18

_FLOAT = np.dtype("<f4")
_TAG = Argument.DESCRIPTOR.fields_by_name["floats"].number << 3 | FIXED32
_TAGS = bytes([_TAG]) * (_PIECE // RECORD)

#: Whether an argument of an operator may be an array: by the operator's type and its own name.
Takes = Callable[[str, str], bool]


class StoredNet(NamedTuple):
    """A net, and long lists of floats that it lacks: by position of the operator, and argument."""

    net: NetDef
    values: Mapping[tuple[int, str], Array]


def read_stored_net(source: Source, takes: Takes, *, allow_empty: bool = False) -> StoredNet:
    """As `read_net`, with the long lists of floats that `takes` allows as arrays.

    They go from the file to arrays without being read into memory as a whole. Raises as `read_net`.
    """
    try:
        with _opened(source) as data:
            if data is not None:
                found = _read(data, takes, allow_empty)
                if found is not None:
                    return found
    except (WireError, Error, OSError, ValueError):
        pass  # whatever it is, the usual way knows it or says what is wrong
    return StoredNet(read_net(source, allow_empty=allow_empty), {})


def _read(data: Text, takes: Takes, allow_empty: bool) -> StoredNet | None:
    small, cut = outline(data)
    if not cut:
        return None
    net = read_net(small, allow_empty=allow_empty)
    arrays = _arrays([floats.size for floats in cut])
    values: dict[tuple[int, str], Array] = {}
    for floats, array in zip(cut, arrays, strict=True):
        op: OperatorDef = net.op[floats.op]
        argument: Argument = op.arg[floats.argument]
        _fill(data, floats, array)
        if takes(op.type, argument.name):
            values[floats.op, argument.name] = array
        else:
            argument.floats.extend(array.tolist())
    return StoredNet(net, values)


def _arrays(counts: list[int]) -> list[Array]:
    """Arrays like those of `empty`, in one piece of memory: large pages need large pieces.

    Memory is handed out in pages of 4 kB or of 2 MB, and to ask for 500 small ones takes five times
    as long as for a large one.
    """
    sizes = [(count * 4 + 2 * ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT for count in counts]
    raw = empty((sum(sizes) + ALIGNMENT,), np.dtype(np.uint8))
    at = -raw.ctypes.data % ALIGNMENT
    arrays = []
    for count, size in zip(counts, sizes, strict=True):
        arrays.append(raw[at : at + count * 4].view(np.float32))
        at += size
    return arrays


def _fill(data: Text, floats: Floats, array: Array) -> None:
    """Copy the floats, a piece at a time; WireError if they are not all the same field."""
    lead = floats.step - 4
    per_piece = _PIECE // floats.step
    for first in range(0, floats.size, per_piece):
        count = min(per_piece, floats.size - first)
        start = floats.start - lead + first * floats.step
        piece = data.part(start, start + count * floats.step)
        if floats.step == RECORD:
            tags = np.frombuffer(piece, np.uint8)[:: floats.step]
            if tags.tobytes() != _TAGS[:count]:
                raise WireError(start)
        array[first : first + count] = np.ndarray((count,), _FLOAT, piece, lead, (floats.step,))


# ---------------------------------------------------------------- where the bytes are


@contextmanager
def _opened(source: Source) -> Iterator[Text | None]:
    """The bytes of a source; None for what is better read as a whole."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield _Memory(source) if len(source) >= _WORTH else None
        return
    if not isinstance(source, str | os.PathLike):
        yield None
        return
    handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        info = os.fstat(handle)
        plain = stat.S_ISREG(info.st_mode) and _WORTH <= info.st_size <= MAX_BYTES
        yield _File(handle, info.st_size) if plain else None
    finally:
        os.close(handle)


class _Memory:
    """Bytes in memory."""

    def __init__(self, data: Any) -> None:
        self._data = memoryview(data).cast("B")

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, position: int) -> int:
        return self._data[position]

    def part(self, start: int, end: int) -> bytes:
        """The bytes between two positions, copied."""
        return bytes(self._data[start:end])


class _File:
    """An open file, read where it is looked at. Cut short meanwhile, it is a WireError."""

    def __init__(self, handle: int, size: int) -> None:
        self._handle, self._size = handle, size
        self._page, self._at = b"", 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: int) -> int:
        within = position - self._at
        if not 0 <= within < len(self._page):
            self._page = os.pread(self._handle, _PAGE, position)
            self._at, within = position, 0
            if not self._page:
                raise WireError(position)
        return self._page[within]

    def part(self, start: int, end: int) -> bytes:
        """The bytes between two positions; where they all are in the file."""
        within = start - self._at
        if within >= 0 and end - self._at <= len(self._page):
            return self._page[within : end - self._at]
        content = os.pread(self._handle, end - start, start)
        if len(content) != end - start:
            raise WireError(start)
        return content
