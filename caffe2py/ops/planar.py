"""Pictures as bytes and as planes of numbers: what stands before and after nets for cameras."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.planar import (
    launch_draw_once,
    launch_pack,
    launch_standardize,
    launch_unpack,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.uint8)
_COLOURS = 3

#: More different numbers than this would be a waste of memory.
_MOST = 1 << 26


def _require_mean(query: Query) -> None:
    """One number for each colour, in any shape."""
    require_dtype(query, 1, "float32")
    shape = query.inputs[1].shape
    if shape is not None and product(shape) not in (None, _COLOURS):
        raise ShapeError(
            f"input 1 '{query.name(1)}' must hold {_COLOURS} numbers, found {shape_text(shape)}"
        )


def _require_channels(query: Query, axis: int, count: int) -> None:
    require_rank(query, 0, 4)
    shape = query.inputs[0].shape
    if shape is not None and shape[axis] not in (None, count):
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have {count} channels along axis {axis}, "
            f"found {shape_text(shape)}"
        )


# ---------------------------------------------------------------- NormalizePlanarYUV


def _infer_normalize(query: Query) -> Sequence[TensorType]:
    require_rank(query, 0, 4)
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    require_same_dtype(query, 0, 1, 2)
    x = query.inputs[0].shape
    for index in (1, 2):
        require_rank(query, index, 2)
        shape = query.inputs[index].shape
        if shape is None:
            continue
        wanted = None if x is None else x[1]
        if shape[0] == 0 or (None not in (wanted, shape[1]) and shape[1] != wanted):
            raise ShapeError(
                f"input {index} '{query.name(index)}' must have a row with one number for each of "
                f"{'?' if wanted is None else wanted} channel(s), found {shape_text(shape)}"
            )
    return [query.inputs[0]]


normalize = operator(
    "NormalizePlanarYUV",
    "X, mean, deviation -> Y",
    infer=_infer_normalize,
    gradient=NotDifferentiable("it prepares pictures"),
    inplace={0: 0},
    doc="""
    Y[n, c, i, j] = (X[n, c, i, j] - mean[0, c]) / deviation[0, c].

    X is (N, C, H, W), mean and deviation (1, C); rows after their first one have no meaning.
    """,
    example="""
    X = [[[[3]], [[5]]]]; mean = [[1, 1]], deviation = [[2, 4]]
    Y = [[[[1]], [[1]]]]
    """,
)


def _planes(x: Array) -> Array:
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


@normalize.everywhere
def _launch_normalize(call: Call) -> Launch:
    x, mean, deviation = call.inputs
    return launch_standardize(_planes(x), mean[0], deviation[0], _planes(call.outputs[0]))


# ---------------------------------------------------------------- pictures to be styled


def _infer_preprocess(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "uint8")
    _require_channels(query, 3, _COLOURS + 1)
    _require_mean(query)
    args = query.args
    if not 1 <= args.noise_size <= _MOST:
        raise ArgumentError(f"noise_size must be 1 to {_MOST}, found {args.noise_size}")
    if not 0 <= args.noise_std < math.inf:
        raise ArgumentError(f"noise_std must be 0 or more, found {args.noise_std}")
    shape = query.inputs[0].shape
    return [TensorType(FLOAT, None if shape is None else (shape[0], _COLOURS, *shape[1:3]))]


preprocess = operator(
    "PackedInt8BGRANHWCToNCHWCStylizerPreprocess",
    "X, mean -> Y",
    infer=_infer_preprocess,
    gradient=NotDifferentiable("it reads bytes"),
    doc="""
    Y[n, c, i, j] = X[n, i, j, c] - mean[c] + noise[((i * W + j) * 3 + c) mod noise_size].

    X is (N, H, W, 4) uint8, pixels of blue, green, red and one more byte that is dropped; mean
    holds three float32, Y is (N, 3, H, W) float32. The noise, normal with mean 0, is drawn once and
    is the same for each image and in each run.
    """,
    example="""
    X = [[[[10, 20, 30, 255]]]]; mean = [1, 2, 3]; noise_std = 0
    Y = [[[[9]], [[18]], [[27]]]]
    """,
    noise_size=Arg(int, 491, "after so many numbers the noise repeats itself"),
    noise_std=Arg(float, 10.0, "standard deviation of the noise"),
)


@preprocess.everywhere
def _launch_preprocess(call: Call) -> list[Launch]:
    x, mean = call.inputs
    y, noise = call.outputs[0], call.scratch((call.args.noise_size,), FLOAT)
    pixels = x.reshape(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
    return [
        launch_draw_once(call.random_state(), call.args.noise_std, noise),
        launch_unpack(pixels, mean.reshape(-1), noise, _planes(y)),
    ]


def _infer_deprocess(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "float32")
    _require_channels(query, 1, _COLOURS)
    _require_mean(query)
    shape = query.inputs[0].shape
    return [TensorType(BYTE, None if shape is None else (shape[0], *shape[2:], _COLOURS + 1))]


deprocess = operator(
    "BRGNCHWCToPackedInt8BGRAStylizerDeprocess",
    "X, mean -> Y",
    infer=_infer_deprocess,
    gradient=NotDifferentiable("it makes bytes"),
    doc="""
    Y[n, i, j, c] = X[n, c, i, j] + mean[c], cut to 0 ... 255 and rounded down; Y[n, i, j, 3] = 255.

    X is (N, 3, H, W) float32, mean holds three float32, Y is (N, H, W, 4) uint8. NaN becomes 0.
    """,
    example="""
    X = [[[[9.5]], [[-18]], [[300]]]]; mean = [1, 2, 3]
    Y = [[[[10, 0, 255, 255]]]]
    """,
)


@deprocess.everywhere
def _launch_deprocess(call: Call) -> Launch:
    x, mean = call.inputs
    y = call.outputs[0]
    packed = y.reshape(y.shape[0], y.shape[1] * y.shape[2], y.shape[3])
    return launch_pack(_planes(x), mean.reshape(-1), packed)
