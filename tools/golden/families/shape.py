"""Operators that rearrange: Expand, Reshape, Transpose, Concat, Split and their like."""

import numpy as np

from tools.golden.case import (
    ALL_TYPES,
    MATH_TYPES,
    Case,
    Cases,
    grid,
    pick,
    some_shape,
    wrong_arity,
)

# input shape, requested shape
EXPANSIONS = [
    ((3, 1), (3, 4)),
    ((1,), (5,)),
    ((3,), (2, 3)),
    ((2, 3), (1, 1)),
    ((2, 3), (3,)),
    ((2, 1, 3), (4, 1)),
    ((1, 4), (2, 3, 1)),
    ((), (2, 2)),
    ((2, 2), ()),
    ((0, 1), (1, 3)),
    ((1,), (0,)),
    ((4,), (4,)),
    ((1, 2, 1, 2), (3, 1, 2, 1)),
]


def expand(rng: np.random.Generator) -> Cases:
    for index, (shape, target) in enumerate(EXPANSIONS):
        for dtype in ("float32", MATH_TYPES[1 + index % 3]):
            feed = {"X": grid(rng, shape, dtype), "shape": np.array(target, "int64")}
            yield Case("Expand", feed)
    X = grid(rng, (2, 3))
    for target in ((4, 3), (2,), (2, 3, 1)):
        feed = {"X": X, "shape": np.array(target, "int64")}
        yield Case("Expand", feed, refused=True)
    for target in ((-1, 3), (0, 3), (2, -1), (2, 0)):
        yield Case("Expand", {"X": X, "shape": np.array(target, "int64")})
    yield Case("Expand", {"X": X, "shape": np.array([2, 3], "int32")}, refused=True)
    yield Case("Expand", {"X": X, "shape": np.array([[2, 3]], "int64")})
    yield Case("Expand", {"X": X, "shape": np.array([2, 3], "int64")}, ["X"], refused=True)
    for dtype in ("bool", "float16", "uint8"):
        feed = {"X": grid(rng, (1, 2), dtype), "shape": np.array([3, 1], "int64")}
        yield Case("Expand", feed, refused=True)
    yield from wrong_arity("Expand", {"X": X, "shape": np.array([2, 3], "int64")}, ["Y"])


def expand_gradient(rng: np.random.Generator) -> Cases:
    op = "ExpandGradient"
    for index, (shape, target) in enumerate(EXPANSIONS):
        full = np.broadcast_shapes(shape, target)
        for dtype in ("float32", MATH_TYPES[1 + index % 3]):
            feed = {"dY": grid(rng, full, dtype), "X": grid(rng, shape, dtype)}
            yield Case(op, feed, ["dX"])
    for full, shape in (((2, 3), (4, 3)), ((3,), (2, 3)), ((2, 3), (2, 1, 1))):
        feed = {"dY": grid(rng, full), "X": grid(rng, shape)}
        yield Case(op, feed, ["dX"], refused=True)
    feed = {"dY": grid(rng, (2, 3), "float16"), "X": grid(rng, (1, 3), "float16")}
    yield Case(op, feed, ["dX"], refused=True)
    feed = {"dY": grid(rng, (2, 3)), "X": grid(rng, (2, 3))}
    yield Case(op, feed, ["dY"], refused=True)
    yield from wrong_arity(op, feed, ["dX"])


def expand_dims(rng: np.random.Generator) -> Cases:
    op = "ExpandDims"
    good = [((3,), [0]), ((3,), [1]), ((2, 3), [1]), ((2, 3), [0, 3]), ((2, 3), [3, 0])]
    good += [((2, 3), [0, 1, 2]), ((), [0]), ((), [0, 1]), ((0, 2), [1]), ((2,), [0, 0])]
    good += [((2, 3, 2), [1, 3, 5]), ((1, 5), [2])]
    for index, (shape, dims) in enumerate(good):
        dtype = ALL_TYPES[index % len(ALL_TYPES)]
        yield Case(op, {"X": grid(rng, shape)}, args={"dims": dims})
        yield Case(op, {"X": grid(rng, shape, dtype)}, ["X"], {"dims": dims})
    yield Case(op, {"X": grid(rng, (2, 2), "str")}, args={"dims": [1]})
    for shape, dims in (((2,), [-1]), ((2,), [3]), ((2,), [0, 5]), ((2,), [])):
        yield Case(op, {"X": grid(rng, shape)}, args={"dims": dims}, refused=True)
    yield Case(op, {"X": grid(rng, (2,))}, refused=True)
    yield Case(op, {"X": grid(rng, (2,))}, args={"dims": 1}, refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, ["Y"], dims=[0])


def squeeze(rng: np.random.Generator) -> Cases:
    op = "Squeeze"
    good = [((1,), [0]), ((1, 3), [0]), ((2, 1, 3, 1), [1]), ((2, 1, 3, 1), [3, 1])]
    good += [((1, 1, 1), [0, 1, 2]), ((1, 0), [0]), ((1, 2, 1), [2, 2]), ((4, 1), [1])]
    good += [((1, 3, 1, 2), [0]), ((1, 3, 1, 2), [0, 2]), ((1, 1), [0]), ((5, 2, 1), [2])]
    for index, (shape, dims) in enumerate(good):
        dtype = ALL_TYPES[index % len(ALL_TYPES)]
        yield Case(op, {"X": grid(rng, shape)}, args={"dims": dims})
        yield Case(op, {"X": grid(rng, shape, dtype)}, ["X"], {"dims": dims})
    yield Case(op, {"X": grid(rng, (2, 1), "str")}, args={"dims": [1]})
    bad = [((2, 3), [0]), ((1, 2), [-1]), ((1, 2), [5]), ((1, 2), []), ((), [0])]
    for shape, dims in bad:
        yield Case(op, {"X": grid(rng, shape)}, args={"dims": dims}, refused=True)
    yield Case(op, {"X": grid(rng, (1,))}, refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (1,))}, ["Y"], dims=[0])


def reshape(rng: np.random.Generator) -> Cases:
    op = "Reshape"
    outputs = ["Y", "old"]
    good = [((2, 3), [6]), ((2, 3), [3, 2]), ((2, 3), [0, -1]), ((2, 3, 4), [0, 0, 2, 2])]
    good += [((2, 3, 4), [-1, 4]), ((2, 3, 4), [-1]), ((), [1]), ((1,), []), ((0, 3), [3, 0])]
    good += [((0, 3), [0, 3]), ((2, 0), [0, -1]), ((6,), [1, -1, 1]), ((2, 3), [2, 3])]
    good += [((4,), [2, 2])]
    for index, (shape, target) in enumerate(good):
        X = grid(rng, shape, (*ALL_TYPES, "str")[index % 11])
        yield Case(op, {"X": X}, outputs, {"shape": target})
        for dtype in ("int32", "int64"):
            feed = {"X": grid(rng, shape), "new": np.array(target, dtype)}
            yield Case(op, feed, ["X" if index % 3 == 0 else "Y", "old"])
    yield Case(op, {"X": grid(rng, (2, 3))}, ["X", "old"], {"shape": [3, -1]})
    both = {"X": grid(rng, (2, 3)), "new": np.array([6], "int64")}
    yield Case(op, both, outputs, {"shape": [3, 2]}, note="both ways to give the shape")
    for target in ([4], [-1, -1], [-2, 3], [5, -1], [2, 3, 0], [0, 0, 0], [0]):
        yield Case(op, {"X": grid(rng, (2, 3))}, outputs, {"shape": target}, refused=True)
        feed = {"X": grid(rng, (2, 3)), "new": np.array(target, "int64")}
        yield Case(op, feed, outputs, refused=True)
    yield Case(op, {"X": grid(rng, (2,))}, outputs, refused=True)
    yield Case(op, {"X": grid(rng, (2, 3))}, ["Y"], {"shape": [6]}, refused=True)
    for shape, dtype in (((1,), "float32"), ((1,), "int16"), ((1, 1), "int64"), ((), "int64")):
        feed = {"X": grid(rng, (1,)), "new": np.ones(shape, dtype)}
        yield Case(op, feed, outputs, refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, outputs, shape=[2])


def transpose(rng: np.random.Generator) -> Cases:
    op = "Transpose"
    for dtype in (*ALL_TYPES, "str"):
        yield Case(op, {"X": grid(rng, (2, 3), dtype)}, refused=dtype in ALL_TYPES[5:])
    for _ in range(16):
        shape = some_shape(rng, 1, 5)
        axes = [int(axis) for axis in rng.permutation(len(shape))]
        dtype = pick(rng, MATH_TYPES)
        yield Case(op, {"X": grid(rng, shape, dtype)}, args={"axes": axes})
    for shape in ((0, 3), (2, 0, 1), (), (4,), (2, 3, 4)):
        yield Case(op, {"X": grid(rng, shape)})
    yield Case(op, {"X": grid(rng, (2, 3))}, args={"axes": []})
    for axes in ([0], [0, 0], [0, 2], [-1, 0], [0, 1, 2]):
        yield Case(op, {"X": grid(rng, (2, 3))}, args={"axes": axes}, refused=True)
    yield Case(op, {"X": grid(rng, (2, 2))}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, ["Y"])


def flatten(rng: np.random.Generator) -> Cases:
    op = "Flatten"
    for dtype in (*ALL_TYPES, "str"):
        yield Case(op, {"X": grid(rng, (2, 3, 2), dtype)})
    for shape in ((3,), (2, 3), (2, 1, 3, 2), (0, 2), (2, 0, 3), ()):
        yield Case(op, {"X": grid(rng, shape)})
        for axis in {0, len(shape), int(rng.integers(len(shape) + 1))}:
            yield Case(op, {"X": grid(rng, shape)}, args={"axis": axis})
    for axis in (-1, -3, 4, -4):
        yield Case(op, {"X": grid(rng, (2, 3, 4))}, args={"axis": axis}, refused=axis != -1)
    yield Case(op, {"X": grid(rng, (2, 3))}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2, 2))}, ["Y"])


def shape_of(rng: np.random.Generator) -> Cases:
    op = "Shape"
    for dtype in (*ALL_TYPES, "str"):
        yield Case(op, {"X": grid(rng, some_shape(rng), dtype)})
    for shape in ((), (0,), (2, 0, 3), (2, 3, 4, 5)):
        yield Case(op, {"X": grid(rng, shape)})
        yield Case(op, {"X": grid(rng, shape)}, args={"axes": []})
    for axes in ([0], [2], [2, 0], [1, 1], [0, 1, 2], [3, 2, 1, 0]):
        yield Case(op, {"X": grid(rng, (2, 3, 4, 5))}, args={"axes": axes})
    for axes in ([-1], [4], [0, 9]):
        yield Case(op, {"X": grid(rng, (2, 3, 4, 5))}, args={"axes": axes}, refused=True)
    yield Case(op, {"X": grid(rng, (2,), "int64")}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, ["Y"])


def resize_like(rng: np.random.Generator) -> Cases:
    op = "ResizeLike"
    pairs = [((2, 3), (3, 2)), ((6,), (1, 2, 3)), ((), (1, 1)), ((0, 2), (5, 0)), ((1,), ())]
    pairs += [((2, 2), (4,))]
    for index, (shape, like) in enumerate(pairs):
        for dtype in ("float32", *(ALL_TYPES[(3 * index + i) % 10] for i in range(3))):
            feed = {"X": grid(rng, shape, dtype), "like": grid(rng, like, pick(rng, ALL_TYPES))}
            yield Case(op, feed)
    yield Case(op, {"X": grid(rng, (2, 2), "str"), "like": grid(rng, (4,))})
    for shape, like in (((2, 3), (5,)), ((2,), ()), ((0,), (1,)), ((2, 3), (2, 4))):
        yield Case(op, {"X": grid(rng, shape), "like": grid(rng, like)}, refused=True)
    yield Case(op, {"X": grid(rng, (4,)), "like": grid(rng, (2, 2))}, ["X"], refused=True)
    yield Case(op, {"X": grid(rng, (4,)), "like": grid(rng, (2, 2))}, ["like"], refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (4,)), "like": grid(rng, (2, 2))}, ["Y"])


def parts(rng: np.random.Generator, shape: tuple[int, ...], axis: int, lengths, dtype="float32"):
    """Arrays that agree in all but one dimension."""
    feed = {}
    for number, length in enumerate(lengths):
        changed = list(shape)
        changed[axis] = length
        feed[f"X{number}"] = grid(rng, changed, dtype)
    return feed


def concat(rng: np.random.Generator) -> Cases:
    op, outputs = "Concat", ["Y", "split_info"]
    for dtype in (*ALL_TYPES, "str"):
        yield Case(op, parts(rng, (2, 3), 1, [1, 2, 3], dtype), outputs, {"axis": 1})
    for shape in ((3,), (2, 3), (2, 1, 3), (2, 1, 2, 3)):
        for axis in range(-len(shape), len(shape)):
            lengths = [int(n) for n in rng.integers(0, 4, int(rng.integers(1, 5)))]
            yield Case(op, parts(rng, shape, axis, lengths), outputs, {"axis": axis})
    for order in ("NCHW", "NHWC"):
        axis = 1 if order == "NCHW" else 3
        yield Case(op, parts(rng, (2, 3, 2, 2), axis, [1, 2]), outputs, {"order": order})
    yield Case(op, parts(rng, (2, 3, 2), 1, [1, 2]), outputs)
    for axis in (0, 1, 2, -1, -3):
        feed = {f"X{i}": grid(rng, (2, 3)) for i in range(3)}
        yield Case(op, feed, outputs, {"axis": axis, "add_axis": 1})
    X = grid(rng, (2, 2))
    yield Case(op, {"X": X}, outputs, {"axis": 0}, reads=["X", "X", "X"])
    yield Case(op, {"X": grid(rng, (0, 3)), "Z": grid(rng, (0, 3))}, outputs, {"axis": 0})
    yield Case(op, {"X": grid(rng, ()), "Z": grid(rng, ())}, outputs, {"axis": 0, "add_axis": 1})
    yield Case(
        op, {"X": grid(rng, (2, 3)), "Z": grid(rng, (2, 4))}, outputs, {"axis": 0}, refused=True
    )
    yield Case(
        op, {"X": grid(rng, (2, 3)), "Z": grid(rng, (3,))}, outputs, {"axis": 0}, refused=True
    )
    feed = {"X": X, "Z": grid(rng, (2, 2), "int32")}
    yield Case(op, feed, outputs, {"axis": 0}, refused=True)
    feed = {"X": X, "Z": grid(rng, (2, 3))}
    yield Case(op, feed, outputs, {"axis": 0, "add_axis": 1}, refused=True)
    for axis in (2, -3):
        yield Case(op, {"X": X, "Z": X}, outputs, {"axis": axis}, refused=True)
    yield Case(op, {"X": X, "Z": X}, ["X", "split_info"], {"axis": 0}, refused=True)
    yield Case(op, {"X": X, "Z": X}, outputs, {"axis": 0, "order": "bad"}, refused=True)
    yield from wrong_arity(op, {"X": X}, outputs, axis=0)


def names(count: int) -> list[str]:
    return [f"Y{i}" for i in range(count)]


def split(rng: np.random.Generator) -> Cases:
    op = "Split"
    for dtype in (*ALL_TYPES, "str"):
        yield Case(op, {"X": grid(rng, (2, 6), dtype)}, names(3), {"axis": 1})
    for shape, axis, lengths in (
        ((6,), 0, [1, 2, 3]),
        ((2, 5), 1, [5, 0]),
        ((2, 5), -1, [2, 3]),
        ((3, 2, 4), -2, [1, 1]),
        ((3, 2, 4), 0, [3]),
        ((0, 3), 1, [1, 2]),
        ((2, 4, 1, 2), 1, [1, 1, 2]),
    ):
        args = {"axis": axis}
        yield Case(op, {"X": grid(rng, shape)}, names(len(lengths)), {**args, "split": lengths})
        feed = {"X": grid(rng, shape, "int64"), "lengths": np.array(lengths, "int32")}
        yield Case(op, feed, names(len(lengths)), args)
    for order in ("NCHW", "NHWC"):
        yield Case(op, {"X": grid(rng, (2, 4, 2, 4))}, names(2), {"order": order})
    yield Case(op, {"X": grid(rng, (2, 4))}, names(4))
    for axis in (0, 1, -1):
        yield Case(op, {"X": grid(rng, (3, 3, 3))}, names(3), {"axis": axis, "add_axis": 1})
    both = {"X": grid(rng, (4,)), "lengths": np.array([1, 3], "int32")}
    yield Case(op, both, names(2), {"axis": 0, "split": [2, 2]}, note="lengths given twice")
    X = grid(rng, (2, 5))
    for args in (
        {"axis": 1},
        {"axis": 1, "split": [2, 2]},
        {"axis": 1, "split": [5]},
        {"axis": 1, "split": [-1, 6]},
        {"axis": 2},
        {"axis": -3},
        {"axis": 0, "add_axis": 1, "split": [2, 0]},
    ):
        yield Case(op, {"X": X}, names(2), args, refused=True)
    for lengths in (np.array([2, 2], "int32"), np.array([2, 3], "int64"), np.array([5], "int32")):
        yield Case(op, {"X": X, "lengths": lengths}, names(2), {"axis": 1}, refused=True)
    yield Case(op, {"X": X}, ["X", "Y"], {"axis": 0}, refused=True)
    yield Case(op, {"X": X}, [], {"axis": 0}, refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,))}, ["Y"])


CASES = {
    "Expand": expand,
    "ExpandGradient": expand_gradient,
    "ExpandDims": expand_dims,
    "Squeeze": squeeze,
    "Reshape": reshape,
    "Transpose": transpose,
    "Flatten": flatten,
    "Shape": shape_of,
    "ResizeLike": resize_like,
    "Concat": concat,
    "Split": split,
}
