"""Rows: reshaping, transposition, repetition, joining and cutting."""

import itertools

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

NUMBERS = ("float32", "float64", "int32", "int64")
ALL = (*NUMBERS, "float16", "int8", "uint8", "int16", "uint16", "bool", "object")
F4 = np.arange(6, dtype=np.float32).reshape(2, 3)


def draw(rng, shape, dtype):
    """Values of any type that a tensor can hold; strings are bytes."""
    dtype = np.dtype(dtype)
    if dtype.kind == "O":
        flat = [b"%d" % k for k in rng.integers(0, 1000, np.prod(shape, dtype=int))]
        return np.array([*flat, None], object)[:-1].reshape(shape)
    if dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape)).astype(dtype)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    limits = np.iinfo(dtype)
    return np.asarray(rng.integers(limits.min, limits.max, shape, dtype, endpoint=True))


def ints(*values, dtype=np.int64):
    return np.array(values, dtype)


def same_elements(*cases, types=ALL):
    """Samples with one input: (shape, args) for float32, the first one for every type."""

    def samples(rng):
        for shape, args in cases:
            yield Sample([draw(rng, shape, "float32")], args)
        for dtype in types:
            yield Sample([draw(rng, cases[0][0], dtype)], cases[0][1])

    return samples


# ---------------------------------------------------------------- ExpandDims, Squeeze


def _squeeze(x, dims):
    return np.squeeze(x, tuple(set(dims)))


DIMS_ERRORS = [
    Bad([F4], ArgumentError, "'dims' must list at least one"),
    Bad([F4], ArgumentError, "'dims' must list at least one", args={"dims": []}),
    Bad([F4], ArgumentError, "must not be negative, found -1", args={"dims": [0, -1]}),
    Bad([F4], ArgumentError, "expected a list of ints, found an int 1", args={"dims": 1}),
    Bad([F4, F4], ArityError, "found 2", args={"dims": [0]}),
]

AXES_OF_ONE = [
    Case(
        "ExpandDims",
        lambda x, dims: np.expand_dims(x, tuple(set(dims))),
        same_elements(
            ((2, 3), {"dims": [0, 3]}),
            ((2, 3), {"dims": [3, 0]}),
            ((2, 3), {"dims": [1, 1]}),
            ((2, 3), {"dims": [0, 1, 2]}),
            ((), {"dims": [0]}),
            ((0, 2), {"dims": [1]}),
            ((2, 1), {"dims": [2]}),
        ),
        bad=[
            *DIMS_ERRORS,
            Bad([F4], ShapeError, r"dims \[3\] do not fit: .* \(2,3\) has 3", args={"dims": [3]}),
            Bad([F4], ShapeError, "do not fit", args={"dims": [0, 5]}),
        ],
        skip={"inplace": "the shape always changes: see test_reshape.py"},
    ),
    Case(
        "Squeeze",
        _squeeze,
        same_elements(
            ((2, 1, 3, 1), {"dims": [1]}),
            ((2, 1, 3, 1), {"dims": [3, 1]}),
            ((1, 1), {"dims": [0, 1, 0]}),
            ((1, 0), {"dims": [0]}),
        ),
        bad=[
            *DIMS_ERRORS,
            Bad([F4], ShapeError, r"dimension 0 of 'data' \(2,3\) must be 1", args={"dims": [0]}),
            Bad([F4], ShapeError, r"dims \[2\] do not fit 'data' \(2,3\)", args={"dims": [2]}),
        ],
        skip={"inplace": "the shape always changes: see test_reshape.py"},
    ),
]

# ---------------------------------------------------------------- Reshape and its relatives


def _reshape(x, new_shape=None, shape=None):
    wanted = list(shape if new_shape is None else new_shape)
    if x.size:
        wanted = [x.shape[k] if d == 0 and k < x.ndim else d for k, d in enumerate(wanted)]
    else:
        wanted = [max(d, 0) for d in wanted]
    old = np.array(x.shape, np.int64 if new_shape is None else new_shape.dtype)
    return x.reshape(wanted), old


RESHAPED = [
    ((2, 3, 4), [0, -1]),
    ((2, 3, 4), [2, 3, 4]),
    ((2, 3, 4), [0, 0, 2, 2]),
    ((2, 3, 4), [-1]),
    ((2, 3, 4), [1, 24, 1]),
    ((6,), [3, 2]),
    ((), [1]),
    ((), [1, -1]),
    ((1,), []),
    ((0, 3), [3, 0]),
    ((0, 3), [0, 3]),
    ((2, 0), [0, -1]),
]


def _reshape_samples(rng):
    for old, new in RESHAPED:
        yield Sample([draw(rng, old, "float32")], {"shape": new}, 2)
        for dtype in ("int32", "int64"):
            yield Sample([draw(rng, old, "float32"), ints(*new, dtype=dtype)], {}, 2)
    for dtype in ALL:
        yield Sample([draw(rng, (2, 3, 4), dtype)], {"shape": [4, -1]}, 2)
        yield Sample([draw(rng, (2, 3, 4), dtype), ints(4, -1)], {}, 2)


def _bad_shape(shape, match):
    return [
        Bad([F4], ShapeError, match, args={"shape": shape}, outputs=2),
        Bad([F4, ints(*shape)], ShapeError, match, outputs=2),
    ]


def _resize_samples(rng):
    for old, new in [((6,), (2, 3)), ((2, 3), (2, 3)), ((), (1, 1)), ((1,), ()), ((0, 2), (5, 0))]:
        for dtype in ALL:
            other = "object" if dtype == "int8" else "int8"
            yield Sample([draw(rng, old, dtype), draw(rng, new, other)])


def _flatten(x, axis=1):
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(np.prod(x.shape[:axis], dtype=int), np.prod(x.shape[axis:], dtype=int))


def _shape(x, axes=()):
    return np.array([x.shape[k] for k in axes] if axes else x.shape, np.int64)


MOVED = [
    Case(
        "Reshape",
        _reshape,
        _reshape_samples,
        gradient=[0],
        bad=[
            *_bad_shape([4], r"cannot reshape \(2,3\) to \(4\): 6 elements do not fit \(4\)"),
            *_bad_shape([-1, -1], "only one dimension can be -1"),
            *_bad_shape([-2, -3], "-3 is no size"),
            *_bad_shape([4, -1], "6 elements do not fit"),
            *_bad_shape([2, 3, 0], "6 elements do not fit"),
            *_bad_shape([0], r"do not fit \(2\)"),
            Bad([F4[:0]], ShapeError, "0 elements, that would be 3", {"shape": [3]}, outputs=2),
            Bad([F4], ArgumentError, "new shape is missing", outputs=2),
            Bad([F4, ints(6)], ArgumentError, "exclude each other", args={"shape": [6]}, outputs=2),
            Bad([F4, F4[0]], DTypeError, "'new_shape' is float32; supported: int32", outputs=2),
            Bad([F4, ints(6)[None]], ShapeError, r"1 dimension\(s\), found \(1,1\)", outputs=2),
            Bad([F4], ArityError, "expected 2 output", args={"shape": [6]}),
            Bad([F4, ints(2, 3)], InplaceError, "input 0 as output 0", outputs=2, same=[(1, 0)]),
        ],
    ),
    Case(
        "ResizeLike",
        lambda x, like: x.reshape(like.shape),
        _resize_samples,
        bad=[
            Bad([F4, F4[0]], ShapeError, r"'data' \(2,3\) has 6 .* \(3\) has 3"),
            Bad([F4[0], np.float32(1).reshape(())], ShapeError, r"\(\) has 1"),
            Bad([F4], ArityError, "expected 2"),
            Bad([F4, F4], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
    Case(
        "Flatten",
        _flatten,
        same_elements(
            ((2, 3, 4), {}),
            ((2, 3, 4), {"axis": 0}),
            ((2, 3, 4), {"axis": 3}),
            ((2, 3, 4), {"axis": -1}),
            ((3,), {}),
            ((), {"axis": 0}),
            ((2, 0, 3), {}),
            ((0, 2), {"axis": 2}),
        ),
        bad=[
            Bad([F4], ShapeError, "axis 3 is out of range for 2", args={"axis": 3}),
            Bad([F4], ShapeError, "axis -3 is out of range", args={"axis": -3}),
            Bad([F4[0, 0].reshape(())], ShapeError, "axis 1 is out of range for 0"),
            Bad([F4], ArgumentError, "'axis': expected an int", args={"axis": 1.0}),
            Bad([F4], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
    Case(
        "FlattenToVec",
        lambda x: x.reshape(-1),
        same_elements(((2, 3, 4), {}), ((3,), {}), ((2, 0), {}), ((1, 1), {})),
        bad=[
            Bad([F4[0, 0].reshape(())], ShapeError, "at least 1 dimension"),
            Bad([F4, F4], ArityError, "found 2"),
            Bad([F4], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
    Case(
        "Shape",
        _shape,
        same_elements(
            ((2, 3, 4), {}),
            ((2, 3, 4), {"axes": [2, 0]}),
            ((2, 3, 4), {"axes": [1, 1]}),
            ((2, 3, 4), {"axes": []}),
            ((), {}),
            ((0, 5), {}),
        ),
        bad=[
            Bad([F4], ShapeError, "less than 2, found 2", args={"axes": [0, 2]}),
            Bad([F4], ShapeError, "at least 0", args={"axes": [-1]}),
            Bad([F4, F4], ArityError, "found 2"),
            Bad([ints(1)], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
    Case(
        "Size",
        lambda x: np.asarray(x.size, np.int64),
        same_elements(((2, 3, 4), {}), ((), {}), ((0, 5), {})),
        bad=[
            Bad([F4, F4], ArityError, "found 2"),
            Bad([ints(1)], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
    Case(
        "IsEmpty",
        lambda x: np.asarray(x.size == 0),
        same_elements(((2, 3, 4), {}), ((), {}), ((0, 5), {})),
        bad=[
            Bad([F4, F4], ArityError, "found 2"),
            Bad([F4 > 0], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
]

# ---------------------------------------------------------------- Transpose, Expand


def _transposed(rng):
    for shape in [(), (3,), (2, 3), (2, 0, 3), (2, 3, 4), (3, 1, 2, 4), (2, 3, 2, 3, 2)]:
        yield Sample([draw(rng, shape, "float32")])
        for axes in itertools.islice(itertools.permutations(range(len(shape))), 24):
            yield Sample([draw(rng, shape, "float32")], {"axes": list(axes)})
    for dtype in ALL:
        for shape, axes in [((33, 70), [1, 0]), ((2, 5, 3, 4), [0, 2, 1, 3]), ((4, 3), [])]:
            yield Sample([draw(rng, shape, dtype)], {"axes": axes})
    yield Sample([draw(rng, (2, 1024, 20), "float32")], {"axes": [2, 0, 1]})
    yield Sample([draw(rng, (40, 1024), "float32")], {"axes": [1, 0]})  # rows 4096 bytes apart


EXPANDED = [
    ((3, 1), [3, 4]),
    ((3,), [2, 3]),
    ((2, 3), [2, 3]),
    ((2, 3), [1]),
    ((2, 1, 3), [4, 1]),
    ((1, 4), [2, 3, 1]),
    ((), [2, 2]),
    ((2, 2), []),
    ((0, 1), [1, 3]),
    ((1, 2, 1, 2), [3, 1, 2, 1]),
    ((2, 3), [-1, 0]),
    ((1, 3), [0, 3]),
]


def _expand(x, shape):
    target = [d if d > 0 else 1 for d in shape.reshape(-1)]
    return np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(target))))


def _expand_samples(rng):
    for old, new in EXPANDED:
        for dtype in (*NUMBERS, "bool", "int8", "object"):
            yield Sample([draw(rng, old, dtype), ints(*new)])
    yield Sample([draw(rng, (2, 1), "float32"), ints(2, 3, dtype=np.int32)])
    yield Sample([draw(rng, (2, 1), "float32"), ints(2, 3)[None]])


def _expand_gradient(dy, x):
    extra = dy.ndim - x.ndim
    axes = [*range(extra), *(extra + k for k, n in enumerate(x.shape) if n == 1)]
    return dy.sum(axis=tuple(axes), dtype=dy.dtype).reshape(x.shape)


def _expand_gradient_samples(rng):
    for old, new in [*EXPANDED, ((1,), [0])]:
        for dtype in NUMBERS:
            y = np.broadcast_shapes(old, tuple(d if d > 0 else 1 for d in new))
            dy = np.asarray(rng.integers(-4, 5, y)).astype(dtype)
            yield Sample([dy, draw(rng, old, dtype)])
    yield Sample([np.zeros((0,), np.float32), np.ones((1,), np.float32)])


REPEATED = [
    Case(
        "Transpose",
        lambda x, axes=None: np.transpose(x, axes or None),
        _transposed,
        bad=[
            Bad([F4], ShapeError, r"axes \[0\] order 1 .* 'X' has 2", args={"axes": [0]}),
            Bad([F4], ArgumentError, r"\[0, 0\] are no permutation", args={"axes": [0, 0]}),
            Bad([F4], ArgumentError, r"\[-1, 0\] are no permutation", args={"axes": [-1, 0]}),
            Bad([F4, F4], ArityError, "found 2"),
            Bad([F4[:, :2]], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
    Case(
        "Expand",
        _expand,
        _expand_samples,
        gradient=[0],
        bad=[
            Bad([F4, ints(4, 3)], ShapeError, r"\(2,3\) and \(4,3\) cannot be broadcast"),
            Bad([F4, ints(2)], ShapeError, "cannot be broadcast"),
            Bad([F4, ints(-2, 3)], ValueRangeError, "negative size -2"),
            Bad([F4, F4[0]], DTypeError, "'shape' is float32; supported: int64, int32"),
            Bad([F4], ArityError, "expected 2"),
            Bad([F4, ints(2, 3)], InplaceError, "allowed: none", same=[(0, 0)]),
        ],
    ),
    Case(
        "ExpandGradient",
        _expand_gradient,
        _expand_gradient_samples,
        bad=[
            Bad([F4, F4[:, :2]], ShapeError, "cannot be broadcast"),
            Bad([F4[0], F4], ShapeError, r"'X' \(2,3\) cannot be expanded to 'dY' \(3\)"),
            Bad([F4, F4.astype(np.float64)], DTypeError, "inputs must have one type"),
            Bad([F4.astype(np.float16)] * 2, DTypeError, "'dY' is float16"),
            Bad([F4], ArityError, "expected 2"),
        ],
    ),
]

# ---------------------------------------------------------------- Concat, Split

JOINED = [
    ([(2, 1), (2, 2), (2, 3)], {"axis": 1}),
    ([(2, 3), (1, 3)], {"axis": 0}),
    ([(2, 3), (1, 3)], {"axis": -2}),
    ([(3,), (1,), (0,)], {"axis": 0}),
    ([(2, 1, 4), (2, 2, 4)], {}),
    ([(2, 1, 3, 4), (2, 2, 3, 4)], {"order": "NCHW"}),
    ([(2, 3, 4, 1), (2, 3, 4, 2)], {"order": "nhwc"}),
    ([(2, 3, 4)], {"axis": 2}),
    ([(2, 0), (2, 2)], {"axis": 1}),
    ([(0, 3), (0, 3)], {"axis": 1}),
    ([(2, 3)] * 4, {"axis": 0, "add_axis": 1}),
    ([(2, 3)] * 3, {"axis": 1, "add_axis": 1}),
    ([(2, 3)] * 3, {"axis": -1, "add_axis": 1}),
    ([(2, 3)] * 2, {"axis": -3, "add_axis": 1}),
    ([()] * 2, {"axis": 0, "add_axis": 1}),
    ([(2, 3)] * 2, {"add_axis": 1}),  # without axis it has no effect
]


def _axis_of(axis=None, order="NCHW"):
    return {"NCHW": 1, "NHWC": 3}[order.upper()] if axis is None else axis


def _concat(*xs, add_axis=0, **args):
    axis = _axis_of(**args)
    if add_axis and "axis" in args:
        return np.stack(xs, axis), np.ones(len(xs), np.int32)
    return np.concatenate(xs, axis), np.array([x.shape[axis] for x in xs], np.int32)


def _concat_samples(rng):
    for shapes, args in JOINED:
        yield Sample([draw(rng, shape, "float32") for shape in shapes], args, 2)
    for dtype in ALL:
        for shapes, args in (JOINED[0], JOINED[1], JOINED[10]):
            yield Sample([draw(rng, shape, dtype) for shape in shapes], args, 2)


CONCAT_ERRORS = [
    Bad(
        [F4, F4[:, :2]],
        ShapeError,
        r"agree in all dimensions but 0: input 0 .* is \(2,3\), input 1 .* is \(2,2\)",
        args={"axis": 0},
        outputs=2,
    ),
    Bad([F4, F4[0]], ShapeError, r"is \(3\)", args={"axis": 0}, outputs=2),
    Bad(
        [F4, F4[:1]],
        ShapeError,
        "agree in all dimensions: ",
        args={"axis": 0, "add_axis": 1},
        outputs=2,
    ),
    Bad([F4, F4], ShapeError, "axis 2 is out of range for 2", args={"axis": 2}, outputs=2),
    Bad([F4[0]], ShapeError, "axis 1 is out of range for 1", outputs=2),
    Bad([F4], ArgumentError, "exclude", args={"axis": 0, "order": "NCHW"}, outputs=2),
    Bad([F4], ArgumentError, "must be NCHW or NHWC", args={"order": "CHWN"}, outputs=2),
    Bad([F4, ints(1, 2)], DTypeError, "'inputs.1.' is int64", args={"axis": 0}, outputs=2),
    Bad([], ArityError, "at least 1", outputs=2),
    Bad([F4], ArityError, "expected 2 output", args={"axis": 0}),
    Bad([F4], InplaceError, "allowed: none", args={"axis": 0}, outputs=2, same=[(0, 0)]),
]

#: shape, widths (None: equal), arguments, number of outputs
CUT = [
    ((2, 6), None, {"axis": 1}, 3),
    ((2, 6), [1, 2, 3], {"axis": 1}, 3),
    ((6, 2), [6, 0], {"axis": 0}, 2),
    ((3, 2, 4), [1, 1], {"axis": -2}, 2),
    ((3, 2, 4), None, {"axis": -1}, 1),
    ((2, 4, 3), None, {}, 2),
    ((2, 3, 2, 4), None, {"order": "NHWC"}, 2),
    ((0, 3), [1, 2], {"axis": 1}, 2),
    ((2, 0), None, {"axis": 1}, 2),
    ((3, 2, 4), None, {"axis": 0, "add_axis": 1}, 3),
    ((2, 3, 4), [1, 1, 1], {"axis": 1, "add_axis": 1}, 3),
    ((3, 4), None, {"add_axis": 1}, 2),  # without axis it has no effect
]


def _split_of(count):
    def ref(x, widths=None, split=None, add_axis=0, **args):
        axis = _axis_of(**args)
        given = split if widths is None else widths.reshape(-1)
        if given is None:
            given = [x.shape[axis] // count] * count
        parts = np.split(x, np.cumsum(given)[:-1].astype(int), axis)
        if add_axis and "axis" in args:
            parts = [np.squeeze(p, axis) for p in parts]
        return tuple(parts)

    return ref


def _split(*inputs, **args):
    """The number of outputs follows from what a sample of CUT gives."""
    widths = args.get("split") if len(inputs) == 1 else inputs[1]
    x = inputs[0]
    if widths is not None:
        return _split_of(np.size(widths))(*inputs, **args)
    count = next(n for shape, _, a, n in CUT if shape == x.shape and a == args)
    return _split_of(count)(*inputs, **args)


def _split_samples(rng):
    for shape, widths, args, count in CUT:
        for dtype in ALL if args == {"axis": 1} else ("float32",):
            x = draw(rng, shape, dtype)
            yield Sample([x], args if widths is None else {**args, "split": widths}, count)
            if widths is not None:
                yield Sample([x, ints(*widths, dtype=np.int32)], args, count)
                yield Sample([x, ints(*widths)[None]], args, count)


SPLIT_ERRORS = [
    Bad([F4], ShapeError, "axis of 3 cannot be cut into 2", args={"axis": 1}, outputs=2),
    Bad([F4], ShapeError, "adds up to 2, .* 3", args={"axis": 1, "split": [1, 1]}, outputs=2),
    Bad([F4], ShapeError, r"1 width\(s\) for 2", args={"axis": 1, "split": [3]}, outputs=2),
    Bad([F4], ValueRangeError, "width -1", args={"axis": 1, "split": [-1, 4]}, outputs=2),
    Bad([F4, ints(1, 1)], ShapeError, "adds up to 2", args={"axis": 1}, outputs=2),
    Bad([F4, ints(3)], ShapeError, r"1 width\(s\) for 2", args={"axis": 1}, outputs=2),
    Bad([F4, ints(-1, 4)], ValueRangeError, "width -1", args={"axis": 1}, outputs=2),
    Bad([F4, F4[0, :2]], DTypeError, "'split' is float32", args={"axis": 1}, outputs=2),
    Bad(
        [F4, ints(1, 2)],
        ArgumentError,
        "exclude each other",
        args={"axis": 1, "split": [1, 2]},
        outputs=2,
    ),
    Bad([F4], ArgumentError, "exclude", args={"axis": 1, "order": "NCHW"}, outputs=3),
    Bad([F4], ShapeError, "axis 2 is out of range", args={"axis": 2}),
    Bad(
        [F4],
        ValueRangeError,
        "must be 1",
        args={"axis": 0, "add_axis": 1, "split": [2, 0]},
        outputs=2,
    ),
    Bad([F4], ShapeError, "adds up to 2", args={"axis": 1, "add_axis": 1}, outputs=2),
    Bad([], ArityError, "found 0"),
    Bad([F4], ArityError, "at least 1 output", outputs=0),
    Bad([F4], InplaceError, "allowed: none", args={"axis": 0}, same=[(0, 0)]),
]

CASES = [
    *AXES_OF_ONE,
    *MOVED,
    *REPEATED,
    *(
        Case(name, _concat, _concat_samples, bad=CONCAT_ERRORS)
        for name in ("Concat", "DepthConcat")
    ),
    *(
        Case(name, _split, _split_samples, bad=SPLIT_ERRORS, gradient=[0])
        for name in ("Split", "DepthSplit")
    ),
]
