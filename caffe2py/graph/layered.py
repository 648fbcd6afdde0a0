"""Places for the nodes of a directed graph, in layers from top to bottom.

K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System
Structures", 1981: edges that go back are turned, every node lies below all that lead to it, edges
over several layers get bends, an order within the layers keeps crossings few, and places straighten
edges. Nothing is left to chance: equal graphs look the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import UsageError

__all__ = ["MOST_PLACES", "Layout", "Point", "layered"]

#: Nodes and bends that are laid out; more take too long, and nobody could read them.
MOST_PLACES = 60_000

_GAP, _LAYER_GAP, _MARGIN = 18.0, 34.0, 16.0

#: Rounds of ordering and of straightening, and how many of these look both ways.
_ORDERINGS, _STRAIGHTENINGS, _FINISHING = 12, 40, 20

#: How much more a bend pulls than a node, so that long edges are straight.
_PULL = 0.3

#: How much more a node attracts than a bend.
_CHAIN = 3.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """The middles of the nodes, the corners of each edge from start to end, and the whole size."""

    centers: Sequence[Point]
    routes: Sequence[Sequence[Point]]
    width: float
    height: float


@dataclass
class _Graph:
    """Nodes and bends: sizes, layers, and neighbours above and below."""

    widths: list[float]
    heights: list[float]
    rank: list[int]
    above: list[list[int]]
    below: list[list[int]]
    nodes: int

    def add_bend(self, rank: int) -> int:
        """A place that an edge passes."""
        self.widths.append(2.0)
        self.heights.append(0.0)
        self.rank.append(rank)
        self.above.append([])
        self.below.append([])
        if len(self.rank) > MOST_PLACES:
            raise UsageError(
                f"a graph with more than {MOST_PLACES} nodes and bends is too large to be drawn",
                hint="a .dot, for Graphviz",
            )
        return len(self.rank) - 1

    def join(self, upper: int, lower: int) -> None:
        """Make an edge from one layer to the next."""
        self.below[upper].append(lower)
        self.above[lower].append(upper)


def layered(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Places for nodes of these widths and heights; edges join them by number.

    UsageError for a graph that is too large.
    """
    turned = _turned(len(sizes), edges)
    graph = _Graph(
        [width for width, _ in sizes],
        [height for _, height in sizes],
        _ranks(len(sizes), turned),
        [[] for _ in sizes],
        [[] for _ in sizes],
        len(sizes),
    )
    chains = [_chain(graph, start, end) for start, end in turned]
    layers = _ordered(graph)
    x = _straightened(graph, layers)
    rows, height = _rows(graph, layers)
    low = min((x[k] - graph.widths[k] / 2 for k in range(len(x))), default=0.0)
    x = [value - low + _MARGIN for value in x]
    width = max((x[k] + graph.widths[k] / 2 for k in range(len(x))), default=0.0) + _MARGIN
    routes = []
    for chain, edge, new in zip(chains, edges, turned, strict=True):
        route = _route(graph, chain, x, rows)
        routes.append(route if edge == new else route[::-1])
    centers = [(x[k], sum(rows[graph.rank[k]]) / 2) for k in range(len(sizes))]
    return Layout(centers, routes, width, height)


# ---------------------------------------------------------------- layers


def _turned(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges without cycles: those that close one are turned; loops of one node stay."""
    following: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        if start != end:
            following[start].append(end)
    state, number, left = [0] * count, [0] * count, count
    for root in range(count):
        todo = [root]
        while todo:
            node = todo[-1]
            if state[node] == 0:
                state[node] = 1
                todo += [n for n in reversed(following[node]) if state[n] == 0]
                continue
            todo.pop()
            if state[node] == 1:
                state[node] = 2
                left -= 1
                number[node] = left  # a topological order, but for edges that go back
    return [(a, b) if number[a] <= number[b] else (b, a) for a, b in edges]


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each node: below all before it; nodes with nothing before them are lowered."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        if start != end:
            after[start].append(end)
            before[end].append(start)
    waiting = [len(found) for found in before]
    ready = [node for node in range(count) if not waiting[node]]
    rank = [0] * count
    for node in ready:  # it grows while it is walked over
        for end in after[node]:
            rank[end] = max(rank[end], rank[node] + 1)
            waiting[end] -= 1
            if not waiting[end]:
                ready.append(end)
    for node in range(count):
        if not before[node] and after[node]:
            rank[node] = min(rank[end] for end in after[node]) - 1
    return rank


def _chain(graph: _Graph, start: int, end: int) -> list[int]:
    """The places of an edge: its ends, and a bend in each layer between them."""
    if start == end:
        return [start]
    chain = [start]
    for rank in range(graph.rank[start] + 1, graph.rank[end]):
        bend = graph.add_bend(rank)
        graph.join(chain[-1], bend)
        chain.append(bend)
    graph.join(chain[-1], end)
    return [*chain, end]


# ---------------------------------------------------------------- order


def _ordered(graph: _Graph) -> list[list[int]]:
    """The layers, with few crossings between them."""
    layers: list[list[int]] = [[] for _ in range(max(graph.rank, default=-1) + 1)]
    for place, rank in enumerate(graph.rank):
        layers[rank].append(place)
    best, fewest = layers, _crossings(graph, layers)
    for round_ in range(_ORDERINGS):
        if not fewest:
            break
        layers = [list(layer) for layer in layers]
        down = round_ % 2 == 0
        for layer in layers if down else reversed(layers):
            _sort_layer(graph, layers, layer, graph.above if down else graph.below)
        found = _crossings(graph, layers)
        if found < fewest:
            best, fewest = [list(layer) for layer in layers], found
    return best


def _sort_layer(
    graph: _Graph, layers: list[list[int]], layer: list[int], neighbours: list[list[int]]
) -> None:
    """Put each place under the middle of its neighbours; one that has none stays."""
    other = {graph.rank[n] for place in layer for n in neighbours[place]}
    position = {place: k for rank in other for k, place in enumerate(layers[rank])}
    own = {place: float(k) for k, place in enumerate(layer)}
    middle = {
        place: sum(position[n] for n in neighbours[place]) / len(neighbours[place])
        for place in layer
        if neighbours[place]
    }
    layer.sort(key=lambda place: (middle.get(place, own[place]), own[place]))


def _crossings(graph: _Graph, layers: Sequence[Sequence[int]]) -> int:
    """How many pairs of edges cross."""
    total = 0
    for upper, lower in itertools.pairwise(layers):
        position = {place: k for k, place in enumerate(lower)}
        ends = [p for a in upper for p in sorted(position[b] for b in graph.below[a])]
        total += _inversions(ends, len(lower))
    return total


def _inversions(values: Sequence[int], size: int) -> int:
    """Pairs in the wrong order, counted with a Fenwick tree."""
    tree = [0] * (size + 1)
    total = 0
    for seen, value in enumerate(values):
        total += seen
        k = value + 1
        while k:
            total -= tree[k]
            k &= k - 1
        k = value + 1
        while k <= size:
            tree[k] += 1
            k += k & -k
    return total


# ---------------------------------------------------------------- places


def _straightened(graph: _Graph, layers: Sequence[Sequence[int]]) -> list[float]:
    """Middles such that neighbours are near each other and nothing overlaps."""
    x = [0.0] * len(graph.rank)
    for layer in layers:
        _spread(graph, layer, x, [0.0] * len(layer), [1.0] * len(layer))
    for round_ in range(_STRAIGHTENINGS):
        sides = (graph.above, graph.below) if round_ % 2 == 0 else (graph.below, graph.above)
        both = round_ >= _STRAIGHTENINGS - _FINISHING
        for layer in layers if round_ % 2 == 0 else reversed(layers):
            wanted, weights = [], []
            for place in layer:
                near = [*sides[0][place], *(sides[1][place] if both else ())]
                wanted.append(_middle(graph, near, x) if near else x[place])
                bend = place >= graph.nodes
                weights.append((_PULL if bend else 1.0) * (len(near) or 0.1))
            _spread(graph, layer, x, wanted, weights)
        _take_drift(graph, layers, x)
    return x


def _take_drift(graph: _Graph, layers: Sequence[Sequence[int]], x: list[float]) -> None:
    """Shift each layer as a whole, such that its edges come down straight on average."""
    shift = 0.0
    for layer in layers:
        slopes = [x[place] - x[n] for place in layer for n in graph.above[place]]
        shift = -sum(slopes) / len(slopes) if slopes else shift
        for place in layer:
            x[place] += shift


def _middle(graph: _Graph, places: Sequence[int], x: Sequence[float]) -> float:
    """The mean of places, in which nodes count for more than bends: chains of them are straight."""
    shares = [1.0 if place >= graph.nodes else _CHAIN for place in places]
    return sum(x[p] * share for p, share in zip(places, shares, strict=True)) / sum(shares)


def _spread(
    graph: _Graph,
    layer: Sequence[int],
    x: list[float],
    wanted: Sequence[float],
    weights: Sequence[float],
) -> None:
    """Set x of a layer, in its order and without overlaps, as near as can be to what is wanted.

    With the widths taken off it is a regression by a rising sequence: neighbours in the wrong order
    are pooled at their weighted mean.
    """
    offsets = [0.0]
    for a, b in itertools.pairwise(layer):
        offsets.append(offsets[-1] + (graph.widths[a] + graph.widths[b]) / 2 + _GAP)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight, offset in zip(wanted, weights, offsets, strict=False):
        mean, total, count = value - offset, weight, 1
        while pools and pools[-1][0] >= mean:
            other, more, several = pools.pop()
            mean = (mean * total + other * more) / (total + more)
            total, count = total + more, count + several
        pools.append((mean, total, count))
    places = itertools.chain.from_iterable([mean] * count for mean, _, count in pools)
    for place, value, offset in zip(layer, places, offsets, strict=False):
        x[place] = value + offset


def _rows(graph: _Graph, layers: Sequence[Sequence[int]]) -> tuple[list[Point], float]:
    """Top and bottom of the layers, and the height of all."""
    rows = []
    top = _MARGIN
    for layer in layers:
        bottom = top + max((graph.heights[place] for place in layer), default=0.0)
        rows.append((top, bottom))
        top = bottom + _LAYER_GAP
    return rows, top - _LAYER_GAP + _MARGIN


def _route(graph: _Graph, chain: Sequence[int], x: list[float], rows: list[Point]) -> list[Point]:
    """From the lower border of the first node to the upper border of the last one.

    It crosses layers straight down, so that it touches none of their nodes.
    """
    route = [(x[place], side) for place in chain for side in rows[graph.rank[place]]]
    first, last = chain[0], chain[-1]
    (top, bottom), half = rows[graph.rank[first]], graph.heights[first] / 2
    route[0] = (x[first], (top + bottom) / 2 + half)
    (top, bottom), half = rows[graph.rank[last]], graph.heights[last] / 2
    route[-1] = (x[last], (top + bottom) / 2 - half)
    return route
