"""Rows: convolution, transposed convolution, and their gradients."""

import itertools
import math

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, InplaceError, ShapeError
from caffe2py.testing import Bad, Case, Sample

#: image, channels, filters, arguments; `last` ones are drawn in both orders
PLAIN = [
    ((5, 5), 2, 3, {"kernel": 1}),
    ((5, 6), 2, 3, {"kernel": 3}),
    ((4, 3), 1, 2, {"kernel": 3, "pad": 1}),
    ((6, 7), 3, 2, {"kernel": 3, "stride": 2, "pad": 1}),
    ((8, 9), 2, 2, {"kernel": 3, "dilation": 2}),
    ((5, 5), 4, 6, {"kernel": 3, "pad": 1, "group": 2}),
    ((5, 4), 4, 4, {"kernel": 3, "pad": 1, "group": 4}),
    ((4, 4), 6, 3, {"kernel": 1, "group": 3}),
    ((6, 5), 2, 1, {"kernel_h": 2, "kernel_w": 3, "stride_h": 2, "stride_w": 1}),
    ((5, 5), 2, 2, {"kernel": 3, "pad_t": 1, "pad_l": 0, "pad_b": 2, "pad_r": 1}),
    ((5, 6), 1, 2, {"kernels": [2, 3], "pads": [0, 1, 1, 2], "strides": [1, 2]}),
    ((5, 6), 2, 2, {"kernels": [3, 2], "dilations": [1, 2]}),
    ((6, 6), 1, 1, {"kernel": 3, "dilation_h": 2}),
    ((7, 7), 1, 2, {"kernel": 3, "pad": -1}),
    ((5, 6), 1, 1, {"kernel": 3, "legacy_pad": 1}),
    ((5, 6), 1, 2, {"kernel": 3, "legacy_pad": 2, "stride": 2}),
    ((3, 4), 1, 2, {"kernel": 2, "legacy_pad": 2}),
    ((8, 6), 1, 1, {"kernel": 1, "legacy_pad": 2, "stride": 4}),
    ((5, 5), 2, 1, {"kernel": 2, "legacy_pad": 3, "stride": 2}),
    ((6, 5), 1, 2, {"kernel": 3, "legacy_pad": 3, "stride": 2, "pad": 1}),
    ((3, 4), 3, 5, {"kernel_h": 3, "kernel_w": 4}),
    ((4, 5), 2, 2, {"kernel": 3, "pad": 4, "stride": 3}),
    ((7,), 2, 2, {"kernels": [3]}),
    ((7,), 2, 2, {"kernel": 3, "stride": 2, "pad": 1}),
    ((6,), 4, 2, {"kernels": [3], "pads": [1, 2], "strides": [2], "group": 2}),
    ((8,), 1, 1, {"kernels": [2], "dilations": [2]}),
    ((3, 4, 3), 2, 1, {"kernels": [2, 2, 2]}),
    ((3, 4, 3), 1, 2, {"kernel": 2, "pad": 1}),
    ((2, 3, 5), 2, 2, {"kernels": [2, 1, 3], "pads": [1, 0, 1, 0, 0, 1], "strides": [1, 2, 1],
                       "group": 2}),
    ((4, 4, 2), 1, 2, {"kernels": [2, 2, 1], "dilations": [2, 1, 1]}),
    ((2, 4, 3), 3, 1, {"kernels": [1, 2, 1], "pads": [0, 1, 0, 0, 1, 0]}),
]  # fmt: skip
#: more positions, elements or channels than one block has
LARGE = [
    ((30, 25), 3, 5, {"kernel": 3, "pad": 1}),
    ((5, 5), 70, 9, {"kernel": 3, "pad": 1}),
    ((33, 40), 40, 17, {"kernel": 1}),
    ((26, 26), 64, 40, {"kernel": 3, "stride": 2, "group": 2}),
    ((8, 9), 32, 33, {"kernel": 3, "pad_t": 1, "pad_l": 3, "pad_b": 1}),
    ((8, 9), 32, 33, {"kernel": 3, "pad": 2}),
    ((8, 9), 32, 33, {"kernel": 3, "pad": 1, "winograd": 0}),
]
#: spellings and arguments that change nothing
ODD = [
    {"order": "nchw"},
    {"no_gradient_to_input": 1},
    {"winograd": 0},
    {"shared_buffer": 1},
    {"float16_compute": 1},
    {"kernel_h": 3, "kernel_w": 3},
    {"kernels": [3, 3]},
]
TOLERANCE = {"tolerance": 2e-5, "tolerance_reason": "sums of up to 1320 float32 products"}


# ---------------------------------------------------------------- the reference


def _both(args, name, pair, rank, default):
    values = args.get(f"{name}s") or [args.get(name, default)] * rank
    if any(key in args for key in pair):
        values = [args.get(key, default) for key in pair]
    return list(values)


def _pads(args, rank, image, kernel, stride, dilation):
    sides = [args.get(f"pad_{side}", 0) for side in "tlbr"]
    pads = args.get("pads") or (sides if any(sides) else [args.get("pad", 0)] * 2 * rank)
    legacy = args.get("legacy_pad", 0)
    begin, end = list(pads[:rank]), list(pads[rank:])
    for d in range(rank):
        n, k, s = image[d], kernel[d], stride[d]
        if legacy == 2:
            total = (int(np.ceil(n / s)) - 1) * s + k - n
            begin[d] = int(total / 2)
            end[d] = total - begin[d]
        elif legacy == 3:
            count = int(np.ceil((n + 2 * begin[d] - k) / s)) + 1
            if begin[d] and (count - 1) * s >= n + begin[d]:
                count -= 1
            end[d] = (count - 1) * s + k - n - begin[d]
    return begin, end


def _windows(x, w, args):
    """For each element of the kernel: its index, and the slices of the padded image it meets."""
    rank, image, kernel = x.ndim - 2, x.shape[2:], w.shape[2:]
    stride = _both(args, "stride", ("stride_h", "stride_w"), rank, 1)
    dilation = _both(args, "dilation", ("dilation_h", "dilation_w"), rank, 1)
    begin, end = _pads(args, rank, image, kernel, stride, dilation)
    cut = [slice(max(-b, 0), n - max(-e, 0)) for b, e, n in zip(begin, end, image, strict=True)]
    grow = [(max(b, 0), max(e, 0)) for b, e in zip(begin, end, strict=True)]
    size = [n + b + e for n, b, e in zip(image, begin, end, strict=True)]
    out = [(size[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in range(rank)]
    taps = []
    for index in np.ndindex(*kernel):
        first = [i * d for i, d in zip(index, dilation, strict=True)]
        taps.append((index, tuple(
            slice(f, f + s * (o - 1) + 1, s) for f, s, o in zip(first, stride, out, strict=True)
        )))  # fmt: skip
    return cut, grow, out, taps


def _channels_first(args, *arrays):
    if args.get("order", "NCHW").upper() == "NCHW":
        return arrays
    return tuple(np.moveaxis(a, -1, 1) for a in arrays)


def _back(args, *arrays):
    if args.get("order", "NCHW").upper() == "NCHW":
        return arrays
    return tuple(np.moveaxis(a, 1, -1) for a in arrays)


def _conv(x, w, b=None, **args):
    dtype = x.dtype
    x, w = _channels_first(args, x.astype(np.float64), w.astype(np.float64))
    cut, grow, out, taps = _windows(x, w, args)
    padded = np.pad(x[(..., *cut)], [(0, 0), (0, 0), *grow])
    group, filters = args.get("group", 1), w.shape[0]
    y = np.zeros((x.shape[0], filters, *out))
    for g in range(group):
        c = slice(g * w.shape[1], (g + 1) * w.shape[1])
        m = slice(g * filters // group, (g + 1) * filters // group)
        for index, view in taps:
            image = padded[(slice(None), c, *view)]
            y[:, m] += np.einsum("nc...,mc->nm...", image, w[(m, slice(None), *index)])
    if b is not None:
        y += b.astype(np.float64).reshape(-1, *[1] * len(out))
    return _back(args, y)[0].astype(dtype)


def _conv_gradient(x, w, dy, no_bias=0, **args):
    dtype = x.dtype
    x, w, dy = _channels_first(args, *(a.astype(np.float64) for a in (x, w, dy)))
    cut, grow, _, taps = _windows(x, w, args)
    padded = np.pad(x[(..., *cut)], [(0, 0), (0, 0), *grow])
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    group, filters = args.get("group", 1), w.shape[0]
    for g in range(group):
        c = slice(g * w.shape[1], (g + 1) * w.shape[1])
        m = slice(g * filters // group, (g + 1) * filters // group)
        for index, view in taps:
            at, here = (slice(None), c, *view), (m, slice(None), *index)
            image = padded[at]
            flat = [a.reshape(*a.shape[:2], math.prod(a.shape[2:])) for a in (dy[:, m], image)]
            dw[here] = np.einsum("nmp,ncp->mc", *flat)
            dpadded[at] += np.einsum("nm...,mc->nc...", dy[:, m], w[here])
    inner = tuple(slice(b, n - e) for (b, e), n in zip(grow, dpadded.shape[2:], strict=True))
    dx = np.zeros_like(x)
    dx[(..., *cut)] = dpadded[(..., *inner)]
    db = dy.sum(axis=(0, *range(2, dy.ndim)))
    dw, dx = _back(args, dw, dx)
    outputs = (dw, dx) if no_bias else (dw, db, dx)
    return tuple(a.astype(dtype) for a in outputs)


# ---------------------------------------------------------------- samples


def _kernel(args, rank):
    return _both(args, "kernel", ("kernel_h", "kernel_w"), rank, None)


def _operands(rng, image, channels, filters, args, last, batch, dtype):
    per_group, kernel = channels // args.get("group", 1), _kernel(args, len(image))
    x = (batch, *image, channels) if last else (batch, channels, *image)
    w = (filters, *kernel, per_group) if last else (filters, per_group, *kernel)
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in (x, w, (filters,))]


def _samples(rng):
    for index, (image, channels, filters, args) in enumerate([*PLAIN, *LARGE]):
        for last in (False, True):
            batch = 1 + index % 2
            order = {"order": "NHWC"} if last else {}
            operands = _operands(rng, image, channels, filters, args, last, batch, "float32")
            yield Sample(operands[: 2 if index % 3 == 2 else 3], {**args, **order})
    for args in ODD:
        operands = _operands(rng, (4, 4), 2, 2, {"kernel": 3}, False, 1, "float32")
        yield Sample(operands, {"kernel": 3, **args})
    for last in (False, True):
        for args in ({"kernel": 3, "pad": 1}, {"kernel": 1}, {"kernel": 5}):
            order = {"order": "nhwc"} if last else {}
            for batch, dtype in ((0, "float32"), (2, "float64")):
                operands = _operands(rng, (5, 5), 4, 3, args, last, batch, dtype)
                yield Sample(operands, {**args, **order})
    empty = _operands(rng, (5, 5), 2, 0, {"kernel": 3}, False, 1, "float32")
    yield Sample(empty, {"kernel": 3})


def _gradient_samples(rng):
    for index, sample in enumerate(list(_samples(rng))):
        x, w, *bias = sample.inputs
        args = {key: v for key, v in sample.args.items() if key != "no_gradient_to_input"}
        dy = rng.uniform(-1, 1, _conv(x, w, **args).shape).astype(x.dtype)
        extra = {} if bias else {"no_bias": 1}
        outputs = (3 if bias else 2) - (index % 5 == 4)
        yield Sample([x, w, dy], {**args, **extra}, outputs)


# ---------------------------------------------------------------- errors

X = np.ones((1, 4, 5, 5), np.float32)
W = np.ones((2, 4, 3, 3), np.float32)
B = np.ones(2, np.float32)
DY = np.ones((1, 2, 3, 3), np.float32)
K = {"kernel": 3}


def _window_errors(inputs, outputs):
    """What is wrong with the arguments, for the operator and its gradient."""
    table = [
        ({}, ArgumentError, "kernel .* must be given"),
        ({"kernel": 0}, ArgumentError, r"kernel must be at least 1, found \(0,0\)"),
        ({"kernel": -3}, ArgumentError, "kernel must be at least 1"),
        ({"kernel": 2**40}, ArgumentError, "too large"),
        ({"kernel": 2}, ShapeError, r"a kernel of \(3,3\); the arguments say \(2,2\)"),
        ({**K, "stride": 0}, ArgumentError, "stride must be at least 1"),
        ({**K, "stride": -1}, ArgumentError, "stride must be at least 1"),
        ({**K, "dilation": 0}, ArgumentError, "dilation must be at least 1"),
        ({**K, "dilation": 3}, ShapeError, "a window of 7 does not fit into 5 elements"),
        ({**K, "pad": -2}, ShapeError, "does not fit"),
        ({**K, "group": 0}, ArgumentError, "group must be at least 1, found 0"),
        ({**K, "group": -1}, ArgumentError, "group must be at least 1, found -1"),
        ({**K, "group": 2}, ShapeError, "X has 4 channel.*takes 4 in each of 2"),
        ({**K, "order": "bad"}, ArgumentError, "order must be NCHW or NHWC, found 'bad'"),
        ({**K, "order": "NHWC"}, ShapeError, "kernel of"),
        ({**K, "legacy_pad": 4}, ArgumentError, "legacy_pad must be 0, 1, 2 or 3"),
        ({**K, "legacy_pad": 1, "pad": 1}, ArgumentError, "legacy_pad 1 sets the pads itself"),
        ({**K, "legacy_pad": 2, "pads": [1, 1, 1, 1]}, ArgumentError, "sets the pads itself"),
        ({**K, "legacy_pad": 2, "dilation": 2}, ArgumentError, "does not allow a dilation"),
        ({**K, "legacy_pad": 3, "dilation": 2}, ArgumentError, "does not allow a dilation"),
        ({**K, "legacy_pad": 3, "pad": -1}, ArgumentError, "needs pads of 0 or more"),
        ({**K, "global_pooling": 1}, ArgumentError, "no global_pooling"),
        ({"kernels": [3]}, ArgumentError, r"kernels has 1 value\(s\) where the image needs 2"),
        ({"kernels": [3, 3, 3]}, ArgumentError, "kernels has 3"),
        ({**K, "strides": [1]}, ArgumentError, "strides has 1"),
        ({**K, "pads": [1, 1]}, ArgumentError, "pads has 2"),
        ({**K, "dilations": [1, 1, 1]}, ArgumentError, "dilations has 3"),
        ({"kernel_h": 3}, ArgumentError, "kernel_h and kernel_w must be given together"),
        ({**K, "kernels": [3, 2]}, ArgumentError, "given twice with different values: kernel"),
        ({**K, "kernel_h": 2, "kernel_w": 2}, ArgumentError, "given twice"),
        ({**K, "pad": 1, "pad_t": 2}, ArgumentError, "given twice"),
        ({"kernel": 3.5}, ArgumentError, "kernel"),
    ]
    return [Bad(inputs, error, match, args, outputs) for args, error, match in table]


ERRORS = [
    *_window_errors([X, W, B], 1),
    Bad([X[:, :3], W], ShapeError, "X has 3 channel.*takes 4 in each of 1", K),
    Bad([X, W[:1, :2]], ShapeError, "1 filter.* cannot be divided into 2", {**K, "group": 2}),
    Bad(
        [X, W, np.ones(3, "f")], ShapeError, r"bias is \(3\), needs one element a filter: \(2\)", K
    ),
    Bad([X, W, B[:, None]], ShapeError, r"bias is \(2,1\)", K),
    Bad([X, W[..., 0]], ShapeError, r"X \(1,4,5,5\) and filter \(2,4,3\) must have the same", K),
    Bad([X[0], W], ShapeError, "must have the same number of dimensions", K),
    Bad([X[0, 0], W], ShapeError, "images must have 3 to 5 dimensions", K),
    Bad([X[..., :2, :2], W], ShapeError, "a window of 3 does not fit into 2 elements", K),
    Bad([X[:, :0], W[:, :0]], ShapeError, "images must not be empty", K),
    Bad([X.astype("float64"), W], DTypeError, "must have one type: input 0 'X' is float64", K),
    Bad([X.astype("float16"), W.astype("float16")], DTypeError, "'X' is float16", K),
    Bad([X.astype("int32"), W.astype("int32")], DTypeError, "'X' is int32", K),
    Bad([X], ArityError, "expected 2 to 3 input", K),
    Bad([X, W, B, B], ArityError, "expected 2 to 3 input", K),
    Bad([X, W, B], InplaceError, "in place", K, same=[(0, 0)]),
]
GRADIENT_ERRORS = [
    *_window_errors([X, W, DY], 3),
    Bad([X, W, DY[:, :1]], ShapeError, r"dY is \(1,1,3,3\), needs the shape of Y", K, 3),
    Bad([X, W, DY[0]], ShapeError, r"needs the shape of Y, \(1,2,3,3\)", K, 3),
    Bad([X, W, DY.astype("float64")], DTypeError, "must have one type", K, 3),
    Bad([X, W, DY], ArityError, "expected 2 or 3 outputs with no_bias=0, found 1", K, 1),
    Bad([X, W, DY], ArityError, "expected 1 or 2 outputs with no_bias=1", {**K, "no_bias": 1}, 3),
    Bad([X, W], ArityError, "expected 3 input", K, 3),
    Bad([X, W, DY], InplaceError, "in place", K, 3, same=[(0, 2)]),
]

# ---------------------------------------------------------------- the other names


def _some(samples, rank):
    """A few of the samples, those whose image has so many axes first."""

    def draw(rng):
        drawn = [s for s in samples(rng) if max(s.inputs[0].shape) < 12]
        yield from [s for s in drawn if s.inputs[0].ndim == rank + 2][:14]
        yield from [s for s in drawn if s.inputs[0].ndim != rank + 2][:2]

    return draw


# ---------------------------------------------------------------- transposed

#: image, channels of X, channels of Y, arguments; all are drawn in both orders
TRANSPOSED = [
    ((3, 3), 2, 3, {"kernel": 2}),
    ((3, 4), 1, 2, {"kernel": 1}),
    ((3, 3), 2, 3, {"kernel": 2, "stride": 2}),
    ((3, 3), 2, 3, {"kernel": 3, "pad": 1}),
    ((4, 3), 2, 1, {"kernel": 3, "stride": 2, "pad": 1, "adj": 1}),
    ((3, 3), 1, 1, {"kernel": 2, "stride": 2, "adj": 2}),
    ((3, 3), 2, 2, {"kernel": 2, "adj": 1}),
    ((3, 3), 4, 6, {"kernel": 2, "group": 2}),
    ((3, 2), 4, 4, {"kernel": 3, "group": 4, "stride": 2, "pad": 1}),
    ((3, 3), 2, 2, {"kernel_h": 2, "kernel_w": 3, "stride_h": 1, "stride_w": 2, "adj_w": 1}),
    ((3, 3), 1, 2, {"kernels": [2, 2], "adjs": [0, 1], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    ((3, 4), 2, 2, {"kernel": 2, "pad_t": 1, "pad_r": 1}),
    ((3, 3), 2, 2, {"kernel": 2, "legacy_pad": 1}),
    ((3, 3), 2, 2, {"kernel": 2, "legacy_pad": 2, "stride": 3}),
    ((3, 3), 1, 1, {"kernel": 2, "stride": 4}),
    ((1, 1), 3, 2, {"kernel": 3}),
    ((5,), 2, 3, {"kernels": [3], "strides": [2], "pads": [1, 0], "adjs": [1]}),
    ((2, 3, 2), 2, 2, {"kernels": [2, 1, 3], "strides": [2, 1, 1], "adj": 1}),
    ((12, 11), 20, 33, {"kernel": 4, "stride": 2, "pad": 1}),
    ((2, 2), 2, 2, {"kernel": 2, "shared_buffer": 1, "no_gradient_to_input": 1}),
]


def _conv_transpose(x, w, b=None, no_bias=0, **args):
    dtype = x.dtype
    x, w = _channels_first(args, x.astype(np.float64), w.astype(np.float64))
    rank, group, kernel = x.ndim - 2, args.get("group", 1), w.shape[2:]
    stride = _both(args, "stride", ("stride_h", "stride_w"), rank, 1)
    adj = _both(args, "adj", ("adj_h", "adj_w"), rank, 0)
    sides = [args.get(f"pad_{side}", 0) for side in "tlbr"]
    pads = args.get("pads") or (sides if any(sides) else [args.get("pad", 0)] * 2 * rank)
    size = [
        (n - 1) * s + k + a for n, s, k, a in zip(x.shape[2:], stride, kernel, adj, strict=True)
    ]
    y = np.zeros((len(x), w.shape[1] * group, *size))
    per = x.shape[1] // group
    for g in range(group):
        m, c = slice(g * per, (g + 1) * per), slice(g * w.shape[1], (g + 1) * w.shape[1])
        for k in np.ndindex(*kernel):
            at = tuple(
                slice(i, i + s * (n - 1) + 1, s)
                for i, s, n in zip(k, stride, x.shape[2:], strict=True)
            )
            y[(slice(None), c, *at)] += np.einsum(
                "nm...,mc->nc...", x[:, m], w[(m, slice(None), *k)]
            )
    y = y[(..., *(slice(b, n - e) for n, b, e in zip(size, pads, pads[rank:], strict=False)))]
    if b is not None:
        y = y + b.astype(np.float64).reshape(-1, *[1] * rank)
    return _back(args, y)[0].astype(dtype)


def _conv_transpose_gradient(x, w, dy, no_bias=0, **args):
    """By linearity: the gradient along each element of X, and of the filter, is a forward pass."""
    args.pop("no_gradient_to_input", None)
    wide = [a.astype(np.float64) for a in (x, w, dy)]
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for at in np.ndindex(*x.shape):
        one = np.zeros(x.shape)
        one[at] = 1
        dx[at] = np.sum(_conv_transpose(one, wide[1], **args) * wide[2])
    for at in np.ndindex(*w.shape):
        one = np.zeros(w.shape)
        one[at] = 1
        dw[at] = np.sum(_conv_transpose(wide[0], one, **args) * wide[2])
    last = args.get("order", "NCHW").upper() == "NHWC"
    db = wide[2].sum(tuple(axis for axis in range(dy.ndim) if axis != (dy.ndim - 1 if last else 1)))
    outputs = (dw, dx) if no_bias else (dw, db, dx)
    return tuple(a.astype(x.dtype) for a in outputs)


def _transposed_operands(rng, image, channels, results, args, last, batch, dtype):
    per_group, kernel = results // args.get("group", 1), _kernel(args, len(image))
    x = (batch, *image, channels) if last else (batch, channels, *image)
    w = (channels, *kernel, per_group) if last else (channels, per_group, *kernel)
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in (x, w, (results,))]


def _transposed_samples(rng):
    for index, (image, channels, results, args) in enumerate(TRANSPOSED):
        for last in (False, True):
            order = {"order": "NHWC"} if last else {}
            dtype = "float64" if index % 4 == 3 else "float32"
            batch = index % 3 if index % 6 else 2
            operands = _transposed_operands(rng, image, channels, results, args, last, batch, dtype)
            yield Sample(operands[: 2 if index % 3 == 2 else 3], {**args, **order})
    operands = _transposed_operands(rng, (3, 3), 2, 2, {"kernel": 2}, False, 1, "float32")
    yield Sample(operands, {"kernel": 2, "no_bias": 1})


def _transposed_gradient_samples(rng):
    for index, sample in enumerate(list(_transposed_samples(rng))):
        x, w, *bias = sample.inputs
        if x.size > 500:
            continue
        args = {key: v for key, v in sample.args.items() if key != "no_bias"}
        dy = rng.uniform(-1, 1, _conv_transpose(x, w, **args).shape).astype(x.dtype)
        args.pop("no_gradient_to_input", None)
        outputs = (3 if bias else 2) - (index % 5 == 4)
        yield Sample([x, w, dy], {**args, **({} if bias else {"no_bias": 1})}, outputs)


TX = np.ones((1, 4, 3, 3), np.float32)
TW = np.ones((4, 2, 2, 2), np.float32)
TY = np.ones((1, 2, 4, 4), np.float32)
T = {"kernel": 2}


def _transposed_errors(inputs, outputs):
    table = [
        ({}, ArgumentError, "kernel .* must be given"),
        ({"kernel": 3}, ShapeError, r"a kernel of \(2,2\); the arguments say \(3,3\)"),
        ({**T, "stride": 0}, ArgumentError, "stride must be at least 1"),
        (
            {**T, "adj": -1},
            ArgumentError,
            r"adj \(-1,-1\) must be between 0 and the stride \(1,1\)",
        ),
        ({**T, "adj": 2}, ArgumentError, r"adj \(2,2\) must be between"),
        ({**T, "adjs": [1]}, ArgumentError, "adjs has 1 value"),
        ({**T, "pad": -1}, ArgumentError, "pads must be 0 or more"),
        ({**T, "pad": 2}, ShapeError, "leave nothing of spatial axis 0"),
        ({**T, "group": 0}, ArgumentError, "group must be at least 1"),
        ({**T, "group": 3}, ShapeError, r"4 channel\(s\) cannot be divided into 3"),
        ({**T, "legacy_pad": 3}, ArgumentError, "legacy_pad 3 is for pooling"),
        ({**T, "legacy_pad": 1, "pad": 1}, ArgumentError, "sets the pads itself"),
        ({**T, "order": "bad"}, ArgumentError, "order must be NCHW or NHWC"),
    ]
    return [Bad(inputs, error, match, args, outputs) for args, error, match in table]


TRANSPOSED_ERRORS = [
    *_transposed_errors([TX, TW], 1),
    Bad([TX, TW[:3]], ShapeError, r"X has 4 channel\(s\), the filter \(3,2,2,2\) takes 3", T),
    Bad([TX, TW, np.ones(3, "f")], ShapeError, r"bias is \(3\), .* a channel: \(2\)", T),
    Bad([TX, TW, TW], ShapeError, r"bias is \(4,2,2,2\)", T),
    Bad([TX, TW[..., 0]], ShapeError, "the same number of dimensions", T),
    Bad([TX[0, 0], TW], ShapeError, "images must have 3 to 5 dimensions", T),
    Bad([TX, TW.astype("f8")], DTypeError, "one type", T),
    Bad([TX.astype("i4"), TW.astype("i4")], DTypeError, "is int32", T),
    Bad([TX], ArityError, "expected 2 to 3", T),
    Bad([TX, TW], InplaceError, "in place", T, same=[(0, 0)]),
]
TRANSPOSED_GRADIENT_ERRORS = [
    *_transposed_errors([TX, TW, TY], 3),
    Bad([TX, TW, TY[:, :1]], ShapeError, r"dY is \(1,1,4,4\), needs the shape of Y", T, 3),
    Bad([TX, TW, TX], ShapeError, "needs the shape of Y", T, 3),
    Bad([TX, TW, TY.astype("f8")], DTypeError, "one type", T, 3),
    Bad([TX, TW, TY], ArityError, "expected 2 or 3 outputs with no_bias=", T, 1),
    Bad([TX, TW, TY], ArityError, "expected 1 or 2 outputs with no_bias=", {**T, "no_bias": 1}, 3),
    Bad([TX, TW], ArityError, "expected 3", T, 3),
]

# ---------------------------------------------------------------- with what follows it


def _followed(x, w, *rest, bias=0, norm=0, affine=0, sum=0, relu=0, epsilon=1e-5, **args):
    rest = [r.astype(np.float64) for r in rest]
    added = rest.pop() if sum else 0
    y = _conv(x.astype(np.float64), w.astype(np.float64), rest.pop(0) if bias else None, **args)
    shape = (-1,) if args.get("order", "").upper() == "NHWC" else (-1, *[1] * (y.ndim - 2))
    if norm:
        scale, shift, mean, var = (v.reshape(shape) for v in rest)
        y = (y - mean) / np.sqrt(var + epsilon) * scale + shift
    elif affine:
        scale, shift = (v.reshape(shape) for v in rest)
        y = y * scale + shift
    y = y + added
    return (np.maximum(y, 0) if relu else y).astype(x.dtype)


#: image, channels, filters, arguments: one product, short convolutions, unfolding, own filters
FOLLOWED = [
    ((6, 7), 4, 9, {"kernel": 1}),
    ((1, 1), 4, 9, {"kernel": 1}),
    ((12, 12), 32, 33, {"kernel": 3, "pad": 1}),
    ((9, 8), 3, 10, {"kernel": 3, "stride": 2, "pad": 1}),
    ((7, 7), 4, 4, {"kernel": 3, "pad": 1, "group": 4}),
    ((6, 6), 6, 4, {"kernel": 3, "group": 2}),
    ((7,), 3, 4, {"kernels": [3]}),
]


def _followed_samples(rng):
    flags = list(itertools.product((0, 1), repeat=4))
    for index, (image, channels, filters, args) in enumerate(FOLLOWED):
        for last in (False, True):
            order = {"order": "NHWC"} if last else {}
            for bias, norm, added, relu in flags[index % 2 :: 3]:
                dtype = "float64" if bias and relu and index < 2 else "float32"
                x, w, b = _operands(rng, image, channels, filters, args, last, 2, dtype)
                more = [b] if bias else []
                affine = norm and index % 3 == 1
                if affine:
                    more += [rng.uniform(0.5, 2, filters).astype(dtype) for _ in range(2)]
                elif norm:
                    more += [rng.uniform(0.5, 2, filters).astype(dtype) for _ in range(4)]
                if added:
                    y = _conv(x, w, **args, **order)
                    more.append(rng.uniform(-1, 1, y.shape).astype(dtype))
                said = {"bias": bias, "sum": added, "relu": relu}
                said["affine" if affine else "norm"] = norm
                chosen = {name: 1 for name, on in said.items() if on}
                if norm and index % 2:
                    chosen["epsilon"] = 0.25
                yield Sample([x, w, *more], {**args, **order, **chosen})


FUSED_ERRORS = [
    Bad([X, W, B], ArityError, "expected the inputs X, filter; found 3", K),
    Bad([X, W], ArityError, "expected the inputs X, filter, bias; found 2", {**K, "bias": 1}),
    Bad([X, W, DY[:, :1]], ShapeError, "needs Y's", {**K, "sum": 1}),
    Bad([X, W, np.ones(3, "f")], ShapeError, "needs one a filter", {**K, "bias": 1}),
    Bad([X, W.astype("f8")], DTypeError, "one type", K),
    Bad([X, W], ArgumentError, "kernel", {}),
]

CASES = [
    Case("Conv", _conv, _samples, ERRORS, **TOLERANCE),
    Case("ConvGradient", _conv_gradient, _gradient_samples, GRADIENT_ERRORS, **TOLERANCE),
    *(
        Case(f"Conv{rank}D", _conv, _some(_samples, rank), ERRORS[-8:], **TOLERANCE)
        for rank in (1, 2, 3)
    ),
    *(
        Case(
            f"Conv{rank}DGradient",
            _conv_gradient,
            _some(_gradient_samples, rank),
            GRADIENT_ERRORS[-8:],
            **TOLERANCE,
        )
        for rank in (1, 2, 3)
    ),
    Case("FusedConv", _followed, _followed_samples, FUSED_ERRORS, **TOLERANCE),
    Case("ConvTranspose", _conv_transpose, _transposed_samples, TRANSPOSED_ERRORS, **TOLERANCE),
    Case(
        "ConvTransposeGradient",
        _conv_transpose_gradient,
        _transposed_gradient_samples,
        TRANSPOSED_GRADIENT_ERRORS,
        **TOLERANCE,
    ),
]
