"""When the blobs of a net live, orders in which its operators can run, which blobs fit together.

An assignment is a list of (blob, LiveRange) that live one after the other: they can be one blob.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from caffe2py.errors import UsageError
from caffe2py.proto.caffe2_pb2 import OperatorDef

#: Sets of at most so many blobs are tried in every way.
_EXHAUSTIVE = 8


class LiveRange(NamedTuple):
    """First write, last read (positions in a list of operators), and bytes; None: not known.

    `defined` is None for a blob that comes from outside, `used` for one that nothing reads.
    """

    defined: int | None
    used: int | None
    size: int | None


Entry = tuple[str, LiveRange]
Assignments = list[list[Entry]]


class AssignmentAlgorithm(enum.Enum):
    """How assignments are found: quickly, or with less memory."""

    GREEDY = 0
    DYNAMIC_PROGRAMMING = 1


# ---------------------------------------------------------------- operators as a graph


class OperatorGraph:
    """Operators by position, with an edge from each to those that have to run after it."""

    def __init__(self, ops: Sequence[OperatorDef]) -> None:
        self.nodes: dict[int, dict[str, Any]] = {i: {"op": op} for i, op in enumerate(ops)}
        self._after: dict[int, dict[int, set[str]]] = {i: {} for i in self.nodes}
        self._before: dict[int, dict[int, set[str]]] = {i: {} for i in self.nodes}

    def add_edge(self, first: int, second: int, deps: set[str]) -> None:
        """`second` runs after `first`, because of some blobs."""
        self._after[first].setdefault(second, set()).update(deps)
        self._before[second][first] = self._after[first][second]

    def edges(self) -> list[tuple[int, int]]:
        """All edges, sorted."""
        return [(i, j) for i in self.nodes for j in sorted(self._after[i])]

    def successors(self, node: int) -> Iterator[int]:
        """Those that run after it."""
        return iter(sorted(self._after[node]))

    def predecessors(self, node: int) -> Iterator[int]:
        """Those that run before it."""
        return iter(sorted(self._before[node]))

    def __iter__(self) -> Iterator[int]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)


def compute_interference_graph(ops: Sequence[OperatorDef]) -> OperatorGraph:
    """The graph of operators: who reads what another writes, or writes what it touches."""
    graph = OperatorGraph(ops)
    for i, first in enumerate(ops):
        written, read = set(first.output), set(first.input)
        for j, second in enumerate(ops[i + 1 :], i + 1):
            deps = written.intersection(second.input)
            deps |= (read | written).intersection(second.output)
            if deps:
                graph.add_edge(i, j, deps)
    return graph


def topological_sort_traversal(g: OperatorGraph) -> list[int]:
    """An order in which all operators can run: what is started is followed to its end."""
    order: list[int] = []
    seen: set[int] = set()
    for root in g:
        path = [(root, g.successors(root))] if root not in seen else []
        seen.add(root)
        while path:
            node, rest = path[-1]
            following = next((n for n in rest if n not in seen), None)
            if following is None:
                order.append(node)
                path.pop()
            else:
                seen.add(following)
                path.append((following, g.successors(following)))
    return order[::-1]


def topological_sort_traversal_longest_path(g: OperatorGraph) -> list[int]:
    """An order in which operators that wait for nothing come late, those with most to do first."""
    length: dict[int, int] = {}
    for node in reversed(topological_sort_traversal(g)):
        length[node] = 1 + max((length[n] for n in g.successors(node)), default=0)
    missing = {node: sum(1 for _ in g.predecessors(node)) for node in g}
    sources = {node for node, count in missing.items() if not count}
    ready = set(sources)
    order = []
    while ready:
        node = min(ready, key=lambda n: (n in sources, -length[n] if n in sources else 0, n))
        ready.remove(node)
        order.append(node)
        for following in g.successors(node):
            missing[following] -= 1
            if not missing[following]:
                ready.add(following)
    return order


# ---------------------------------------------------------------- life


def compute_ranges(
    linearized_ops: Sequence[OperatorDef], blob_sizes: Mapping[str, int] | None = None
) -> dict[str, LiveRange]:
    """The life of every blob; what is read before it is written comes from outside.

    UsageError for a blob without a size where there are sizes.
    """
    read: dict[str, int] = {}
    written: dict[str, int | None] = {}
    for position, op in enumerate(linearized_ops):
        for name in op.input:
            read[name] = position
            written.setdefault(name, None)
        for name in op.output:
            written.setdefault(name, position)
    unknown = [name for name in written if blob_sizes and name not in blob_sizes]
    if unknown:
        raise UsageError(f"blob_sizes lacks {', '.join(unknown[:8])}")
    sizes = blob_sizes or {}
    return {name: LiveRange(at, read.get(name), sizes.get(name)) for name, at in written.items()}


def get_updated_ranges(ranges: Iterable[Entry], max_live: int | None = None) -> list[Entry]:
    """The same with numbers for what is None: defined -1, used after all others, size 1."""
    entries = list(ranges)
    if max_live is None:
        max_live = max((r.used for _, r in entries if r.used is not None), default=0) + 1
    return [
        (
            name,
            LiveRange(
                -1 if r.defined is None else r.defined,
                max_live if r.used is None else r.used,
                1 if r.size is None else r.size,
            ),
        )
        for name, r in entries
    ]


def is_compatible(
    candidate_range: LiveRange, assignment: Sequence[Entry], static_blobs: Collection[str]
) -> bool:
    """Whether a blob is written after the last one of an assignment was read."""
    name, last = assignment[-1]
    if name in static_blobs or candidate_range.defined is None:
        return False
    return (
        last.defined is not None and last.used is not None and candidate_range.defined > last.used
    )


def get_memory_usage(assignments: Iterable[Sequence[Entry]]) -> int:
    """The bytes of all assignments: of each its largest blob."""
    return sum(_largest(entries) for entries in assignments)


def _largest(entries: Sequence[Entry]) -> int:
    return max((r.size or 0 for _, r in entries), default=0)


# ---------------------------------------------------------------- assignments


def compute_assignments_greedy(
    ranges_sorted: Iterable[Entry], init_assignments: Assignments | None = None
) -> Assignments:
    """Put every blob, in this order, behind the assignment of the nearest size, or into a new one.

    `init_assignments` is extended.
    """
    assignments = init_assignments or []
    known = {name for entries in assignments for name, _ in entries}
    for name, range_ in ranges_sorted:
        if name in known:
            continue
        size = range_.size or 0
        fitting = [entries for entries in assignments if is_compatible(range_, entries, ())]
        if fitting:
            min(fitting, key=lambda e: abs(_largest(e) - size)).append((name, range_))
        else:
            assignments.append([(name, range_)])
    return assignments


def compute_assignments_dp(
    ranges_sorted: Iterable[Entry],
    init_assignment: Assignments | None,
    counter: list[int] | None = None,
) -> Assignments:
    """The best of several ways; of few blobs the best there is. `counter` counts the ways."""
    entries = list(ranges_sorted)
    start = init_assignment or []
    orders: list[Sequence[Entry]] = [
        sorted(entries, key=lambda e: (-(e[1].size or 0), e[1].defined or -1)),
        sorted(entries, key=lambda e: (e[1].defined or -1, -(e[1].size or 0))),
    ]
    if len(entries) <= _EXHAUSTIVE:
        orders += itertools.permutations(entries)
    ways: list[Assignments] = [compute_assignments_greedy(entries, _copied(start))]
    best = get_memory_usage(ways[0])
    for order in orders:
        way = _inserted(order, _copied(start))
        if get_memory_usage(way) < best:
            best = get_memory_usage(way)
            ways.append(way)
    if counter is not None:
        counter[:] = [len(orders) + 1]
    return ways[-1]


def _copied(assignments: Assignments) -> Assignments:
    return [list(entries) for entries in assignments]


def _inserted(order: Iterable[Entry], assignments: Assignments) -> Assignments:
    """Put every blob where its life fits between others', in the assignment of the nearest size."""
    for entry in order:
        fitting = [entries for entries in assignments if _fits(entry, entries)]
        if not fitting:
            assignments.append([entry])
            continue
        size = entry[1].size or 0
        best = min(fitting, key=lambda e: abs(_largest(e) - size))
        best.append(entry)
        best.sort(key=lambda e: -1 if e[1].defined is None else e[1].defined)
    return assignments


def _fits(entry: Entry, entries: Sequence[Entry]) -> bool:
    return all(
        is_compatible(entry[1], [other], ()) or is_compatible(other[1], [entry], ())
        for other in entries
    )


_FINDERS: dict[AssignmentAlgorithm, Callable[[Iterable[Entry], Assignments], Assignments]] = {
    AssignmentAlgorithm.GREEDY: compute_assignments_greedy,
    AssignmentAlgorithm.DYNAMIC_PROGRAMMING: compute_assignments_dp,
}


def compute_assignments(
    ranges: Mapping[str, LiveRange], static_blobs: Collection[str], algo: AssignmentAlgorithm
) -> Assignments:
    """Assignments for all blobs; each of `static_blobs` has one of its own."""
    order = sorted(ranges.items(), key=lambda e: (e[1].used is None, e[1].used or 0))
    entries = get_updated_ranges(order)
    static = {str(blob) for blob in static_blobs}
    shared = _FINDERS[algo]([e for e in entries if e[0] not in static], [])
    return shared + [[e] for e in entries if e[0] in static]


def compute_blob_assignments(assignments: Iterable[Sequence[Entry]]) -> dict[str, str]:
    """For blobs that share an assignment the name of the last one, which all get."""
    return {
        name: entries[-1][0] for entries in assignments if len(entries) > 1 for name, _ in entries
    }


def verify_assignments(assignments: Iterable[Sequence[Entry]]) -> None:
    """UsageError where a blob is written before the one before it was read for the last time."""
    for entries in assignments:
        for before, after in itertools.pairwise(entries):
            if not is_compatible(after[1], [before], ()):
                raise UsageError(f"'{before[0]}' and '{after[0]}' live at the same time")
