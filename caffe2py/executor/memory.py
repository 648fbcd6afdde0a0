"""Storage that blobs and scratch take over from each other while a net runs.

Operators run one after another, so what nobody reads any more may be overwritten. Storage is given
out while operators are planned, in the order in which they run: an operator's outputs and scratch
come from what is free at that time, the smallest piece that fits, and go back after the last
operator that touches them. Which operators make views of their inputs is seen when they are
planned, and a viewed piece stays until the last use of every blob in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.errors import MemoryBudgetError
from caffe2py.executor.bind import BoundOperator
from caffe2py.proto.analysis import external_inputs, nested_nets, produced
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.tensor import ALIGNMENT, Array, Blob, device_of, empty_on
from caffe2py.tensor.types import STRING, DType, Shape

_BYTE = np.dtype(np.uint8)

#: Blocks have room for so many pieces like the first one, up to so many bytes.
_ROOM = 16
_MOST_ROOM = 1 << 26

#: The last use of what is looked at after the run.
_NEVER = 1 << 62


@dataclass(frozen=True)
class Lifetimes:
    """What a net says of its blobs.

    `passing` are written before they are read, and nobody looks at them afterwards; `carried` are
    read before they are written; `mentions` counts how often operators name each.
    """

    passing: Collection[str] = ()
    carried: Collection[str] = ()
    mentions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, net: NetDef, keep: Collection[str] | None) -> Lifetimes:
        """`keep` are looked at, besides the outputs that the net declares; None: all blobs are."""
        if keep is None:
            return ALL_LOOKED_AT
        carried = external_inputs(net)
        known = {*keep, *net.external_input, *net.external_output, *carried}
        for op in net.op:
            known.update(op.control_input)
            for arg in op.arg:  # names that an operator looks up by itself
                known.update(text.decode("utf-8", "replace") for text in (arg.s, *arg.strings))
        for inner, _ in nested_nets(net):
            known.update((*inner.external_input, *inner.external_output))
            known.update(name for op in inner.op for name in (*op.input, *op.output))
        mentions = Counter(name for op in net.op for name in (*op.input, *op.output))
        return cls(frozenset(produced(net)) - known, frozenset(carried), mentions)


ALL_LOOKED_AT = Lifetimes()


# ---------------------------------------------------------------- pieces of storage


@dataclass(eq=False)
class Piece:
    """A run of bytes in a block: free, or taken until the last use of all that lies in it."""

    block: Array
    start: int
    size: int
    until: dict[int, int] = field(default_factory=dict)

    @property
    def address(self) -> int:
        """Where it begins in memory."""
        return int(self.block.ctypes.data) + self.start

    def bytes(self, count: int) -> Array:
        """Its first bytes."""
        return self.block[self.start : self.start + count]


class Arena:
    """Blocks of memory in pieces; neighbours that are free unite.

    Blocks are larger than what is asked for, for memory that is never written to takes no room;
    what counts is how far into a block pieces have ever reached.
    """

    def __init__(self, device: Device = CPU) -> None:
        self._device = device
        self.blocks: list[Array] = []
        self.free: list[Piece] = []
        self._reach: dict[int, int] = {}

    @property
    def nbytes(self) -> int:
        """The bytes that have been given out at one time or another."""
        return sum(self._reach.values())

    def clear(self) -> None:
        """Everything is free again; blocks that were of no use the last time go."""
        self.blocks = [block for block in self.blocks if self._reach[id(block)]]
        self.free = [Piece(block, 0, block.nbytes - ALIGNMENT) for block in self.blocks]
        self._reach = {id(block): 0 for block in self.blocks}

    def take(self, count: int) -> Piece:
        """A piece of at least so many bytes; it starts on a cache line.

        The one that needs the least memory not written to so far, and of these the best fit.
        """
        size = max(-(-count // ALIGNMENT), 1) * ALIGNMENT
        fitting = [piece for piece in self.free if piece.size >= size]
        best = min(fitting, key=lambda p: (self._growth(p, size), p.size), default=None)
        if best is None:
            best = self._new_block(size)
        self.free.remove(best)
        self._reach[id(best.block)] += self._growth(best, size)
        if best.size > size:
            self.free.append(Piece(best.block, best.start + size, best.size - size))
        return Piece(best.block, best.start, size)

    def _growth(self, piece: Piece, size: int) -> int:
        return max(piece.start + size - self._reach[id(piece.block)], 0)

    def _new_block(self, size: int) -> Piece:
        room = max(size, min(_ROOM * size, _MOST_ROOM))
        try:
            block = empty_on(self._device, (room + ALIGNMENT,), _BYTE)
        except (MemoryError, MemoryBudgetError):
            room = size
            block = empty_on(
                self._device, (room + ALIGNMENT,), _BYTE
            )  # a line of slack, for vector loads
        self.blocks.append(block)
        self._reach[id(block)] = 0
        self.free.append(Piece(block, 0, room))
        return self.free[-1]

    def give_back(self, piece: Piece) -> None:
        """The piece may be given out again."""
        start, size = piece.start, piece.size
        for other in [p for p in self.free if p.block is piece.block]:
            if other.start + other.size == start or start + size == other.start:
                self.free.remove(other)
                start, size = min(start, other.start), size + other.size
        self.free.append(Piece(piece.block, start, size))


# ---------------------------------------------------------------- a segment's storage


@dataclass(frozen=True)
class _Part:
    """A blob that is computed as a part of another: bytes `start` to `end` of `whole`."""

    whole: int
    start: int
    end: int


class SharedStorage:
    """Storage for operators that run in this order; they must be planned in it, by `plan`.

    Of the blobs, those take part that pass and that no other operators of the net touch; of the
    scratch, what is asked for as `brief`.
    """

    def __init__(self, operators: Sequence[BoundOperator], blobs: Lifetimes) -> None:
        #: What its blobs name as the owner of their storage; it outlives nothing.
        self.owner = object()
        self._operators = operators
        # blobs in the gaps between scratch would leave no room for the next operator's scratch
        self._arenas: dict[Device, Arena] = {}
        self._briefs: dict[Device, Arena] = {}
        self._at = -1
        self._pieces: list[Piece] = []
        self._placed: dict[int, Piece] = {}
        self._scratch: list[Piece] = []
        self._parts: dict[int, _Part] = {}
        self._wholes: dict[int, int] = {}
        names = [
            (name, blob)
            for o in operators
            for name, blob in zip((*o.op.input, *o.op.output), o.blobs(), strict=True)
        ]
        here = Counter(name for name, _ in names)
        inner = {
            n for n, count in here.items() if n in blobs.passing and count == blobs.mentions[n]
        }
        self._carried = {id(blob) for name, blob in names if name in blobs.carried}
        others = {id(blob) for name, blob in names if name not in inner}
        self._last = {id(b): k for k, o in enumerate(operators) for b in o.blobs()}
        self._last.update(dict.fromkeys(others, _NEVER))
        for operator in operators:
            operator.storage = self

    @property
    def nbytes(self) -> int:
        """The bytes that are shared."""
        return sum(arena.nbytes for arena in self._all())

    def _all(self) -> list[Arena]:
        return [*self._arenas.values(), *self._briefs.values()]

    def roots(self) -> list[Array]:
        """The arrays that own the memory."""
        return [_root(block) for arena in self._all() for block in arena.blocks]

    def passing(self) -> list[Blob]:
        """The blobs that take part."""
        blobs = {id(b): b for o in self._operators for b in o.output_blobs}
        return [blob for key, blob in blobs.items() if self._last[key] < _NEVER]

    def clear(self) -> None:
        """Forget what was given out: the operators are about to be planned once more."""
        for arena in self._all():
            arena.clear()
        self._pieces.clear()
        self._placed.clear()

    def plan(self, position: int) -> bool:
        """Plan one operator; False where all have to be planned again, without its blobs."""
        operator = self._operators[position]
        self._at = position
        try:
            operator.plan()
        finally:
            self._at = -1
            for piece in self._scratch:
                self._briefs[device_of(piece.block)].give_back(piece)
            self._scratch.clear()
        fine = self._follow_views(operator) if operator.shares else True
        if operator.carries and any(id(b) in self._placed for b in operator.output_blobs):
            self._last.update((id(b), _NEVER) for b in operator.output_blobs)
            fine = False
        if fine:
            self._take_back(position)
        return fine

    def _follow_views(self, operator: BoundOperator) -> bool:
        """Let pieces live as long as the blobs that are views of them."""
        for blob in operator.output_blobs:
            if blob.array is None or not blob.array.nbytes:
                continue
            address = blob.array.ctypes.data
            piece = next((p for p in self._pieces if 0 <= address - p.address < p.size), None)
            if piece is None or id(blob) in piece.until:
                continue
            last = piece.until[id(blob)] = self._last[id(blob)]
            if last < _NEVER:
                blob.tensor().borrowed = self.owner
            elif id(blob) in self._carried:
                # the next run reads what this run's other blobs have overwritten by then
                self._last = dict.fromkeys(self._last, _NEVER)
                return False
        return True

    def _take_back(self, position: int) -> None:
        done = [p for p in self._pieces if max(p.until.values()) <= position]
        for piece in done:
            self._pieces.remove(piece)
            self._arenas[device_of(piece.block)].give_back(piece)

    def join(self) -> bool:
        """Look for blobs that can be computed as parts of others; whether there are other ones.

        Then the operators have to be planned again. A blob is written only before it is joined, and
        the whole only by joining, so neither is ever overwritten through the other; what has
        another name as well, a view, could be written through that.
        """
        viewed = {id(b) for o in self._operators if o.shares for b in o.blobs()}
        parts: dict[int, _Part] = {}
        wholes: dict[int, int] = {}
        written: dict[int, list[int]] = {}
        for position, operator in enumerate(self._operators):
            for blob in operator.output_blobs:
                written.setdefault(id(blob), []).append(position)
        for position, operator in enumerate(self._operators):
            whole = operator.output_blobs[0] if operator.joined else None
            if whole is None or whole.array is None or id(whole) in {*parts, *viewed}:
                continue
            if self._last[id(whole)] == _NEVER or written[id(whole)] != [position]:
                continue
            for blob, start in zip(operator.input_blobs, operator.joined, strict=True):
                taken = id(blob) in {*parts, *wholes, *viewed}
                early = max(written.get(id(blob), [position])) < position
                if taken or not early or self._last[id(blob)] == _NEVER:
                    continue
                if blob.array is not None and blob.array.nbytes:
                    parts[id(blob)] = _Part(id(whole), start, start + blob.array.nbytes)
                    wholes[id(whole)] = whole.array.nbytes
        changed = parts != self._parts
        self._parts, self._wholes = parts, wholes
        return changed

    # ---- what operators ask for while they are planned

    def place(self, blob: Blob, shape: Shape, dtype: DType, device: Device) -> None:
        """Let an output live in shared storage, if it is one of the blobs that take part."""
        last = self._last[id(blob)] if self._at >= 0 else _NEVER
        count = math.prod(shape) * dtype.itemsize
        if last == _NEVER or dtype == STRING or not count:
            if self._at >= 0 and blob.borrowed is self.owner:
                blob.value = None  # it takes part no longer
            return
        arena = self._arenas.setdefault(device, Arena(device))
        part = self._parts.get(id(blob))
        if part is not None and part.end - part.start == count:
            self._place_part(blob, part, last, arena)
            return
        before = self._placed.get(id(blob))
        if before is not None and device_of(before.block) != device:
            before = None
        if before is not None and id(blob) in self._wholes and before.size >= count:
            blob.borrow(before.bytes(count), self.owner)
            return
        if before is not None:
            inputs = self._operators[self._at].input_blobs
            if before.size >= count or any(blob is other for other in inputs):
                return
        piece = self._placed[id(blob)] = arena.take(count)
        piece.until[id(blob)] = last
        self._pieces.append(piece)
        blob.borrow(piece.bytes(count), self.owner)

    def _place_part(self, blob: Blob, part: _Part, last: int, arena: Arena) -> None:
        """Let a blob live where the blob that it becomes a part of will live."""
        piece = self._placed.get(part.whole)
        if piece is None:
            piece = self._placed[part.whole] = arena.take(self._wholes[part.whole])
            piece.until[part.whole] = self._last[part.whole]
            self._pieces.append(piece)
        if id(blob) not in piece.until:
            piece.until[id(blob)] = last
            blob.borrow(piece.bytes(part.end)[part.start :], self.owner)

    def scratch(self, shape: Shape, dtype: DType, device: Device) -> Array | None:
        """An array for the operator that is planned; None if none is."""
        count = math.prod(shape) * dtype.itemsize
        if self._at < 0:
            return None
        piece = self._briefs.setdefault(device, Arena(device)).take(count)
        self._scratch.append(piece)
        return piece.bytes(count).view(dtype).reshape(shape)


# ---------------------------------------------------------------- how much that is


@dataclass(frozen=True)
class MemoryReport:
    """Bytes that the arrays of a net take; those of planned operators only.

    `weights` are the blobs that it reads before it writes them, `activations` those it writes, each
    counted by itself, and `packed` what operators keep from run to run (packed weights, tables).
    `scratch` they need only while they run. `storage` is what activations and scratch really take.
    """

    weights: int
    activations: int
    scratch: int
    packed: int
    storage: int

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.packed + self.storage


def memory_report(operators: Sequence[BoundOperator]) -> MemoryReport:
    """The report on the operators of a net, in their order."""
    seen: set[int] = set()
    outside: dict[int, Array] = {}
    for operator in operators:
        fresh = [b.array for b in operator.input_blobs if id(b) not in seen]
        outside |= {id(array): array for array in fresh if array is not None}
        seen.update(id(b) for b in operator.output_blobs)
    written = {id(b): b.array for o in operators for b in o.output_blobs if b.array is not None}
    roots = {id(root): root for root in map(_root, outside.values())}
    weights = sum(array.nbytes for array in roots.values())
    roots |= {id(root): root for root in map(_root, written.values())}
    own = sum(array.nbytes for array in roots.values()) - weights
    shared = {id(o.storage): o.storage for o in operators if isinstance(o.storage, SharedStorage)}
    for storage in shared.values():
        own -= sum(root.nbytes for root in storage.roots() if id(root) in roots)
        own += storage.nbytes
    return MemoryReport(
        weights=weights,
        activations=sum(a.nbytes for a in written.values() if id(a) not in outside),
        scratch=sum(o.brief_bytes for o in operators),
        packed=sum(o.kept_bytes for o in operators),
        storage=own,
    )


def _root(array: Array) -> Any:
    """The array, or the block of a device's memory, that owns the memory of a view."""
    if not isinstance(array, np.ndarray):
        return array.owner
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
