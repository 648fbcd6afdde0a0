"""Rows to train on: where they are, and in which order they are fed.

The order is a function of seed and epoch, so the number of iterations done says where it goes on.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from caffe2py.errors import Error, FileError, MissingBlobError, ShapeError, UsageError
from caffe2py.predictor.inputs import read_arrays
from caffe2py.tensor.tensor import Array, as_tensor_array
from caffe2py.tensor.types import TensorType, shape_text

__all__ = ["ArraySource", "Batches", "Source", "describe", "open_source"]

#: The two parts that a source may have; the names of their arrays begin so.
PARTS = ("train", "test")
_SHOWN = 8


class Source(Protocol):
    """Rows, each with a value for several blobs. Another kind of data is another class."""

    label: str
    rows: int

    @property
    def names(self) -> tuple[str, ...]:
        """The blobs that it has values for."""

    def types(self, size: int) -> dict[str, TensorType]:
        """The types of a batch of `size` rows."""

    def take(self, rows: Array) -> dict[str, Array]:
        """A batch: the values of these rows, by blob."""

    def digest(self) -> str:
        """What tells these rows from others."""


class ArraySource:
    """Arrays in memory whose first dimension counts the rows."""

    def __init__(self, arrays: Mapping[str, Array], label: str) -> None:
        """Raises UsageError without rows, ShapeError where arrays differ in their number.

        DTypeError for elements that no tensor holds.
        """
        self.label = label
        self._arrays = {name: _checked(name, array, label) for name, array in arrays.items()}
        counts = {name: len(array) for name, array in self._arrays.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise ShapeError(f"arrays with different numbers of rows: {found}", where=label)
        self.rows = next(iter(counts.values()), 0)
        if not self.rows:
            raise UsageError("it has no rows", where=label, hint=_EXAMPLE)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._arrays)

    def types(self, size: int) -> dict[str, TensorType]:
        """The types of a batch of `size` rows."""
        return {n: TensorType(a.dtype, (size, *a.shape[1:])) for n, a in self._arrays.items()}

    def take(self, rows: Array) -> dict[str, Array]:
        """Copies of these rows."""
        return {name: array[rows] for name, array in self._arrays.items()}

    def digest(self) -> str:
        """A hash of names, types, shapes and contents."""
        made = hashlib.sha256()
        for name, array in sorted(self._arrays.items()):
            made.update(f"{name} {array.dtype} {array.shape}\n".encode())
            made.update(repr(array.tolist()).encode() if array.dtype == object else array.data)
        return made.hexdigest()


_EXAMPLE = "an .npz with an array for each blob, rows first: data (1000,1,28,28), label (1000)"


def _checked(name: str, array: Array, label: str) -> Array:
    try:
        made = as_tensor_array(array)
    except Error as error:
        raise error.with_where(f"{label}, array '{name}'") from None
    if not made.ndim:
        raise ShapeError(f"array '{name}' is one number, not rows", where=label, hint=_EXAMPLE)
    return made


# ---------------------------------------------------------------- files


def open_source(
    path: str | Path, part: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Source:
    """The rows of one part ("train" or "test") of a file or folder, for these blobs.

    The names of arrays begin with the part, "train/data" and "test/data"; without that they are
    for training. Raises FileError for what cannot be read, UsageError for a file of another kind
    and for one without rows, MissingBlobError where a required blob has no array, ShapeError and
    DTypeError as ArraySource.
    """
    path = Path(path)
    opened = _READERS.get(path.suffix.lower(), _from_folder if path.is_dir() else _from_file)
    arrays = _of_part(opened(path), part)
    missing = [name for name in required if name not in arrays]
    if missing and arrays:
        near = difflib.get_close_matches(missing[0], arrays, 2, 0.6)
        guess = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise MissingBlobError(
            f"holds no array '{missing[0]}', which the {part} net reads and nothing makes; "
            f"it holds {', '.join(list(arrays)[:_SHOWN])}{guess}",
            where=str(path),
        )
    if not arrays:
        raise UsageError(f"it holds no arrays to {part} on", where=str(path), hint=_EXAMPLE)
    wanted = {*required, *optional}
    return ArraySource({n: a for n, a in arrays.items() if n in wanted}, str(path))


#: How files are read, by the end of their names. A data base would be one more, with a Source.
_READERS: dict[str, Callable[[Path], dict[str, Array]]] = {}


def _of_part(arrays: Mapping[str, Array], part: str) -> dict[str, Array]:
    own = {
        name.removeprefix(f"{part}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{part}/")
    }
    if own or part != "train":
        return own
    return {n: a for n, a in arrays.items() if n.partition("/")[0] not in PARTS}


def _from_file(path: Path) -> dict[str, Array]:
    arrays = read_arrays(path)
    if "" in arrays:
        raise UsageError(
            "an .npy holds one array without a name",
            where=str(path),
            hint="an .npz, or the folder in which it is data.npy",
        )
    return arrays


def _from_folder(folder: Path) -> dict[str, Array]:
    """Arrays by the path of their files: train/data.npy is "train/data"."""
    found: dict[str, Array] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".npy", ".npz")):
        prefix = path.relative_to(folder).with_suffix("").as_posix()
        for name, array in read_arrays(path).items():
            found[f"{prefix}/{name}" if name else prefix] = array
    if not found:
        names = sorted(p.name for p in folder.iterdir())[:_SHOWN]
        raise FileError(
            f"no .npy or .npz in this folder; it holds {', '.join(names) or 'nothing'}",
            where=str(folder),
        )
    return found


# ---------------------------------------------------------------- order


class Batches:
    """Which rows each iteration gets: all of them once an epoch, in another order each time.

    What is left of an epoch and makes no whole batch is left out; it is others each time.
    """

    def __init__(self, source: Source, size: int, seed: int) -> None:
        """Raises UsageError for a batch that is larger than all rows."""
        if size > source.rows:
            raise UsageError(
                f"a batch of {size} rows, and there are {source.rows}",
                where=source.label,
                hint=f"--batch {source.rows}",
            )
        self.source = source
        self.size = size
        self.seed = seed
        self.per_epoch = source.rows // size
        self._epoch = -1
        self._order: Array = np.empty(0, np.int64)

    def rows(self, iteration: int) -> Array:
        """The rows of an iteration; iterations count from 0."""
        epoch, position = divmod(iteration, self.per_epoch)
        if epoch != self._epoch:
            # the raw stream of a bit generator never changes, unlike NumPy's permutation
            raw = np.random.Philox(key=[self.seed, epoch]).random_raw(self.source.rows)
            self._order = np.argsort(raw, kind="stable")
            self._epoch = epoch
        return self._order[position * self.size : (position + 1) * self.size]

    def take(self, iteration: int) -> dict[str, Array]:
        """The batch of an iteration."""
        return self.source.take(self.rows(iteration))


def describe(types: Mapping[str, TensorType]) -> str:
    """Types of blobs for messages: "data float32(32,1,8,8), label int32(32)"."""
    found = ((n, t, shape_text(t.full_shape or ())) for n, t in types.items())
    return ", ".join(f"{name} {type_.dtype}{shape}" for name, type_, shape in found)
