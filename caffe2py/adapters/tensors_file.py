"""Arrays as .safetensors. Needs safetensors (`pip install caffe2py[safetensors]`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caffe2py.errors import FileError, UnsupportedError
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING


def safetensors_arrays(path: str) -> dict[str, Array]:
    """The arrays in a .safetensors file by name.

    FileError for a file that is missing or damaged, or has types that NumPy lacks; UnsupportedError
    without the package.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise _missing("reading") from None
    try:
        found: dict[str, Array] = load_file(path)
    except FileNotFoundError:
        raise FileError("no such file", where=path, hint="check the path") from None
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise FileError(f"cannot be read as .safetensors: {error}", where=path) from None
    return found


def safetensors_content(arrays: Mapping[str, Array]) -> bytes:
    """The file that holds these arrays; UnsupportedError for strings, or without the package."""
    try:
        from safetensors.numpy import save
    except ImportError:
        raise _missing("writing") from None
    texts = [name for name, array in arrays.items() if array.dtype == STRING]
    if texts:
        raise UnsupportedError(
            f"a .safetensors file holds no texts, as '{texts[0]}' does", hint="an .npz"
        )
    content: bytes = save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    return content


def _missing(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"{what} .safetensors needs safetensors; needs: pip install caffe2py[safetensors]"
    )
