"""Rows: arithmetic with both broadcasting rules, sums, signs."""

import numpy as np

from caffe2py.errors import ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample, elementwise_samples, uniform
from tests.ops.rows.activation import gradient_errors

NUMERIC = ("int32", "int64", "float32", "float64")
F4 = np.ones((2, 3), np.float32)
F8 = np.ones((2, 3), np.float64)

#: shapes of A and B under numpy's rule
NUMPY_RULE = [
    ((), ()),
    ((2, 3), (2, 3)),
    ((0, 3), (3,)),
    ((4, 5, 6), (6,)),
    ((4, 5, 6), (5, 1)),
    ((2, 1, 3), (1, 4, 1)),
    ((3,), (2, 3)),
    ((5,), ()),
]
#: shapes of A and B, and the arguments of the old rule
OLD_RULE = [
    ((2, 3, 4), (4,), {"broadcast": 1}),
    ((2, 3, 4), (3, 4), {"broadcast": 1}),
    ((2, 3, 4, 5), (3,), {"broadcast": 1, "axis": 1}),
    ((2, 3, 4, 5), (3, 4), {"broadcast": 1, "axis": 1}),
    ((2, 3, 4, 5), (3,), {"broadcast": 1, "axis_str": "C"}),
    ((2, 3, 4, 5), (5,), {"broadcast": 1, "axis_str": "C", "order": "NHWC"}),
    ((2, 3), (), {"broadcast": 1}),
]


def _aligned(a, b, broadcast=0, axis=-1, axis_str="", order="NCHW"):
    if not broadcast:
        return b
    if axis_str:
        axis = order.index(axis_str)
    elif axis == -1:
        axis = a.ndim - b.ndim
    return b.reshape(b.shape + (1,) * (a.ndim - axis - b.ndim))


def _binary(function):
    return lambda a, b, **args: function(a, _aligned(a, b, **args))


def _draw(rng, shape, dtype):
    if np.dtype(dtype).kind == "i":
        return np.asarray(rng.choice([-7, -3, -1, 1, 2, 5, 9], shape)).astype(dtype)
    return np.asarray(rng.uniform(0.5, 3, shape) * rng.choice([-1, 1], shape)).astype(dtype)


def _operands(rng):
    for dtype in NUMERIC:
        for a, b in NUMPY_RULE:
            yield Sample([_draw(rng, a, dtype), _draw(rng, b, dtype)])
        for a, b, args in OLD_RULE:
            yield Sample([_draw(rng, a, dtype), _draw(rng, b, dtype)], args)


def _with_output_gradient(rng):
    for sample in _operands(rng):
        a, b = sample.inputs
        shape = np.broadcast_shapes(a.shape, _aligned(a, b, **sample.args).shape)
        yield Sample([_draw(rng, shape, a.dtype), a, b], sample.args, 2)


def _quotients(rng):
    for sample in _with_output_gradient(rng):
        dc, a, b = sample.inputs
        if dc.dtype.kind == "f":
            yield Sample([dc, a, b, a / _aligned(a, b, **sample.args)], sample.args, 2)
            if dc.shape == a.shape:
                yield Sample([b, a / _aligned(a, b, **sample.args), dc], sample.args, 2)


def _reduced(x, shape):
    """x summed to a shape that was broadcast to it."""
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + k for k, n in enumerate(shape) if n == 1 and x.shape[extra + k] != 1
    )
    return x.sum(axis=axes, dtype=x.dtype).reshape(shape)


def _gradient(da, db):
    def ref(dc, a, b, *quotient, **args):
        fitted = _aligned(a, b, **args)
        full_a = np.broadcast_to(da(dc, a, fitted), dc.shape).astype(dc.dtype)
        full_b = np.broadcast_to(db(dc, a, fitted), dc.shape).astype(dc.dtype)
        return _reduced(full_a, a.shape), _reduced(full_b, fitted.shape).reshape(b.shape)

    return ref


def _divide_gradient(*inputs, **args):
    if len(inputs) == 3:
        b, c, dc = inputs
        inputs = (dc, c * _aligned(c, b, **args), b)
    return _gradient(lambda dc, a, b: dc / b, lambda dc, a, b: -dc * a / (b * b))(*inputs, **args)


def _quotient(a, b):
    if a.dtype.kind == "f":
        return a / b
    return np.trunc(a / b).astype(a.dtype)


def _binary_errors():
    return [
        Bad([F4, F8], DTypeError, "must have one type: input 0 'A' is float32"),
        Bad([F4, F4[:, :2]], ShapeError, r"\(2,3\) and \(2,2\) cannot be broadcast"),
        Bad([F4[0], F4], ShapeError, "must not have more dimensions", args={"broadcast": 1}),
        Bad([F4, F4[0]], ShapeError, "axis 2 does not fit", args={"broadcast": 1, "axis": 2}),
        Bad([F4, F4[0]], ShapeError, "no letter", args={"broadcast": 1, "axis_str": "Q"}),
        Bad([F4 > 0, F4 > 0], DTypeError, "is bool"),
        Bad([F4], ArityError, "expected 2"),
    ]


def _gradient_tolerance():
    return {"tolerance": 1e-5, "tolerance_reason": "sums of up to 120 float32 products"}


def _sums(rng):
    for dtype in NUMERIC:
        for count in (1, 2, 3, 5):
            for shape in ((), (0, 2), (3, 4), (65, 3)):
                yield Sample([_draw(rng, shape, dtype) for _ in range(count)])


def _total(*inputs):
    total = inputs[0]
    for term in inputs[1:]:
        total = total + term
    return total


CASES = [
    Case("Add", _binary(np.add), _operands, bad=_binary_errors()),
    Case("Sub", _binary(np.subtract), _operands, bad=_binary_errors()),
    Case("Mul", _binary(np.multiply), _operands, bad=_binary_errors()),
    Case(
        "Div",
        _binary(_quotient),
        _operands,
        bad=[
            *_binary_errors(),
            Bad([F4, F4], InplaceError, "input 0 as output 0", same=[(1, 0)]),
        ],
    ),
    Case(
        "AddGradient",
        _gradient(lambda dc, a, b: dc, lambda dc, a, b: dc),
        _with_output_gradient,
        bad=[Bad([F4, F4], ArityError, "expected 3", outputs=2)],
        **_gradient_tolerance(),
    ),
    Case(
        "SubGradient",
        _gradient(lambda dc, a, b: dc, lambda dc, a, b: -dc),
        _with_output_gradient,
        bad=[Bad([F4, F4], ArityError, "expected 3", outputs=2)],
        **_gradient_tolerance(),
    ),
    Case(
        "MulGradient",
        _gradient(lambda dc, a, b: dc * b, lambda dc, a, b: dc * a),
        _with_output_gradient,
        bad=[Bad([F4, F4, F8], DTypeError, "one type", outputs=2)],
        **_gradient_tolerance(),
    ),
    Case(
        "DivGradient",
        _divide_gradient,
        _quotients,
        bad=[Bad([F4, F4], ArityError, "expected 3 to 4", outputs=2)],
        **_gradient_tolerance(),
    ),
    Case(
        "Sum",
        _total,
        _sums,
        bad=[
            Bad([F4, F4[:1]], ShapeError, r"input 0 is \(2,3\), input 1 is \(1,3\)"),
            Bad([F4, F8], DTypeError, "one type"),
            Bad([], ArityError, "at least 1"),
        ],
    ),
    Case(
        "Negative",
        lambda x: -x,
        elementwise_samples(uniform(-9, 9), dtypes=NUMERIC),
        bad=[Bad([F4 > 0], DTypeError, "is bool; supported: int32")],
    ),
    Case(
        "Reciprocal",
        lambda x: 1 / x,
        elementwise_samples(uniform(-4, 4, away_from=0, gap=0.5)),
        bad=[Bad([F8], DTypeError, "supported: float32")],
    ),
    Case(
        "ReciprocalGradient",
        lambda y, dy: -dy * y * y,
        elementwise_samples(uniform(-2, 2), uniform(-2, 2)),
        bad=gradient_errors(),
    ),
]
