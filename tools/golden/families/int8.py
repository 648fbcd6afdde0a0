"""Operators on quantized tensors: every rounding, scales and zero points of all sizes."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, Step, pick

Rng = np.random.Generator
Quantum = dict[str, Any]

UNIT = {"Y_scale": 1 / 256, "Y_zero_point": 0}


def quantum(rng: Rng, low: float = 0.01, high: float = 0.1) -> Quantum:
    return {
        "Y_scale": float(np.float32(rng.uniform(low, high))),
        "Y_zero_point": int(rng.integers(0, 256)),
    }


def integers(rng: Rng, name: str, shape, of: Quantum) -> Step:
    """A quantized tensor; now and then of one value only."""
    values = rng.integers(0, 256, shape).astype("uint8")
    if rng.integers(12) == 0:
        values[...] = pick(rng, [0, 255, of["Y_zero_point"]])
    args = {"shape": list(map(int, shape)), "values": values.tobytes(), **of}
    return Step("Int8GivenTensorFill", [], [name], args)


def bias(rng: Rng, name: str, count: int, x: Quantum, w: Quantum) -> Step:
    values = [int(v) for v in rng.integers(-3000, 3000, count)]
    scale = float(np.float32(x["Y_scale"]) * np.float32(w["Y_scale"]))
    args = {"shape": [count], "values": values, "Y_scale": scale, "Y_zero_point": 0}
    return Step("Int8GivenIntTensorFill", [], [name], args)


def case(op: str, before: list[Step], outputs=("Y",), feed=None, reads=None, **args: Any) -> Case:
    names = [step.outputs[0] for step in before]
    return Case(
        op,
        feed or {},
        outputs,
        args,
        reads=[*names, *(feed or {})] if reads is None else reads,
        before=before,
        whole=True,
    )


def shape_of(rng: Rng, rank: int) -> list[int]:
    return [int(n) for n in rng.integers(1, 5, rank)]


def image(rng: Rng, channels: int | None = None) -> list[int]:
    c = int(rng.integers(1, 10)) if channels is None else channels
    return [int(rng.integers(1, 3)), *map(int, rng.integers(3, 8, 2)), c]


# ---------------------------------------------------------------- numbers and single elements


def quantize(rng: Rng) -> Cases:
    for number in range(24):
        x = (rng.normal(size=shape_of(rng, number % 4)) * 8).astype("float32")
        if number % 3 == 0:
            x = np.asarray(np.rint(x * 4) / 4, "float32")
        args = {**quantum(rng), "Y_scale": pick(rng, [0.25, 0.5, 0.1, 1.0, 1 / 3])}
        yield Case("Int8Quantize", {"X": x}, args=args)
    yield Case("Int8Quantize", {"X": np.ones((2,), "float32")}, [], refused=True)
    yield Case("Int8Quantize", {"X": np.ones((2,), "int32")}, refused=True)


def dequantize(rng: Rng) -> Cases:
    for number in range(22):
        x = integers(rng, "X", shape_of(rng, number % 4), quantum(rng, 1e-4, 3))
        yield case("Int8Dequantize", [x])
    yield Case("Int8Dequantize", {"X": np.ones((2,), "float32")}, refused=True)


def add(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(30):
            shape = shape_of(rng, 1 + number % 4)
            a, b = quantum(rng), quantum(rng, 0.001, 0.5)
            before = [integers(rng, "A", shape, a), integers(rng, "B", shape, b)]
            outputs = [pick(rng, ["C", "C", "A", "B"])]
            yield case(op, before, outputs, **quantum(rng, 0.02, 0.4))
        yield case(op, [integers(rng, "A", [2], a), integers(rng, "B", [3], b)], ["C"], **a)
        yield case(op, [integers(rng, "A", [2], a)], ["C"], **a)
        tiny = {"Y_scale": 1e-6, "Y_zero_point": 3}
        yield case(op, [integers(rng, n, [2], a) for n in "AB"], ["C"], **tiny)
        yield Case(op, {n: np.ones((2,), "float32") for n in "AB"}, ["C"], refused=True)

    return cases


def relu(rng: Rng) -> Cases:
    for number in range(24):
        q = quantum(rng)
        x = integers(rng, "X", shape_of(rng, number % 5), q)
        yield case("Int8Relu", [x], [pick(rng, ["Y", "X"])], **q)
    yield case("Int8Relu", [x], **quantum(rng))


def leaky(rng: Rng) -> Cases:
    for number in range(26):
        x = integers(rng, "X", shape_of(rng, 1 + number % 4), quantum(rng))
        alpha = {"alpha": pick(rng, [0.01, 0.3, 0.9])} if number % 4 else {}
        yield case("Int8LeakyRelu", [x], [pick(rng, ["Y", "X"])], **quantum(rng), **alpha)
    yield case("Int8LeakyRelu", [x], **quantum(rng), alpha=1.5)
    yield case("Int8LeakyRelu", [x], **quantum(rng), alpha=-0.5)


def sigmoid(rng: Rng) -> Cases:
    for _ in range(24):
        every = np.arange(256, dtype="uint8")[rng.permutation(256)].tobytes()
        args = {"shape": [256], "values": every, **quantum(rng, 0.005, 0.6)}
        yield case("Int8Sigmoid", [Step("Int8GivenTensorFill", [], ["X"], args)], **UNIT)
    x = integers(rng, "X", [3], quantum(rng))
    yield case("Int8Sigmoid", [x])
    yield case("Int8Sigmoid", [x], Y_scale=1 / 256, Y_zero_point=3)


def softmax(rng: Rng) -> Cases:
    for number in range(26):
        shape = shape_of(rng, 1 + number % 3)
        shape[-1] *= pick(rng, [1, 3, 40])
        x = integers(rng, "X", shape, quantum(rng, 0.005, 0.6))
        yield case("Int8Softmax", [x], **UNIT)
    yield case("Int8Softmax", [x])


# ---------------------------------------------------------------- windows


def window(rng: Rng, least: int = 1) -> dict[str, Any]:
    args: dict[str, Any] = {"order": "NHWC", "kernel": int(rng.integers(least, 4))}
    if rng.integers(2):
        args["stride"] = int(rng.integers(1, 3))
    if rng.integers(2):
        args["pads"] = [int(n) for n in rng.integers(0, args["kernel"], 4)]
    return args


def conv(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(32):
            group = int(rng.integers(1, 4))
            depthwise = number % 4 == 0
            deep = 1 if depthwise else int(rng.integers(1, 12))
            filters = group * (1 if depthwise else int(rng.integers(1, 6)))
            args = window(rng)
            if rng.integers(4) == 0:
                args["dilation"] = 2
                args["pads"] = [args["kernel"]] * 4
            q, w = quantum(rng), quantum(rng)
            shape = [filters, args["kernel"], args["kernel"], deep]
            before = [
                integers(rng, "X", image(rng, group * deep), q),
                integers(rng, "W", shape, w),
                bias(rng, "b", filters, q, w),
            ]
            yield case(op, before, **args, **quantum(rng, 0.02, 0.4), group=group)
        yield case(op, before, **{**args, "order": "NCHW"}, **quantum(rng))
        yield case(op, before, **args, Y_scale=1e-5, Y_zero_point=3, group=group)
        yield case(op, [before[0], before[1], before[0]], **args, **quantum(rng), group=group)

    return cases


def conv_transpose(rng: Rng) -> Cases:
    for _ in range(30):
        args = window(rng)
        if rng.integers(3) == 0 and args.get("stride", 1) > 1:
            args["adj"] = 1
        deep, channels = int(rng.integers(1, 9)), int(rng.integers(1, 6))
        q, w = quantum(rng), quantum(rng)
        before = [
            integers(rng, "X", image(rng, deep), q),
            integers(rng, "W", [deep, args["kernel"], args["kernel"], channels], w),
            bias(rng, "b", channels, q, w),
        ]
        yield case("Int8ConvTranspose", before, **args, **quantum(rng, 0.02, 0.4))
    wrong = [before[0], integers(rng, "W", [deep + 1, 1, 1, 2], w), before[2]]
    yield case("Int8ConvTranspose", wrong, order="NHWC", kernel=1, **quantum(rng))


def fc(rng: Rng) -> Cases:
    for number in range(28):
        x = shape_of(rng, 2 + number % 3)
        deep, columns = int(np.prod(x[1:])), int(rng.integers(1, 20))
        q, w = quantum(rng), quantum(rng)
        before = [
            integers(rng, "X", x, q),
            integers(rng, "W", [columns, deep], w),
            bias(rng, "b", columns, q, w),
        ]
        yield case("Int8FC", before, **quantum(rng, 0.02, 0.4))
    yield case("Int8FC", [before[0], integers(rng, "W", [3, deep + 1], w), before[2]])
    yield case("Int8FC", before[:2], **quantum(rng))


def average(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(28):
            args = window(rng, 2)
            if number % 5 == 0:
                args = {"order": "NHWC", "global_pooling": 1}
            x = integers(rng, "X", image(rng), quantum(rng))
            yield case(op, [x], **args, **quantum(rng))
        yield case(op, [x], kernel=2, **quantum(rng))
        yield case(op, [x], kernel=2, order="NHWC", Y_scale=1e5, Y_zero_point=0)

    return cases


def largest(op: str):
    def cases(rng: Rng) -> Cases:
        for number in range(26):
            args = window(rng, 2)
            if number % 5 == 0:
                args = {"order": "NHWC", "global_pooling": 1}
            q = quantum(rng)
            yield case(op, [integers(rng, "X", image(rng), q)], **args, **q)
        yield case(op, [integers(rng, "X", image(rng), q)], kernel=2, order="NHWC")

    return cases


# ---------------------------------------------------------------- layout


def concat(rng: Rng) -> Cases:
    for number in range(26):
        shape = image(rng)
        axis = int(rng.integers(0, 4))
        place = [{"axis": axis}, {"order": "NHWC"}, {"order": "NCHW"}, {}][number % 4]
        along = [axis, 3, 1, 0][number % 4]
        q = quantum(rng)
        before = []
        for k in range(int(rng.integers(1, 4))):
            shape[along] = int(rng.integers(1, 4))
            before.append(integers(rng, f"X{k}", shape, q))
        yield case("Int8Concat", before, **place, **q)
    yield case("Int8Concat", before, axis=1)


def flatten(rng: Rng) -> Cases:
    for number in range(24):
        q, rank = quantum(rng), 1 + number % 4
        axis = {"axis": int(rng.integers(0, rank + 1))} if number % 3 else {}
        yield case("Int8Flatten", [integers(rng, "X", shape_of(rng, rank), q)], **axis, **q)
    yield case("Int8Flatten", [integers(rng, "X", [2, 3], q)], axis=3, **q)
    yield case("Int8Flatten", [integers(rng, "X", [2, 3], q)])


def reshape(rng: Rng) -> Cases:
    for number in range(26):
        q, shape = quantum(rng), shape_of(rng, 3)
        wanted = pick(rng, [[-1], [0, -1], [shape[0] * shape[1], shape[2]], [0, 0, 1, -1]])
        x = integers(rng, "X", shape, q)
        outputs = [pick(rng, ["Y", "X"]), "old"]
        if number % 2:
            yield case("Int8Reshape", [x], outputs, shape=wanted, **q)
        else:
            feed = {"S": np.array(wanted, pick(rng, ["int32", "int64"]))}
            yield case("Int8Reshape", [x], outputs, feed, **q)
    yield case("Int8Reshape", [x], ["Y", "old"], shape=[7, 11], **q)
    yield case("Int8Reshape", [x], ["Y"], shape=[-1], **q)


def transpose(rng: Rng) -> Cases:
    for number in range(24):
        q, rank = quantum(rng), 1 + number % 4
        axes = {"axes": [int(k) for k in rng.permutation(rank)]} if number % 3 else {}
        yield case("Int8Transpose", [integers(rng, "X", shape_of(rng, rank), q)], **axes, **q)
    yield case("Int8Transpose", [integers(rng, "X", [2, 3], q)], axes=[0], **q)
    yield case("Int8Transpose", [integers(rng, "X", [2, 3], q)])


def cut(rng: Rng) -> Cases:
    for number in range(28):
        q, rank = quantum(rng), int(rng.integers(1, 5))
        shape = [int(n) for n in rng.integers(2, 6, rank)]
        dim = int(rng.integers(0, rank))
        first = int(rng.integers(0, shape[dim] - 1))
        last = pick(rng, [-1, first + 1, shape[dim]])
        starts, ends = [0] * rank, [-1] * rank
        starts[dim], ends[dim] = first, last
        x = integers(rng, "X", shape, q)
        if number % 3 == 0:
            yield case("Int8Slice", [x], dim=dim, start_idx=first, end_idx=last, **q)
        elif number % 3 == 1:
            yield case("Int8Slice", [x], starts=starts, ends=ends, **q)
        else:
            feed = {"starts": np.array(starts, "int32"), "ends": np.array(ends, "int32")}
            yield case("Int8Slice", [x], feed=feed, **q)
    yield case("Int8Slice", [x], **q)


def shuffle(rng: Rng) -> Cases:
    for _ in range(22):
        q, group = quantum(rng), int(rng.integers(2, 4))
        x = integers(rng, "X", image(rng, group * int(rng.integers(2, 5))), q)
        yield case("Int8ChannelShuffle", [x], group=group, order="NHWC", kernel=1, **q)
    bad = integers(rng, "X", [1, 2, 2, 5], q)
    yield case("Int8ChannelShuffle", [bad], group=2, order="NHWC", kernel=1, **q)
    yield case("Int8ChannelShuffle", [x], group=1, order="NCHW", kernel=1, **q)


def resize(rng: Rng) -> Cases:
    for number in range(24):
        q = quantum(rng)
        args = {"width_scale": pick(rng, [0.5, 1.0, 1.7, 2.0]), "height_scale": 1.5}
        if number % 4 == 0:
            args = {"height_scale": pick(rng, [0.5, 1.0, 3.0])}
        yield case("Int8ResizeNearest", [integers(rng, "X", image(rng), q)], **args, **q)
    yield case("Int8ResizeNearest", [integers(rng, "X", image(rng), q)], width_scale=2.0)


def align(rng: Rng) -> Cases:
    for number in range(24):
        q = quantum(rng)
        first = rng.integers(-8, 16, 2) / 4
        box = [0, *first, *(first + rng.integers(2, 20, 2) / 4)]
        feed = {"R": np.array([box], "float32")[:, number % 3 == 0 :]}
        args = {"pooled_h": int(rng.integers(1, 4)), "pooled_w": int(rng.integers(1, 4))}
        if number % 2:
            args |= {"sampling_ratio": int(rng.integers(1, 4)), "spatial_scale": 0.5}
        x = integers(rng, "X", [1, 5, 6, 2], q)
        yield case("Int8RoIAlign", [x], feed=feed, order="NHWC", **args, **quantum(rng, 0.02, 0.3))


def fill(rng: Rng) -> Cases:
    for number in range(22):
        shape = shape_of(rng, number % 4)
        values = rng.integers(0, 256, shape).astype("uint8").tobytes()
        args = {"shape": shape} if shape or number % 2 else {}
        yield Case("Int8GivenTensorFill", {}, args={**args, "values": values, **quantum(rng)})
    yield Case("Int8GivenTensorFill", {"X": np.ones(2, "float32")}, args={"values": b"A"})


def int_fill(rng: Rng) -> Cases:
    for number in range(22):
        shape = shape_of(rng, number % 4)
        values = [int(v) for v in rng.integers(-(2**31), 2**31, int(np.prod(shape)))]
        args = {"shape": shape} if shape or number % 2 else {}
        yield Case("Int8GivenIntTensorFill", {}, args={**args, "values": values, **quantum(rng)})
    yield Case("Int8GivenIntTensorFill", {"X": np.ones(2, "float32")}, args={"values": [1]})


CASES = {
    "Int8Quantize": quantize,
    "Int8Dequantize": dequantize,
    "Int8Add": add("Int8Add"),
    "Int8AddRelu": add("Int8AddRelu"),
    "Int8Sum": add("Int8Sum"),
    "Int8SumRelu": add("Int8SumRelu"),
    "Int8Relu": relu,
    "Int8LeakyRelu": leaky,
    "Int8Sigmoid": sigmoid,
    "Int8Softmax": softmax,
    "Int8Conv": conv("Int8Conv"),
    "Int8ConvRelu": conv("Int8ConvRelu"),
    "Int8ConvTranspose": conv_transpose,
    "Int8FC": fc,
    "Int8AveragePool": average("Int8AveragePool"),
    "Int8AveragePoolRelu": average("Int8AveragePoolRelu"),
    "Int8MaxPool": largest("Int8MaxPool"),
    "Int8MaxPoolRelu": largest("Int8MaxPoolRelu"),
    "Int8Concat": concat,
    "Int8Flatten": flatten,
    "Int8Reshape": reshape,
    "Int8Transpose": transpose,
    "Int8Slice": cut,
    "Int8ChannelShuffle": shuffle,
    "Int8ResizeNearest": resize,
    "Int8RoIAlign": align,
    "Int8GivenTensorFill": fill,
    "Int8GivenIntTensorFill": int_fill,
}
