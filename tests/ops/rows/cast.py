"""Rows: conversions between types, and copies."""

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError
from caffe2py.testing import Bad, Case, Sample
from tests.ops.rows.shape import ALL, F4, draw, same_elements

NUMBER = {
    "float32": 1, "int32": 2, "object": 4, "bool": 5, "uint8": 6, "int8": 7, "uint16": 8,
    "int16": 9, "int64": 10, "float16": 12, "float64": 13,
}  # fmt: skip
NAMES = {
    "float": "float32",
    "double": "float64",
    "STRING": "object",
    "BYTE": "uint8",
    "Int8": "int8",
}
BY_NUMBER = {number: name for name, number in NUMBER.items()}

EDGES = [0.0, -0.0, 0.5, -0.5, 1.999, -1.999, 255.5, -129.5, 300.5, 70000.0, 2.0**31, -(2.0**31)]
EXTREMES = [3e9, -3e9, 2.0**63, -(2.0**63), 1e30, -1e30, np.inf, -np.inf, np.nan]


def _whole(x, dtype):
    """A float cut toward zero, clipped to int32 or int64, then the low bits."""
    wide = np.int64 if dtype == np.int64 else np.int32
    limits = np.iinfo(wide)
    clipped = [
        0 if np.isnan(v) else min(max(int(np.clip(v, -1e20, 1e20)), limits.min), limits.max)
        for v in x.astype(np.float64).reshape(-1)
    ]
    return np.array(clipped, wide).reshape(x.shape).astype(dtype)


def _text(value):
    return (b"%f" if isinstance(value, float) else b"%d") % value


def _cast(x, to=1, from_type=None):
    dtype = np.dtype(BY_NUMBER[to] if isinstance(to, int) else NAMES.get(to, to.lower()))
    if x.dtype == object:
        return x
    if dtype.kind == "O":
        flat = [_text(value) for value in x.reshape(-1).tolist()]
        return np.array([*flat, None], object)[:-1].reshape(x.shape)
    if x.dtype.kind == "f" and dtype.kind in "iu":
        return _whole(x, dtype)
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def _cast_samples(rng):
    for source in ALL:
        for target in ALL:
            if source == "object" and target != "object":
                continue
            yield Sample([draw(rng, (3, 5), source)], {"to": NUMBER[target]})
    for dtype in ("float32", "float64"):
        for target in ("int8", "uint8", "int16", "uint16", "int32", "int64", "bool", "float16"):
            values = np.array(EDGES + EXTREMES, dtype)
            yield Sample([values], {"to": NUMBER[target]})
    yield Sample([np.array([2**40 + 5, -(2**33) - 1, 300, -129, 65535])], {"to": "Int8"})
    yield Sample([np.arange(65536, dtype=np.uint16).view(np.float16)], {"to": "double"})
    near = np.array([2.0**-25, 2.0**-24, 3 * 2.0**-25, 2.0**-14, 65519.9, 65520, 2049, 2051])
    yield Sample([near], {"to": "float16"})
    for to in (*NAMES, 13, "Bool"):
        yield Sample([draw(rng, (2, 3), "float32")], {"to": to, "from_type": 1})
        yield Sample([draw(rng, (2, 3), "float32")], {"to": to, "from_type": "FLOAT"})
    for shape in ((), (0,), (2, 0, 3)):
        yield Sample([draw(rng, shape, "int32")], {"to": "float", "from_type": 2})
        yield Sample([draw(rng, shape, "float64")], {"to": 4})
    yield Sample([draw(rng, (2, 3), "float64")], {"from_type": 13})


COPY_ERRORS = [
    Bad([F4], ArityError, "found 2", outputs=2),
    Bad([F4], InplaceError, "allowed: none", same=[(0, 0)]),
]
COPIED = [((2, 3), {}), ((), {}), ((0,), {}), ((3, 0, 2), {}), ((130, 33), {})]


def _copied_like(rng):
    for sample in same_elements(*COPIED)(rng):
        yield Sample([*sample.inputs, F4])


def one_input(errors):
    return [*errors, Bad([F4, F4], ArityError, r"expected 1 input\(s\) .* found 2")]


CASES = [
    Case(
        "Cast",
        _cast,
        _cast_samples,
        bad=[
            Bad([F4], ArgumentError, "99 is not a data type", args={"to": 99}),
            Bad([F4], ArgumentError, "0 is not a data type", args={"to": 0}),
            Bad([F4], ArgumentError, "'half' is not a data type", args={"to": "half"}),
            Bad([F4], ArgumentError, "expected int or string, found a float", args={"to": 1.0}),
            Bad([np.array([b"1"], object)], DTypeError, "'X' is string", args={"to": 1}),
            Bad([F4, F4], ArityError, "found 2", args={"to": 1}),
            Bad([F4], InplaceError, "allowed: none", args={"to": 1}, same=[(0, 0)]),
        ],
        skip={"gradient": "needs from_type, and only float types have one: see test_cast.py"},
    ),
    Case("Copy", lambda x: x, same_elements(*COPIED), bad=one_input(COPY_ERRORS)),
    Case("EnsureCPUOutput", lambda x: x, same_elements(*COPIED), bad=one_input(COPY_ERRORS)),
    Case("CopyFromCPUInput", lambda x: x, same_elements(*COPIED), bad=one_input(COPY_ERRORS)),
    Case("Alias", lambda x: x, same_elements(*COPIED), bad=one_input(COPY_ERRORS)),
    Case(
        "CopyOnDeviceLike",
        lambda x, like: x,
        _copied_like,
        bad=[
            Bad([F4], ArityError, r"expected 2 input\(s\) \(input, dst\), found 1"),
            Bad([F4, F4], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
]
