"""Lines of text as columns: CreateTextFileReader and TextFileReaderRead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from caffe2py.adapters.paths import open_file, permitted
from caffe2py.errors import ArgumentError, ArityError, FileError, ValueRangeError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.held import held
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import STRING, UNKNOWN, DType, TensorType, dtype_from_number, dtype_name

_PARSERS: dict[str, Callable[[bytes], Any]] = {"i": int, "u": int, "f": float, "O": bytes}


class TextReader:
    """The rows of a file, a given number of times over; columns are separated by tabs."""

    def __init__(self, path: str, passes: int, dtypes: Sequence[DType]) -> None:
        self.path = path
        self.dtypes = tuple(dtypes)
        self._lock = threading.Lock()
        self._row = 0
        try:
            open_file(path, "rb").close()
        except OSError as error:
            raise FileError(
                f"Error opening file for reading: {error.strerror}", where=path
            ) from None
        self._rows = self._read(passes)

    def _read(self, passes: int) -> Iterator[list[bytes]]:
        for _ in range(passes):
            with open_file(self.path, "rb") as file:
                for line in file:
                    yield line.rstrip(b"\n").split(b"\t")

    def take(self, count: int) -> list[list[Any]]:
        """The columns of the next rows: up to `count`, none at the end.

        Raises ValueRangeError for a row with another number of columns, or a value that is none.
        """
        columns: list[list[Any]] = [[] for _ in self.dtypes]
        with self._lock:
            for _, fields in zip(range(count), self._rows, strict=False):
                self._row += 1
                if len(fields) != len(columns):
                    raise ValueRangeError(
                        f"Invalid number of columns at row {self._row}: expected {len(columns)}, "
                        f"found {len(fields)}",
                        where=self.path,
                    )
                for column, dtype, text in zip(columns, self.dtypes, fields, strict=True):
                    column.append(self._value(text, dtype))
        return columns

    def _value(self, text: bytes, dtype: DType) -> Any:
        try:
            value = _PARSERS[dtype.kind](text)
            if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
                raise ValueError
        except ValueError:
            raise ValueRangeError(
                f"row {self._row}: expected a {dtype_name(dtype)}, found {text[:40]!r}",
                where=self.path,
            ) from None
        return value


def _dtypes(numbers: Sequence[int] | None) -> list[DType]:
    if not numbers:
        raise ArgumentError("argument 'field_types' must name the type of each column")
    dtypes = [dtype_from_number(number) for number in numbers]
    for dtype in dtypes:
        if dtype.kind not in _PARSERS:
            raise ArgumentError(f"argument 'field_types': a column cannot be {dtype_name(dtype)}")
    return dtypes


create = operator(
    "CreateTextFileReader",
    " -> handler",
    gradient=NoGradient("it opens a file"),
    needs="files",
    filename=Arg(str, "", "path of the file"),
    num_passes=Arg(int, 1, "how often the file is read"),
    field_types=Arg(list[int], None, "DataType of each column: numbers, or strings"),
    doc="""
    Opens a text file with columns separated by tabs. Raises FileError for a missing file,
    ArgumentError for types that columns cannot have.
    """,
    example="""
    filename = "words.txt", field_types = [STRING, INT32]
    handler = the open file
    """,
)


@create.everywhere_dynamic()
def open_text(call: Call) -> None:
    """Open it."""
    args = call.args
    path = permitted(call.scope.trust, args.filename, trusted_path=args.filename, writes=False)
    call.put(0, TextReader(path, args.num_passes, _dtypes(args.field_types)))


def _infer_read(query: Query) -> Sequence[TensorType]:
    if query.args.batch_size < 1:
        raise ArgumentError(
            f"argument 'batch_size' must be at least 1, found {query.args.batch_size}"
        )
    return [UNKNOWN] * query.outputs


read = operator(
    "TextFileReaderRead",
    "handler -> fields+",
    infer=_infer_read,
    gradient=NoGradient("it reads a file"),
    batch_size=Arg(int, 1, "rows in one batch; the last one may have fewer"),
    doc="""
    fields[k] = column k of the next rows, a vector; empty at the end of the file. Caffe2 reads
    strings and floats only. Raises ValueRangeError for a row with another number of columns or a
    value that is none of the column's type; the row is skipped then.
    """,
    example="""
    file = "a <tab> 1" and "b <tab> 2", batch_size = 2
    fields = ["a", "b"]; [1, 2]
    """,
)


@read.cpu_dynamic()
def read_rows(call: Call) -> None:
    """Read a batch."""
    reader = held(call, 0, TextReader, "CreateTextFileReader")
    if call.output_count != len(reader.dtypes):
        raise ArityError(
            f"Invalid number of outputs. Expected {len(reader.dtypes)}, one for each column, "
            f"got {call.output_count}"
        )
    for k, column in enumerate(reader.take(call.args.batch_size)):
        dtype = reader.dtypes[k]
        out = call.output(k, (len(column),), dtype)
        out[:] = np.array(column, dtype) if dtype != STRING else column
