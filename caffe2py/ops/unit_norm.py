"""Vectors divided by their norm: along an axis of a tensor, and rows of parameters by index."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.convert import launch_convert
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.norms import (
    launch_normalize_rows_at,
    launch_shrink_rows_at,
    launch_unit,
    launch_unit_gradient,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    Rule,
    canonical_axis,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType

AXIS = Arg(int, -1, "the axis along which vectors lie; negative ones count from the end")


def _infer(query: Query) -> Sequence[TensorType]:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    shape = require_same_shape(query, *range(len(query.inputs)))
    if shape is not None:
        canonical_axis(query.args.axis, len(shape))
    return [TensorType(dtype, shape)]


def _three(x: Array, axis: int) -> Array:
    axis = canonical_axis(axis, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


_normalize = operator(
    "Normalize",
    "input -> output",
    infer=_infer,
    gradient="NormalizeGradient(input, doutput) -> dinput",
    axis=AXIS,
    doc="""
    output = input / max(n, 1e-12) with n the Euclidean norm of each vector along `axis`. Raises
    ShapeError for an axis that input does not have.
    """,
    example="""
    input = [[3, 4], [0, 0]]
    output = [[0.6, 0.8], [0, 0]]
    """,
)


@_normalize.everywhere
def _launch(call: Call) -> Launch:
    axis = call.args.axis
    return launch_unit(_three(call.inputs[0], axis), _three(call.outputs[0], axis))


_normalize_gradient = operator(
    "NormalizeGradient",
    "input, doutput -> dinput",
    infer=_infer,
    axis=AXIS,
    doc="""
    dinput = doutput / n - input * (input . doutput) / n ** 3 with n the norm of each vector along
    `axis` and . the sum of products along it; doutput / 1e-12 for vectors shorter than 1e-12.
    """,
)


@_normalize_gradient.everywhere
def _launch_gradient(call: Call) -> Launch:
    arrays = (_three(a, call.args.axis) for a in (*call.inputs, call.outputs[0]))
    return launch_unit_gradient(*arrays)


_first_norm = operator(
    "NormalizeL1",
    "input -> output",
    infer=_infer,
    gradient=NotDifferentiable("Caffe2 has none"),
    axis=AXIS,
    doc="""
    output = input / the sum of magnitudes of each vector along `axis`; vectors of zeros stay (in
    Caffe2 they are not written). Raises ShapeError for an axis that input does not have.
    """,
    example="""
    input = [[1, -3], [0, 0]]
    output = [[0.25, -0.75], [0, 0]]
    """,
)


@_first_norm.everywhere
def _launch_first(call: Call) -> Launch:
    axis = call.args.axis
    return launch_unit(_three(call.inputs[0], axis), _three(call.outputs[0], axis), first=True)


# ---------------------------------------------------------------- rows of parameters

OVERWRITES = NotDifferentiable("it overwrites parameters")


def _infer_rows(*dtypes: str) -> Rule:
    def rule(query: Query) -> Sequence[TensorType]:
        _check(query)
        require_dtype(query, 0, *dtypes)
        require_dtype(query, 1, "int32", "int64")
        param = query.inputs[0]
        if param.shape == ():
            raise ShapeError("input 0 'param' must have at least 1 dimension")
        return [param]

    return rule


def _check(query: Query) -> None:
    args = query.args
    if hasattr(args, "norm") and not args.norm >= 0:
        raise ArgumentError(f"norm must not be negative, found {args.norm}")
    if hasattr(args, "p"):
        if args.p not in (1.0, 2.0):
            raise ArgumentError(f"p must be 1 or 2, found {args.p}")
        if not 0 < args.reg_lambda < 1:
            raise ArgumentError(f"reg_lambda must lie between 0 and 1, found {args.reg_lambda}")


def _rows(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _launch_rows(call: Call) -> list[Launch]:
    args, param = call.args, call.outputs[0]
    indices = call.inputs[1]
    if param.dtype != np.float16:
        x = _rows(param)
        return [launch_normalize_rows_at(x, indices, args.norm, only_longer=args.use_max_norm)]
    single = call.scratch(param.shape, np.float32)
    scale = launch_normalize_rows_at(
        _rows(single), indices, args.norm, only_longer=args.use_max_norm
    )
    return [
        *launch_convert(call, param, single),
        scale,
        *launch_convert(call, single.reshape(-1), param.reshape(-1)),
    ]


for _name, _dtypes in (("SparseNormalize", FLOATS), ("Float16SparseNormalize", ("float16",))):
    operator(
        _name,
        "param, indices, grad? -> output_param",
        infer=_infer_rows(*_dtypes),
        gradient=OVERWRITES,
        enforced={0: 0},
        use_max_norm=Arg(bool, True, "whether only rows that are longer than `norm` are scaled"),
        norm=Arg(float, 1.0, "the Euclidean norm that rows get"),
        doc=f"""
        Each row of param ({", ".join(_dtypes)}) that `indices` (int32 or int64) name is scaled to a
        norm of `norm`: multiplied by norm / (its norm + 1e-12); with use_max_norm only if it is
        longer. output_param is the same blob as param; grad is not read. Raises ValueRangeError for
        an index that is no row, where Caffe2 writes to other memory.
        """,
        example="""
        param = [[3, 4], [0.3, 0.4]]; indices = [0, 1]
        output_param = [[0.6, 0.8], [0.3, 0.4]]
        """,
    ).everywhere(_launch_rows)


_regularizer = operator(
    "SparseLpRegularizer",
    "param, indices, grad? -> output_param",
    infer=_infer_rows(*FLOATS),
    gradient=OVERWRITES,
    enforced={0: 0},
    p=Arg(float, 2.0, "1 or 2"),
    reg_lambda=Arg(float, 1e-5, "how far elements move toward 0, between 0 and 1"),
    doc="""
    In each row of param that `indices` (int32 or int64) name elements move toward 0: for p = 2 they
    are multiplied by 1 - reg_lambda, for p = 1 reg_lambda is taken from their magnitude, down to 0.
    output_param is the same blob as param; grad is not read. A row that is named twice moves twice.
    Raises ArgumentError for other arguments, ValueRangeError for an index that is no row, where
    Caffe2 writes to other memory.
    """,
    example="""
    param = [[1, -2], [3, 4]]; indices = [0]; p = 1.0; reg_lambda = 0.5
    output_param = [[0.5, -1.5], [3, 4]]
    """,
)


@_regularizer.everywhere
def _launch_regularizer(call: Call) -> Launch:
    args = call.args
    x = _rows(call.outputs[0])
    return launch_shrink_rows_at(x, call.inputs[1], args.reg_lambda, first=args.p == 1.0)
