"""Tensors of ONNX files to arrays and back, every size checked before anything is allocated."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from caffe2py.errors import Error, FileError, ModelFormatError, UnsupportedError
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, DType, checked_numel

__all__ = ["NUMBERS", "array_of", "dtype_of", "number_of", "tensor_of"]

#: ONNX's TensorProto.DataType -> numpy dtype.
DTYPES: dict[int, DType] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    8: STRING,
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}

#: The field that holds the elements where raw_data does not.
_FIELDS = {1: "float_data", 7: "int64_data", 8: "string_data", 11: "double_data"}
_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL


def dtype_of(number: int) -> DType:
    """The dtype of an ONNX DataType; UnsupportedError for one that no blob holds."""
    found = DTYPES.get(number)
    if found is None:
        types = onnx_package().TensorProto.DataType
        known = number in types.values()
        name = types.Name(number) if known else f"number {number}"
        raise UnsupportedError(f"tensors of ONNX's type {name} have no counterpart")
    return found


def number_of(dtype: DType) -> int:
    """ONNX's DataType of a dtype; UnsupportedError where ONNX has none."""
    try:
        return NUMBERS[np.dtype(dtype)]
    except KeyError:
        raise UnsupportedError(f"ONNX has no tensors of {dtype}") from None


def array_of(tensor: Any, folder: Path | None = None) -> Array:
    """The array in a TensorProto; external data are looked for in `folder` and nowhere else.

    Raises ModelFormatError where the data do not fit the dimensions, UnsupportedError for types
    without counterpart, FileError for external data that cannot or may not be read.
    """
    try:
        return _array(tensor, folder)
    except Error as error:
        raise error.with_where(f"tensor '{tensor.name}'") from None


def _array(tensor: Any, folder: Path | None) -> Array:
    dtype = dtype_of(tensor.data_type)
    shape = tuple(tensor.dims)
    if any(dim < 0 for dim in shape):
        raise ModelFormatError(f"its shape {shape} has a negative dimension")
    count = checked_numel(shape, dtype.itemsize)
    if tensor.data_location == _EXTERNAL:
        if dtype == STRING:
            raise ModelFormatError("strings cannot be external data")
        data = _external(tensor, folder, count * dtype.itemsize)
        return _from_bytes(data, dtype, shape)
    if tensor.HasField("raw_data"):
        if dtype == STRING:
            raise ModelFormatError("strings cannot be raw data")
        _require_size(len(tensor.raw_data), count * dtype.itemsize, "bytes of raw data")
        return _from_bytes(tensor.raw_data, dtype, shape)
    field = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
    _require_size(len(field), count, "elements")
    if dtype == STRING:
        strings = np.empty(count, STRING)
        strings[:] = list(field)
        return strings.reshape(shape)
    if dtype == np.float16:  # bit patterns
        return np.array(field, np.uint16).view(np.float16).reshape(shape)
    wide = np.array(field, np.int64 if dtype.kind in "iub" else dtype)
    return wide.astype(dtype).reshape(shape)


def _from_bytes(data: bytes, dtype: DType, shape: tuple[int, ...]) -> Array:
    made = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
    return made.reshape(shape)


def _require_size(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise ModelFormatError(f"its shape needs {expected} {what}, found {found}")


# ---------------------------------------------------------------- external data


def _external(tensor: Any, folder: Path | None, size: int) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise FileError(
            f"its data are in the file '{location}', and the model has no folder",
            hint="give the path of the model, not its bytes",
        )
    offset = _number(entries.get("offset", "0"), "offset")
    length = _number(entries.get("length", str(size)), "length")
    _require_size(length, size, "bytes of external data")
    return _read_below(folder, location, offset, length)


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise ModelFormatError(f"the {what} of its external data is {text[:40]!r}, no number")
    return int(text)


def _read_below(folder: Path, location: str, offset: int, length: int) -> bytes:
    """Bytes of a plain file below `folder`; no link is followed on the way."""
    parts = location.replace("\\", "/").split("/")
    if not location or location.startswith(("/", "\\")) or any(p in ("", "..") for p in parts):
        raise FileError(f"its data are said to be in '{location}', outside of the model's folder")
    if "\0" in location:
        raise FileError("the name of its data file holds a null character")
    handles: list[int] = []
    try:
        handles.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        for part in parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            handles.append(os.open(part, flags, dir_fd=handles[-1]))
        # without O_NONBLOCK a pipe would wait for a writer
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        handles.append(os.open(parts[-1], flags, dir_fd=handles[-1]))
        info = os.fstat(handles[-1])
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
            raise FileError(f"its data file '{location}' is a link, or no plain file")
        if offset + length > info.st_size:
            raise FileError(
                f"its data file '{location}' has {info.st_size} bytes, "
                f"and {length} from byte {offset} are needed"
            )
        with os.fdopen(handles.pop(), "rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise FileError(f"its data file '{location}' cannot be read: {error.strerror}") from None
    finally:
        for handle in handles:
            os.close(handle)
    _require_size(len(data), length, "bytes of external data")
    return data


# ---------------------------------------------------------------- writing


def tensor_of(name: str, array: Array) -> Any:
    """A TensorProto that holds an array; UnsupportedError for a type that ONNX lacks."""
    onnx = onnx_package()
    tensor = onnx.TensorProto(name=name, dims=array.shape, data_type=number_of(array.dtype))
    if array.dtype == STRING:
        tensor.string_data.extend(array.reshape(-1).tolist())
    else:
        plain = np.ascontiguousarray(array)
        tensor.raw_data = plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes()
    return tensor
