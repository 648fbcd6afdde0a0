"""Showing what a blob holds while a net runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from caffe2py.adapters.paths import open_file, permitted
from caffe2py.errors import ArgumentError, FileError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array, Tensor
from caffe2py.tensor.types import TensorType

#: How many elements are shown if `limit` does not say.
DEFAULT_LIMIT = 1000

#: What Caffe2 calls the types: C++'s names.
_TYPE_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "half",
    "int64": "long int",
    "int32": "int",
    "int16": "short int",
    "int8": "signed char",
    "uint16": "short unsigned int",
    "uint8": "unsigned char",
    "bool": "bool",
    "object": "std::string",
}


# generic for type checkers only: before Python 3.12 it takes no parameter at run time
class _Stdout(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is sys.stdout at the time, so that redirected output is redirected."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self.stream = sys.stdout
        super().emit(record)


#: Every line goes through this logger, and on to the screen; take its handler away to silence it.
log = logging.getLogger("caffe2py.print")
log.setLevel(logging.INFO)
log.propagate = False  # a program that logs to the screen would show each line twice
if not log.handlers:
    log.addHandler(_Stdout(sys.stdout))

#: How often each operator has run.
_runs: WeakKeyDictionary[Call, int] = WeakKeyDictionary()


def tensor_text(name: str, array: Array, limit: int) -> str:
    """A tensor in one line: its name, type, shape and first elements, as Caffe2 writes it."""
    dims = "".join(f"{d}," for d in array.shape)
    first = array.reshape(-1)[: limit if limit > 0 else DEFAULT_LIMIT]
    values = ",".join(_value_text(value) for value in first)
    return f"Tensor {name} of type {_TYPE_NAMES[array.dtype.name]}. Dims: ({dims}): {values}"


def _value_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return f"{value:g}" if isinstance(value, np.floating) else str(int(value))


def _infer_print(query: Query) -> Sequence[TensorType]:
    if query.args.every_n < 1:
        raise ArgumentError(f"argument 'every_n' must be at least 1, found {query.args.every_n}")
    return []


print_ = operator(
    "Print",
    "tensor -> ",
    infer=_infer_print,
    gradient=NotDifferentiable("it has no output"),
    needs="files if to_file",
    to_file=Arg(int, 0, "1: to the file <name of the blob>.log in the workspace's root folder"),
    limit=Arg(int, 0, f"at most so many elements; 0 is {DEFAULT_LIMIT}"),
    every_n=Arg(int, 1, "only in every n-th run, beginning with the first"),
    doc="""
    Writes a line with the name, type, shape and elements of a tensor: on the screen (through the
    logger "caffe2py.print"), or to a file, which each new operator begins anew. Other things than
    tensors are written as Python shows them. Raises FileError if the file cannot be written, or
    would lie outside the root folder.
    """,
    example="""
    X = float32 [[0, 0.5], [1, 1.5]]
    Tensor X of type float. Dims: (2,2,): 0,0.5,1,1.5
    """,
)


@print_.cpu_dynamic()
def print_tensor(call: Call) -> None:
    """Write the line, if it is its turn."""
    run = _runs.get(call, 0)
    _runs[call] = run + 1
    if run % call.args.every_n:
        return
    name, value = call.input_blob(0), call.value(0)
    if isinstance(value, Tensor):
        text = tensor_text(name, value.array, call.args.limit)
    else:
        text = f"Blob {name} of type {type(value).__name__}: {value!r}"
    if call.args.to_file:
        _append(call, f"{name}.log", text, begin=run == 0)
    else:
        log.info("%s", text)


def _append(call: Call, name: str, text: str, *, begin: bool) -> None:
    folder = Path(call.root_folder)
    own = (folder / name).resolve()
    path = permitted(call.scope.trust, name, trusted_path=str(own), writes=True)
    if path == str(own) and not own.is_relative_to(folder.resolve()):
        raise FileError(f"'{name}' lies outside the root folder '{folder}'")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open_file(path, "w" if begin else "a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise FileError(f"'{path}' cannot be written: {error}") from None


print_.cuda_by_host("it writes numbers as text")
