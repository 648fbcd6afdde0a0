"""Vector code of short rows, where a compiler's loops are mostly remainders.

The last vector of a row is loaded under a mask, so that a row of 49 elements takes four loads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.errors import RegistrationError
from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_winograd import apart, together

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)

#: Vectors that are combined side by side, to hide how long each combination takes.
CHAINS = 4

#: From the code's place and two vectors the combined one, lane by lane.
Combine = Callable[[Lanes, Any, Any], Any]


def _plus(lanes: Lanes, a: Any, b: Any) -> Any:
    return lanes.builder.fadd(a, b)


def _greater(lanes: Lanes, a: Any, b: Any) -> Any:
    """The larger one; a NaN in `a` stays, one in `b` is passed over."""
    return lanes.builder.select(lanes.builder.fcmp_ordered(">", b, a), b, a)


def _smaller(lanes: Lanes, a: Any, b: Any) -> Any:
    return lanes.builder.select(lanes.builder.fcmp_ordered("<", b, a), b, a)


def _top(lanes: Lanes, a: Any, b: Any) -> Any:
    """The larger one, NaN if one is."""
    builder = lanes.builder
    most = builder.select(builder.fcmp_ordered(">", a, b), a, b)
    return builder.select(builder.fcmp_ordered("==", a, a), most, a)


class Counter:
    """A loop over first, first + step, ... below `beyond`, which carries vectors along."""

    def __init__(
        self, builder: Any, first: Any, beyond: Any, step: int = 1, carried: Sequence[Any] = ()
    ) -> None:
        self.builder = builder
        self.step = step
        before = builder.block
        self.head, body, self.after = (builder.append_basic_block(f"count.{n}") for n in "hba")
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.index = builder.phi(_I64)
        self.index.add_incoming(first, before)
        self.carried = [builder.phi(start.type) for start in carried]
        for value, start in zip(self.carried, carried, strict=True):
            value.add_incoming(start, before)
        builder.cbranch(builder.icmp_signed("<", self.index, beyond), body, self.after)
        builder.position_at_end(body)

    def close(self, values: Sequence[Any] = ()) -> list[Any]:
        """End the body with new values of what is carried; returns the last ones."""
        block = self.builder.block
        self.index.add_incoming(self.builder.add(self.index, _I64(self.step)), block)
        for carried, value in zip(self.carried, values, strict=True):
            carried.add_incoming(value, block)
        self.builder.branch(self.head)
        self.builder.position_at_end(self.after)
        return self.carried


class _Row:
    """The code that combines a row to one element."""

    def __init__(self, lanes: Lanes, combine: Combine, start: Any) -> None:
        """`start` changes nothing in a combination; the lanes beyond the row's end hold it."""
        self.lanes = lanes
        self.combine = combine
        self.start = start

    def emit(self, place: Any, count: Any) -> Any:
        """The element of `count` ones at an address."""
        builder, lanes = self.lanes.builder, self.lanes
        many = builder.and_(count, _I64(-CHAINS * lanes.count))
        some = builder.and_(count, _I64(-lanes.count))
        vectors = self._loop(place, _I64(0), many, [self.start] * CHAINS)
        while len(vectors) > 1:
            vectors = [self.combine(lanes, *vectors[k : k + 2]) for k in range(0, len(vectors), 2)]
        (vector,) = self._loop(place, many, some, vectors)
        mask = lanes.mask(builder.sub(count, some))
        rest = lanes.load(builder.add(place, lanes.step(some)), mask)
        vector = self.combine(lanes, vector, builder.select(mask, rest, self.start))
        half = lanes.count // 2
        while half:
            beyond = [(k + half) % lanes.count for k in range(lanes.count)]
            vector = self.combine(lanes, vector, lanes.shuffle(vector, vector, beyond))
            half //= 2
        return builder.extract_element(vector, _I32(0))

    def _loop(self, place: Any, first: Any, last: Any, starts: Sequence[Any]) -> list[Any]:
        """Combine whole vectors from element `first` to `last`, as many side by side as `starts`"""
        builder, lanes = self.lanes.builder, self.lanes
        loop = Counter(builder, first, last, len(starts) * lanes.count, starts)
        here = builder.add(place, lanes.step(loop.index))
        vectors = [lanes.load(lanes.at(here, j * lanes.count)) for j in range(len(starts))]
        pairs = zip(loop.carried, vectors, strict=True)
        return loop.close([self.combine(lanes, total, vector) for total, vector in pairs])


def _require_floats(*kinds: Any) -> None:
    if len({kind.dtype for kind in kinds}) > 1 or not isinstance(kinds[0].dtype, numba.types.Float):
        raise RegistrationError(f"rows need one floating type, found {kinds}")


def _over_row(combine: Combine, neutral: float | None) -> Any:
    """row(x, at, count); without a neutral element lanes begin with the row's first one."""

    @intrinsic
    def row(typing, x, at, count):
        _require_floats(x)

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])
            start = data_address(context, builder, signature.args[0], args[0])
            place = builder.add(start, lanes.step(args[1]))
            begin = lanes.splat(lanes.scalar(place)) if neutral is None else lanes.repeat(neutral)
            return _Row(lanes, combine, begin).emit(place, args[2])

        return x.dtype(x, numba.types.int64, numba.types.int64), emit

    return row


def within(lanes: Lanes, first: Any, count: Any) -> Any:
    """Which of the places first, first + 1, ... are in range(count); some may be negative."""
    builder, kind = lanes.builder, ir.VectorType(_I32, lanes.count)

    def splat(value: Any) -> Any:
        undefined = ir.Constant(kind, ir.Undefined)
        one = builder.insert_element(undefined, builder.trunc(value, _I32), _I32(0))
        return builder.shuffle_vector(one, undefined, ir.Constant(kind, [0] * lanes.count))

    places = builder.add(splat(first), ir.Constant(kind, [*range(lanes.count)]))
    return builder.icmp_unsigned("<", places, splat(count))


class _Credit:
    """A row of an image under windows that are `step` apart; lanes are windows side by side."""

    def __init__(self, lanes: Lanes, step: int, size: Any, begin: Any) -> None:
        """`size` is that of a window, `begin` the pad before the first one's first element."""
        self.lanes = lanes
        self.builder = lanes.builder
        self.step = step
        self.size = size
        self.begin = begin

    def emit(self, x: Any, dx: Any, length: Any, tops: Any, shares: Any, grid: Any) -> None:
        """dx = the sum of shares of the windows whose top is x; `grid`: their number, and rows"""
        builder, lanes = self.builder, self.lanes
        beyond = builder.add(length, self.begin)
        far = lanes.count * self.step
        block = Counter(builder, _I64(0), beyond, far)
        image = builder.sub(block.index, self.begin)
        places = [builder.add(image, _I64(v * lanes.count)) for v in range(self.step)]
        masks = [within(lanes, place, length) for place in places]
        own = [
            lanes.load(builder.add(x, lanes.step(place)), mask)
            for place, mask in zip(places, masks, strict=True)
        ]
        own = apart(lanes, own)
        windows, rows = grid
        row = Counter(builder, _I64(0), rows, 1, [lanes.zero] * self.step)
        at = builder.mul(row.index, windows)
        # block.index counts elements of the padded row: the window that begins there
        nearest = builder.sdiv(block.index, _I64(self.step))
        reach = builder.sdiv(builder.sub(self.size, _I64(1)), _I64(self.step))
        first = builder.sub(nearest, reach)
        tap = Counter(builder, first, builder.add(nearest, _I64(1)), 1, row.carried)
        mask = within(lanes, tap.index, windows)
        here = lanes.step(builder.add(at, tap.index))
        top = lanes.load(builder.add(tops, here), mask)
        share = lanes.load(builder.add(shares, here), mask)
        back = builder.mul(builder.sub(nearest, tap.index), _I64(self.step))
        sums = []
        for f, (value, total) in enumerate(zip(own, tap.carried, strict=True)):
            inside = builder.icmp_signed("<", builder.add(back, _I64(f)), self.size)
            gain = builder.select(builder.fcmp_ordered("==", value, top), share, lanes.zero)
            sums.append(builder.fadd(total, builder.select(inside, gain, lanes.zero)))
        totals = row.close(tap.close(sums))
        for place, mask, total in zip(places, masks, together(lanes, totals), strict=True):
            lanes.store(total, builder.add(dx, lanes.step(place)), mask)
        block.close()


def _credit(step: int) -> Any:
    @intrinsic
    def credit(typing, x, y, dy, at, windows, rows, size, begin, dx):
        _require_floats(x, y, dy, dx)
        whole = numba.types.int64

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder, signature.args[0])
            x, y, dy, dx = (
                data_address(context, builder, signature.args[k], args[k]) for k in (0, 1, 2, 8)
            )
            kind = context.make_array(signature.args[0])
            length = kind(context, builder, value=args[0]).nitems
            tops, shares = (builder.add(a, lanes.step(args[3])) for a in (y, dy))
            form = _Credit(lanes, step, args[6], args[7])
            form.emit(x, dx, length, tops, shares, (args[4], args[5]))
            return context.get_dummy_value()

        return numba.types.void(x, y, dy, whole, whole, whole, whole, whole, dx), emit

    return credit


EMITTED: dict[str, Callable[[], Any]] = {
    "row_sum": lambda: _over_row(_plus, 0.0),
    "row_greatest": lambda: _over_row(_greater, None),
    "row_smallest": lambda: _over_row(_smaller, None),
    "row_top": lambda: _over_row(_top, float("-inf")),
    "credit1": lambda: _credit(1),
    "credit2": lambda: _credit(2),
}
