"""Caffe2's utils module: arrays and arguments to messages and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.proto.args import get_value, make_argument
from caffe2py.proto.caffe2_pb2 import Argument
from caffe2py.tensor.serialize import tensor_from_proto, tensor_to_proto
from caffe2py.tensor.tensor import Array

__all__ = [
    "NCHW2NHWC",
    "NHWC2NCHW",
    "ArgsToDict",
    "Caffe2TensorToNumpyArray",
    "MakeArgument",
    "NumpyArrayToCaffe2Tensor",
]

MakeArgument = make_argument
Caffe2TensorToNumpyArray = tensor_from_proto
NumpyArrayToCaffe2Tensor = tensor_to_proto


def ArgsToDict(args: Iterable[Argument]) -> dict[str, Any]:
    """The values of arguments by name: int, float, bytes, message, or a list of those."""
    return {argument.name: get_value(argument) for argument in args}


def NCHW2NHWC(tensor: Array) -> Array:
    """Move the channels, axis 1, to the end. ShapeError below two dimensions."""
    return np.moveaxis(_image(tensor), 1, -1)


def NHWC2NCHW(tensor: Array) -> Array:
    """Move the channels, the last axis, to position 1. ShapeError below two dimensions."""
    return np.moveaxis(_image(tensor), -1, 1)


def _image(tensor: Array) -> Array:
    if tensor.ndim < 2:
        raise ShapeError(f"batch and channels need two dimensions, found {tensor.shape}")
    return tensor
