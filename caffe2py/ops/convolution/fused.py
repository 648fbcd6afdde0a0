"""A convolution with what commonly follows it, as one operator: what optimised nets are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffe2py.errors import ArityError, ShapeError
from caffe2py.kernels.channels import launch_fold_into_filters
from caffe2py.kernels.window import WINDOW_ARGS
from caffe2py.ops.convolution.plain import ENGINES, WINOGRAD, correlation_of, differ, result_shape
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array, device_of, empty_on
from caffe2py.tensor.types import TensorType, shape_text

_VECTORS = ("scale", "shift", "mean", "var")


def _input_names(args: Args) -> list[str]:
    """The inputs after X and filter, in their order."""
    names = ["bias"] if args.bias else []
    names += _VECTORS if args.norm else _VECTORS[:2] if args.affine else ()
    return [*names, "added"] if args.sum else names


def _infer(query: Query) -> Sequence[TensorType]:
    names = _input_names(query.args)
    if len(query.inputs) != 2 + len(names):
        wanted = ", ".join(["X", "filter", *names])
        raise ArityError(f"expected the inputs {wanted}; found {len(query.inputs)}")
    for index in range(len(query.inputs)):
        require_dtype(query, index, "float32", "float64")
    dtype = require_same_dtype(query, *range(len(query.inputs)))
    x, w = query.inputs[0].shape, query.inputs[1].shape
    shape = result_shape(x, w, query.args)
    filters = None if w is None else w[0]
    for name, given in zip(names, query.inputs[2:], strict=True):
        found = given.shape
        if found is None:
            continue
        if name == "added":
            if shape is not None and (len(found) != len(shape) or any(map(differ, found, shape))):
                raise ShapeError(f"added is {shape_text(found)}, needs Y's {shape_text(shape)}")
        elif len(found) != 1 or differ(found[0], filters):
            needed = "?" if filters is None else filters
            raise ShapeError(f"{name} is {shape_text(found)}, needs one a filter: ({needed})")
    return [TensorType(dtype, shape)]


_fused = operator(
    "FusedConv",
    "X, filter, more* -> Y",
    infer=_infer,
    gradient=NotDifferentiable("made by optimising nets that only infer"),
    doc="""
    Y = r(n(Conv(X, filter) + bias) + added), with n(Z) = (Z - mean) / sqrt(var + epsilon) * scale +
    shift, one of each a filter, and r(Z) = max(Z, 0). What is not asked for is left out; the inputs
    after filter are bias, the four vectors of n (with affine: scale and shift), and added, as far
    as there are.

    n is folded into filter and bias, once if these do not change between runs. No operator of
    Caffe2's: it stands for Conv, SpatialBN (with is_test) or AffineChannel, Sum of two, and Relu,
    in a row.
    """,
    example="X = [[[[1, 2]]]]; filter = [[[[-1]]]]; bias = [1.5]; kernel = 1; bias = 1; relu = 1\n"
    "Y = [[[[0.5, 0]]]]",
    arguments={
        **WINDOW_ARGS,
        "no_gradient_to_input": Arg(bool, False, "accepted; there is no gradient"),
        "winograd": WINOGRAD,
        "bias": Arg(bool, False, "there is a bias"),
        "norm": Arg(bool, False, "there are scale, shift, mean and var"),
        "affine": Arg(bool, False, "there are scale and shift only: mean is 0, var + epsilon 1"),
        "epsilon": Arg(float, 1e-5, "added to var"),
        "sum": Arg(bool, False, "there is an array to be added"),
        "relu": Arg(bool, False, "negative results become 0"),
    },
)


@_fused.cpu
def _launch(call: Call) -> list[Launch]:
    x, w, *rest = call.inputs
    args, launches = call.args, list[Launch]()
    added = rest.pop() if args.sum else None
    bias: Array | None = rest.pop(0) if args.bias else None
    count = 1 + len(rest) + (bias is not None)
    steady = sum(call.steady(index) for index in range(1, 1 + count)) == count  # asks for all
    if args.affine and not args.norm:
        rest += [np.zeros(len(w), w.dtype), np.ones(len(w), w.dtype)]
    if args.norm or args.affine:
        # packed filters make these superfluous, so a steady plan does not hold on to them
        make = partial(empty_on, device_of(w)) if steady else call.scratch
        epsilon = args.epsilon if args.norm else 0.0
        folded, shift = make(w.shape, w.dtype), make((len(w),), w.dtype)
        fold = launch_fold_into_filters(w, bias, rest, epsilon, folded, shift)
        if steady:
            call.run_now(fold)
        else:
            launches.append(fold)
        w, bias = folded, shift
    use = correlation_of(x, w, args)
    low = 0.0 if args.relu else -np.inf
    y = call.outputs[0]
    return launches + use.launch(call, x, w, bias, y, steady=steady, low=low, added=added)


_fused.cuda_engines(_launch, *ENGINES)
