"""The inputs of a net that is to be timed: given as for `run`, as for Caffe2's programs, or random.

Caffe2's speed_benchmark takes names and shapes in two lists, --input data,info and --input_dims
"1,3,224,224;1,3", with --input_type "float;float", or --input_file with a file for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe2py.cli.common import log, plain
from caffe2py.errors import ArgumentError, FileError, UsageError
from caffe2py.predictor.guess import guess_inputs
from caffe2py.predictor.inputs import Invented, parse_inputs, read_arrays, types_of
from caffe2py.predictor.load import Model
from caffe2py.tensor.serialize import blob_from_proto, parse_blob
from caffe2py.tensor.types import NUMBER_OF, STRING, DType, dtype_from_text

__all__ = ["given_inputs"]

#: The beginnings of what numpy saves; other files hold a BlobProto.
_NUMPY = (b"\x93NUMPY", b"PK\x03\x04")
#: How C++ calls types that DataType calls otherwise.
_CPP_TYPES = {"uint8_t": "uint8", "int": "int32", "int64_t": "int64", "half": "float16"}


def given_inputs(model: Model, options: dict[str, Any]) -> dict[str, Any]:
    """Every input that is given in some way, and random values for the others."""
    texts = options.get("inputs") or ()
    dims, files = options.get("input_dims"), options.get("input_file")
    if dims and files:
        raise UsageError("--input-dims and --input-file exclude each other")
    names: list[str] = []
    if dims or files:
        listed = [text for text in texts if "=" not in text]
        texts = [text for text in texts if "=" in text]
        names = [name for text in listed for name in text.split(",")]
    given: dict[str, Any] = dict(parse_inputs(texts, model))
    names = names or [name for name in model.data_inputs if name not in given]
    for name in names:
        model.require_input(name)
    if dims:
        given |= _shaped(names, dims, options.get("input_type") or "float")
    elif files:
        given |= _from_files(names, files)
    guessed = guess_inputs(model, types_of(given))
    say = log.info if options.get("guessed") else log.warning
    for name, value in guessed.items():
        say("input '%s' is not given: random values, %s", plain(name), value.type)
    return {**given, **guessed}


def _shaped(names: Sequence[str], dims: str, types: str) -> dict[str, Any]:
    shapes = [text for text in dims.split(";") if text.strip()]
    dtypes = [_dtype(text.strip()) for text in types.replace(",", ";").split(";")]
    if len(dtypes) == 1:
        dtypes *= len(shapes)
    if not len(names) == len(shapes) == len(dtypes):
        raise UsageError(
            f"{len(shapes)} shape(s) and {len(dtypes)} type(s) for the inputs {', '.join(names)}",
            hint='--input data,info --input-dims "1,3,224,224;1,3" --input-type "float;float"',
        )
    return {
        name: Invented(_shape(text), dtype)
        for name, text, dtype in zip(names, shapes, dtypes, strict=True)
    }


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        shape = (-1,)
    if any(dim < 0 for dim in shape):
        raise UsageError(f"'{text}' is no shape", hint="--input-dims 1,3,224,224")
    return shape


def _dtype(text: str) -> DType:
    try:
        return dtype_from_text(_CPP_TYPES.get(text, text))
    except ArgumentError:
        pass
    try:
        found: DType | None = np.dtype(text)
    except TypeError:
        found = None
    if found is None or found not in NUMBER_OF or found == STRING:
        raise UsageError(f"'{text}' is no type", hint="--input-type float")
    return found


def _from_files(names: Sequence[str], files: str) -> dict[str, Any]:
    paths = [text for text in files.split(",") if text]
    if len(paths) != len(names):
        raise UsageError(f"{len(paths)} file(s) for the inputs {', '.join(names)}")
    return {name: _read(name, path) for name, path in zip(names, paths, strict=True)}


def _read(name: str, path: str) -> Any:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=path) from None
    if not content.startswith(_NUMPY):
        return blob_from_proto(parse_blob(content), opens=False)
    arrays = read_arrays(path)
    if name not in arrays and len(arrays) != 1:
        raise UsageError(f"'{path}' holds no '{name}'")
    return arrays[name] if name in arrays else next(iter(arrays.values()))
