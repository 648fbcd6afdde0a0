"""Arrays to files: .npz by name, .npy for one."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from caffe2py.errors import FileError, UsageError
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING

__all__ = ["write_arrays"]


def write_arrays(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an .npz under their names, or the only one to an .npy.

    The file appears in full or not at all. String tensors become arrays of fixed-width bytes.
    Raises UsageError for another ending or several arrays for an .npy, FileError where it cannot
    be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".npz", ".npy"):
        raise UsageError(f"'{target}' ends in neither .npz nor .npy")
    if suffix == ".npy" and len(arrays) != 1:
        names = ", ".join(list(arrays)[:8])
        raise UsageError(
            f"an .npy file holds one array, not {len(arrays)} ({names})",
            hint="--output NAME for one of them, or an .npz",
        )
    _write(target, arrays, several=suffix == ".npz")


def _write(target: Path, arrays: Mapping[str, Array], *, several: bool) -> None:
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            temporary = file.name
            if several:
                _write_zip(file, arrays)
            else:
                _write_array(file, next(iter(arrays.values())))
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise FileError(
            f"cannot be written: {error.strerror or error}", where=str(target)
        ) from None


def _umask() -> int:
    """The umask can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _write_zip(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    # Not np.savez, which takes names as keyword arguments and so refuses a blob named "file".
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_array(member, array)


def _write_array(file: Any, array: Array) -> None:
    plain = array.astype("S") if array.dtype == STRING else array
    np.lib.format.write_array(file, plain, allow_pickle=False)
