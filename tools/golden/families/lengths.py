"""Lengths and ids; segments padded, packed, gathered, cut, and their largest elements."""

from typing import Any

import numpy as np

from tools.golden.case import MATH_TYPES, Case, Cases, Step, grid, wrong_arity

LENGTHS: list[list[int]] = [[2, 0, 3], [], [0], [1, 1, 1, 1], [5], [0, 0, 4, 0], [2, 1], [3, 3]]
THRICE = [*LENGTHS, *LENGTHS, *LENGTHS]


def ints(*values: int) -> np.ndarray:
    return np.array(values, "int32")


def one_vector(op: str, **args: Any):
    def table(rng: np.random.Generator) -> Cases:
        for index, lengths in enumerate(THRICE):
            given = {name: values[index % len(values)] for name, values in args.items()}
            yield Case(op, {"L": ints(*lengths)}, args=given if index >= len(LENGTHS) else {})
        yield Case(op, {"L": ints(2, -1)}, refused=True)
        yield Case(op, {"L": ints(2, 1)[None]}, refused=True)
        yield Case(op, {"L": grid(rng, (3,))}, refused=True)
        yield Case(op, {"L": ints(2, 1).astype("int64")}, refused=op != "LengthsToWeights")
        yield from wrong_arity(op, {"L": ints(2, 1)}, ["Y"])

    return table


def to_shape(rng: np.random.Generator) -> Cases:
    for index in range(22):
        yield Case("LengthsToShape", {"L": np.full(1 + index % 5, index % 4, "int32")})
    for wrong in (ints(1, 2), ints(), ints(2, 2)[None]):
        yield Case("LengthsToShape", {"L": wrong}, refused=True)
    yield from wrong_arity("LengthsToShape", {"L": ints(2, 2)}, ["Y"])


IDS = [[0, 0, 2, 2, 2], [], [0], [3], [1, 2, 4, 4], [0, 1, 2, 3]]


def from_ids(op: str):
    def table(rng: np.random.Generator) -> Cases:
        for index in range(24):
            feed = {"S": np.array(IDS[index % 6], "int64" if index % 2 else "int32")}
            if index % 4 > 1:
                feed["X"] = grid(rng, (5 + index % 3, 2))
            yield Case(op, feed)
        for wrong in (ints(0, 2, 1, 2), ints(-1, 0), ints(2, 0), ints(0, 1)[None]):
            yield Case(op, {"S": wrong}, refused=True)
        yield Case(op, {"S": grid(rng, (2,))}, refused=True)
        yield from wrong_arity(op, {"S": ints(0, 1)}, ["Y"])

    return table


def split(rng: np.random.Generator) -> Cases:
    op = "LengthsSplit"
    for index, lengths in enumerate(THRICE):
        feed = {"L": ints(*lengths)}
        if index % 2:
            feed["n"] = ints(1 + index % 4)
        yield Case(op, feed, args={} if index % 2 else {"n_split": 1 + index % 5})
    feed = {"L": ints(5, 3)}
    yield Case(op, feed, refused=True)
    yield Case(op, feed, args={"n_split": 0}, refused=True)
    yield Case(op, {**feed, "n": ints(0)}, refused=True)
    yield Case(op, {**feed, "n": ints(2, 2)}, refused=True)
    yield Case(op, {"L": ints(5, -3), "n": ints(2)}, refused=True)
    yield from wrong_arity(op, {**feed, "n": ints(2)}, ["Y"])


def masked(rng: np.random.Generator) -> Cases:
    op = "BooleanMaskLengths"
    for index, lengths in enumerate(THRICE):
        kind = "int64" if index % 2 else "int32"
        feed = {"L": np.array(lengths, kind), "M": grid(rng, (sum(lengths),), "bool")}
        yield Case(op, feed)
    feed = {"L": ints(2, 1), "M": grid(rng, (3,), "bool")}
    yield Case(op, {**feed, "L": ints(2, 2)}, refused=True)
    yield Case(op, {**feed, "L": ints(2)}, refused=True)
    yield Case(op, {**feed, "M": grid(rng, (3,))}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


# ---------------------------------------------------------------- padding

WIDTHS: list[dict[str, Any]] = [
    {},
    {"padding_width": 2},
    {"padding_width": 1, "end_padding_width": 0},
    {"padding_width": 0, "end_padding_width": 2},
    {"padding_width": 0},
]


def add_padding(rng: np.random.Generator) -> Cases:
    op, two = "AddPadding", ["Y", "N"]
    for index, lengths in enumerate(THRICE):
        shape = [(), (2,), (2, 3)][index % 3]
        dtype = [*MATH_TYPES, "bool"][index % 5]
        feed = {"X": grid(rng, (sum(lengths), *shape), dtype)}
        if index % 4:
            feed["L"] = ints(*lengths)
        for name in ("A", "B")[: max(index % 4 - 1, 0)]:
            feed[name] = grid(rng, shape, dtype)
        yield Case(op, feed, two if index % 2 else ["Y"], WIDTHS[index % 5])
    feed = {"X": grid(rng, (4, 2)), "L": ints(1, 3)}
    for wrong in (ints(1, 2), ints(1, 4), ints(5, -1)):
        yield Case(op, {**feed, "L": wrong}, two, refused=True)
    yield Case(op, {**feed, "A": grid(rng, (3,))}, two, refused=True)
    yield Case(op, {**feed, "A": grid(rng, (2,), "int32")}, two, refused=True)
    yield Case(op, feed, two, {"padding_width": -1}, refused=True)
    for dtype in ("float16", "uint8", "str"):
        yield Case(op, {**feed, "X": grid(rng, (4, 2), dtype)}, two, refused=True)
    yield from wrong_arity(op, feed, two)


def padded(rng: np.random.Generator, dtypes: tuple[str, ...]):
    for index, lengths in enumerate(THRICE):
        args = WIDTHS[index % 5]
        start = args.get("padding_width", 1)
        more = start + args.get("end_padding_width", start)
        lengths = [n + more for n in lengths]
        shape = [(), (2,), (2, 3)][index % 3]
        yield (
            {
                "X": grid(rng, (sum(lengths), *shape), dtypes[index % len(dtypes)]),
                "L": ints(*lengths),
            },
            args,
            index,
        )


def remove_padding(rng: np.random.Generator) -> Cases:
    op, two = "RemovePadding", ["Y", "N"]
    for feed, args, index in padded(rng, (*MATH_TYPES, "bool")):
        yield Case(op, feed, two if index % 2 else ["Y"], args)
    for rows in (2, 5):
        yield Case(op, {"X": grid(rng, (rows, 2))}, two)
    feed = {"X": grid(rng, (6, 2)), "L": ints(3, 3)}
    for wrong in (ints(1, 5), ints(3, 2), ints(3, 4)):
        yield Case(op, {**feed, "L": wrong}, two, refused=True)
    yield Case(op, {"X": grid(rng, (1, 2))}, two, refused=True)
    yield from wrong_arity(op, feed, two)


def gather_padding(rng: np.random.Generator) -> Cases:
    op, two = "GatherPadding", ["A", "B"]
    for feed, args, index in padded(rng, ("float32", "float64", "int32", "int64")):
        if args != {"padding_width": 0}:  # leaves its outputs as they were
            yield Case(op, feed, two if index % 2 else ["A"], args)
    feed = {"X": grid(rng, (6, 2)), "L": ints(3, 3)}
    for lengths in ((2, 4), (6,)):
        yield Case(op, {**feed, "L": ints(*lengths)}, two)
    for wrong in (ints(1, 5), ints(3, 2), ints(3, 4)):
        yield Case(op, {**feed, "L": wrong}, two, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (6, 2), "bool")}, two, refused=True)
    yield from wrong_arity(op, feed, two)


def lengths_pad(rng: np.random.Generator) -> Cases:
    op = "LengthsPad"
    for index, lengths in enumerate(THRICE):
        target = max([1, *lengths]) + index % 3
        value = {"padding_value": [2.5, -3.0, 0.0][index % 3]} if index % 2 else {}
        data = grid(rng, (sum(lengths), 2)[: 1 + index % 2], MATH_TYPES[index % 4])
        yield Case(op, {"X": data, "L": ints(*lengths)}, args={"target_length": target, **value})
    feed = {"X": grid(rng, (3, 2)), "L": ints(2, 1)}
    yield Case(op, feed, refused=True)
    for target in (0, 1):
        yield Case(op, feed, args={"target_length": target}, refused=True)
    for wrong in (ints(2, 2), ints(2), ints(4, -1)):
        yield Case(op, {**feed, "L": wrong}, args={"target_length": 4}, refused=True)
    yield from wrong_arity(op, feed, ["Y"], target_length=2)


def pad_empty(rng: np.random.Generator) -> Cases:
    op = "PadEmptySamples"
    for index, lengths in enumerate(THRICE):
        feed = {"L": ints(*lengths)}
        for k in range(index % 3):
            dtype = ["float32", "int64", "str", "float64", "bool"][(index + k) % 5]
            dtype = dtype if sum(lengths) else "float32"  # files keep no shape of no strings
            feed[f"X{k}"] = grid(rng, (sum(lengths), *[(), (2,), (3, 1)][(index + k) % 3]), dtype)
        yield Case(op, feed, ["N", *(f"Y{k}" for k in range(index % 3))])
    feed = {"L": ints(1, 0, 2), "X": grid(rng, (3,))}
    yield Case(op, {**feed, "X": grid(rng, (4,))}, ["N", "Y"], refused=True)
    yield Case(op, feed, ["N"], refused=True)
    yield Case(op, {}, ["N"], refused=True)


# ---------------------------------------------------------------- packing

PACKED: list[dict[str, Any]] = [{}, {"max_length": 2}, {"max_length": 6}, {"pad_minf": 1}]


def pack(rng: np.random.Generator) -> Cases:
    op = "PackSegments"
    for index, lengths in enumerate(THRICE):
        dtype = ["float32", "int32", "str", "float32", "int64"][index % 5]
        kind = "int64" if index % 4 == 3 else "int32"
        data = grid(rng, (sum(lengths), *[(), (2,), (2, 3)][index % 3]), dtype)
        feed = {"L": np.array(lengths, kind), "X": data}
        if sum(lengths):
            yield Case(op, feed, args=PACKED[index % 4])
        if index % 2:
            mask = {**PACKED[index % 4], "return_presence_mask": 1}
            yield Case(op, feed, ["Y", "M"], mask)
    feed = {"L": ints(1, 3), "X": grid(rng, (4, 2))}
    for wrong in (ints(1, 2), ints(1, 4), ints(1, 3)[None]):
        yield Case(op, {**feed, "L": wrong}, refused=True)
    yield Case(op, feed, args={"max_length": -3}, refused=True)
    yield Case(op, feed, args={"return_presence_mask": 1}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, ())}, refused=True)
    for dtype in ("float16", "float64", "bool", "uint8"):
        yield Case(op, {**feed, "X": grid(rng, (4, 2), dtype)}, refused=dtype != "float64")
    yield from wrong_arity(op, feed, ["Y"])


def unpack(rng: np.random.Generator) -> Cases:
    op = "UnpackSegments"
    for index, lengths in enumerate(THRICE):
        dtype = ["float32", "int32", "str", "float32", "int64"][index % 5 if lengths else 0]
        most = max([0, *lengths]) + index % 2
        data = grid(rng, (len(lengths), most, *[(), (2,), (2, 3)][index % 3]), dtype)
        args = {"max_length": most} if index % 3 == 1 else {}
        yield Case(op, {"L": ints(*lengths), "X": data}, args=args)
    feed = {"L": ints(1, 3), "X": grid(rng, (2, 2, 2))}
    yield Case(op, feed, args={"max_length": 2})
    yield Case(op, feed, refused=True)
    yield Case(op, feed, args={"max_length": 3}, refused=True)
    yield Case(op, {**feed, "L": ints(1)}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (2,))}, refused=True)
    yield from wrong_arity(op, feed, ["Y"], max_length=2)


def pack_rnn(rng: np.random.Generator) -> Cases:
    op = "PackRNNSequence"
    for index, lengths in enumerate(THRICE):
        data = grid(rng, (sum(lengths), *[(1,), (2,), (2, 3)][index % 3]), MATH_TYPES[index % 4])
        yield Case(op, {"X": data, "L": ints(*lengths)})
    feed = {"X": grid(rng, (4, 2)), "L": ints(1, 3)}
    for wrong in (ints(1, 2), ints(1, 4), ints(5, -1)):
        yield Case(op, {**feed, "L": wrong}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (4,))}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def unpack_rnn(rng: np.random.Generator) -> Cases:
    op = "UnpackRNNSequence"
    for index, lengths in enumerate(THRICE):
        shape = (max([0, *lengths]), len(lengths), *[(1,), (2,), (2, 3)][index % 3])
        yield Case(op, {"X": grid(rng, shape, MATH_TYPES[index % 4]), "L": ints(*lengths)})
    feed = {"X": grid(rng, (3, 2, 2)), "L": ints(1, 3)}
    for wrong in (ints(1, 4), ints(1, 2, 1)):
        yield Case(op, {**feed, "L": wrong}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (3, 2))}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def reverse(rng: np.random.Generator) -> Cases:
    op = "ReversePackedSegs"
    for index, lengths in enumerate(THRICE):
        shape = (max([1, *lengths]) + index % 2, len(lengths), 1 + index % 3)
        dtype = [*MATH_TYPES, "bool"][index % 5]
        kind = "int64" if index % 2 else "int32"
        yield Case(op, {"X": grid(rng, shape, dtype), "L": np.array(lengths, kind)})
    feed = {"X": grid(rng, (3, 2, 2)), "L": ints(1, 3)}
    for wrong in (ints(1, 4), ints(1), ints(1, 2, 3), ints(1, -1)):
        yield Case(op, {**feed, "L": wrong}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (3, 2))}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


# ---------------------------------------------------------------- gathering


def tile(rng: np.random.Generator) -> Cases:
    op = "LengthsTile"
    for index, lengths in enumerate(THRICE):
        dtype = [*MATH_TYPES, "bool", "float16", "str"][index % 7]
        data = grid(rng, (len(lengths), *[(), (2,), (2, 3)][index % 3]), dtype)
        yield Case(op, {"X": data, "L": ints(*lengths)})
    feed = {"X": grid(rng, (3, 2)), "L": ints(2, 0, 1)}
    for wrong in (ints(2, 0), ints(2, -1, 1), ints(2, 0, 1)[None]):
        yield Case(op, {**feed, "L": wrong}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def lengths_gather(rng: np.random.Generator) -> Cases:
    op = "LengthsGather"
    for index, lengths in enumerate(THRICE):
        dtype = [*MATH_TYPES, "bool", "float16", "str"][index % 7]
        data = grid(rng, (sum(lengths), *[(), (2,)][index % 2]), dtype)
        at = rng.integers(0, max(len(lengths), 1), index % 5 if lengths else 0)
        kind = "int64" if index % 2 else "int32"
        yield Case(op, {"X": data, "L": ints(*lengths), "I": at.astype(kind)})
    feed = {"X": grid(rng, (6, 2)), "L": ints(1, 2, 3), "I": ints(2, 0)}
    for name, wrong in (("I", ints(3)), ("L", ints(1, 2, 2)), ("L", ints(1, 2, 4))):
        yield Case(op, {**feed, name: wrong}, refused=True)
    yield Case(op, {**feed, "I": ints(2, 0)[None]}, refused=True)
    yield from wrong_arity(op, feed, ["Y"])


def gather_ranges(rng: np.random.Generator) -> Cases:
    op, two = "GatherRanges", ["Y", "N"]
    for index in range(24):
        dtype = [*MATH_TYPES, "bool", "float16", "str"][index % 7]
        starts = rng.integers(0, 9, (index % 4, 1 + index % 3))
        ranges = np.stack([starts, rng.integers(0, 10 - starts)], axis=-1)
        kind = "int64" if index % 2 else "int32"
        yield Case(op, {"X": grid(rng, (9,), dtype), "R": ranges.astype(kind)}, two)
    feed = {"X": grid(rng, (4,)), "R": ints(0, 1, 2, 2).reshape(1, 2, 2)}
    yield Case(op, {**feed, "R": feed["R"] + 1}, two, refused=True)
    yield Case(op, {**feed, "R": feed["R"][0]}, two, refused=True)
    yield Case(op, {**feed, "R": feed["R"][..., :1]}, two, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (4, 2))}, two, refused=True)
    yield Case(op, {**feed, "R": ints(0, -1).reshape(1, 1, 2)}, two, refused=True)
    yield from wrong_arity(op, feed, two)


def gather_dense(rng: np.random.Generator) -> Cases:
    op, two = "GatherRangesToDense", ["A", "B"]
    lengths = [2, 4]
    for index in range(24):
        dtype = [*MATH_TYPES, "bool"][index % 5]
        starts = rng.integers(0, 5, (index % 4, 2))
        counts = np.where(rng.integers(0, 3, starts.shape), lengths, 0)
        kind = "int64" if index % 2 else "int32"
        feed = {"X": grid(rng, (9,), dtype), "R": np.stack([starts, counts], -1).astype(kind)}
        if index % 3 == 0:
            feed["K"] = rng.permutation(9)
        yield Case(op, feed, two, {"lengths": lengths})
    feed = {"X": grid(rng, (6,)), "R": ints(0, 2, 2, 0, 0, 0, 2, 4).reshape(2, 2, 2)}
    yield Case(op, feed, two, {"lengths": [2, 3]})
    for args in (
        {},
        {"lengths": [2]},
        {"lengths": [2, 0]},
        {"lengths": [2, 3], "min_observation": 1},
        {"lengths": [2, 4], "min_observation": 1, "max_empty_ratio": 0.1},
    ):
        yield Case(op, feed, two, args, refused=True)
    good = {"lengths": lengths}
    yield Case(op, {**feed, "R": feed["R"][0]}, two, good, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (6, 2))}, two, good, refused=True)
    yield Case(op, {**feed, "K": ints(0, 1, 2, 3, 4, 5)}, two, good, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (3,))}, two, good, refused=True)
    yield Case(op, feed, ["A"], good, refused=True)


def merge(rng: np.random.Generator) -> Cases:
    op, two = "MergeIdLists", ["N", "Y"]
    for index, lengths in enumerate(THRICE):
        feed = {}
        for k in range(1 + index % 3):
            feed[f"L{k}"] = rng.permutation(lengths).astype("int32")
            kind = "int64" if index % 2 else "int32"
            feed[f"V{k}"] = rng.integers(0, 6, sum(lengths)).astype(kind)
        yield Case(op, feed, two)
    feed = {"L": ints(2, 1), "V": ints(3, 1, 2), "M": ints(1, 2), "W": ints(1, 5, 4)}
    yield Case(op, feed, two, reads=["L", "V", "M"], refused=True)
    yield Case(op, {**feed, "M": ints(3)}, two, refused=True)
    yield Case(op, {**feed, "W": feed["W"].astype("int64")}, two, refused=True)
    yield Case(op, {**feed, "V": grid(rng, (3,))}, two, refused=True)
    yield Case(op, {**feed, "V": ints(3, 1)}, two, refused=True)
    yield Case(op, {**feed, "L": ints(4, -1)}, two, refused=True)
    yield Case(op, feed, ["N"], refused=True)


# ---------------------------------------------------------------- cutting, the largest

CUTS: list[tuple[tuple[int, ...], list[int], dict[str, Any]]] = [
    ((3, 5), [2, 3], {}),
    ((3, 5), [5, 0], {"axis": -1}),
    ((4, 2), [1, 1, 0, 2], {"axis": 0}),
    ((2, 3, 2), [1, 2], {"axis": 1}),
    ((2, 3, 2, 4), [3, 1], {"order": "NHWC"}),
    ((2, 6), [1, 2], {"use_scaling_lengths": 1}),
    ((2, 4), [2, 2], {"use_scaling_lengths": 1}),
    ((0, 2), [1, 1], {}),
]


def cut(rng: np.random.Generator) -> Cases:
    op, two = "SplitByLengths", ["A", "B"]
    for index, (shape, lengths, args) in enumerate([*CUTS, *CUTS, *CUTS]):
        data = grid(rng, shape, [*MATH_TYPES, "float16", "bool"][index % 6])
        yield Case(op, {"X": data, "L": ints(*lengths)}, two, args)
    feed = {"X": grid(rng, (4, 2)), "L": ints(1, 3)}
    yield Case(op, feed, two, refused=True)
    yield Case(op, feed, ["A", "B", "C"], {"axis": 0}, refused=True)
    yield Case(op, feed, two, {"axis": 2}, refused=True)
    yield Case(op, {**feed, "L": ints(1, 2)}, two, {"use_scaling_lengths": 1}, refused=True)
    yield Case(op, {**feed, "L": ints(5, -1)}, two, refused=True)
    yield Case(op, feed, two, {"axis": 0, "order": "NCHW"})


def top_feeds(rng: np.random.Generator) -> Cases:
    for index, lengths in enumerate(THRICE):
        data = rng.permutation(sum(lengths)).astype("float32")
        feed = {"X": data, "L": ints(*lengths)}
        yield Case("LengthsTopK", feed, ["V", "I"], {"k": 1 + index % 4})


def top(rng: np.random.Generator) -> Cases:
    op, two = "LengthsTopK", ["V", "I"]
    yield from top_feeds(rng)
    feed = {"X": grid(rng, (4,)), "L": ints(3, 1)}
    yield Case(op, feed, two, refused=True)
    yield Case(op, feed, two, {"k": 0}, refused=True)
    for wrong in (ints(3, 2), ints(3), ints(5, -1)):
        yield Case(op, {**feed, "L": wrong}, two, {"k": 2}, refused=True)
    yield Case(op, {**feed, "X": grid(rng, (4,), "float64")}, two, {"k": 2}, refused=True)
    yield from wrong_arity(op, feed, two, k=2)


def top_gradient(rng: np.random.Generator) -> Cases:
    for case in top_feeds(rng):
        yield Case(
            "LengthsTopKGradient",
            case.feed,
            ["dX"],
            case.args,
            reads=["L", "I", "dV"],
            before=[Step("LengthsTopK", ["X", "L"], ["V", "I"], case.args)],
            like={"dV": "V"},
        )


CASES = {
    "LengthsToSegmentIds": one_vector("LengthsToSegmentIds"),
    "LengthsRangeFill": one_vector("LengthsRangeFill"),
    "LengthsToWeights": one_vector("LengthsToWeights", power=[0.5, 0.0, 1.0, 2.0]),
    "LengthsToOffsets": one_vector("LengthsToOffsets", include_last_offset=[0, 1]),
    "LengthsToRanges": one_vector("LengthsToRanges"),
    "LengthsToShape": to_shape,
    "SegmentIdsToLengths": from_ids("SegmentIdsToLengths"),
    "SegmentIdsToRanges": from_ids("SegmentIdsToRanges"),
    "LengthsSplit": split,
    "BooleanMaskLengths": masked,
    "AddPadding": add_padding,
    "RemovePadding": remove_padding,
    "GatherPadding": gather_padding,
    "LengthsPad": lengths_pad,
    "PadEmptySamples": pad_empty,
    "PackSegments": pack,
    "UnpackSegments": unpack,
    "PackRNNSequence": pack_rnn,
    "UnpackRNNSequence": unpack_rnn,
    "ReversePackedSegs": reverse,
    "LengthsTile": tile,
    "LengthsGather": lengths_gather,
    "GatherRanges": gather_ranges,
    "GatherRangesToDense": gather_dense,
    "MergeIdLists": merge,
    "SplitByLengths": cut,
    "LengthsTopK": top,
    "LengthsTopKGradient": top_gradient,
}
