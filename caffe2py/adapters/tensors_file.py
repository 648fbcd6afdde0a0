"""Arrays as .safetensors. Needs safetensors (`pip install caffe2py[safetensors]`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caffe2py.errors import UnsupportedError
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING


def safetensors_content(arrays: Mapping[str, Array]) -> bytes:
    """The file that holds these arrays; UnsupportedError for strings, or without the package."""
    try:
        from safetensors.numpy import save
    except ImportError:
        raise UnsupportedError(
            "writing .safetensors needs safetensors; needs: pip install caffe2py[safetensors]"
        ) from None
    texts = [name for name, array in arrays.items() if array.dtype == STRING]
    if texts:
        raise UnsupportedError(
            f"a .safetensors file holds no texts, as '{texts[0]}' does", hint="an .npz"
        )
    content: bytes = save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    return content
