"""Rows: tables and matrices in tensor-train form."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.testing import Bad, Case, Sample


def _draw(rng, shape, dtype="float32"):
    return np.asarray(rng.integers(-8, 9, shape) / 8).astype(dtype)


def _digits(index, sizes):
    return np.stack(
        [index % sizes[0], index // sizes[0] % sizes[1], index // np.prod(sizes[:2])], 1
    )


def _sum(first, second, third, index, lengths, factor_i, factor_j, ranks, emb_size=64):
    cores = [
        core.reshape(n, p, j, q)
        for core, n, p, j, q in zip(
            (first, second, third), factor_i, ranks[:3], factor_j, ranks[1:], strict=True
        )
    ]
    digits = _digits(index.astype(np.int64), factor_i)
    once = cores[0][digits[:, 0], 0]
    twice = np.einsum("njr,nrks->njks", once, cores[1][digits[:, 1]])
    rows = np.einsum("njks,nsl->njkl", twice, cores[2][digits[:, 2], :, :, 0])
    rows = rows.reshape(len(index), emb_size)
    ends = np.cumsum(lengths)
    y = [rows[end - n : end].sum(axis=0) for end, n in zip(ends, lengths, strict=True)]
    out = np.array(y, first.dtype).reshape(len(lengths), emb_size)
    flat = twice.reshape(len(index), factor_j[0] * factor_j[1], ranks[2])
    return out, once, flat, digits


TABLES = [
    ([2, 3, 2], [2, 2, 1], [1, 3, 2, 1]),
    ([3, 2, 4], [2, 3, 2], [1, 2, 5, 1]),
    ([1, 1, 1], [1, 1, 1], [1, 1, 1, 1]),
]


def _table_samples(rng):
    for index, (rows, columns, ranks) in enumerate(TABLES):
        args = {"factor_i": rows, "factor_j": columns, "ranks": ranks}
        args["emb_size"] = int(np.prod(columns))
        for lengths in ([2, 0, 3], [], [0, 0], [4]):
            for dtype in ("float32", "float64"):
                cores = [
                    _draw(rng, (rows[k], ranks[k], columns[k], ranks[k + 1]), dtype)
                    for k in range(3)
                ]
                kind = "int64" if index % 2 else "int32"
                at = rng.integers(0, np.prod(rows), sum(lengths)).astype(kind)
                yield Sample([*cores, at, np.array(lengths, "int32")], args, 4)


def _sum_gradient(first, second, third, lengths, once, twice, digits, dy):
    cores = [first, second, third]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    shape = (first.shape[2], second.shape[2])
    d = dy[owner].reshape(len(owner), *shape, third.shape[2])
    twice = twice.reshape(len(owner), *shape, second.shape[3])
    found = [np.zeros_like(core) for core in cores]
    back = np.einsum("njkl,nsl->njks", d, third[digits[:, 2], :, :, 0])
    np.add.at(found[2], digits[:, 2], np.einsum("njks,njkl->nsl", twice, d)[..., None])
    np.add.at(found[1], digits[:, 1], np.einsum("njr,njks->nrks", once, back))
    np.add.at(
        found[0], digits[:, 0], np.einsum("nrks,njks->njr", second[digits[:, 1]], back)[:, None]
    )
    return tuple(found)


def _gradient_samples(rng):
    for sample in _table_samples(rng):
        *cores, _, lengths = sample.inputs
        y, once, twice, digits = _sum(*sample.inputs, **sample.args)
        yield Sample([*cores, lengths, once, twice, digits, _draw(rng, y.shape, y.dtype)], {}, 3)


def _matrix(cores, inputs, outputs, ranks):
    """The whole matrix of the cores, as (inputs, outputs)."""
    at, matrix = 0, np.ones((1, 1, 1), cores.dtype)
    for k in reversed(range(len(inputs))):
        shape = (inputs[k], ranks[k + 1], ranks[k], outputs[k])
        core = cores[at : at + np.prod(shape)].reshape(shape)
        at += np.prod(shape)
        # matrix is (inputs behind, rank, outputs behind)
        matrix = np.einsum("iqpo,xqy->ixpoy", core, matrix)
        matrix = matrix.reshape(inputs[k] * matrix.shape[1], ranks[k], -1)
    return matrix[:, 0]


def _tt(x, b, cores, inp_sizes, out_sizes, tt_ranks):
    return x @ _matrix(cores.astype(x.dtype), inp_sizes, out_sizes, tt_ranks) + b


SIZES = [
    ([2], [3], [1, 1]),
    ([2, 3], [3, 2], [1, 4, 1]),
    ([2, 2, 3], [3, 1, 2], [1, 2, 3, 1]),
]


def _tt_samples(rng):
    for inputs, outputs, ranks in SIZES:
        args = {"inp_sizes": inputs, "out_sizes": outputs, "tt_ranks": ranks}
        size = sum(
            a * b * p * q for a, b, p, q in zip(inputs, outputs, ranks[:-1], ranks[1:], strict=True)
        )
        for rows in (1, 3, 0):
            for dtype in ("float32", "float64"):
                x = _draw(rng, (rows, int(np.prod(inputs))), dtype)
                b = _draw(rng, (int(np.prod(outputs)),), dtype)
                yield Sample([x, b, _draw(rng, (size,), dtype)], args)
                yield Sample([x, b, _draw(rng, (size,), "float64")], args)


ARGS = {"factor_i": [2, 1, 1], "factor_j": [1, 1, 1], "ranks": [1, 1, 1, 1], "emb_size": 1}
C = np.ones((2, 1, 1, 1), np.float32)
O = np.ones((1, 1, 1, 1), np.float32)  # noqa: E741
AT = np.array([1, 0])
L = np.array([2], np.int32)
B = np.ones(1, np.float32)
X = np.ones((1, 2), np.float32)
TT = {"inp_sizes": [2], "out_sizes": [1], "tt_ranks": [1, 1]}
DY = np.ones((1, 1), np.float32)
TWO = np.ones((2, 1, 1), np.float32)
D = np.zeros((2, 3), np.int64)
REASON = "sums of products in another order than numpy's"

CASES = [
    Case(
        "TTSparseLengthsSum",
        _sum,
        _table_samples,
        [
            Bad([C, O, O, AT + 1, L], ValueRangeError, "index 2 at position 0 .* 0 to 1", ARGS, 4),
            Bad([C, O, O, AT - 1, L], ValueRangeError, "index -1 at position 1", ARGS, 4),
            Bad([C, O, O, AT, L + 1], ValueRangeError, "sum of lengths is 3", ARGS, 4),
            Bad([O, O, O, AT, L], ShapeError, "'core0' is .* needs 2", ARGS, 4),
            Bad([C, O, O, AT, L], ArgumentError, "factor_i and factor_j", {}, 4),
            Bad([C, O, O, AT, L], ArgumentError, "emb_size is 2", {**ARGS, "emb_size": 2}, 4),
            Bad([C, O, O.astype("f8"), AT, L], DTypeError, "one type", ARGS, 4),
            Bad([C, O, O, AT[None], L], ShapeError, "must have 1 dimension", ARGS, 4),
            Bad([C, O, O, AT, L], ArityError, "output", ARGS),
        ],
        gradient_outputs=[0],
        tolerance=1e-5,
        tolerance_reason=REASON,
    ),
    Case(
        "TTSparseLengthsSumGradient",
        _sum_gradient,
        _gradient_samples,
        [
            Bad([C, O, O, L, TWO, TWO, D + 2, DY], ValueRangeError, "is no row", outputs=3),
            Bad([C, O, O, L - 1, TWO, TWO, D, DY], ValueRangeError, "sum of lengths", outputs=3),
            Bad([C, O, O, L, TWO[1:], TWO, D, DY], ShapeError, "to fit the cores", outputs=3),
            Bad([C, O, O[0], L, TWO, TWO, D, DY], ShapeError, "must have 4 dim", outputs=3),
            Bad([C, O, O, L, TWO, TWO, D.astype("i4"), DY], DTypeError, "is int32", outputs=3),
            Bad([C, O, O, L, TWO, TWO, D], ArityError, "expected 8", outputs=3),
        ],
        tolerance=1e-5,
        tolerance_reason=REASON,
    ),
    Case(
        "TT",
        _tt,
        _tt_samples,
        [
            Bad([X, B, X[0]], ArgumentError, "inp_sizes, out_sizes and tt_ranks"),
            Bad([X[:, :1], B, X[0]], ShapeError, "needs 2 elements in each row", TT),
            Bad([X, X[0], X[0]], ShapeError, "'b' has 2 element.* needs 1", TT),
            Bad([X, B, B], ShapeError, "'cores' has 1 element.* needs 2", TT),
            Bad([X[0], B, X[0]], ShapeError, "at least 2 dimensions", TT),
            Bad([X, B.astype("f8"), X[0]], DTypeError, "one type", TT),
            Bad([X, B], ArityError, "expected 3", TT),
        ],
        tolerance=1e-5,
        tolerance_reason=REASON,
    ),
]
