"""Caffe2's utils module: arrays and arguments to messages and back."""

from __future__ import annotations

import functools
import pdb
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError, UsageError
from caffe2py.executor.session import ResetBlob
from caffe2py.graph.counter import (
    ITERATION_MUTEX_NAME,
    OPTIMIZER_ITERATION_NAME,
    BuildUniqueMutexIter,
)
from caffe2py.proto.args import get_value, make_argument
from caffe2py.proto.caffe2_pb2 import Argument
from caffe2py.proto.content import (
    ConvertProtoToBinary,
    GetContentFromProto,
    GetContentFromProtoString,
    OpAlmostEqual,
    TryReadProtoWithClass,
)
from caffe2py.tensor.serialize import tensor_from_proto, tensor_to_proto
from caffe2py.tensor.tensor import Array

__all__ = [
    "ITERATION_MUTEX_NAME",
    "NCHW2NHWC",
    "NHWC2NCHW",
    "OPTIMIZER_ITERATION_NAME",
    "ArgsToDict",
    "BuildUniqueMutexIter",
    "Caffe2TensorToNumpyArray",
    "CaffeBlobToNumpyArray",
    "ConvertProtoToBinary",
    "DebugMode",
    "EnumClassKeyVals",
    "GetContentFromProto",
    "GetContentFromProtoString",
    "MakeArgument",
    "NumpyArrayToCaffe2Tensor",
    "OpAlmostEqual",
    "ResetBlobs",
    "TryReadProtoWithClass",
    "debug",
    "raiseIfNotEqual",
]

MakeArgument = make_argument
Caffe2TensorToNumpyArray = tensor_from_proto
NumpyArrayToCaffe2Tensor = tensor_to_proto


def ArgsToDict(args: Iterable[Argument]) -> dict[str, Any]:
    """The values of arguments by name: int, float, bytes, message, or a list of those."""
    return {argument.name: get_value(argument) for argument in args}


def CaffeBlobToNumpyArray(blob: Any) -> Array:
    """The float32 array in a BlobProto of Caffe 1, old or new style."""
    old = (blob.num, blob.channels, blob.height, blob.width)
    shape = old if blob.num else tuple(blob.shape.dim)
    return np.asarray(blob.data, np.float32).reshape(shape)


def ResetBlobs(blobs: Iterable[Any]) -> None:
    """Empty blobs of the current workspace."""
    for blob in blobs:
        ResetBlob(blob)


def EnumClassKeyVals(cls: type) -> dict[str, str]:
    """The texts that a class keeps under names in capitals; UsageError if two are equal."""
    found = {k: getattr(cls, k) for k in dir(cls) if k == k.upper()}
    texts = {key: value for key, value in found.items() if isinstance(value, str)}
    if len(set(texts.values())) < len(texts):
        raise UsageError(f"Failed to resolve {cls} as Enum: duplicate entries in {texts}")
    return texts


def raiseIfNotEqual(a: Any, b: Any, msg: str) -> None:
    """UsageError with a message if two values differ."""
    if a != b:
        raise UsageError(f"{msg}. {a} != {b}")


class DebugMode:
    """Ends in the debugger where a program fails: `DebugMode.run(main)`."""

    @classmethod
    def run(cls, func: Callable[[], Any]) -> Any:
        """What `func` returns; if it fails, the debugger at that place, then exit status 1."""
        try:
            return func()
        except Exception:
            traceback.print_exc()
            pdb.post_mortem()
            sys.exit(1)


def debug(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: calls of the function run in DebugMode."""

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return DebugMode.run(lambda: f(*args, **kwargs))

    return wrapper


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
