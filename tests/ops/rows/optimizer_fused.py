"""Rows: Adagrad on rows that were summed in segments; the reference goes row by row."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.optimizer import ENFORCED

SAME = ((0, 0), (1, 1))


def _reference(row_wise, reducer, approx):
    weighted = reducer == "WeightedSum"

    def update(param, moment, *rest, epsilon=1e-5, weight_decay=0.0, decay=1.0, round_option=0):
        weights = rest[0] if weighted else None
        indices, grad, lr, lengths = rest[-4:]
        w, h = param.copy(), moment.copy()
        flat = indices.reshape(-1)
        slopes = np.zeros(flat.size, param.dtype)
        ends = np.cumsum(lengths)
        for s, (end, count) in enumerate(zip(ends, lengths, strict=True)):
            for place, i in enumerate(range(end - count, end)):
                row = flat[i]
                slopes[i] = ((w if approx else param)[row] * grad[s]).sum()
                factor = weights.reshape(-1)[place] if weighted else 1
                g = grad[s] * param.dtype.type(factor / count if reducer == "Mean" else factor)
                g = g + param.dtype.type(weight_decay) * w[row]
                if row_wise and g.size:
                    h[row] += (g * g).mean()
                elif not row_wise:
                    h[row] += g * g
                w[row] += lr.reshape(-1)[0] * g / (np.sqrt(h[row]) + param.dtype.type(epsilon))
        return (w, h, slopes.reshape(indices.shape)) if weighted else (w, h)

    return update


#: shape of the parameters, lengths
TABLES = [
    ((4, 3), [2, 0, 1]),
    ((6,), [3]),
    ((3, 1), [5, 2]),
    ((3, 2, 4), [2, 3]),
    ((4, 20), [1]),
    ((4, 3), [0, 0]),
    ((4, 3), []),
    ((2, 0), [1, 2]),
]


def _samples(row_wise, weighted):
    def one(rng, shape, lengths, dtype, index):
        count = sum(lengths)
        moment = shape[:1] if row_wise else shape
        made = [rng.normal(size=shape), rng.uniform(0.1, 2, moment)]
        if weighted:
            made.append(rng.normal(size=max([1, *lengths])))
        floats = [x.astype(dtype) for x in made]
        indices = rng.integers(0, shape[0], count).astype(index)
        grad = rng.normal(size=(len(lengths), *shape[1:])).astype(dtype)
        told = np.array(lengths, "int32")
        return [*floats, indices, grad, np.array([-0.1], "float32"), told]

    def samples(rng):
        outputs = 3 if weighted else 2
        for dtype, index in (("float32", "int64"), ("float64", "int32")):
            for shape, lengths in TABLES:
                inputs = one(rng, shape, lengths, dtype, index)
                yield Sample(inputs, {}, outputs, SAME)
        for args in ({"weight_decay": 0.25}, {"epsilon": 0.5}):
            yield Sample(one(rng, (4, 3), [2, 3], "float32", "int32"), args, outputs, SAME)

    return samples


P = np.ones((4, 3), np.float32)
I = np.array([1, 3, 1], np.int64)  # noqa: E741
G = np.ones((2, 3), np.float32)
RATE = np.array([-0.1], np.float32)
L = np.array([2, 1], np.int32)
W = np.ones(2, np.float32)


def _bad(row_wise, weighted, decays):
    moment = np.ones(4, np.float32) if row_wise else P
    middle = [W] if weighted else []
    good = [P, moment, *middle, I, G, RATE, L]
    at = len(middle) + 2
    outputs = 3 if weighted else 2

    def but(position, value):
        return [value if k == position else x for k, x in enumerate(good)]

    def bad(inputs, error, match, args=None, outputs=outputs, same=SAME):
        return Bad(inputs, error, match, args or {}, outputs, same)

    cases = [
        bad(but(0, P.astype("f2")), DTypeError, "'param' is float16"),
        bad(but(0, P.astype("f8")), DTypeError, "inputs must have one type"),
        bad(but(1, moment[:3]), ShapeError, "must have 4 element|must have 12 element"),
        bad(but(at, I + 1), ValueRangeError, "index 4 at position 1"),
        bad(but(at, I - 2), ValueRangeError, "index -1 at position 0"),
        bad(but(at, I.astype("i2")), DTypeError, "is int16"),
        bad(but(at + 1, G[:1]), ShapeError, "for each of the lengths"),
        bad(but(at + 1, G[:, :2]), ShapeError, "needs a row like those"),
        bad(but(at + 1, G[0, 0]), ShapeError, "must have rows"),
        bad(but(at + 2, W), ShapeError, "a single number"),
        bad(but(at + 3, L.astype("i8")), DTypeError, "is int64"),
        bad(but(at + 3, L[None]), ShapeError, "must have 1 dimension"),
        bad(but(at + 3, L + 1), ValueRangeError, "sum of lengths is 5"),
        bad(but(at + 3, np.array([-1, 4], "i4")), ValueRangeError, r"lengths\[0\] is -1"),
        bad(good[:-1], ArityError, "expected"),
        bad(good, InplaceError, "must be the same blob", same=()),
        bad(good, ArgumentError, "epsilon", {"epsilon": "x"}),
    ]
    if decays:
        cases.append(bad(good, ArgumentError, "decay must be 1", {"decay": 0.5}))
    if weighted:
        cases.append(bad(but(2, W[:1]), ValueRangeError, "segment 0 has 2 row.* 1 weights"))
    return cases


def _case(row_wise, reducer, approx):
    weighted = reducer == "WeightedSum"
    kind = f"{'RowWise' if row_wise else ''}SparseAdagradFusedWithSparseLengths{reducer}Gradient"
    return Case(
        f"{kind}{'Approx' if approx else ''}",
        _reference(row_wise, reducer, approx),
        _samples(row_wise, weighted),
        _bad(row_wise, weighted, decays=approx or not (row_wise and weighted)),
        tolerance=1e-5,
        tolerance_reason="sums of squares go element by element, not in pairs",
        skip=ENFORCED,
    )


CASES = [
    _case(row_wise, reducer, approx)
    for row_wise in (False, True)
    for reducer in ("Sum", "Mean", "WeightedSum")
    for approx in (False, True)
]
