"""Rows of embeddings as small integers: rows of one value, tiny ranges, ties, and codes."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, Step, pick

Rng = np.random.Generator


def table(rng: Rng, number: int, least: int = 1) -> np.ndarray:
    """Rows of a multiple of 4 numbers."""
    rows, columns = int(rng.integers(least, 5)), 4 * int(rng.integers(1, 4))
    x = rng.normal(size=(rows, columns)) * pick(rng, [1e-6, 0.1, 3.0, 1e4])
    if number % 3 == 0:
        x = np.rint(x * 4) / 4
    if number % 4 == 0 and rows:
        x[0] = pick(rng, [0.0, 2.5, -1.0])
    return x.astype("float32")


def encode(op: str, half: bool):
    def cases(rng: Rng) -> Cases:
        for number in range(22):
            x = table(rng, number)
            if number % 6 == 5 and "Fake" not in op:
                x = x.reshape(1, *x.shape)
            yield Case(op, {"X": x.astype("float16") if half else x})
        yield Case(op, {"X": np.ones((2, 4), "int32")}, refused=True)
        if "Fake" not in op and ("2Bit" in op or "4Bit" in op):
            wrong = np.ones((2, 5), "float16" if half else "float32")
            yield Case(op, {"X": wrong}, refused=True)

    return cases


ENCODERS = {2: "FloatToFused2BitRowwiseQuantized", 4: "FloatToFused4BitRowwiseQuantized"}
EIGHT = "FloatToFused8BitRowwiseQuantized"


def rows(x: str, bits: int, half: bool = False) -> Step:
    op = f"{EIGHT}HalfScaleBias" if half else ENCODERS.get(bits, EIGHT)
    return Step(op, [x], ["Q"])


def decode(op: str, bits: int, half: bool = False):
    def cases(rng: Rng) -> Cases:
        for number in range(22):
            yield Case(op, {"X": table(rng, number)}, reads=["Q"], before=[rows("X", bits, half)])
        yield Case(op, {"X": np.ones((2, 20), "float32")}, refused=True)

    return cases


def apart(rng: Rng) -> Cases:
    for number in range(22):
        yield Case("FloatToRowwiseQuantized8Bits", {"X": table(rng, number)}, ["Y", "heads"])


def back(rng: Rng) -> Cases:
    for number in range(22):
        step = Step("FloatToRowwiseQuantized8Bits", ["X"], ["Q", "S"])
        feed = {"X": table(rng, number)}
        yield Case("Rowwise8BitQuantizedToFloat", feed, reads=["Q", "S"], before=[step])


def segments(rng: Rng, size: int) -> dict[str, np.ndarray]:
    lengths = rng.integers(0, 4, int(rng.integers(0, 5))).astype("int32")
    kind = pick(rng, ["int32", "int64"])
    return {"I": rng.integers(0, size, int(lengths.sum())).astype(kind), "L": lengths}


def sums(op: str, bits: int):
    def cases(rng: Rng) -> Cases:
        weighted, pruned, separate = "Weighted" in op, "Sparse" in op[7:], "8Bits" in op
        for number in range(24):
            x = table(rng, number)
            size = len(x) + 3 if pruned and number % 4 else len(x)
            feed = {"X": x, **segments(rng, size)}
            reads = ["Q", "I", "L"]
            if weighted:
                feed["W"] = (rng.integers(-8, 9, len(feed["I"])) / 4).astype("float32")
                reads.insert(1, "W")
            if pruned:
                mapping = np.full(size, -1, "int32")
                mapping[np.sort(rng.permutation(size)[: len(x)])] = np.arange(len(x))
                feed["M"] = mapping if number % 4 else np.zeros(1, "int32")
                reads.append("M")
            before = [rows("X", bits)]
            if separate:
                before = [Step("FloatToRowwiseQuantized8Bits", ["X"], ["Q", "S"])]
                reads.append("S")
            yield Case(op, feed, reads=reads, before=before)
        bad = feed | {"I": feed["I"] + 99}
        if len(feed["I"]):
            yield Case(op, bad, reads=reads, before=before, refused=True)
        yield Case(op, feed | {"L": feed["L"] + 1}, reads=reads, before=before, refused=True)

    return cases


def gather(rng: Rng) -> Cases:
    op = "GatherFused8BitRowwise"
    for number in range(22):
        x = table(rng, number)
        indices = rng.integers(0, len(x), int(rng.integers(0, 5)))
        feed = {"X": x, "I": indices.astype(pick(rng, ["int32", "int64"]))}
        yield Case(op, feed, reads=["Q", "I"], before=[rows("X", 8)])
    yield Case(
        op, feed | {"I": np.array([99])}, reads=["Q", "I"], before=[rows("X", 8)], refused=True
    )


def chance(rng: Rng) -> Cases:
    op = "FloatToFusedRandRowwiseQuantized"
    for number in range(24):
        x = table(rng, number)[:, : int(rng.integers(1, 9))]
        args = {"bitwidth": pick(rng, [1, 2, 4, 8]), "random": False}
        yield Case(op, {"X": np.ascontiguousarray(x)}, args=args)
    yield Case(op, {"X": x}, args={"bitwidth": 3}, refused=True)
    yield Case(op, {"X": x[0]}, refused=True)


def chance_back(rng: Rng) -> Cases:
    for number in range(22):
        x = np.ascontiguousarray(table(rng, number)[:, : int(rng.integers(1, 9))])
        args: dict[str, Any] = {"bitwidth": pick(rng, [1, 2, 4, 8]), "random": False}
        step = Step("FloatToFusedRandRowwiseQuantized", ["X"], ["Q"], args)
        yield Case("FusedRandRowwiseQuantizedToFloat", {"X": x}, reads=["Q"], before=[step])


def codes(rng: Rng, size: int) -> np.ndarray:
    shape = [int(n) for n in rng.integers(0, 4, int(rng.integers(1, 4)))]
    return rng.integers(0, size, shape).astype(pick(rng, ["uint8", "uint16", "int32"]))


def quant(rng: Rng) -> Cases:
    for _ in range(22):
        book = rng.normal(size=int(rng.integers(1, 6))).astype("float32")
        count = int(rng.integers(1, 4))
        feed = {"B": book} | {f"C{k}": codes(rng, len(book)) for k in range(count)}
        yield Case("QuantDecode", feed, [f"Y{k}" for k in range(count)])
    yield Case("QuantDecode", feed, ["Y"] * (count + 1), refused=True)


def quant_gradient(rng: Rng) -> Cases:
    for _ in range(22):
        book = rng.normal(size=int(rng.integers(1, 6))).astype("float32")
        found = [codes(rng, len(book)) for _ in range(int(rng.integers(1, 4)))]
        feed = {"B": book} | {f"C{k}": c for k, c in enumerate(found)}
        feed |= {f"D{k}": rng.normal(size=c.shape).astype("float32") for k, c in enumerate(found)}
        yield Case("QuantDecodeGradient", feed, ["dB"])


def scale(rng: Rng) -> Cases:
    for _ in range(22):
        shape = [int(n) for n in rng.integers(1, 4, int(rng.integers(0, 3)))]
        x = rng.integers(0, 256, shape).astype("uint8")
        args = {"shape": shape} if shape else {}
        if rng.integers(2):
            args |= {"min": -0.5, "max": 2.0}
        yield Case("ByteWeightDequant", {"X": x}, args=args)


def pruned(rng: Rng) -> Cases:
    op = "SparseLengthsSumSparseLookup"
    for number in range(24):
        size = int(rng.integers(2, 7))
        feed = segments(rng, size)
        feed["M"] = rng.integers(-1, 4, size).astype("int32")
        outputs = ["indices", "lengths"]
        if number % 2:
            feed["W"] = rng.normal(size=len(feed["I"])).astype("float32")
            outputs.append("weights")
        yield Case(op, feed, outputs)
    bad = {"I": np.array([9]), "L": np.array([1], "int32"), "M": feed["M"]}
    yield Case(op, bad, ["indices", "lengths"], refused=True)


CASES = {
    "FloatToFused8BitRowwiseQuantized": encode(EIGHT, False),
    "HalfFloatToFused8BitRowwiseQuantized": encode("HalfFloatToFused8BitRowwiseQuantized", True),
    f"{EIGHT}HalfScaleBias": encode(f"{EIGHT}HalfScaleBias", False),
    f"Half{EIGHT}HalfScaleBias": encode(f"Half{EIGHT}HalfScaleBias", True),
    **{
        op: encode(op, op.startswith("Half"))
        for bits in (2, 4)
        for source in ("Float", "Half")
        for op in (
            f"{source}ToFused{bits}BitRowwiseQuantized",
            f"{source}ToFused{bits}BitFakeRowwiseQuantized",
        )
    },
    **{
        f"Fused{bits}BitRowwiseQuantizedTo{target}": decode(
            f"Fused{bits}BitRowwiseQuantizedTo{target}", bits
        )
        for bits, target in (
            (8, "Float"),
            (8, "HalfFloat"),
            (4, "Float"),
            (4, "Half"),
            (2, "Float"),
            (2, "Half"),
        )
    },
    **{
        f"Fused8BitRowwiseQuantizedHalfScaleBiasTo{target}": decode(
            f"Fused8BitRowwiseQuantizedHalfScaleBiasTo{target}", 8, True
        )
        for target in ("Float", "HalfFloat")
    },
    "FloatToRowwiseQuantized8Bits": apart,
    "Rowwise8BitQuantizedToFloat": back,
    **{
        f"SparseLengths{kind}Fused{bits}BitRowwise": sums(
            f"SparseLengths{kind}Fused{bits}BitRowwise", bits
        )
        for kind in ("Sum", "WeightedSum", "Mean")
        for bits in (2, 4, 8)
    },
    **{
        f"SparseLengths{kind}{bits}BitRowwiseSparse": sums(
            f"SparseLengths{kind}{bits}BitRowwiseSparse", bits
        )
        for kind in ("Sum", "WeightedSum", "Mean")
        for bits in (2, 4, 8)
    },
    **{
        f"SparseLengths{kind}8BitsRowwise": sums(f"SparseLengths{kind}8BitsRowwise", 8)
        for kind in ("Sum", "Mean", "WeightedSum", "WeightedMean")
    },
    "GatherFused8BitRowwise": gather,
    "FloatToFusedRandRowwiseQuantized": chance,
    "FusedRandRowwiseQuantizedToFloat": chance_back,
    "QuantDecode": quant,
    "QuantDecodeGradient": quant_gradient,
    "ByteWeightDequant": scale,
    "SparseLengthsSumSparseLookup": pruned,
}
