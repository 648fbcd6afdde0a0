"""Several tensors of one shape become one: extrema, weighted sums; and sums to a smaller shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe2py.errors import ArityError, ShapeError
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import FLOATS, NUMERIC, launch_map
from caffe2py.kernels.reduce import launch_dot, launch_sum
from caffe2py.kernels.weighted import launch_add_scaled, launch_scaled
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.broadcast import AXIS, old_shape
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import (
    Query,
    broadcast_shapes,
    product,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

# ---------------------------------------------------------------- Max, Min


def _infer_extremum(query: Query) -> Sequence[TensorType]:
    indices = range(len(query.inputs))
    for index in indices:
        require_dtype(query, index, *NUMERIC)
    return [TensorType(require_same_dtype(query, *indices), require_same_shape(query, *indices))]


def _infer_extremum_gradient(query: Query) -> Sequence[TensorType]:
    if query.outputs != len(query.inputs) - 2:
        raise ArityError(
            f"expected {len(query.inputs) - 2} output(s), one for each input after M and dM; "
            f"found {query.outputs}"
        )
    return list(_infer_extremum(query)) * query.outputs


def _larger(a, b):
    return b if a < b else a


def _smaller(a, b):
    return b if b < a else a


def _where_equal(x, m, dm):
    return dm if x == m else 0


def _extremum(name: str, word: str, function: Callable[..., Any], result: str) -> None:
    made = operator(
        name,
        "inputs+ -> M",
        infer=_infer_extremum,
        inplace={0: 0},
        gradient=f"{name}Gradient(M, dM, inputs) -> dinputs",
        onnx=name,
        doc=f"""
        M = the {word} of inputs[0], inputs[1], ..., all of one shape, element by element. NaN is
        passed over, except in the first input.
        """,
        example=f"""
        inputs = [1, 5], [4, 2]
        M = {result}
        """,
    )

    @made.everywhere
    def launch(call: Call) -> list[Launch]:
        out = call.outputs[0]
        best, *rest = call.inputs
        steps = [] if rest else [launch_copy(best, out)]
        for other in rest:
            steps.append(launch_map(function, (best, other), out))
            best = out
        return steps

    backward = operator(
        f"{name}Gradient",
        "M, dM, inputs+ -> dinputs+",
        infer=_infer_extremum_gradient,
        doc="dinputs[k] = dM where inputs[k] = M, 0 elsewhere; equal inputs get dM each.",
    )

    @backward.everywhere
    def launch_gradient(call: Call) -> list[Launch]:
        m, dm, *inputs = call.inputs
        return [
            launch_map(_where_equal, (x, m, dm), dx)
            for x, dx in zip(inputs, call.outputs, strict=True)
        ]


_extremum("Max", "largest", _larger, "[4, 5]")
_extremum("Min", "smallest", _smaller, "[1, 2]")


# ---------------------------------------------------------------- Mean


def _infer_mean(query: Query) -> Sequence[TensorType]:
    indices = range(len(query.inputs))
    for index in indices:
        require_dtype(query, index, *FLOATS)
    common = TensorType(require_same_dtype(query, *indices), require_same_shape(query, *indices))
    return [common] * query.outputs


_mean = operator(
    "Mean",
    "inputs+ -> M",
    infer=_infer_mean,
    inplace={0: 0},
    gradient="MeanGradient(dM) -> dinputs",
    doc="M = (inputs[0] + inputs[1] + ...) / their number, all of one shape, element by element.",
    example="""
    inputs = [1, 5], [3, 2]
    M = [2, 3.5]
    """,
)
_mean_gradient = operator(
    "MeanGradient",
    "dM -> dinputs+",
    infer=_infer_mean,
    inplace={0: 0},
    doc="dinputs[k] = dM / n for all n of them.",
)


def _added(a, b):
    return a + b


def _shared(x, share):
    return x * share


@_mean.everywhere
def _launch_mean(call: Call) -> list[Launch]:
    out = call.outputs[0]
    total, *rest = call.inputs
    steps = []
    for term in rest:
        steps.append(launch_map(_added, (total, term), out))
        total = out
    return [*steps, launch_map(_shared, (total,), out, 1.0 / len(call.inputs))]


@_mean_gradient.everywhere
def _launch_mean_gradient(call: Call) -> list[Launch]:
    (dm,) = call.inputs
    share = 1.0 / len(call.outputs)
    # the first may lie where dM lies
    return [launch_map(_shared, (dm,), dx, share) for dx in reversed(call.outputs)]


# ---------------------------------------------------------------- WeightedSum

ON_WEIGHTS = Arg(bool, False, "whether the weights get a gradient, too")


def _require_pairs(query: Query, first: int) -> TensorType:
    """From input `first` on tensors of one shape, each with its weight; their common type.

    Inputs before `first` have that shape, too.
    """
    indices = range(len(query.inputs))
    if len(indices) <= first or (len(indices) - first) % 2:
        raise ArityError(
            f"expected pairs of a tensor and its weight, found {len(indices) - first} input(s)"
        )
    for index in indices:
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *indices)
    weights = indices[first + 1 :: 2]
    for index in weights:
        shape = query.inputs[index].shape
        if shape is not None and product(shape) not in (None, 1):
            raise ShapeError(
                f"the weight '{query.name(index)}', input {index}, must have one element, "
                f"found {shape_text(shape)}"
            )
    tensors = [index for index in indices if index not in weights]
    return TensorType(dtype, require_same_shape(query, *tensors))


def _infer_weighted_sum(query: Query) -> Sequence[TensorType]:
    return [_require_pairs(query, 0)]


def _weighted_sum_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """All gradients of tensors, then (if asked for) all gradients of weights."""
    (dy,) = output_grads
    grads: list[GradientName] = [None] * len(op.input)
    if dy is None:
        return Gradient((), tuple(grads))
    on_weights = any(a.name == "grad_on_w" and ON_WEIGHTS.read(a) for a in op.arg)
    wanted = [*range(0, len(grads), 2), *(range(1, len(grads), 2) if on_weights else ())]
    for index in wanted:
        grads[index] = gradient_name(op.input[index])
    outputs = [gradient_name(op.input[index]) for index in wanted]
    backward = gradient_op(op, "WeightedSumGradient", [dy, *op.input], outputs)
    return Gradient((backward,), tuple(grads))


_weighted_sum = operator(
    "WeightedSum",
    "X, weight, more* -> Y",
    infer=_infer_weighted_sum,
    inplace={0: 0},
    gradient=_weighted_sum_gradient,
    grad_on_w=ON_WEIGHTS,
    doc="""
    Y = X_0 * weight_0 + X_1 * weight_1 + ... for inputs X_0, weight_0, X_1, weight_1, ...; the
    tensors have one shape, each weight has one element. Raises ArityError for a tensor without a
    weight, ShapeError for other shapes.
    """,
    example="""
    inputs = [1, 2], [10], [3, 4], [100]
    Y = [310, 420]
    """,
)


@_weighted_sum.everywhere
def _launch_weighted_sum(call: Call) -> list[Launch]:
    y = call.outputs[0]
    x, weight, *more = call.inputs
    pairs = zip(more[::2], more[1::2], strict=True)
    return [launch_scaled(x, weight, y), *(launch_add_scaled(t, w, y) for t, w in pairs)]


def _infer_weighted_sum_gradient(query: Query) -> Sequence[TensorType]:
    tensor = _require_pairs(query, 1)
    pairs = (len(query.inputs) - 1) // 2
    expected = pairs * (2 if query.args.grad_on_w else 1)
    if query.outputs != expected:
        raise ArityError(f"expected {expected} output(s), found {query.outputs}")
    weights = [query.inputs[index] for index in range(2, len(query.inputs), 2)]
    return [tensor] * pairs + (weights if query.args.grad_on_w else [])


_weighted_sum_backward = operator(
    "WeightedSumGradient",
    "dY, inputs* -> gradients+",
    infer=_infer_weighted_sum_gradient,
    grad_on_w=ON_WEIGHTS,
    doc="""
    dX_k = dY * weight_k for every tensor, then with `grad_on_w` dweight_k = the sum of dY * X_k for
    every weight.
    """,
)


@_weighted_sum_backward.everywhere
def _launch_weighted_sum_gradient(call: Call) -> list[Launch]:
    dy, *inputs = call.inputs
    tensors, weights = inputs[::2], inputs[1::2]
    steps = [
        launch_scaled(dy, w, dx)
        for w, dx in zip(weights, call.outputs[: len(weights)], strict=True)
    ]
    if call.args.grad_on_w:
        outputs = call.outputs[len(weights) :]
        for x, dw in zip(tensors, outputs, strict=True):
            steps += launch_dot(dy, x, dw)
    return steps


# ---------------------------------------------------------------- SumReduceLike


def _infer_like(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *NUMERIC)
    require_same_dtype(query, 0, 1)
    a, b = query.inputs
    if a.full_shape is not None and b.full_shape is not None:
        whole = broadcast_shapes(a.shape, old_shape(a.full_shape, b.full_shape, query.args))
        if whole != a.shape:
            raise ShapeError(
                f"B {shape_text(b.shape)} must repeat along A {shape_text(a.shape)} to be summed to"
            )
    return [b]


_sum_like = operator(
    "SumReduceLike",
    "A, B -> C",
    infer=_infer_like,
    arguments=AXIS,
    doc="""
    C = A summed to the shape of B, whose axes match consecutive axes of A from `axis` on, or the
    last ones: what the gradient of broadcasting by the old rule needs. Raises ShapeError if B does
    not fit.
    """,
    example="""
    A = [[1, 2], [3, 4]]; B = float32(2)
    C = [4, 6]
    """,
)


@_sum_like.everywhere
def _launch_sum_like(call: Call) -> list[Launch]:
    a, b = call.inputs
    aligned = old_shape(a.shape, b.shape, call.args)
    padded = (1,) * (a.ndim - len(aligned)) + aligned
    repeated = [k for k, (n, m) in enumerate(zip(a.shape, padded, strict=True)) if m == 1 != n]
    return launch_sum(call, a, repeated, call.outputs[0])
