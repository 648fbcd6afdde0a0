"""The memory that operators read and write, by address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

#: Bytes from one address up to another.
Span = tuple[int, int]


@dataclass(frozen=True)
class Spans:
    """What is read only, and what may be written."""

    read: tuple[Span, ...]
    written: tuple[Span, ...]

    @property
    def bytes(self) -> int:
        """What passes through the processor."""
        return sum(end - begin for begin, end in (*self.read, *self.written))


def meet(some: Spans, other: Spans) -> bool:
    """Whether one writes what the other touches."""
    return (
        _overlap(some.written, other.written)
        or _overlap(some.written, other.read)
        or _overlap(some.read, other.written)
    )


def _overlap(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return any(a < d and c < b for a, b in some for c, d in others)


def spans_of(operator: Any, launches: Sequence[Launch]) -> Spans:
    """What is no input, and no constant of a kernel's, may be written: outputs, scratch.

    An input may be, too, where launches do the work of the operator that makes it.
    """
    inputs = {span(blob.array) for blob in operator.input_blobs if blob.array is not None}
    outputs = {span(blob.array) for blob in operator.output_blobs if blob.array is not None}
    touched = {span(array) for launch in launches for array in kept_arrays(launch.keep)}
    outputs |= {span(array) for launch in launches for array in launch.stores}
    read = inputs - outputs
    return Spans(tuple(read), tuple((touched | outputs) - read))


def span(array: Array) -> Span:
    """The bytes of an array."""
    begin = int(array.ctypes.data)
    return begin, begin + array.nbytes


def kept_arrays(kept: Any) -> Iterator[Array]:
    """All arrays, of the host or a device, that a launch holds on to."""
    if isinstance(kept, tuple | list):
        for each in kept:
            yield from kept_arrays(each)
    elif isinstance(kept, np.ndarray) or hasattr(kept, "__cuda_array_interface__"):
        yield kept
