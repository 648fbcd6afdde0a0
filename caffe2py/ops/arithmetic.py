"""Arithmetic on tensors: two operands with both of Caffe2's broadcasting rules, sums, negation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_copy, launch_fill
from caffe2py.kernels.elementwise import (
    FLOATS,
    NUMERIC,
    binary,
    divide_whole,
    elementwise,
    launch_broadcast,
    launch_map,
)
from caffe2py.kernels.reduce import launch_sum
from caffe2py.registry.broadcast import BROADCAST, aligned_shape
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import (
    Query,
    broadcast_shapes,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, InplaceRule
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text


def _add(a, b):
    return a + b


def _subtract(a, b):
    return a - b


def _multiply(a, b):
    return a * b


def _divide(a, b):
    return a / b


binary(
    "Add",
    _add,
    inplace={0: 0, 1: 0},
    gradient="AddGradient(dC, A.shape, B.shape) -> dA, dB",
    onnx="Add",
    doc="C = A + B, with numpy's broadcasting (or the old rule, see `broadcast`).",
    example="""
    A = [[1, 2], [3, 4]]; B = [10, 20]
    C = [[11, 22], [13, 24]]
    """,
)
binary(
    "Sub",
    _subtract,
    inplace={0: 0, 1: 0},
    gradient="SubGradient(dC, A.shape, B.shape) -> dA, dB",
    onnx="Sub",
    doc="C = A - B, with numpy's broadcasting (or the old rule, see `broadcast`).",
    example="""
    A = [[1, 2], [3, 4]]; B = [10, 20]
    C = [[-9, -18], [-7, -16]]
    """,
)
binary(
    "Mul",
    _multiply,
    inplace={0: 0, 1: 0},
    gradient="MulGradient(dC, A, B) -> dA, dB",
    onnx="Mul",
    doc="C = A * B, with numpy's broadcasting (or the old rule, see `broadcast`).",
    example="""
    A = [[1, 2], [3, 4]]; B = [10, 20]
    C = [[10, 40], [30, 80]]
    """,
)
binary(
    "Div",
    _divide,
    whole=divide_whole,
    inplace={0: 0},
    gradient="DivGradient(dC, A.shape, B, C) -> dA, dB",
    onnx="Div",
    doc="""
    C = A / B, with numpy's broadcasting (or the old rule, see `broadcast`). Integers are divided
    toward zero; an integer divided by 0 gives 0.
    """,
    example="""
    A = [[10, 20], [30, 40]]; B = [10, 20]
    C = [[1, 1], [3, 2]]
    """,
)


# ---------------------------------------------------------------- their gradients


def _negated(x):
    return -x


def _minus_product(dc, c):
    return -(dc * c)


#: From (call, dC, A, B) the launches that make dA and dB before they are summed, and those two.
Terms = Callable[[Call, Array, Array, Array], tuple[list[Launch], Array, Array]]


def _infer_binary_gradient(query: Query) -> Sequence[TensorType]:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *NUMERIC)
    require_same_dtype(query, *range(len(query.inputs)))
    dc, a, b = query.inputs[:3]
    if dc.full_shape is not None and a.full_shape is not None and b.full_shape is not None:
        whole = broadcast_shapes(a.shape, aligned_shape(a.full_shape, b.full_shape, query.args))
        if whole != dc.shape:
            raise ShapeError(
                f"dC must have the shape of the result {shape_text(whole)}, "
                f"found {shape_text(dc.shape)}"
            )
    return [a, b]


def _binary_gradient(name: str, doc: str, inplace: InplaceRule, terms: Terms) -> None:
    """Register the gradient of an operator C = f(A, B)."""
    made = operator(
        name,
        "dC, A, B -> dA, dB",
        infer=_infer_binary_gradient,
        inplace=inplace,
        doc=f"{doc} Each is summed to the shape of its operand.",
        arguments=BROADCAST,
    )

    @made.everywhere
    def launch(call: Call) -> list[Launch]:
        dc, a, b = call.inputs
        b = b.reshape(aligned_shape(a.shape, b.shape, call.args))
        launches, da, db = terms(call, dc, a, b)
        return launches + _sum_to_operands(call, dc, (a, b), (da, db))


def _sum_to_operands(
    call: Call, dc: Array, operands: tuple[Array, Array], full: tuple[Array, Array]
) -> list[Launch]:
    """Sum each full gradient over the axes along which its operand was repeated.

    Where an output lies in the memory of dC, it is written last, from scratch.
    """
    launches: list[Launch] = []
    late: list[Launch] = []
    for operand, gradient, output in zip(operands, full, call.outputs, strict=True):
        target = output
        if output.size and output.ctypes.data == dc.ctypes.data:
            target = _like(call, output)
            late.append(launch_copy(target, output))
        launches += launch_sum(call, gradient, _repeated(dc.shape, operand.shape), target)
    return launches + late


def _repeated(whole: Shape, operand: Shape) -> list[int]:
    """The axes of `whole` along which `operand` is repeated."""
    padded = (1,) * (len(whole) - len(operand)) + operand
    return [k for k, (n, m) in enumerate(zip(whole, padded, strict=True)) if m == 1 and n != 1]


def _like(call: Call, array: Array) -> Array:
    return call.scratch(array.shape, array.dtype)


def _add_terms(call: Call, dc: Array, a: Array, b: Array) -> tuple[list[Launch], Array, Array]:
    return [], dc, dc


def _subtract_terms(call: Call, dc: Array, a: Array, b: Array) -> tuple[list[Launch], Array, Array]:
    minus = _like(call, dc)
    return [launch_map(_negated, (dc,), minus)], dc, minus


def _multiply_terms(call: Call, dc: Array, a: Array, b: Array) -> tuple[list[Launch], Array, Array]:
    da, db = _like(call, dc), _like(call, dc)
    steps = [launch_broadcast(_multiply, dc, b, da), launch_broadcast(_multiply, dc, a, db)]
    return steps, da, db


def _divide_terms(
    call: Call, dc: Array, b: Array, quotient: Array
) -> tuple[list[Launch], Array, Array]:
    divide = divide_whole if dc.dtype.kind == "i" else _divide
    da, product, db = _like(call, dc), _like(call, dc), _like(call, dc)
    steps = [
        launch_broadcast(divide, dc, b, da),
        launch_map(_minus_product, (dc, quotient), product),
        launch_broadcast(divide, product, b, db),
    ]
    return steps, da, db


_EITHER = {0: (0, 1)}
_binary_gradient("AddGradient", "dA = dC, dB = dC.", _EITHER, _add_terms)
_binary_gradient("SubGradient", "dA = dC, dB = -dC.", _EITHER, _subtract_terms)
_binary_gradient(
    "MulGradient",
    """
    dA = dC * B, dB = dC * A. In place both come from the old dC (in Caffe2 the second is computed
    from what the first has left there).
    """,
    _EITHER,
    _multiply_terms,
)


def _infer_divide_gradient(query: Query) -> Sequence[TensorType]:
    if len(query.inputs) == 4:
        return _infer_binary_gradient(query)
    for index in range(3):
        require_dtype(query, index, *NUMERIC)
    require_same_dtype(query, 0, 1, 2)
    b, c, dc = query.inputs
    if c.full_shape is not None and dc.full_shape is not None and c.shape != dc.shape:
        raise ShapeError(f"C is {shape_text(c.shape)}, dC is {shape_text(dc.shape)}")
    if b.shape is not None and c.shape is not None:
        whole = broadcast_shapes(c.shape, aligned_shape(c.shape, b.shape, query.args))
        if (
            c.full_shape is not None
            and whole is not None
            and None not in whole
            and whole != c.shape
        ):
            raise ShapeError(f"B {shape_text(b.shape)} must repeat along C {shape_text(c.shape)}")
    return [c, b]


_divide_gradient = operator(
    "DivGradient",
    "dC, A, B, C? -> dA, dB",
    infer=_infer_divide_gradient,
    inplace={0: 0},
    doc="""
    dA = dC / B, dB = -dC * C / B. Each is summed to the shape of its operand. With three inputs
    they are B, C, dC, and dA has the shape of C.
    """,
    arguments=BROADCAST,
)


@_divide_gradient.everywhere
def _launch_divide_gradient(call: Call) -> list[Launch]:
    if len(call.inputs) == 4:
        dc, a, b, quotient = call.inputs
    else:
        b, quotient, dc = call.inputs
        a = quotient
    b = b.reshape(aligned_shape(a.shape, b.shape, call.args))
    launches, da, db = _divide_terms(call, dc, b, quotient)
    return launches + _sum_to_operands(call, dc, (a, b), (da, db))


# ---------------------------------------------------------------- sums and signs


def _infer_sum(query: Query) -> Sequence[TensorType]:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *NUMERIC)
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    first = query.inputs[0]
    for index, other in enumerate(query.inputs[1:], 1):
        a, b = first.full_shape, other.full_shape
        if a is not None and b is not None and a != b:
            raise ShapeError(
                f"inputs of Sum must have one shape: input 0 is {shape_text(a)}, "
                f"input {index} is {shape_text(b)}"
            )
    return [TensorType(dtype, first.shape)]


_sum = operator(
    "Sum",
    "inputs+ -> C",
    infer=_infer_sum,
    inplace={0: 0},
    gradient="dinputs = dC",
    onnx="Sum",
    doc="C = inputs[0] + inputs[1] + ..., all of one shape, added from the first to the last.",
    example="""
    inputs = [1, 2], [10, 20], [100, 200]
    C = [111, 222]
    """,
)


_sum_int = operator(
    "SumInt",
    "inputs+ -> C",
    infer=_infer_sum,
    inplace={0: 0},
    gradient=NotDifferentiable("it is meant for integers; Sum has a gradient"),
    doc="""
    C = inputs[0] + inputs[1] + ..., all of one shape and type: Sum without a gradient, for int32
    and int64.
    """,
    example="""
    inputs = [1, 2], [10, 20]
    C = [11, 22]
    """,
)


@_sum_int.everywhere
@_sum.everywhere
def _launch_sum_of_inputs(call: Call) -> list[Launch]:
    out = call.outputs[0]
    if len(call.inputs) == 1:
        return [launch_copy(call.inputs[0], out)]
    total, *rest = call.inputs
    launches = []
    for term in rest:
        launches.append(launch_map(_add, (total, term), out))
        total = out
    return launches


def _infer_accumulate(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    return [query.inputs[0]]


_accumulate = operator(
    "Accumulate",
    "input -> output",
    infer=_infer_accumulate,
    gradient=NotDifferentiable("its output depends on earlier runs"),
    gamma=Arg(float, 1.0, "the share of the old output that stays"),
    doc="""
    output = input + `gamma` * output, where the old output counts as 0 if it is not there, or of
    another type or shape than the input.
    """,
    example="""
    input = [1, 2], in a net that runs twice
    output = [2, 4]
    """,
)


def _add_share(x, total, gamma):
    return x + gamma * total


@_accumulate.everywhere
def _launch_accumulate(call: Call) -> Launch:
    x, total = call.inputs[0], call.outputs[0]
    if call.is_new(0):
        call.run_now(launch_fill(np.zeros(1, total.dtype), total))
    return launch_map(_add_share, (x, total), total, call.args.gamma)


@elementwise(
    "Negative",
    "X -> Y",
    dtypes=NUMERIC,
    inplace={0: 0},
    gradient="Negative(dY) -> dX",
    onnx="Neg",
    example="""
    X = [1, -2, 0]
    Y = [-1, 2, 0]
    """,
)
def negative(x):
    """Y = -X"""
    return -x


@elementwise(
    "Reciprocal",
    "X -> Y",
    inplace={0: 0},
    gradient="ReciprocalGradient(Y, dY) -> dX",
    onnx="Reciprocal",
    example="""
    X = [1, 2, -4]
    Y = [1, 0.5, -0.25]
    """,
)
def reciprocal(x):
    """Y = 1 / X"""
    return 1 / x


@elementwise("ReciprocalGradient", "Y, dY -> dX", inplace={1: 0})
def reciprocal_gradient(y, dy):
    """dX = -dY * Y * Y"""
    return dy * -(y * y)
