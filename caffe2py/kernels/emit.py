"""Machine instructions behind the intrinsics: what kernels say by name, emitted with llvmlite.

Only the compiler imports this; numba and llvmlite come with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from caffe2py.errors import RegistrationError
from caffe2py.kernels import objects

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


@intrinsic
def pointer(typing: Any, address: Any) -> Any:
    """An address as a pointer."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return numba.types.voidptr(numba.types.int64), emit


@intrinsic
def _call_kernel(typing: Any, address: Any, block: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = ir.FunctionType(_I32, [_I64])
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), [args[1]])

    return numba.types.int32(numba.types.int64, numba.types.int64), emit


@intrinsic
def _lines(typing: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _I64(objects.tile_lines())

    return numba.types.int64(), emit


@intrinsic
def _lanes(typing: Any, array: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _I64(_lane_count(array))

    return numba.types.int64(array), emit


def _lane_count(array: Any) -> int:
    return objects.vector_bytes() * 8 // int(array.dtype.bitwidth)


class Lanes:
    """Vectors of one element type in one function: loads, stores and arithmetic."""

    def __init__(self, builder: Any, array: Any, count: int = 0) -> None:
        """`array` is numba's type of an array of the elements; `count` of them, or a vector."""
        self.builder = builder
        self.count = count or _lane_count(array)
        self.size = int(array.dtype.bitwidth) // 8
        self.element = {4: ir.FloatType(), 8: ir.DoubleType()}[self.size]
        self.type = ir.VectorType(self.element, self.count)
        self.zero = ir.Constant(self.type, [0.0] * self.count)
        self._suffix = f"v{self.count}f{self.size * 8}"

    def at(self, address: Any, elements: int) -> Any:
        """An address some elements further on."""
        return self.builder.add(address, _I64(elements * self.size)) if elements else address

    def step(self, elements: Any) -> Any:
        """A number of elements as bytes."""
        return self.builder.mul(elements, _I64(self.size))

    def scalar(self, address: Any) -> Any:
        """The element at an address."""
        return self.builder.load(self.builder.inttoptr(address, self.element.as_pointer()))

    def splat(self, scalar: Any) -> Any:
        """A vector that repeats one element."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, self.count), [0] * self.count)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def repeat(self, value: float) -> Any:
        """A vector that repeats a constant."""
        return ir.Constant(self.type, [float(value)] * self.count)

    def shuffle(self, a: Any, b: Any, places: Sequence[int]) -> Any:
        """The elements at these places of a and, counted on, b."""
        mask = ir.Constant(ir.VectorType(_I32, self.count), [*places])
        return self.builder.shuffle_vector(a, b, mask)

    def mask(self, width: Any) -> Any:
        """Which lanes are below `width`."""
        kind = ir.VectorType(_I64, self.count)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), width, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, self.count), [0] * self.count)
        limits = self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)
        return self.builder.icmp_signed("<", ir.Constant(kind, [*range(self.count)]), limits)

    def load(self, address: Any, mask: Any = None) -> Any:
        """The vector at an address; 0 in lanes that a mask leaves out, whose memory is not read."""
        place = self.builder.inttoptr(address, self.type.as_pointer())
        if mask is None:
            return self.builder.load(place, align=self.size)
        kinds = [place.type, _I32, mask.type, self.type]
        load = self._declare(f"llvm.masked.load.{self._suffix}.p0", self.type, kinds)
        return self.builder.call(load, [place, _I32(self.size), mask, self.zero])

    def store(self, value: Any, address: Any, mask: Any = None) -> None:
        """Write a vector; lanes that a mask leaves out are not written."""
        place = self.builder.inttoptr(address, self.type.as_pointer())
        if mask is None:
            self.builder.store(value, place, align=self.size)
            return
        kinds = [self.type, place.type, _I32, mask.type]
        store = self._declare(f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), kinds)
        self.builder.call(store, [value, place, _I32(self.size), mask])

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once where the CPU can."""
        name = f"llvm.fmuladd.{self._suffix}"
        return self.builder.call(self._declare(name, self.type, [self.type] * 3), [a, b, c])

    def at_least(self, value: Any, low: Any) -> Any:
        """The larger of two vectors; NaN stays NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", value, low), low, value)

    def _declare(self, name: str, result: Any, kinds: Sequence[Any]) -> Any:
        module = self.builder.module
        found = module.globals.get(name)
        return found or ir.Function(module, ir.FunctionType(result, kinds), name=name)


def data_address(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Where an array's elements begin."""
    return builder.ptrtoint(context.make_array(kind)(context, builder, value=array).data, _I64)


class _Tile:
    """The code of one tile: `rows` x `vectors` sums in registers."""

    def __init__(self, builder: Any, array: Any, vectors: int) -> None:
        self.builder = builder
        self.lanes = Lanes(builder, array)
        self.rows = objects.tile_lines()
        self.vectors = vectors

    def emit(self, deep: Any, a: Any, b: Any, b_step: Any, epilogue: Any, width: Any) -> None:
        """One loop for whole vectors and one that masks what lies beyond `width`."""
        builder = self.builder
        done = builder.append_basic_block("tile.done")
        whole = builder.icmp_signed("==", width, _I64(self.vectors * self.lanes.count))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                self._sum(deep, a, b, b_step, epilogue, [None] * self.vectors)
            with otherwise:
                left = [builder.sub(width, _I64(j * self.lanes.count)) for j in range(self.vectors)]
                self._sum(deep, a, b, b_step, epilogue, [self.lanes.mask(n) for n in left])
        builder.branch(done)
        builder.position_at_end(done)

    def _sum(
        self, deep: Any, a: Any, b: Any, b_step: Any, epilogue: Any, masks: Sequence[Any]
    ) -> None:
        builder, lanes = self.builder, self.lanes
        before, loop = builder.block, builder.append_basic_block("tile.loop")
        after = builder.append_basic_block("tile.after")
        builder.branch(loop)
        builder.position_at_end(loop)
        k, a_now, b_now = (builder.phi(_I64) for _ in range(3))
        sums = [[builder.phi(lanes.type) for _ in masks] for _ in range(self.rows)]
        row = [lanes.load(lanes.at(b_now, j * lanes.count), m) for j, m in enumerate(masks)]
        new = []
        for i, line in enumerate(sums):
            x = lanes.splat(lanes.scalar(lanes.at(a_now, i)))
            new.append([lanes.multiply_add(x, y, z) for y, z in zip(row, line, strict=True)])
        following = builder.add(k, _I64(1))
        for phi, first, later in (
            (k, _I64(0), following),
            (a_now, a, lanes.at(a_now, self.rows)),
            (b_now, b, builder.add(b_now, b_step)),
            *((p, lanes.zero, n) for old, line in zip(sums, new, strict=True)
              for p, n in zip(old, line, strict=True)),
        ):  # fmt: skip
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", following, deep), loop, after)
        builder.position_at_end(after)
        epilogue(self, new, masks)


class _Column:
    """The code of a tile of one column: the rows are the lanes, four sums run side by side."""

    CHAINS = 4

    def __init__(self, builder: Any, array: Any) -> None:
        self.builder = builder
        self.rows = objects.tile_lines()
        self.lanes = Lanes(builder, array, self.rows)

    def emit(self, deep: Any, a: Any, b: Any, b_step: Any) -> Any:
        """The sums, as a vector."""
        builder = self.builder
        whole = builder.and_(deep, _I64(-self.CHAINS))
        zeros = [self.lanes.zero] * self.CHAINS
        some, a, b = self._loop(_I64(0), whole, a, b, b_step, zeros)
        total = functools.reduce(builder.fadd, some)
        (total,), _, _ = self._loop(whole, deep, a, b, b_step, [total])
        return total

    def _loop(
        self, first: Any, last: Any, a: Any, b: Any, b_step: Any, starts: Sequence[Any]
    ) -> tuple[list[Any], Any, Any]:
        builder, lanes = self.builder, self.lanes
        before = builder.block
        head, body, after = (builder.append_basic_block(f"column.{n}") for n in "hba")
        builder.branch(head)
        builder.position_at_end(head)
        k, a_now, b_now = (builder.phi(_I64) for _ in range(3))
        sums = [builder.phi(lanes.type) for _ in starts]
        builder.cbranch(builder.icmp_signed("<", k, last), body, after)
        builder.position_at_end(body)
        a_next, b_next, new = a_now, b_now, []
        for total in sums:
            x = lanes.load(a_next)
            new.append(lanes.multiply_add(x, lanes.splat(lanes.scalar(b_next)), total))
            a_next, b_next = lanes.at(a_next, self.rows), builder.add(b_next, b_step)
        following = builder.add(k, _I64(len(starts)))
        firsts, laters = [first, a, b, *starts], [following, a_next, b_next, *new]
        for phi, start, later in zip([k, a_now, b_now, *sums], firsts, laters, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(later, body)
        builder.branch(head)
        builder.position_at_end(after)
        return sums, a_now, b_now

    def write(self, total: Any, places: Sequence[Any], low: Any, rows: Any) -> None:
        """C = max(low, sums + base + bias) for the first `rows` rows."""
        builder, lanes = self.builder, self.lanes
        steps = [step for _, step in places]
        here = [place for place, _ in places]
        end = builder.append_basic_block("column.written")
        for i in range(self.rows):
            if i:
                more = builder.append_basic_block("column.row")
                builder.cbranch(builder.icmp_signed(">", rows, _I64(i)), more, end)
                builder.position_at_end(more)
            value = builder.extract_element(total, _I32(i))
            for place in here[1:]:
                value = builder.fadd(value, lanes.scalar(place))
            value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
            builder.store(value, builder.inttoptr(here[0], lanes.element.as_pointer()))
            here = [builder.add(*pair) for pair in zip(here, steps, strict=True)]
        builder.branch(end)
        builder.position_at_end(end)


def _tile(vectors: int) -> Any:
    @intrinsic
    def tile(
        typing, deep, a, a_at, b, b_at, b_step, c, c_at, c_step,
        base, base_at, base_step, bias, bias_at, bias_step, low, rows, width,
    ):  # fmt: skip
        given = (
            deep, a, a_at, b, b_at, b_step, c, c_at, c_step,
            base, base_at, base_step, bias, bias_at, bias_step, low, rows, width,
        )  # fmt: skip
        _refuse_mixed(given)
        whole = numba.types.int64
        kinds = [
            kind if isinstance(kind, numba.types.Array) else a.dtype if kind is low else whole
            for kind in given
        ]

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = dict(zip(_TILE_ARGUMENTS, args, strict=True))
            types = dict(zip(_TILE_ARGUMENTS, signature.args, strict=True))
            lanes = Lanes(builder, types["a"])

            def address(name: str) -> Any:
                start = data_address(context, builder, types[name], values[name])
                return builder.add(start, lanes.step(values[f"{name}_at"]))

            def step(name: str) -> Any:
                return lanes.step(values[f"{name}_step"])

            places = [(address(n), step(n)) for n in ("c", "base", "bias")]
            if not vectors:
                column = _Column(builder, types["a"])
                total = column.emit(values["deep"], address("a"), address("b"), step("b"))
                column.write(total, places, values["low"], values["rows"])
                return context.get_dummy_value()
            form = _Tile(builder, types["a"], vectors)
            low_vector = lanes.splat(values["low"])

            def epilogue(form: _Tile, sums: Any, masks: Any) -> None:
                _write(form, sums, masks, places, low_vector, values["rows"])

            form.emit(
                values["deep"], address("a"), address("b"), step("b"), epilogue, values["width"]
            )
            return context.get_dummy_value()

        return numba.types.void(*kinds), emit

    return tile


_TILE_ARGUMENTS = (
    "deep", "a", "a_at", "b", "b_at", "b_step", "c", "c_at", "c_step",
    "base", "base_at", "base_step", "bias", "bias_at", "bias_step", "low", "rows", "width",
)  # fmt: skip


def _refuse_mixed(given: Sequence[Any]) -> None:
    kinds = {kind.dtype for kind in given if isinstance(kind, numba.types.Array)}
    if len(kinds) != 1 or not isinstance(next(iter(kinds)), numba.types.Float):
        raise RegistrationError(f"a tile needs arrays of one floating type, found {kinds}")


def _write(form: _Tile, sums: Any, masks: Any, places: Sequence[Any], low: Any, rows: Any) -> None:
    """C = max(low, sums + base + bias) for the first `rows` rows."""
    builder, lanes = form.builder, form.lanes
    (c, c_step), (base, base_step), (bias, bias_step) = places
    end = builder.append_basic_block("tile.written")
    for i, line in enumerate(sums):
        if i:
            more = builder.append_basic_block("tile.row")
            builder.cbranch(builder.icmp_signed(">", rows, _I64(i)), more, end)
            builder.position_at_end(more)
        shift = lanes.splat(lanes.scalar(bias))
        for j, (value, mask) in enumerate(zip(line, masks, strict=True)):
            here = j * lanes.count
            value = builder.fadd(value, lanes.load(lanes.at(base, here), mask))
            value = lanes.at_least(builder.fadd(value, shift), low)
            lanes.store(value, lanes.at(c, here), mask)
        c, base, bias = (
            builder.add(*pair) for pair in ((c, c_step), (base, base_step), (bias, bias_step))
        )
    builder.branch(end)
    builder.position_at_end(end)


#: The numba functions behind the intrinsics, made when asked for.
EMITTED: dict[str, Callable[[], Any]] = {
    "call_kernel": lambda: _call_kernel,
    "lines": lambda: _lines,
    "lanes": lambda: _lanes,
    "tile0": lambda: _tile(0),
    "tile1": lambda: _tile(1),
    "tile2": lambda: _tile(2),
    "tile3": lambda: _tile(3),
}
