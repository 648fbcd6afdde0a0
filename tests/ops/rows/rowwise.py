"""Rows: embeddings as small integers with a scale and a bias for each row."""

import math

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ModelFormatError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Sample

F, H = np.float32, np.float16

# ---------------------------------------------------------------- floats to integers


def _levels(row, bits, half, fake=False):
    """Integers, scale and bias of a row."""
    top = 2**bits - 1
    least, most = row.min(), row.max()
    if not half:
        width = F(most - least)
        return np.rint((row - least) * (F(top) / (width + F(1e-8)))), F(width / F(top)), least
    least = F(H(least))
    width = F(most - least)
    scale = F(1) if width == 0 else F(H(width / F(top)))
    if scale == 0:
        return np.zeros(row.shape), scale if fake else F(1), least
    return np.clip(np.rint((row - least) * (F(1) / scale)), 0, top), scale, least


def _packed(levels, bits):
    """Integers in bytes, the first one in the lowest bits."""
    parts = levels.astype("uint8").reshape(-1, 8 // bits)
    return sum(parts[:, k] << np.uint8(k * bits) for k in range(8 // bits)).astype("uint8")


def _encoder(bits, half, fake=False):
    def encode(x):
        rows = x.astype(F).reshape(-1, x.shape[-1])
        made = []
        for row in rows:
            levels, scale, bias = _levels(row, bits, half, fake)
            head = np.array([scale, bias], H if half and not fake else F)
            made.append(np.concatenate([_packed(levels, 8 if fake else bits), head.view("uint8")]))
        width = (x.shape[-1] if fake else x.shape[-1] * bits // 8) + (4 if half and not fake else 8)
        return np.array(made, "uint8").reshape(*x.shape[:-1], width)

    return encode


def _tables(rng, dtype):
    for shape in ((1, 4), (3, 8), (0, 4), (2, 3, 12), (40, 64)):
        yield np.asarray(rng.normal(size=shape) * 3).astype(dtype)
    yield np.full((2, 4), 2.5, dtype)
    yield np.array([[0, 0.25, 0.5, 1.75]], dtype)
    yield np.array([[0, 1e-7, 2e-7, 0]], dtype)


def _encode_samples(dtype):
    return lambda rng: [Sample([x]) for x in _tables(rng, dtype)]


def _unpacked(x, bits):
    shifts = np.arange(8 // bits, dtype="uint8") * np.uint8(bits)
    found = (x[..., None] >> shifts) & (2**bits - 1)
    return found.reshape(*x.shape[:-1], x.shape[-1] * (8 // bits))


def _decoder(bits, half, dtype="float32"):
    tail = 4 if half else 8

    def decode(x):
        heads = np.ascontiguousarray(x[..., -tail:]).view(H if half else F).astype(F)
        levels = _unpacked(x[..., :-tail], bits).astype(F)
        return (levels * heads[..., :1] + heads[..., 1:]).astype(dtype)

    return decode


def _decode_samples(bits, half):
    def samples(rng):
        for x in _tables(rng, "float32"):
            if x.size:
                yield Sample([_encoder(bits, half)(x)])

    return samples


def _encode_bad(dtype, multiple):
    x = np.ones((2, 4), dtype)
    cases = [
        Bad([x.astype("int32")], DTypeError, f"is int32; supported: {dtype}"),
        Bad([x[:, :0]], ShapeError, "at least one element"),
        Bad([x[0, 0].reshape(())], ShapeError, "at least one element"),
        Bad([], ArityError, "expected 1 input"),
        Bad([x], InplaceError, "in place", same=((0, 0),)),
    ]
    if multiple > 1:
        cases.append(Bad([x[:, :3]], ShapeError, f"a multiple of {multiple}"))
    return cases


def _decode_bad(tail):
    return [
        Bad([np.ones((2, 12), "float32")], DTypeError, "is float32; supported: uint8"),
        Bad([np.ones((2, tail), "uint8")], ShapeError, "more than the"),
        Bad([], ArityError, "expected 1 input"),
        Bad([np.ones((2, 12), "uint8")], InplaceError, "in place", same=((0, 0),)),
    ]


EXACT = "a product and a sum may be one rounding"


def _encode_case(name, dtype, bits, half, fake=False):
    return Case(
        name,
        _encoder(bits, half, fake),
        _encode_samples(dtype),
        _encode_bad(dtype, 1 if fake else 8 // bits),
    )


def _decode_case(name, bits, half, dtype="float32"):
    return Case(
        name,
        _decoder(bits, half, dtype),
        _decode_samples(bits, half),
        _decode_bad(4 if half else 8),
        tolerance=2e-3 if dtype == "float16" else 4e-6,
        tolerance_reason=EXACT,
    )


# ---------------------------------------------------------------- scale and bias apart


def _apart(x):
    rows = x.reshape(len(x), -1)
    least = rows.min(1, initial=np.inf)
    width = rows.max(1, initial=-np.inf) - least
    scale = np.where(width < F(1e-10), F(1), width / F(255)).astype(F)
    levels = np.floor(((rows - least[:, None]) * (F(1) / scale)[:, None]).astype(float) + 0.5)
    return levels.astype("uint8").reshape(x.shape), np.stack([scale, least], 1).astype(F)


def _apart_samples(rng):
    ties = np.array([[0, 0.5, 1.5, 255], [0, 1e-11, 2e-11, 3e-11]], F)
    tables = [*_tables(rng, "float32"), ties, rng.normal(size=4).astype(F)]
    return [Sample([x], outputs=2) for x in tables if x.size]


def _back(x, heads):
    rows = x.reshape(len(x), -1).astype(F)
    return (rows * heads[:, :1] + heads[:, 1:]).reshape(x.shape)


def _back_samples(rng):
    return [Sample(list(_apart(x))) for x in _tables(rng, "float32") if x.size]


X = np.ones((3, 4), "float32")
Q = np.ones((3, 12), "uint8")
HEADS = np.ones((3, 2), "float32")

# ---------------------------------------------------------------- sums


def _summed(rows, indices, lengths, weights, mean):
    y = np.zeros((len(lengths), rows.shape[1]))
    at = 0
    for n, count in enumerate(lengths):
        for k in range(at, at + count):
            if indices[k] >= 0:
                weight = 1 if weights is None else weights[k]
                y[n] += rows[indices[k]].astype(np.float64) * weight
        y[n] /= max(count, 1) if mean else 1
        at += count
    return y.astype("float32")


def _sum(bits, half, weighted, pruned, mean):
    def reference(data, *rest):
        weights, rest = (rest[0], rest[1:]) if weighted else (None, rest)
        indices, lengths = rest[:2]
        if pruned and len(rest[2]) > 1:
            indices = rest[2][indices]
        return _summed(_decoder(bits, half)(data), indices, lengths, weights, mean)

    return reference


def _segments(rng, size, dtype):
    lengths = np.array([2, 0, 3, 1], "int32")
    return [rng.integers(0, size, 6).astype(dtype), lengths]


def _sum_samples(bits, half, weighted, pruned):
    def samples(rng):
        for dtype in ("int32", "int64"):
            for columns in (4, 16):
                data = _encoder(bits, half)(rng.normal(size=(5, columns)).astype(F))
                weights = [rng.normal(size=6).astype(F)] if weighted else []
                for mapping in [[0, -1, 1, 2, -1, 3, 4], [0]] if pruned else [None]:
                    size = 5 if mapping is None or len(mapping) == 1 else len(mapping)
                    inputs = [data, *weights, *_segments(rng, size, dtype)]
                    yield Sample(inputs + ([] if mapping is None else [np.array(mapping, "int32")]))
        empty = [np.zeros(0, dtype), np.zeros(0, "int32")]
        more = [np.array([0], "int32")] if pruned else []
        yield Sample([data, *([weights[0][:0]] if weighted else []), *empty, *more])

    return samples


INDICES = np.array([0, 2], "int64")
LENGTHS = np.array([1, 1], "int32")
WEIGHTS = np.ones(2, "float32")


def _sum_bad(weighted, last=(), apart=False):
    w = [WEIGHTS] if weighted else []
    last = list(last)
    row = Q[0, 0] if apart else Q[0]
    cases = [
        Bad([X, *w, INDICES, LENGTHS, *last], DTypeError, "is float32; supported: uint8"),
        Bad([row, *w, INDICES, LENGTHS, *last], ShapeError, "must have .* dim"),
        Bad([Q, *w, INDICES * 1.0, LENGTHS, *last], DTypeError, "is float64; supported: int32"),
        Bad([Q, *w, INDICES, LENGTHS * 2, *last], ValueRangeError, "must add up to 2"),
        Bad([Q, *w, INDICES, LENGTHS - 2, *last], ValueRangeError, "must not be negative"),
        Bad([Q, *w, INDICES + 9, LENGTHS, *last], ValueRangeError, "index 9 at position 0"),
        Bad([Q, *w, INDICES - 1, LENGTHS, *last], ValueRangeError, "index -1 at position 0"),
        Bad([Q], ArityError, "input"),
    ]
    if weighted:
        more = [INDICES, LENGTHS, *last]
        few = "too few" if apart else "must be of one length"
        cases.append(Bad([Q, WEIGHTS[:1], *more], ShapeError, few))
        cases.append(Bad([Q, WEIGHTS > 0, *more], DTypeError, "is bool"))
    return cases


PLAIN = np.zeros(1, "int32")


def _sum_cases():
    for bits in (2, 4, 8):
        for kind in ("Sum", "WeightedSum", "Mean"):
            weighted = kind == "WeightedSum"
            for pruned in (False, True):
                name = f"SparseLengths{kind}" + (
                    f"{bits}BitRowwiseSparse" if pruned else f"Fused{bits}BitRowwise"
                )
                how = (bits, bits < 8, weighted, pruned)
                yield Case(
                    name,
                    _sum(*how, kind == "Mean"),
                    _sum_samples(*how),
                    [
                        *_sum_bad(weighted, [PLAIN] if pruned else []),
                        *([] if not pruned else _mapping_bad(weighted)),
                    ],
                    tolerance=2e-5,
                    tolerance_reason=EXACT,
                )


def _mapping_bad(weighted):
    w = [WEIGHTS] if weighted else []
    far = np.array([9, 0, 1], "int32")
    off = np.array([-1], "int32")
    return [
        Bad([Q, *w, INDICES, LENGTHS, far - 11], ValueRangeError, "stands for row -2; expected -1"),
        Bad([Q, *w, INDICES, LENGTHS, off], ValueRangeError, "index 2 at position 1"),
        Bad([Q, *w, INDICES, LENGTHS, far], ValueRangeError, "position 0"),
        Bad([Q, *w, INDICES, LENGTHS, far > 0], DTypeError, "is bool"),
    ]


def _apart_sum(weighted, mean):
    def reference(data, *rest):
        weights, rest = (rest[0], rest[1:]) if weighted else (None, rest)
        indices, lengths, heads = rest
        rows = _back(data, heads).reshape(len(data), -1)
        return _summed(rows, indices, lengths, weights, mean).reshape(-1, *data.shape[1:])

    return reference


def _apart_sum_samples(weighted):
    def samples(rng):
        for dtype in ("int32", "int64"):
            for shape in ((5, 7), (5,), (5, 2, 3)):
                data, heads = _apart(rng.normal(size=shape).astype(F))
                weights = [rng.normal(size=7).astype(F)] if weighted else []
                yield Sample([data, *weights, *_segments(rng, 5, dtype), heads])

    return samples


# ---------------------------------------------------------------- rounded by chance


def _random_encoder(x, *, bitwidth=8, random=True):
    top, parts = 2**bitwidth - 1, 8 // bitwidth
    size = -(-x.shape[1] // parts)
    y = np.zeros((len(x), 10 + size), "uint8")
    for r, row in enumerate(x):
        least, most = row.min(), row.max()
        levels = np.rint((row - least) / (F(most - least) / F(top) + F(1e-8))).astype(int)
        y[r, :2] = bitwidth, size * parts - len(row)
        y[r, 2:10] = np.array([least, most], F).view("uint8")
        for i, level in enumerate(levels):
            y[r, 10 + i % size] |= level << (i // size * bitwidth)
    return y


def _random_samples(rng):
    for bits in (1, 2, 4, 8):
        for shape in ((1, 5), (3, 8), (4, 1)):
            x = rng.normal(size=shape).astype(F)
            yield Sample([x], {"bitwidth": bits, "random": False})


def _random_decoder(x):
    bits, lacking = int(x[0, 0]), int(x[0, 1])
    heads = np.ascontiguousarray(x[:, 2:10]).view(F)
    gap = (heads[:, 1:] - heads[:, :1]) / F(2**bits - 1) + F(1e-8)
    parts = [(x[:, 10:] >> (k * bits)) & (2**bits - 1) for k in range(8 // bits)]
    levels = np.concatenate(parts, 1)
    return levels[:, : levels.shape[1] - lacking].astype(F) * gap + heads[:, :1]


def _random_decode_samples(rng):
    for sample in _random_samples(rng):
        yield Sample([_random_encoder(*sample.inputs, **sample.args)])


# ---------------------------------------------------------------- codes


def _decode_codes(book, *codes):
    return tuple(book[c] for c in codes)


def _code_samples(rng):
    book = rng.normal(size=5).astype(F)
    for dtype in ("uint8", "uint16", "int32"):
        for shapes in (((3,),), ((2, 2), (0,), (4,))):
            codes = [rng.integers(0, 5, s).astype(dtype) for s in shapes]
            yield Sample([book, *codes], outputs=len(codes))


def _code_gradient(book, *rest):
    made = np.zeros(book.shape, book.dtype)
    for codes, given in zip(rest[: len(rest) // 2], rest[len(rest) // 2 :], strict=True):
        np.add.at(made, codes, given)
    return made


def _code_gradient_samples(rng):
    for sample in _code_samples(rng):
        book, *codes = sample.inputs
        yield Sample([book, *codes, *(rng.normal(size=c.shape).astype(F) for c in codes)])


BOOK = np.ones(3, "float32")
CODE = np.array([2], "uint8")


def _bytes(x, *, min=-3.0, max=3.0, shape=()):
    step = (F(max) - F(min)) / F(255)
    return (x.reshape(-1)[: math.prod(shape)].astype(F) * step + F(min)).reshape(shape)


def _byte_samples(rng):
    x = rng.integers(0, 256, (2, 3)).astype("uint8")
    yield Sample([x], {"shape": [2, 3]})
    yield Sample([x], {"shape": [3], "min": 0.0, "max": 1.0})
    yield Sample([x])


def _pruned(indices, lengths, mapping, weights=None):
    found = mapping[indices]
    left = found != -1
    ends = np.cumsum(lengths)
    counts = [left[e - n : e].sum() for e, n in zip(ends, lengths, strict=True)]
    kept = found[left].astype(indices.dtype), np.array(counts, "int32")
    return kept if weights is None else (*kept, weights[left])


def _pruned_samples(rng):
    mapping = np.array([0, -1, 1, -1, 2], "int32")
    for dtype in ("int32", "int64"):
        for count in (6, 0):
            indices, lengths = _segments(rng, 5, dtype)
            indices, lengths = indices[:count], lengths if count else lengths * 0
            yield Sample([indices, lengths, mapping], outputs=2)
            weights = rng.normal(size=count).astype(F)
            yield Sample([indices, lengths, mapping, weights], outputs=3)


MAP = np.array([0, -1, 1], "int32")

CASES = [
    *(
        _encode_case(f"{source}ToFused8BitRowwiseQuantized{suffix}", dtype, 8, bool(suffix))
        for source, dtype in (("Float", "float32"), ("HalfFloat", "float16"))
        for suffix in ("", "HalfScaleBias")
    ),
    *(
        _encode_case(
            f"{source}ToFused{bits}Bit{fake}RowwiseQuantized", dtype, bits, True, bool(fake)
        )
        for source, dtype in (("Float", "float32"), ("Half", "float16"))
        for bits in (2, 4)
        for fake in ("", "Fake")
    ),
    _decode_case("Fused8BitRowwiseQuantizedToFloat", 8, False),
    _decode_case("Fused8BitRowwiseQuantizedToHalfFloat", 8, False, "float16"),
    _decode_case("Fused8BitRowwiseQuantizedHalfScaleBiasToFloat", 8, True),
    _decode_case("Fused8BitRowwiseQuantizedHalfScaleBiasToHalfFloat", 8, True),
    *(
        _decode_case(f"Fused{bits}BitRowwiseQuantizedTo{target}", bits, True, dtype)
        for bits in (2, 4)
        for target, dtype in (("Float", "float32"), ("Half", "float16"))
    ),
    Case(
        "FloatToRowwiseQuantized8Bits",
        _apart,
        _apart_samples,
        [
            Bad([X[0, 0]], ShapeError, "at least one element", outputs=2),
            Bad([X[:, :0]], ShapeError, "at least one element", outputs=2),
            Bad([X > 0], DTypeError, "is bool", outputs=2),
            Bad([X], ArityError, "expected 2 output"),
        ],
    ),
    Case(
        "Rowwise8BitQuantizedToFloat",
        _back,
        _back_samples,
        [
            Bad([X, HEADS], DTypeError, "supported: uint8"),
            Bad([Q, HEADS[1:]], ShapeError, r"must be \(3,2\)"),
            Bad([Q, HEADS > 0], DTypeError, "is bool"),
            Bad([Q], ArityError, "expected 2 input"),
        ],
        tolerance=4e-6,
        tolerance_reason=EXACT,
    ),
    *_sum_cases(),
    *(
        Case(
            f"SparseLengths{kind}8BitsRowwise",
            _apart_sum("Weighted" in kind, "Mean" in kind),
            _apart_sum_samples("Weighted" in kind),
            [
                *_sum_bad("Weighted" in kind, [HEADS], apart=True),
                *(
                    Bad([Q, *w, INDICES, LENGTHS, HEADS[:, :1]], ShapeError, "2 columns")
                    for w in ([[WEIGHTS]] if "Weighted" in kind else [[]])
                ),
            ],
            tolerance=2e-5,
            tolerance_reason=EXACT,
        )
        for kind in ("Sum", "Mean", "WeightedSum", "WeightedMean")
    ),
    Case(
        "GatherFused8BitRowwise",
        lambda data, indices: _decoder(8, False)(data[indices]),
        lambda rng: [
            Sample([_encoder(8, False)(rng.normal(size=(4, 6)).astype(F)), np.array(i, d)])
            for d in ("int32", "int64")
            for i in ([0, 3, 3], [])
        ],
        [
            Bad([X, INDICES], DTypeError, "supported: uint8"),
            Bad([Q[0], INDICES], ShapeError, "must have 2 dim"),
            Bad([Q, INDICES.reshape(1, 2)], ShapeError, "must have 1 dim"),
            Bad([Q, INDICES + 9], ValueRangeError, "index 9"),
            Bad([Q], ArityError, "expected 2 input"),
        ],
        tolerance=4e-6,
        tolerance_reason=EXACT,
    ),
    Case(
        "FloatToFusedRandRowwiseQuantized",
        _random_encoder,
        _random_samples,
        [
            Bad([X], ArgumentError, "bitwidth must be", {"bitwidth": 3}),
            Bad([X[0]], ShapeError, "must have 2 dim"),
            Bad([X[:, :0]], ShapeError, "at least one element"),
            Bad([X > 0], DTypeError, "is bool"),
            Bad([], ArityError, "expected 1 input"),
        ],
    ),
    Case(
        "FusedRandRowwiseQuantizedToFloat",
        _random_decoder,
        _random_decode_samples,
        [
            Bad([Q[:, :10]], ShapeError, "more than 10"),
            Bad([Q * 3], ModelFormatError, "a bitwidth of 3"),
            Bad([X], DTypeError, "supported: uint8"),
            Bad([Q[0]], ShapeError, "must have 2 dim"),
        ],
        tolerance=4e-6,
        tolerance_reason=EXACT,
        skip={"infer_full": "the length of a row is written in it"},
    ),
    Case(
        "QuantDecode",
        _decode_codes,
        _code_samples,
        [
            Bad([BOOK, CODE], ArityError, "codes for each of 2 output", outputs=2),
            Bad([BOOK, CODE + 1], ValueRangeError, "index 3"),
            Bad([BOOK, BOOK], DTypeError, "supported: uint8"),
        ],
        gradient=(0,),
    ),
    Case(
        "QuantDecodeGradient",
        _code_gradient,
        _code_gradient_samples,
        [
            Bad([BOOK, CODE, BOOK], ShapeError, "input 2 must be"),
            Bad([BOOK, CODE + 1, BOOK[:1]], ValueRangeError, "index 3"),
            Bad([BOOK, CODE, CODE, BOOK], ArityError, "a gradient for each"),
            Bad([BOOK, CODE, CODE], DTypeError, "supported: float32"),
        ],
    ),
    Case(
        "ByteWeightDequant",
        _bytes,
        _byte_samples,
        [
            Bad([Q], ShapeError, "takes more than", {"shape": [99]}),
            Bad([X], DTypeError, "supported: uint8"),
            Bad([], ArityError, "expected 1 input"),
        ],
        tolerance=4e-6,
        tolerance_reason=EXACT,
    ),
    Case(
        "SparseLengthsSumSparseLookup",
        _pruned,
        _pruned_samples,
        [
            Bad([INDICES + 9, LENGTHS, MAP], ValueRangeError, "index 9", outputs=2),
            Bad([INDICES, LENGTHS * 2, MAP], ValueRangeError, "lengths add up", outputs=2),
            Bad([INDICES, LENGTHS, MAP * 1.0], DTypeError, "supported: int32", outputs=2),
            Bad([INDICES, LENGTHS, MAP, WEIGHTS[:1]], ShapeError, "one shape", outputs=3),
            Bad([INDICES, LENGTHS, MAP, WEIGHTS], ArityError, "expected 3 outputs", outputs=2),
        ],
        skip={"infer_full": "how many indices are left depends on the mapping"},
    ),
]
