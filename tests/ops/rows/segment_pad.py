"""Rows: segments padded and packed."""

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
from tests.ops.rows.segment_lengths import (
    ANY,
    FLOATS,
    LENGTHS,
    N,
    X,
    draw,
    joined,
    lengths_bad,
    segments,
    zero,
)

# ---------------------------------------------------------------- padding


def _widths(padding_width, end_padding_width):
    return padding_width, padding_width if end_padding_width < 0 else end_padding_width


def _add(data, lengths=None, first=None, last=None, padding_width=1, end_padding_width=-1):
    start, end = _widths(padding_width, end_padding_width)
    lengths = np.array([len(data)], "int32") if lengths is None else lengths
    row = np.full((1, *data.shape[1:]), zero(data.dtype), data.dtype)
    first = row if first is None else first.reshape(row.shape)
    last = first if last is None else last.reshape(row.shape)
    parts = [
        np.concatenate([np.repeat(first, start, 0), part, np.repeat(last, end, 0)])
        for part in segments(data, lengths)
    ]
    return joined(parts, data), (lengths + start + end).astype(lengths.dtype)


PADS = [{}, {"padding_width": 2}, {"padding_width": 1, "end_padding_width": 0}]
PADS += [{"padding_width": 0, "end_padding_width": 2}, {"padding_width": 0}]


def _add_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for shape in ((), (2,), (2, 3)):
            dtype = ANY[(index + len(shape)) % len(ANY)]
            for kind in {dtype, "float32"}:
                data = draw(rng, (sum(lengths), *shape), kind)
                told = np.array(lengths, "int64" if index % 2 else "int32")
                inputs = [data, told, draw(rng, shape, kind), draw(rng, shape, kind)]
                fine = kind in FLOATS
                args = PADS[index % len(PADS)]
                yield Sample(inputs[: 2 + index % 3], args, 2, gradient=fine)
                yield Sample(inputs[:1], args, 1 + index % 2, gradient=fine)


def _remove(data, lengths=None, padding_width=1, end_padding_width=-1):
    start, end = _widths(padding_width, end_padding_width)
    lengths = np.array([len(data)], "int32") if lengths is None else lengths
    parts = [part[start : len(part) - end] for part in segments(data, lengths)]
    return joined(parts, data), (lengths - start - end).astype(lengths.dtype)


def _remove_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        args = PADS[index % len(PADS)]
        more = sum(_widths(args.get("padding_width", 1), args.get("end_padding_width", -1)))
        lengths = [n + more for n in lengths]
        for shape in ((), (2,), (2, 3)):
            for kind in {ANY[(index + len(shape)) % len(ANY)], "float32"}:
                data = draw(rng, (sum(lengths), *shape), kind)
                told = np.array(lengths, "int64" if index % 2 else "int32")
                fine = kind in FLOATS
                yield Sample([data, told], args, 2, gradient=fine)
                whole = draw(rng, (more + index, *shape), kind)
                yield Sample([whole], args, 1 + index % 2, gradient=fine)


def _sums(data, lengths, padding_width=1, end_padding_width=-1):
    start, end = _widths(padding_width, end_padding_width)
    parts = segments(data, lengths)
    none = np.zeros(data.shape[1:], data.dtype)
    first = sum((part[:start].sum(axis=0, dtype=data.dtype) for part in parts), none)
    last = sum((part[len(part) - end :].sum(axis=0, dtype=data.dtype) for part in parts), none)
    return first, last


def _sums_samples(rng):
    for index, sample in enumerate(_remove_samples(rng)):
        if len(sample.inputs) == 2:
            data = sample.inputs[0]
            kind = ("float32", "float64", "int32", "int64")[index % 4]
            yield Sample([draw(rng, data.shape, kind), sample.inputs[1]], sample.args, 2)


def _pad(data, lengths, target_length=-1, padding_value=-1.0):
    rows = np.empty((len(lengths), target_length, *data.shape[1:]), data.dtype)
    rows[...] = np.trunc(padding_value) if data.dtype.kind == "i" else padding_value
    for s, part in enumerate(segments(data, lengths)):
        rows[s, : len(part)] = part
    return rows.reshape(-1, *data.shape[1:])


def _pad_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        target = max([1, *lengths]) + index % 2
        for kind in {("float64", "int32", "int64", "float16")[index % 4], "float32"}:
            data = draw(rng, (sum(lengths), 2)[: 1 + index % 2], kind)
            args = {"target_length": target}
            yield Sample([data, np.array(lengths, "int64" if index % 2 else "int32")], args)
            yield Sample([data, np.array(lengths, "int32")], {**args, "padding_value": 2.75})


def _fill_empty(lengths, *features):
    row = [np.full((1, *x.shape[1:]), zero(x.dtype), x.dtype) for x in features]
    filled = [
        joined([part if len(part) else blank for part in segments(x, lengths)], x)
        for x, blank in zip(features, row, strict=True)
    ]
    return np.where(lengths, lengths, 1).astype(lengths.dtype), *filled


def _empty_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        told = np.array(lengths, "int64" if index % 2 else "int32")
        features = [
            draw(rng, (sum(lengths), *shape), ANY[(index + k) % len(ANY)])
            for k, shape in enumerate([(), (2,), (3, 1)])
        ]
        for count in (0, 1, 3):
            yield Sample([told, *features[:count]], {}, 1 + count)


TARGET = {"target_length": 3}
SUM_BAD = [
    Bad([X, N - 2], ValueRangeError, r"lengths\[1\] is -1"),
    Bad([X, N.astype("f4")], DTypeError, "is float32"),
    Bad([X, N[None]], ShapeError, "must have 1 dimension"),
    Bad([X[0, 0], N], ShapeError, "at least 1 dimension"),
    Bad([], ArityError, "expected"),
]
PADDING = [
    Case(
        "AddPadding",
        _add,
        _add_samples,
        [
            *SUM_BAD,
            Bad([X, N + 1], ValueRangeError, "sum of lengths is 5, but there are 3"),
            Bad([X, N[:1]], ValueRangeError, "sum of lengths is 2, but there are 3"),
            Bad([X, N, X[0], X], ShapeError, "'end_padding' is .* one row"),
            Bad([X, N, X[0].astype("i4")], DTypeError, "one type"),
            Bad([X, N], ArgumentError, "padding_width must not", {"padding_width": -1}),
            Bad([X, N], InplaceError, "in place", same=[(0, 0)]),
        ],
        gradient_outputs=[0],
    ),
    Case(
        "RemovePadding",
        _remove,
        _remove_samples,
        [
            *SUM_BAD,
            Bad([X, N + 3], ValueRangeError, "sum of lengths is 9, but there are 3"),
            Bad([X, N], ValueRangeError, r"lengths\[1\] is 1, less than the padding of 2"),
            Bad([X[:1]], ValueRangeError, "1 row.* less than the padding of 2"),
            Bad([X, N], ArgumentError, "padding_width must not", {"padding_width": -1}),
            Bad([X, N, N], ArityError, "expected 1 to 2"),
        ],
        gradient_outputs=[0],
    ),
    Case(
        "GatherPadding",
        _sums,
        _sums_samples,
        [
            *SUM_BAD[1:],
            Bad([X, N], ValueRangeError, r"lengths\[1\] is 1, less than its padding"),
            Bad([X, N + 1], ValueRangeError, "sum of lengths is 5, but there are 3"),
            Bad([X > 0, N], DTypeError, "'data_in' is bool"),
            Bad([X, N], ArgumentError, "padding_width must not", {"padding_width": -1}),
        ],
    ),
    Case(
        "LengthsPad",
        _pad,
        _pad_samples,
        [
            Bad([X, N], ArgumentError, "target_length must be at least 1, found -1"),
            Bad(
                [X, N], ValueRangeError, r"lengths\[0\] is 2; expected 0 to 1", {"target_length": 1}
            ),
            Bad([X, N - 1], ValueRangeError, "sum of lengths is 1, .* 3 rows", TARGET),
            Bad([X, N - 2], ValueRangeError, r"lengths\[1\] is -1", TARGET),
            Bad([X, N.astype("f4")], DTypeError, "is float32", TARGET),
            Bad([X > 0, N], DTypeError, "'DATA' is bool", TARGET),
            Bad([X, N[None]], ShapeError, "must have 1 dimension", TARGET),
            Bad([X], ArityError, "expected 2", TARGET),
            Bad([X, N], InplaceError, "in place", TARGET, same=[(0, 0)]),
        ],
    ),
    Case(
        "PadEmptySamples",
        _fill_empty,
        _empty_samples,
        [
            *lengths_bad(),
            Bad([N, X, X[1:]], ValueRangeError, "sum of lengths is 3, but input 2", outputs=3),
            Bad([N, X], ArityError, "as many outputs, not 1"),
            Bad([N, X[0, 0]], ShapeError, "at least 1 dimension", outputs=2),
        ],
    ),
]

# ---------------------------------------------------------------- packing


def _pack(lengths, data, max_length=-1, pad_minf=0, return_presence_mask=0):
    most = int(max(lengths, default=0)) if max_length < 0 else max_length
    pad = -np.inf if pad_minf and data.dtype.kind == "f" else zero(data.dtype)
    packed = np.full((len(lengths), most, *data.shape[1:]), pad, data.dtype)
    mask = np.zeros((len(lengths), most), bool)
    for s, part in enumerate(segments(data, lengths)):
        packed[s, : len(part)] = part[:most]
        mask[s, : len(part)] = True
    return packed, mask


def _unpack(lengths, data, max_length=-1):
    parts = [data[s, : min(n, data.shape[1])] for s, n in enumerate(lengths)]
    return np.concatenate(parts) if parts else data.reshape(0, *data.shape[2:])


PACKED = [{}, {"max_length": 2}, {"max_length": 6}, {"pad_minf": 1}, {"max_length": 0}]


def _pack_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for shape in ((), (2,), (2, 3)):
            for kind in {ANY[(index + len(shape)) % len(ANY)], "float32"}:
                told = np.array(lengths, "int64" if index % 2 else "int32")
                inputs = [told, draw(rng, (sum(lengths), *shape), kind)]
                args = PACKED[(index + len(shape)) % len(PACKED)]
                cut = 0 <= args.get("max_length", -1) < max(lengths, default=0)  # leaves out rows
                fine = kind in FLOATS and "pad_minf" not in args and not cut
                yield Sample(inputs, args, gradient=fine)
                mask = {**args, "return_presence_mask": 1}
                yield Sample(inputs, mask, 2, gradient=fine)


def _unpack_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for shape in ((), (2,), (2, 3)):
            for kind in {ANY[(index + len(shape)) % len(ANY)], "float32"}:
                told = np.array(lengths, "int64" if index % 2 else "int32")
                most = max([0, *lengths]) + index % 2
                data = draw(rng, (len(lengths), most, *shape), kind)
                fine = kind in FLOATS and index % 2 == 0
                yield Sample([told, data], gradient=fine)
                yield Sample([told, data], {"max_length": most}, gradient=kind in FLOATS)
                short = draw(rng, (len(lengths), 2, *shape), kind)
                yield Sample([told, short], {"max_length": 2}, gradient=False)


def _pack_rnn(values, lengths):
    return np.swapaxes(_pack(lengths, values)[0], 0, 1)


def _unpack_rnn(values, lengths):
    parts = [values[:n, s] for s, n in enumerate(lengths)]
    return np.concatenate(parts) if parts else values.reshape(0, *values.shape[2:])


def _pack_rnn_samples(rng):
    for sample in _pack_samples(rng):
        lengths, data = sample.inputs
        if data.ndim > 1 and not sample.args.get("return_presence_mask"):
            yield Sample([data, lengths], gradient=data.dtype.name in FLOATS)


def _unpack_rnn_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for shape in ((2,), (2, 3)):
            for kind in {ANY[(index + len(shape)) % len(ANY)], "float32"}:
                told = np.array(lengths, "int64" if index % 2 else "int32")
                values = draw(rng, (max([0, *lengths]), len(lengths), *shape), kind)
                yield Sample([values, told], gradient=kind in FLOATS)


def _reverse(data, lengths):
    y = data.copy()
    for s, n in enumerate(lengths):
        y[:n, s] = data[:n, s][::-1]
    return y


def _reverse_samples(rng):
    for index, lengths in enumerate(LENGTHS):
        for kind in (*FLOATS, ANY[index % len(ANY)], "object"):
            most = max([0, *lengths]) + index % 2
            data = draw(rng, (most, len(lengths), 1 + index), kind)
            yield Sample(
                [data, np.array(lengths, "int64" if index % 2 else "int32")],
                gradient=kind in FLOATS,
            )


PACKS = np.ones((2, 2, 2), np.float32)
PACKING = [
    Case(
        "PackSegments",
        _pack,
        _pack_samples,
        [
            Bad([N, X[1:]], ValueRangeError, "sum of lengths is 3, but there are 2 rows"),
            Bad([N[:1], X], ValueRangeError, "sum of lengths is 2, but there are 3 rows"),
            Bad([N - 2, X], ValueRangeError, r"lengths\[1\] is -1", {"max_length": 2}),
            Bad([N.astype("f4"), X], DTypeError, "is float32"),
            Bad([N[None], X], ShapeError, "must have 1 dimension"),
            Bad([N, X[0, 0]], ShapeError, "at least 1 dimension"),
            Bad([N, X], ArgumentError, "max_length must not", {"max_length": -3}),
            Bad([N, X], ArityError, "second output", {"return_presence_mask": 1}),
            Bad([N], ArityError, "expected 2"),
            Bad([N, X], InplaceError, "in place", same=[(1, 0)]),
        ],
        gradient_outputs=[0],
    ),
    Case(
        "UnpackSegments",
        _unpack,
        _unpack_samples,
        [
            Bad([N + 1, PACKS], ValueRangeError, "length of 3 exceeds the 2"),
            Bad([N - 2, PACKS], ValueRangeError, r"lengths\[1\] is -1"),
            Bad([N[:1], PACKS], ShapeError, "1 lengths for 2 segment"),
            Bad([N, PACKS], ShapeError, "max_length is 3, but segments have 2", {"max_length": 3}),
            Bad([N, X[:2, 0]], ShapeError, "at least 2 dimensions"),
            Bad([N.astype("f4"), PACKS], DTypeError, "is float32"),
            Bad([N], ArityError, "expected 2"),
        ],
    ),
    Case(
        "PackRNNSequence",
        _pack_rnn,
        _pack_rnn_samples,
        [
            Bad([X[1:], N], ValueRangeError, "sum of lengths is 3, but there are 2 rows"),
            Bad([X, N[:1]], ValueRangeError, "sum of lengths is 2, but there are 3 rows"),
            Bad([X, np.array([4, -1], "i4")], ValueRangeError, r"lengths\[\d\] is"),
            Bad([X[:, 0], N], ShapeError, "at least 2 dimensions"),
            Bad([X, N.astype("f4")], DTypeError, "is float32"),
            Bad([X], ArityError, "expected 2"),
        ],
    ),
    Case(
        "UnpackRNNSequence",
        _unpack_rnn,
        _unpack_rnn_samples,
        [
            Bad([PACKS, N + 1], ValueRangeError, "length of 3 exceeds the 2"),
            Bad([PACKS, N - 2], ValueRangeError, r"lengths\[1\] is -1"),
            Bad([PACKS, N[:1]], ShapeError, "1 lengths for 2 sequence"),
            Bad([X, N], ShapeError, "at least 3 dimensions"),
            Bad([PACKS, N.astype("f4")], DTypeError, "is float32"),
            Bad([PACKS], ArityError, "expected 2"),
        ],
    ),
    Case(
        "ReversePackedSegs",
        _reverse,
        _reverse_samples,
        [
            Bad([PACKS, N + 1], ValueRangeError, r"lengths\[0\] is 3; expected 0 to 2"),
            Bad([PACKS, N - 2], ValueRangeError, r"lengths\[1\] is -1"),
            Bad([PACKS, N[:1]], ShapeError, "1 lengths for 2 segment"),
            Bad([X, N], ShapeError, "must have 3 dimension"),
            Bad([PACKS, N.astype("f4")], DTypeError, "is float32"),
            Bad([PACKS, N], InplaceError, "in place", same=[(0, 0)]),
            Bad([PACKS], ArityError, "expected 2"),
        ],
    ),
]


CASES = [*PADDING, *PACKING]
