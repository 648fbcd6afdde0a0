"""Fields of a dataset as a tree: which lengths say how many elements of a field a record has.

The last part of a length field's name is "lengths"; fields behind it whose names begin with what
is before that part lie in its domain. Each length field opens a domain, and number 0 is that of the
records themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType

_SEPARATOR = ":"
_LENGTHS = "lengths"
_INT32 = np.dtype(np.int32)


class Tree:
    """The domains of fields. `domain[k]` is that of field k, `opens` the length fields in order.

    Raises ArgumentError for a field in the domain of a length field behind it.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = list(fields)
        prefixes: list[str] = []
        self.opens: list[int] = []
        for index, name in enumerate(self.fields):
            head, _, last = name.rpartition(_SEPARATOR)
            if last == _LENGTHS:
                prefixes.append(f"{head}{_SEPARATOR}" if head else "")
                self.opens.append(index)
        self.domain = [self._domain(k, prefixes) for k in range(len(self.fields))]

    def _domain(self, index: int, prefixes: Sequence[str]) -> int:
        """0, or 1 + the number of the innermost length field around a field."""
        name, best, length = self.fields[index], 0, 0
        for number, prefix in enumerate(prefixes):
            around = self.opens[number] != index and prefix and name.startswith(prefix)
            if around and len(prefix) > length:
                best, length = number + 1, len(prefix)
        if best and self.opens[best - 1] > index:
            behind = self.opens[best - 1]
            raise ArgumentError(
                f"Error: Field {index} ({name}) depends on a field defined afterwards: {behind} "
                f"({self.fields[behind]})"
            )
        return best

    @property
    def domains(self) -> int:
        """How many domains there are."""
        return len(self.opens) + 1

    def sizes(self, arrays: Sequence[Array], *, strict: bool = False) -> list[int]:
        """The number of elements in each domain: of its shortest field.

        Raises ArityError, DTypeError or ShapeError where the arrays are no such fields, and if
        `strict` where fields of one domain differ.
        """
        if len(arrays) != len(self.fields):
            raise ArityError(f"expected {len(self.fields)} field(s), found {len(arrays)}")
        found: dict[int, int] = {}
        for k, array in enumerate(arrays):
            what = f"field '{self.fields[k]}'"
            if k in self.opens and array.dtype != _INT32:
                raise DTypeError(f"{what} holds lengths, which are int32, found {array.dtype}")
            if array.ndim < 1:
                raise ShapeError(f"{what} has no first dimension: it is {TensorType.of(array)}")
            known = found.setdefault(self.domain[k], len(array))
            if strict and known != len(array):
                raise ShapeError(
                    f"Inconsistent sizes for fields belonging to same domain: {what} has "
                    f"{len(array)} element(s), those before it {known}"
                )
            found[self.domain[k]] = min(known, len(array))
        return [found.get(domain, -1) for domain in range(self.domains)]

    def marks(self, arrays: Sequence[Array], *, strict: bool = False) -> list[Array]:
        """For each domain, where the elements of each record begin; one more for the end.

        Raises ValueRangeError where lengths are negative or sum up to more than there is (or, if
        `strict`, to less), otherwise as `sizes`.
        """
        sizes = self.sizes(arrays, strict=strict)
        found = [np.arange(max(sizes[0], 0) + 1)]
        for domain in range(1, self.domains):
            outer = found[self.domain[self.opens[domain - 1]]]
            found.append(self._inner(domain, arrays, outer, sizes[domain], strict))
        return found

    def advance(
        self, arrays: Sequence[Array], offsets: Sequence[int], count: int
    ) -> tuple[list[int], list[int]]:
        """The next `count` records from `offsets` on: where they begin and how long they are.

        For each domain; no offsets mean the beginning. Errors as `marks`.
        """
        limits = self.sizes(arrays)
        begin = list(offsets) or [0] * self.domains
        if len(begin) != self.domains:
            raise ValueRangeError(
                f"the cursor has {len(begin)} place(s), the dataset needs {self.domains}: it was "
                "read in another way",
                hint="ResetCursor",
            )
        sizes = [max(0, min(count, limits[0] - begin[0]))]
        for domain in range(1, self.domains):
            field = self.opens[domain - 1]
            outer = self.domain[field]
            lengths = arrays[field].reshape(-1)[begin[outer] : begin[outer] + sizes[outer]]
            if lengths.size and lengths.min() < 0:
                raise ValueRangeError(
                    f"field '{self.fields[field]}' has a negative length, {lengths.min()}"
                )
            sizes.append(int(lengths.sum(dtype=np.int64)))
            if 0 <= limits[domain] < begin[domain] + sizes[domain]:
                raise ValueRangeError(
                    f"Inconsistent field length: tried to advance past the end of field {field} "
                    f"({self.fields[field]}): to {begin[domain] + sizes[domain]} of "
                    f"{limits[domain]} element(s)"
                )
        return begin, sizes

    def _inner(
        self, domain: int, arrays: Sequence[Array], outer: Array, size: int, strict: bool
    ) -> Array:
        field = self.opens[domain - 1]
        lengths, name = arrays[field].reshape(-1), self.fields[field]
        if lengths.size and lengths.min() < 0:
            raise ValueRangeError(f"field '{name}' has a negative length, {lengths.min()}")
        sums = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        last = int(sums[outer[-1]])
        if size >= 0 and (last > size or (strict and last < size)):
            raise ValueRangeError(
                f"Inconsistent field length: the lengths in '{name}' sum up to {last}; the fields "
                f"in its domain have {size} element(s)"
            )
        found: Array = sums[outer]
        return found


class TreeCursor:
    """How far a dataset has been read: the place in each domain; no places: at the beginning."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.tree = Tree(fields)
        self.offsets: list[int] = []
        self.lock = threading.Lock()

    def row(self) -> int:
        """The next record."""
        return self.offsets[0] if self.offsets else 0


def require_fields(fields: Sequence[str] | None) -> list[str]:
    """The names of the fields, which must be given."""
    if not fields:
        raise ArgumentError("argument 'fields' must name the fields")
    return list(fields)
