"""Arithmetic on tensors: two operands with both of Caffe2's broadcasting rules, sums, negation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe2py.errors import ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import (
    NUMERIC,
    elementwise,
    launch_broadcast,
    launch_map,
)
from caffe2py.kernels.reduce import launch_sum
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    broadcast_shapes,
    require_dtype,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args, InplaceRule
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text

BROADCAST = {
    "broadcast": Arg(bool, False, "match B to the axes of A by the old rule"),
    "axis": Arg(int, -1, "with broadcast: the axis of A where B begins; -1 matches B to the end"),
    "axis_str": Arg(str, "", "with broadcast: that axis as a letter of `order`"),
    "order": Arg(str, "NCHW", "the letters of A's axes"),
}


# ---------------------------------------------------------------- both broadcasting rules


def aligned_shape(a: Sequence[Any], b: Sequence[Any], args: Args) -> tuple[Any, ...]:
    """B's shape as it takes part in numpy broadcasting against A.

    Under the old rule (`broadcast=1`) B's axes match consecutive axes of A from `axis` on, or A's
    last ones; sizes must then be equal or 1. ShapeError says which do not fit.
    """
    if not args.broadcast:
        return tuple(b)
    if len(b) > len(a):
        raise ShapeError(
            f"with broadcast=1 B must not have more dimensions than A: "
            f"A is {shape_text(tuple(a))}, B is {shape_text(tuple(b))}"
        )
    axis = _old_axis(len(a), len(b), args)
    return tuple(b) + (1,) * (len(a) - axis - len(b))


def _old_axis(rank_a: int, rank_b: int, args: Args) -> int:
    axis: int = args.axis
    if args.axis_str:
        if axis != -1:
            raise ShapeError(f"axis {axis} and axis_str '{args.axis_str}' exclude each other")
        axis = args.order.upper().find(args.axis_str.upper())
        if axis < 0 or len(args.axis_str) != 1:
            raise ShapeError(f"axis_str '{args.axis_str}' is no letter of order '{args.order}'")
    elif axis == -1:
        axis = rank_a - rank_b
    if not 0 <= axis <= rank_a - rank_b:
        raise ShapeError(f"axis {axis} does not fit {rank_b} axes of B into {rank_a} of A")
    return axis


def _infer_binary(query: Query) -> Sequence[TensorType]:
    a, b = query.inputs
    for index in (0, 1):
        require_dtype(query, index, *NUMERIC)
    dtype = require_same_dtype(query, 0, 1)
    if a.shape is None or b.shape is None:
        return [TensorType(dtype)]
    shape = broadcast_shapes(a.shape, aligned_shape(a.shape, b.shape, query.args))
    if query.args.broadcast and a.full_shape is not None and shape != a.shape:
        raise ShapeError(
            f"with broadcast=1 B {shape_text(b.shape)} must repeat along A {shape_text(a.shape)}"
        )
    return [TensorType(dtype, shape)]


def _binary(
    name: str,
    function: Callable[..., Any],
    *,
    whole: Callable[..., Any] | None = None,
    gradient: str,
    inplace: dict[int, int],
    doc: str,
    example: str,
) -> None:
    made = operator(
        name,
        "A, B -> C",
        infer=_infer_binary,
        inplace=inplace,
        gradient=gradient,
        onnx=name,
        doc=doc,
        example=example,
        arguments=BROADCAST,
    )

    @made.cpu
    def launch(call: Call) -> Launch:
        a, b = call.inputs
        b = b.reshape(aligned_shape(a.shape, b.shape, call.args))
        formula = whole if whole and a.dtype.kind == "i" else function
        return launch_broadcast(formula, a, b, call.outputs[0])


def _add(a, b):
    return a + b


def _subtract(a, b):
    return a - b


def _multiply(a, b):
    return a * b


def _divide(a, b):
    return a / b


def _divide_whole(a, b):
    """Toward zero, as C divides.

    What C leaves to a signal: x / 0 is 0, and the smallest integer divided by -1 is itself.
    """
    if b == 0:
        return 0
    if b == -1:
        return -a
    quotient = a // b
    return quotient + 1 if quotient < 0 and quotient * b != a else quotient


_binary(
    "Add",
    _add,
    inplace={0: 0, 1: 0},
    gradient="AddGradient(dC, A, B) -> dA, dB",
    doc="C = A + B, with numpy's broadcasting (or the old rule, see `broadcast`).",
    example="""
    A = [[1, 2], [3, 4]]; B = [10, 20]
    C = [[11, 22], [13, 24]]
    """,
)
_binary(
    "Sub",
    _subtract,
    inplace={0: 0, 1: 0},
    gradient="SubGradient(dC, A, B) -> dA, dB",
    doc="C = A - B, with numpy's broadcasting (or the old rule, see `broadcast`).",
    example="""
    A = [[1, 2], [3, 4]]; B = [10, 20]
    C = [[-9, -18], [-7, -16]]
    """,
)
_binary(
    "Mul",
    _multiply,
    inplace={0: 0, 1: 0},
    gradient="MulGradient(dC, A, B) -> dA, dB",
    doc="C = A * B, with numpy's broadcasting (or the old rule, see `broadcast`).",
    example="""
    A = [[1, 2], [3, 4]]; B = [10, 20]
    C = [[10, 40], [30, 80]]
    """,
)
_binary(
    "Div",
    _divide,
    whole=_divide_whole,
    inplace={0: 0},
    gradient="DivGradient(dC, A, B, C) -> dA, dB",
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

    @made.cpu
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
    divide = _divide_whole if dc.dtype.kind == "i" else _divide
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
        broadcast_shapes(c.shape, aligned_shape(c.shape, b.shape, query.args))
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


@_divide_gradient.cpu
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


@_sum.cpu
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
