"""Loops over channels: moments, one factor and term a channel, windows of neighbouring channels.

Images of either order are seen as (outer, channels, inner): with the channels first `inner` counts
the pixels, with the channels last it is 1 and `outer` counts them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.kernels.device import launch_by_channel, on_cuda
from caffe2py.kernels.elementwise import ScalarFunction
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.kernels.parallel import by_rows, divisible, is_on_device, moving, split
from caffe2py.kernels.params import Scalar
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.tensor import Array

#: Elements that no two threads should write parts of.
_LINE = 16

#: Two vectors, one element a channel.
Pair = tuple[Array, Array]


def by_channel(array: Array, last: bool) -> Array:
    """The array as (outer, channels, inner); `last` says that the last axis holds the channels."""
    shape = array.shape
    if last:
        return array.reshape(_count(shape[:-1]), shape[-1], 1)
    return array.reshape(shape[0], shape[1], _count(shape[2:]))


def _count(dims: tuple[int, ...]) -> int:
    count = 1
    for size in dims:
        count *= size
    return count


# ---------------------------------------------------------------- moments


@kernel("reassoc")
def _moments(x: Any, mean: Any, variance: Any, start: int, end: int) -> None:
    """Mean and (biased) variance of some channels in one pass; both are 0 for no elements.

    Sums are float64 and of differences from the channel's first element, so that a large mean
    costs no digits.
    """
    outer, _, inner = x.shape
    for c in range(start, end):
        mean[c] = 0
        variance[c] = 0
    if outer * inner == 0:
        return
    if inner == 1:
        for o in range(outer):
            for c in range(start, end):
                d = np.float64(x[o, c, 0]) - np.float64(x[0, c, 0])
                mean[c] += d
                variance[c] += d * d
    else:
        for c in range(start, end):
            first = np.float64(x[0, c, 0])
            total = 0.0
            squares = 0.0
            for o in range(outer):
                for i in range(inner):
                    d = np.float64(x[o, c, i]) - first
                    total += d
                    squares += d * d
            mean[c] = total
            variance[c] = squares
    for c in range(start, end):
        d = mean[c] / (outer * inner)
        mean[c] = d + np.float64(x[0, c, 0])
        v = variance[c] / (outer * inner) - d * d
        variance[c] = 0.0 if v < 0 else v


def launch_moments(x: Array, moments: Pair) -> list[Launch]:
    """Mean and biased variance, as float64, of each channel of x (outer, channels, inner)."""
    if is_on_device(x):
        return launch_by_channel("channels.MOMENTS", (1, *x.shape), (x,), (x, *moments))
    return [_by_channels(lambda start, end: _moments(x, *moments, start, end), x)]


def _by_channels(make: Callable[[int, int], Launch], *arrays: Array) -> Launch:
    """make(first, end) for the channels of arrays (outer, channels, inner), in parts if large."""
    multiple = _LINE if arrays[0].shape[2] == 1 else 1
    return divisible(arrays[0].shape[1], 2 * moving(*arrays), make, multiple)


@kernel()
def _moments_of_sums(sums: Any, squares: Any, count: Any, mean: Any, variance: Any) -> None:
    for c in range(mean.size):
        mean[c] = sums[c] / np.float64(count)
        variance[c] = squares[c] / np.float64(count) - mean[c] * mean[c]


def launch_moments_of_sums(sums: Pair, count: int, moments: Pair) -> Launch:
    """Mean and biased variance from sums and sums of squares over `count` elements a channel."""
    return by_rows(
        lambda a, b, mean, variance: _moments_of_sums(a, b, count, mean, variance), *sums, *moments
    )


# ---------------------------------------------------------------- maps with values a channel


@functools.cache
def _channel_loop(
    function: ScalarFunction, sources: tuple[int | None, ...], vectors: int
) -> Kernel:
    """y[r, i] = f(x0[r, i], ..., v0[c], ...), where an input that is y is read as y.

    Row r is one of channel c = (first + r) % channels, or if `last` one of all channels, c = i.
    Reading y under the same name tells the compiler that the two do not overlap by accident.
    """
    arrays = sorted({s for s in sources if s is not None})
    names = [*(f"x{k}" for k in arrays), *(f"v{k}" for k in range(vectors)), "y", "first", "last"]
    reads = ["y[r, i]" if s is None else f"x{s}[r, i]" for s in sources]
    per_pixel = ", ".join([*reads, *(f"v{k}[i]" for k in range(vectors))])
    per_run = ", ".join([*reads, *(f"a{k}" for k in range(vectors))])
    lines = [
        f"def loop({', '.join(names)}):",
        "    for r in range(y.shape[0]):",
        "        if last:",
        "            for i in range(y.shape[1]):",
        f"                y[r, i] = f({per_pixel})",
        "        else:",
        "            c = (first + r) % v0.size",
        *(f"            a{k} = v{k}[c]" for k in range(vectors)),
        "            for i in range(y.shape[1]):",
        f"                y[r, i] = f({per_run})",
    ]
    namespace: dict[str, Any] = {"f": Scalar(function)}
    exec("\n".join(lines), namespace)
    loop = namespace["loop"]
    loop.__name__ = loop.__qualname__ = f"channels_{function.__name__}"
    made = Kernel(loop, "contract")
    made.form_later(
        lambda: on_cuda("channels.map_form")(
            names, loop.__name__, per_pixel, per_run, vectors, loop.__globals__
        )
    )
    return made


def launch_channel_map(
    function: ScalarFunction, inputs: Sequence[Array], vectors: Sequence[Array], y: Array
) -> Launch:
    """y[o, c, i] = function(inputs[0][o, c, i], ..., vectors[0][c], ...); an input may be y."""
    outer, channels, inner = y.shape
    last = inner == 1
    rows = (outer, channels) if last else (outer * channels, inner)
    sources: list[int | None] = []
    distinct: list[Array] = []
    for array in inputs:
        if array.ctypes.data == y.ctypes.data:
            sources.append(None)
            continue
        sources.append(len(distinct))
        distinct.append(array.reshape(rows))
    loop = _channel_loop(function, tuple(sources), len(vectors))
    target = y.reshape(rows)

    def part(first: int, end: int) -> Launch:
        parts = (array[first:end] for array in distinct)
        return loop(*parts, *vectors, target[first:end], first, last)

    return divisible(rows[0], moving(y, *distinct), part)


# ---------------------------------------------------------------- batch normalisation


@kernel()
def _fold(
    scale: Any, bias: Any, mean: Any, variance: Any, epsilon: Any, factor: Any, term: Any
) -> None:
    for c in range(factor.size):
        factor[c] = scale[c] / math.sqrt(variance[c] + epsilon)
        # the rounded factor: what it lacks is lacking for x and for the mean alike
        term[c] = bias[c] - np.float64(mean[c]) * factor[c]


def launch_fold(affine: Pair, moments: Pair, epsilon: float, out: Pair) -> Launch:
    """The factor scale / sqrt(variance + epsilon) and the term bias - mean * factor."""
    return by_rows(
        lambda a, b, mean, variance, factor, term: _fold(
            a, b, mean, variance, epsilon, factor, term
        ),
        *(*affine, *moments, *out),
    )


@kernel()
def _track(
    mean: Any,
    variance: Any,
    running_mean: Any,
    running_variance: Any,
    momentum: Any,
    unbiased: Any,
    saved_mean: Any,
    saved_inverse: Any,
    epsilon: Any,
) -> None:
    rest = 1 - momentum
    for c in range(mean.size):
        running_mean[c] = momentum * running_mean[c] + rest * mean[c]
        running_variance[c] = momentum * running_variance[c] + rest * (unbiased * variance[c])
        saved_mean[c] = mean[c]
        saved_inverse[c] = 1 / math.sqrt(variance[c] + epsilon)


def launch_track(
    moments: Pair, running: Pair, momentum: float, unbiased: float, saved: Pair, epsilon: float
) -> Launch:
    """Move the running mean and variance, and save the mean and 1 / sqrt(variance + epsilon).

    running = momentum * running + (1 - momentum) * new, the new variance times `unbiased`.
    """

    def part(mean: Array, variance: Array, *vectors: Array) -> Launch:
        running_mean, running_variance, *kept = vectors
        factors = (momentum, unbiased)
        return _track(mean, variance, running_mean, running_variance, *factors, *kept, epsilon)

    return by_rows(part, *moments, *running, *saved)


@kernel()
def _clear(a: Any, b: Any) -> None:
    for c in range(a.size):
        a[c] = 0
        b[c] = 0


def launch_clear(vectors: Pair) -> Launch:
    """Set both vectors to 0."""
    return by_rows(_clear, *vectors)


# ---------------------------------------------------------------- its gradient


@kernel("reassoc")
def _sum_products(
    x: Any, dy: Any, mean: Any, products: Any, totals: Any, start: int, end: int
) -> None:
    outer, _, inner = x.shape
    for c in range(start, end):
        products[c] = 0
        totals[c] = 0
    if inner == 1:
        for o in range(outer):
            for c in range(start, end):
                g = np.float64(dy[o, c, 0])
                totals[c] += g
                products[c] += g * (np.float64(x[o, c, 0]) - mean[c])
        return
    for c in range(start, end):
        middle = np.float64(mean[c])
        product = 0.0
        total = 0.0
        for o in range(outer):
            for i in range(inner):
                g = np.float64(dy[o, c, i])
                total += g
                product += g * (np.float64(x[o, c, i]) - middle)
        products[c] = product
        totals[c] = total


@kernel()
def _affine_gradient(products: Any, totals: Any, inverse: Any, dscale: Any, dbias: Any) -> None:
    for c in range(dscale.size):
        dscale[c] = products[c] * inverse[c]
        dbias[c] = totals[c]


def launch_affine_gradient(call: Call, x: Array, dy: Array, saved: Pair, out: Pair) -> list[Launch]:
    """dscale = sum of dy * (x - mean) * inv_std and dbias = sum of dy; `saved` is mean, inv_std."""
    mean, inverse = saved
    if is_on_device(x):
        return launch_by_channel("channels.SLOPES", (1, *x.shape), (x, dy, mean), (inverse, *out))
    products, totals = (call.scratch(mean.shape, np.float64) for _ in range(2))
    arrays = (x, dy, mean, products, totals)
    return [
        _by_channels(lambda start, end: _sum_products(*arrays, start, end), x, dy),
        _affine_gradient(products, totals, inverse, *out),
    ]


@kernel()
def _fixed_factors(scale: Any, variance: Any, epsilon: Any, inverse: Any, factor: Any) -> None:
    for c in range(factor.size):
        inverse[c] = 1 / math.sqrt(variance[c] + epsilon)
        factor[c] = scale[c] * inverse[c]


def _scaled(x, factor):
    return x * factor


def launch_fixed_gradient(
    scale: Array, variance: Array, epsilon: float, dy: Array, solved: Pair, dx: Array
) -> list[Launch]:
    """Dx = dy * scale * inverse with a fixed inverse = 1 / sqrt(variance + epsilon).

    `solved` takes the inverse and its product with the scale.
    """
    return [
        by_rows(
            lambda a, b, inverse, factor: _fixed_factors(a, b, epsilon, inverse, factor),
            *(scale, variance, *solved),
        ),
        launch_channel_map(_scaled, (dy,), solved[1:], dx),
    ]


@kernel()
def _batch_factors(
    scale: Any,
    inverse: Any,
    dscale: Any,
    dbias: Any,
    count: Any,
    factor: Any,
    slope: Any,
    term: Any,
) -> None:
    for c in range(factor.size):
        a = np.float64(scale[c]) * inverse[c]
        factor[c] = a
        slope[c] = -a * inverse[c] * dscale[c] / count
        term[c] = -a * dbias[c] / count


def _batch_gradient(x, dy, mean, factor, slope, term):
    return dy * factor + ((x - mean) * slope + term)


def launch_batch_gradient(
    call: Call, x: Array, dy: Array, scale: Array, saved: Pair, sums: Pair, dx: Array
) -> list[Launch]:
    """Dx = scale * inv_std * (dy - (dbias + (x - mean) * inv_std * dscale) / count).

    `saved` holds mean and inv_std, `sums` dscale and dbias; `count` is the size of a channel of x.
    """
    mean, inverse = saved
    factors = [call.scratch(mean.shape, x.dtype) for _ in range(3)]
    count = float(x.shape[0] * x.shape[2])

    def solve(a: Array, b: Array, dscale: Array, dbias: Array, *own: Array) -> Launch:
        return _batch_factors(a, b, dscale, dbias, count, *own)

    return [
        by_rows(solve, scale, inverse, *sums, *factors),
        launch_channel_map(_batch_gradient, (x, dy), (mean, *factors), dx),
    ]


# ---------------------------------------------------------------- windows of neighbouring channels


def _clear_row(row: Any) -> None:
    for j in range(row.size):
        row[j] = 0


def _overlap(a: Any, b: Any, first: Any, shift: Any) -> Any:
    """The parts of two rows where b[first + j + shift] stands against a[j]."""
    start = min(max(-first - shift, 0), a.size)
    end = max(min(b.size - first - shift, a.size), start)
    return a[start:end], b[first + shift + start : first + shift + end]


def _response_scale(
    x: Any, first: Any, inner: Any, before: Any, after: Any, alpha: Any, bias: Any, scale: Any
) -> None:
    """scale = bias + alpha * sum of squares over a window of channels, from x[first] on."""
    _clear_row(scale)
    for k in range(-before, after + 1):
        here, there = _overlap(scale, x, first, k * inner)
        for j in range(here.size):
            here[j] += there[j] * there[j]
    for j in range(scale.size):
        scale[j] = bias + alpha * scale[j]


def _over_power(x: Any, scale: Any, beta: Any, y: Any) -> None:
    """Y = x * scale ** -beta; the powers that networks use need no logarithm."""
    if beta == 0.75:
        for j in range(y.size):
            root = math.sqrt(scale[j])
            y[j] = x[j] / (root * math.sqrt(root))
    elif beta == 0.5:
        for j in range(y.size):
            y[j] = x[j] / math.sqrt(scale[j])
    elif beta == 1:
        for j in range(y.size):
            y[j] = x[j] / scale[j]
    else:
        for j in range(y.size):
            y[j] = x[j] * scale[j] ** -beta


@kernel("contract")
def _response(
    x: Any,
    inner: Any,
    before: Any,
    after: Any,
    alpha: Any,
    bias: Any,
    beta: Any,
    scale: Any,
    y: Any,
    start: int,
    end: int,
) -> None:
    """Elements `start` to `end` of all rows."""
    for o in range(x.shape[0]):
        row = scale[o, start:end] if scale.shape[0] > 1 else scale[0, start:end]
        _response_scale(x[o], start, inner, before, after, alpha, bias, row)
        _over_power(x[o, start:end], row, beta, y[o, start:end])


_response.form_from("channels", "response")


@kernel("contract")
def _response_gradient(
    x: Any,
    y: Any,
    dy: Any,
    inner: Any,
    before: Any,
    after: Any,
    alpha: Any,
    bias: Any,
    beta: Any,
    scratch: Any,
    dx: Any,
) -> None:
    scale, ratio, sums = scratch[0], scratch[1], scratch[2]
    steep = x.dtype.type(-2) * alpha * beta
    for o in range(x.shape[0]):
        _response_scale(x[o], 0, inner, before, after, alpha, bias, scale)
        for j in range(scale.size):
            ratio[j] = dy[o, j] * y[o, j] / scale[j]
        _clear_row(sums)
        for k in range(-after, before + 1):
            here, there = _overlap(sums, ratio, 0, k * inner)
            for j in range(here.size):
                here[j] += there[j]
        _over_power(dy[o], scale, beta, dx[o])
        for j in range(scale.size):
            dx[o, j] += steep * x[o, j] * sums[j]


@dataclass(frozen=True)
class Response:
    """Local response normalisation: y = x * scale ** -beta, scale = bias + alpha * sum(x * x).

    The sum is over a channel, `before` channels before it and `after` behind it.
    """

    before: int
    after: int
    alpha: float
    bias: float
    beta: float

    def _scalars(self, x: Array) -> tuple[Any, ...]:
        number = x.dtype.type
        most = max(x.shape[1] - 1, 0)  # a window is no larger than all channels
        sizes = (x.shape[2], min(self.before, most), min(self.after, most))
        return (*sizes, number(self.alpha), number(self.bias), number(self.beta))

    def launch(self, call: Call, x: Array, y: Array, scale: Array | None) -> list[Launch]:
        """All arrays are (outer, channels, inner); `scale` is kept where it is asked for."""
        outer, length = len(x), x.shape[1] * x.shape[2]
        scalars, work = self._scalars(x), self._work(x)

        def launch(first: int, end: int, start: int, stop: int) -> Launch:
            own = call.scratch((1, length), x.dtype) if scale is None else _flat(scale[first:end])
            images = _flat(x[first:end]), _flat(y[first:end])
            return _response(images[0], *scalars, own, images[1], start, stop)

        def some_images(first: int, end: int) -> Launch:
            return launch(first, end, 0, length)

        if outer > length:
            return split(outer, work, some_images)
        return split(length, work, lambda start, stop: launch(0, outer, start, stop), _LINE)

    def _work(self, x: Array) -> float:
        """Nanoseconds for a pass over the windows of x."""
        return moving(x) * (self.before + self.after + 4)

    def launch_gradient(self, call: Call, x: Array, y: Array, dy: Array, dx: Array) -> list[Launch]:
        """Dx = dy * scale ** -beta - 2 * alpha * beta * x * sum of dy * y / scale."""
        if is_on_device(x):
            return self._gradient_on_device(call, x, y, dy, dx)

        def part(first: int, end: int) -> Launch:
            scratch = call.scratch((3, x.shape[1] * x.shape[2]), x.dtype)
            images = (_flat(a[first:end]) for a in (x, y, dy))
            return _response_gradient(*images, *self._scalars(x), scratch, _flat(dx[first:end]))

        return split(len(x), 2 * self._work(x), part)

    def _gradient_on_device(
        self, call: Call, x: Array, y: Array, dy: Array, dx: Array
    ) -> list[Launch]:
        """The same from the scale of each element, which comes with y once more."""
        scale, again = (call.scratch(_flat(x).shape, x.dtype) for _ in range(2))
        sizes, numbers = self._scalars(x)[:4], self._scalars(x)[5]
        gradient = on_cuda("channels.RESPONSE_GRADIENT")
        images = (_flat(a) for a in (x, y, dy))
        return [
            _response(_flat(x), *self._scalars(x), scale, again, 0, scale.shape[1]),
            gradient(*images, *sizes, numbers, scale, _flat(dx)),
        ]


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2])


@kernel()
def _fold_into_filters(w, bias, scale, shift, mean, var, epsilon, folded, moved):
    """Filters and bias whose results are those of `w` and `bias`, normalised."""
    for f in range(w.shape[0]):
        factor = np.float64(scale[f]) / math.sqrt(np.float64(var[f]) + epsilon)
        for k in range(w.shape[1]):
            folded[f, k] = w[f, k] * factor
        moved[f] = (bias[f % bias.size] - np.float64(mean[f])) * factor + shift[f]


def launch_fold_into_filters(
    w: Array,
    bias: Array | None,
    vectors: Sequence[Array],
    epsilon: float,
    folded: Array,
    moved: Array,
) -> Launch:
    """Filters and bias that normalise by themselves; `vectors` are scale, shift, mean and var.

    x folded + moved = (x w + bias - mean) / sqrt(var + epsilon) * scale + shift, with one element
    of each vector a filter.
    """
    start = np.zeros(1, w.dtype) if bias is None else bias
    rows = (len(w), w.size // max(len(w), 1))
    flat = w.reshape(rows), folded.reshape(rows)

    def part(first: int, end: int) -> Launch:
        own = start if bias is None else start[first:end]
        parts = [a[first:end] for a in (*vectors, flat[1], moved)]
        return _fold_into_filters(flat[0][first:end], own, *parts[:4], float(epsilon), *parts[4:])

    return divisible(len(w), moving(w, folded), part)
