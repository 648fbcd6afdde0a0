"""A created net: its operators in order, run from a table or, for reference, one by one."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from caffe2py.errors import NetError
from caffe2py.executor import floating
from caffe2py.executor.bind import Blobs, BoundOperator, Origin, Prepared
from caffe2py.executor.branches import Row, part_branches
from caffe2py.executor.chains import join_maps
from caffe2py.executor.joined import JoinedSteps
from caffe2py.executor.memory import (
    ALL_LOOKED_AT,
    Lifetimes,
    MemoryReport,
    SharedStorage,
    memory_report,
)
from caffe2py.executor.queued import Owner, queued
from caffe2py.proto.analysis import nesting_depth, written_blobs
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.context import Launch
from caffe2py.registry.operator import service
from caffe2py.registry.threads import thread_count
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.place import on_host, overlap
from caffe2py.tensor.tensor import Array, Blob

#: Seconds of repeated runs after which interrupts are looked at.
_UNINTERRUPTED = 0.02

#: Nets nested deeper than this cannot be read back from a file.
MAX_DEPTH = 50


class Runner(Protocol):
    """A way to run bound operators."""

    def run(self, times: int = 1) -> int:
        """Run all operators once, or up to so many times where that is cheaper; how often."""


class SimpleRunner:
    """One operator after another, each through Python."""

    def __init__(
        self,
        operators: Sequence[BoundOperator],
        tell: Callable[[], None] = lambda: None,
        blobs: Lifetimes = ALL_LOOKED_AT,
    ) -> None:
        """`tell` is called before each operator; `blobs` is for runners that share storage."""
        self.operators = operators
        self._tell = tell

    def run(self, times: int = 1) -> int:
        """Run all operators once."""
        for operator in self.operators:
            self._tell()
            operator.run()
        return 1


class _Segment:
    """Operators whose launches are known before they run, as rows of one table."""

    #: Whether branches may run at the same time.
    _branched = False

    def __init__(self, operators: Sequence[BoundOperator], blobs: Lifetimes) -> None:
        self.operators = operators
        self._storage = SharedStorage(operators, blobs)
        self._table: Any = None
        self._owners: list[Owner] = []
        self._planned: tuple[tuple[Blob, int], ...] | None = None
        self._seen = -1
        self._threads = 0
        self._repeats = False

    def run(self, times: int = 1) -> int:
        """Run once or, up to some time after which interrupts are looked at, several times."""
        if self._seen != Blob.changes or self._threads != thread_count():
            self._refresh()
        if times == 1 or not self._repeats:
            self._run_table()
            return 1
        start = time.perf_counter()
        self._run_table()
        more = min(times - 1, int(_UNINTERRUPTED / (time.perf_counter() - start + 1e-7)))
        if more < 1 or self._seen != Blob.changes:
            return 1
        self._run_table(more)
        return 1 + more

    @property
    def settled(self) -> bool:
        """Whether the last run's table would be the next one's."""
        return self._repeats and self._planned is not None and self._seen == Blob.changes

    @property
    def launches(self) -> Sequence[Launch]:
        """Those of the table; the same object as long as it is the same table."""
        launches: Sequence[Launch] = self._table.launches
        return launches

    def rows(self) -> Sequence[Row]:
        """Launches with their owners."""
        return list(zip(self._owners, self.launches, strict=True))

    def _run_table(self, times: int = 1) -> None:
        status = self._table.run(times)
        if status:
            row = self._table.stopped
            raise self._owners[row].failure(self._table.launches[row], status)

    def _refresh(self) -> None:
        moved = self._planned is None or any(b.generation != g for b, g in self._planned)
        if moved or self._threads != thread_count():
            self._threads = thread_count()
            self._plan()
        self._seen = -1 if self._planned is None else Blob.changes

    def _plan(self) -> None:
        """Plan all in order; if one cannot be, those before it still run, as one by one."""
        self._planned = None
        before = [(blob, blob.array) for blob in self._read_first()]
        held = [(blob, blob.value, blob.storage()) for blob, _ in before]
        self._storage.clear()
        again = False
        for position in range(len(self.operators)):
            try:
                again = not self._storage.plan(position)
            except BaseException:
                self._tabulate(self.operators[:position])
                self._run_table()
                raise
            if again:
                break
        if again or self._storage.join():
            # operators that work in place have given what comes in another shape already
            for blob, value, storage in held:
                blob.restore(value, storage)
            self._plan()
            return
        self._tabulate(self.operators)
        # what comes in and got another shape in place makes the next run another one
        if all(blob.array is array for blob, array in before) and not self._shares_late():
            blobs = {id(b): b for operator in self.operators for b in operator.blobs()}
            self._planned = tuple((b, b.generation) for b in blobs.values())

    def _shares_late(self) -> bool:
        """Whether a blob becomes a view of another after an operator has written it."""
        written: set[int] = set()
        for operator in self.operators:
            outputs = {id(b) for b in operator.output_blobs}
            if operator.shares and outputs & written:
                return True
            written |= outputs
        return False

    def _read_first(self) -> list[Blob]:
        """The blobs that are read before they are written."""
        written: set[int] = set()
        found: dict[int, Blob] = {}
        for operator in self.operators:
            found.update((id(b), b) for b in operator.input_blobs if id(b) not in written)
            written.update(id(b) for b in operator.output_blobs)
        return list(found.values())

    def _tabulate(self, operators: Sequence[BoundOperator]) -> None:
        pairs = [(operator, launch) for operator in operators for launch in operator.launches]
        joined = join_maps(pairs, self._unseen())
        branched = self._branched and self._threads > 1
        rows: Sequence[Row] = part_branches(joined) if branched else joined
        rows = queued(rows, branched=self._branched)
        self._owners = [operator for operator, _ in rows]
        self._table = service("table")([launch for _, launch in rows])
        self._repeats = not any(launch.python for _, launch in rows)

    def _unseen(self) -> list[Array]:
        """The arrays that nobody can look at: those of passing blobs alone."""
        hidden = {id(blob) for blob in self._storage.passing()}
        mine = {id(blob): blob for operator in self.operators for blob in operator.blobs()}
        seen = [b.array for key, b in mine.items() if key not in hidden and b.array is not None]
        own = (mine[key].array for key in mine.keys() & hidden if not mine[key].tensor().lent)
        return [a for a in own if a is not None and not any(overlap(a, s) for s in seen)]


class TableRunner:
    """Segments of launches in one machine-code loop each, and dynamic operators in between."""

    _segment = _Segment

    def __init__(
        self,
        operators: Sequence[BoundOperator],
        tell: Callable[[], None] = lambda: None,
        blobs: Lifetimes = ALL_LOOKED_AT,
    ) -> None:
        """`tell` is called before operators that may run other nets."""
        self.steps: list[_Segment | BoundOperator] = []
        self._tell = tell
        self._blobs = blobs
        pending: list[BoundOperator] = []
        for operator in operators:
            if operator.dynamic:
                self._close(pending)
                pending = []
                self.steps.append(operator)
            else:
                pending.append(operator)
        self._close(pending)
        self._joined = JoinedSteps(self.steps)

    def _close(self, pending: list[BoundOperator]) -> None:
        if pending:
            self.steps.append(self._segment(pending, self._blobs))

    def run(self, times: int = 1) -> int:
        """Run all operators once, or several times if they are one table or can be made one."""
        if len(self.steps) == 1 and isinstance(self.steps[0], _Segment):
            return self.steps[0].run(times)
        start = time.perf_counter()
        for step in self.steps:
            if isinstance(step, BoundOperator):
                self._tell()
            step.run()
        more = min(times - 1, int(_UNINTERRUPTED / (time.perf_counter() - start + 1e-7)))
        return 1 + (self._joined.run(more) if more > 0 else 0)


class _BranchedSegment(_Segment):
    """A segment whose branches run at the same time where there are several threads."""

    _branched = True


class DagRunner(TableRunner):
    """As TableRunner, with branches that do not touch each other at the same time."""

    _segment = _BranchedSegment


#: Net types of Caffe2. All give the same result.
RUNNERS: dict[str, type[SimpleRunner | TableRunner]] = {
    "": TableRunner,
    "simple": TableRunner,
    "dag": DagRunner,
    "prof_dag": DagRunner,
    "async_dag": DagRunner,
    "async_simple": TableRunner,
    "async_scheduling": DagRunner,
    "async_polling": DagRunner,
    "parallel": DagRunner,
    "rnn": TableRunner,
    "singlethread_async": TableRunner,
    "reference": SimpleRunner,
}


_nets: weakref.WeakSet[CreatedNet] = weakref.WeakSet()


def _unlock_all() -> None:
    for net in list(_nets):
        net.unlock_in_child()


os.register_at_fork(after_in_child=_unlock_all)


class CreatedNet:
    """A NetDef whose operators are bound to the blobs of a workspace."""

    def __init__(
        self,
        net: NetDef,
        workspace: Blobs,
        *,
        outermost: bool = False,
        keep: Collection[str] | None = None,
    ) -> None:
        """Check and bind every operator; raises as BoundOperator, and NetError for the net.

        `outermost`: no net around it writes what this one reads while it runs. `keep`: the blobs
        that are looked at after a run, besides the outputs that the net declares; None: all.
        """
        if net.type not in RUNNERS:
            known = ", ".join(sorted(t for t in RUNNERS if t))
            raise NetError(f"net '{net.name}' has the type '{net.type}'; known: {known}")
        depth = nesting_depth(net)
        if depth > MAX_DEPTH:
            raise NetError(f"net '{net.name}' nests nets {depth} deep; the limit is {MAX_DEPTH}")
        device = Device.from_option(net.device_option) if net.HasField("device_option") else None
        written = written_blobs(net) if outermost else None
        origin = Origin(net.name, workspace.seed_for(net.name), device, written)
        operators = [BoundOperator(op, k, origin, workspace) for k, op in enumerate(net.op)]
        self._hold(net.name, net.type, operators, Lifetimes.of(net, keep))

    def _hold(self, name: str, kind: str, operators: list[BoundOperator], blobs: Lifetimes) -> None:
        self.name = name
        self.type = kind
        self.operators = operators
        self._lock = threading.Lock()
        self._thread = 0
        self._watches = 0
        self._watched: tuple[Blob, ...] = ()
        self.runner: Runner = RUNNERS[kind](operators, self._tell_watchers, blobs)
        _nets.add(self)

    def unlock_in_child(self) -> None:
        """After a fork nobody is left who could release the lock."""
        self._lock = threading.Lock()
        self._thread = 0

    def cancel(self) -> None:
        """From another thread: let operators that wait give up, so that a run ends soon."""
        for operator in self.operators:
            operator.cancel()

    def run(self, iterations: int = 1) -> None:
        """Run the net; calls from several threads take turns.

        NetError if one of its own operators calls it.
        """
        self._refuse_nested()
        with self._lock:
            self._thread = threading.get_ident()
            try:
                while iterations > 0:
                    if floating.watched():
                        floating.run(self.operators)
                        iterations -= 1
                    else:
                        iterations -= self.runner.run(1 if self._watched else iterations)
                    self._tell_watchers()
            finally:
                self._thread = 0
                self._tell_watchers()

    def run_watched(self, after: Callable[[BoundOperator], None]) -> None:
        """Run the net once, one operator after another, and tell `after` of each that has run."""
        self._refuse_nested()
        with self._lock:
            self._thread = threading.get_ident()
            try:
                for operator in self.operators:
                    operator.run()
                    after(operator)
            finally:
                self._thread = 0
                self._tell_watchers()

    def _refuse_nested(self) -> None:
        if self._thread == threading.get_ident():
            raise NetError(f"net '{self.name}' is running already: one of its operators ran it")

    def _tell_watchers(self) -> None:
        """Plans of other nets may keep what they derived from blobs that this net writes."""
        if self._watches != Blob.watches:
            self._watches = Blob.watches
            written = {id(b): b for operator in self.operators for b in operator.output_blobs}
            self._watched = tuple(blob for blob in written.values() if blob.watched)
        for blob in self._watched:
            blob.written()

    def place_of(self, name: str) -> Device:
        """The device on which the net looks for a blob that comes in."""
        for operator in self.operators:
            if name in operator.op.input:
                return operator.place_of(list(operator.op.input).index(name)) or CPU
        return CPU

    def memory(self) -> MemoryReport:
        """The bytes that its arrays take, as far as it has run."""
        return memory_report(self.operators)

    # ---- random numbers: the key and the count of runs of each operator that draws some

    def random_states(self) -> dict[int, tuple[int, int]]:
        """By the index of the operator; `set_random_states` continues from there."""
        drawn = ((o.index, on_host(o.random_state())) for o in self.operators if o.draws)
        return {index: (int(state[0]), int(state[1])) for index, state in drawn}

    def set_random_states(self, states: Mapping[int, tuple[int, int]]) -> None:
        """Let operators draw what they would have drawn next when `random_states` was asked."""
        for index, state in states.items():
            self.operators[index].set_random_state(np.array(state, np.uint64))


class JoinedNets(CreatedNet):
    """Bound nets as one, run in order: their launches stand in one table."""

    def __init__(self, nets: Sequence[CreatedNet], written: Collection[str]) -> None:
        """`written` are blobs that others than the nets write while it runs."""
        operators = [operator for net in nets for operator in net.operators]
        prepared = None
        if not any(operator.dynamic for operator in operators):  # those may write anything
            outputs = (blob.name for o in operators for blob in o.output_blobs)
            prepared = Prepared(frozenset(outputs).union(written))
        for operator in operators:
            operator.origin.prepared = prepared
        self._prepared = prepared
        kind = "reference" if {net.type for net in nets} == {"reference"} else "simple"
        self._hold(nets[0].name if nets else "", kind, operators, ALL_LOOKED_AT)

    def run(self, iterations: int = 1) -> None:
        """Run the nets; what they derive from inputs that last is derived first."""
        for _ in range(iterations):
            if self._prepared is not None:
                self._prepared.run()
            super().run()
