"""Vector code that adds up rows of a table: the sums stay in registers while rows come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.errors import RegistrationError
from caffe2py.kernels.emit import Lanes, data_address
from caffe2py.kernels.emit_moves import fetch
from caffe2py.kernels.emit_rows import Counter, within

_I64 = ir.IntType(64)

#: Vectors of a row that are summed at a time.
WIDE = 4

#: Rows are asked for this many places before they are added: where they lie no hardware foresees.
AHEAD = 16


class _Table:
    """Rows of a table, looked up by indices and perhaps weighted."""

    def __init__(
        self, lanes: Lanes, x: Any, width: Any, indices: tuple[Any, Any], weights: Any
    ) -> None:
        """The table's place and the elements of a row; place and numba type of the indices.

        `weights` is the place of those of a span's rows, or None.
        """
        self.lanes = lanes
        self.builder = lanes.builder
        self.x = x
        self.width = width
        self.indices, kind = indices
        self.index = ir.IntType(int(kind.dtype.bitwidth))
        self.weights = weights

    def row_bytes(self) -> Any:
        """From one row to the next."""
        return self.lanes.step(self.width)

    def _row(self, place: Any) -> Any:
        """Where the row begins that an index names."""
        builder, size = self.builder, self.index.width // 8
        at = builder.add(self.indices, builder.mul(place, _I64(size)))
        index = builder.load(builder.inttoptr(at, self.index.as_pointer()))
        index = index if self.index.width == 64 else builder.sext(index, _I64)
        return builder.add(self.x, builder.mul(index, self.row_bytes()))

    def _weight(self, place: Any) -> Any:
        """The weight of a span's row, or None."""
        if self.weights is None:
            return None
        return self.lanes.scalar(self.builder.add(self.weights, self.lanes.step(place)))

    def sum(self, span: Sequence[Any], column: Any, masks: Sequence[Any]) -> list[Any]:
        """Of rows first to last of a span (first, last, all there are), from a column on."""
        builder = self.builder
        first, last, count = span
        loop = Counter(builder, first, last, 1, [self.lanes.zero] * WIDE)
        ahead = builder.add(loop.index, _I64(AHEAD))
        ahead = builder.select(builder.icmp_signed("<", ahead, count), ahead, loop.index)
        row, weight = self._row(loop.index), self._weight(builder.sub(loop.index, first))
        return loop.close(self._add(loop.carried, row, self._row(ahead), column, weight, masks))

    def _add(
        self, totals: Any, row: Any, later: Any, column: Any, weight: Any, masks: Sequence[Any]
    ) -> list[Any]:
        """The totals with a row, from a column on; a later row is asked for."""
        lanes = self.lanes
        here, there = (self.builder.add(place, lanes.step(column)) for place in (row, later))
        factor = None if weight is None else lanes.splat(weight)
        sums = []
        for j, (total, mask) in enumerate(zip(totals, masks, strict=True)):
            fetch(self.builder, lanes.at(there, j * lanes.count))
            elements = lanes.load(lanes.at(here, j * lanes.count), mask)
            if factor is None:
                sums.append(self.builder.fadd(total, elements))
            else:
                sums.append(lanes.multiply_add(factor, elements, total))
        return sums


class _Bytes(_Table):
    """Rows of bytes that stand for byte * scale + bias; both follow a row's bytes, as float32."""

    def row_bytes(self) -> Any:
        return self.builder.add(self.width, _I64(2 * self.lanes.size))

    def _add(
        self, totals: Any, row: Any, later: Any, column: Any, weight: Any, masks: Sequence[Any]
    ) -> list[Any]:
        builder, lanes = self.builder, self.lanes
        head = builder.add(row, self.width)
        pair = []
        for place in (head, lanes.at(head, 1)):
            pointer = builder.inttoptr(place, lanes.element.as_pointer())
            value = builder.load(pointer, align=1)
            pair.append(lanes.splat(value if weight is None else builder.fmul(value, weight)))
        scale, bias = pair
        here, there = (builder.add(place, column) for place in (row, later))
        fetch(builder, there)
        fetch(builder, builder.add(later, self.width))
        sums = []
        for j, (total, mask) in enumerate(zip(totals, masks, strict=True)):
            levels = self._levels(builder.add(here, _I64(j * lanes.count)), mask)
            sums.append(lanes.multiply_add(levels, scale, builder.fadd(total, bias)))
        return sums

    def _levels(self, place: Any, mask: Any) -> Any:
        """Bytes as floats; those that a mask leaves out are not read."""
        builder, count = self.builder, self.lanes.count
        kind = ir.VectorType(ir.IntType(8), count)
        pointer = builder.inttoptr(place, kind.as_pointer())
        if mask is None:
            some = builder.load(pointer, align=1)
        else:
            name, i32 = f"llvm.masked.load.v{count}i8.p0", ir.IntType(32)
            form = ir.FunctionType(kind, [pointer.type, i32, mask.type, kind])
            load = builder.module.globals.get(name) or ir.Function(builder.module, form, name=name)
            nothing = ir.Constant(kind, [0] * count)
            some = builder.call(load, [pointer, i32(1), mask, nothing])
        wide = ir.VectorType(ir.IntType(32), count)
        return builder.sitofp(builder.zext(some, wide), self.lanes.type)


def _emit(form: type[_Table], context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Block of columns after block of columns."""

    def data(k: int) -> Any:
        return data_address(context, builder, signature.args[k], args[k])

    lanes, width = Lanes(builder, signature.args[6]), args[1]
    y = builder.add(data(6), lanes.step(args[7]))
    weights = builder.add(data(8), lanes.step(args[9])) if len(args) > 8 else None
    table = form(lanes, data(0), width, (data(2), signature.args[2]), weights)
    block = lanes.count * WIDE
    columns = Counter(builder, _I64(0), width, block)
    column = columns.index
    target = builder.add(y, lanes.step(column))
    whole = builder.icmp_signed("<=", builder.add(column, _I64(block)), width)
    with builder.if_else(whole) as branches:
        for branch, full in zip(branches, (True, False), strict=True):
            with branch:
                places = [builder.add(column, _I64(j * lanes.count)) for j in range(WIDE)]
                masks = [None if full else within(lanes, place, width) for place in places]
                for j, total in enumerate(table.sum(args[3:6], column, masks)):
                    lanes.store(total, lanes.at(target, j * lanes.count), masks[j])
    columns.close()
    return context.get_dummy_value()


def _add_rows(form: type[_Table], *, weighted: bool) -> Any:
    def kinds(x: Any, indices: Any, y: Any) -> tuple[Any, ...]:
        element = numba.types.uint8 if form is _Bytes else y.dtype
        if x.dtype != element or not isinstance(y.dtype, numba.types.Float):
            raise RegistrationError(f"rows of {x.dtype} cannot be added to {y.dtype}")
        whole = numba.types.int64
        return x, whole, indices, whole, whole, whole, y, whole

    def emit(*args: Any) -> Any:
        return _emit(form, *args)

    if weighted:

        @intrinsic
        def add_weighted(typing, x, width, indices, first, last, count, y, y_at, weights, w_at):
            return numba.types.void(*kinds(x, indices, y), weights, numba.types.int64), emit

        return add_weighted

    @intrinsic
    def add_plain(typing, x, width, indices, first, last, count, y, y_at):
        return numba.types.void(*kinds(x, indices, y)), emit

    return add_plain


EMITTED: dict[str, Callable[[], Any]] = {
    "add_rows": lambda: _add_rows(_Table, weighted=False),
    "add_weighted_rows": lambda: _add_rows(_Table, weighted=True),
    "add_byte_rows": lambda: _add_rows(_Bytes, weighted=False),
    "add_weighted_byte_rows": lambda: _add_rows(_Bytes, weighted=True),
}
