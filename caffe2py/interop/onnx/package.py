"""The optional packages of this folder, imported when they are needed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from caffe2py.errors import UnsupportedError

__all__ = ["has_onnxruntime", "onnx_package", "onnxruntime_package"]

#: Older versions of onnx follow external data out of the model's folder.
OLDEST = (1, 21)


def onnx_package(submodule: str = "") -> Any:
    """The package onnx or one of its modules; UnsupportedError where it is missing or too old."""
    try:
        found = importlib.import_module("onnx")
    except ImportError:
        raise UnsupportedError(
            "the package 'onnx' is not installed (needs: pip install caffe2py[onnx])"
        ) from None
    numbers = tuple(int(part) for part in found.__version__.split(".")[:2])
    if numbers < OLDEST:
        raise UnsupportedError(
            f"onnx {found.__version__} is too old (needs: pip install caffe2py[onnx])"
        )
    return importlib.import_module(f"onnx.{submodule}") if submodule else found


def has_onnxruntime() -> bool:
    """Whether results can be compared with those of onnxruntime."""
    return importlib.util.find_spec("onnxruntime") is not None


def onnxruntime_package() -> Any:
    """The package onnxruntime; UnsupportedError where it is missing."""
    if not has_onnxruntime():
        raise UnsupportedError(
            "the package 'onnxruntime' is not installed (needs: pip install onnxruntime)"
        )
    return importlib.import_module("onnxruntime")
