"""Layers: nothing overlaps, edges go down, few cross, and equal graphs look the same."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe2py.errors import UsageError
from caffe2py.graph import layered as module
from caffe2py.graph.layered import layered


@st.composite
def graphs(draw, most=14):
    """Nodes of any size, and edges between any of them: loops, cycles, twice the same."""
    count = draw(st.integers(1, most))
    sizes = [(draw(st.integers(5, 200)), draw(st.integers(5, 60))) for _ in range(count)]
    ends = st.integers(0, count - 1)
    return sizes, draw(st.lists(st.tuples(ends, ends), max_size=3 * count))


@given(graphs())
def test_nothing_overlaps_and_all_is_inside(graph):
    sizes, edges = graph
    layout = layered(sizes, edges)
    boxes = [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for (x, y), (w, h) in zip(layout.centers, sizes, strict=True)
    ]
    for left, top, right, bottom in boxes:
        assert left >= 0 <= top
        assert right <= layout.width + 1e-6
        assert bottom <= layout.height + 1e-6
    for a, b in itertools.combinations(boxes, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (a, b)


@given(graphs())
def test_edges_begin_and_end_at_their_nodes(graph):
    sizes, edges = graph
    layout = layered(sizes, edges)
    assert len(layout.routes) == len(edges)
    for (start, end), route in zip(edges, layout.routes, strict=True):
        down = route if route[0][1] <= route[-1][1] else route[::-1]
        assert [y for _, y in down] == sorted(y for _, y in down)
        for node, (x, y) in ((start, route[0]), (end, route[-1])):
            assert x == pytest.approx(layout.centers[node][0])
            assert abs(y - layout.centers[node][1]) == pytest.approx(sizes[node][1] / 2)


@given(graphs())
def test_edges_touch_no_other_node(graph):
    sizes, edges = graph
    layout = layered(sizes, edges)
    for (start, end), route in zip(edges, layout.routes, strict=True):
        for (x, y), (to_x, to_y) in itertools.pairwise(route):
            if x != to_x:
                continue  # between layers
            for node, ((cx, cy), (w, h)) in enumerate(zip(layout.centers, sizes, strict=True)):
                beside = abs(cx - x) >= w / 2 - 1e-6
                above = max(y, to_y) <= cy - h / 2 + 1e-6 or min(y, to_y) >= cy + h / 2 - 1e-6
                assert node in (start, end) or beside or above


@given(graphs())
def test_equal_graphs_look_the_same(graph):
    assert layered(*graph) == layered(*graph)


@given(st.integers(1, 30))
def test_a_chain_is_straight(count):
    sizes = [(20 + 10 * (k % 3), 20) for k in range(count)]
    layout = layered(sizes, [(k, k + 1) for k in range(count - 1)])
    assert len({round(x, 6) for x, _ in layout.centers}) == 1
    assert [y for _, y in layout.centers] == sorted(y for _, y in layout.centers)


def test_blocks_with_shortcuts_do_not_drift():
    """Twenty residual blocks, one below the other, take no more room than one."""
    edges, sizes, node = [], [(90, 20)], 0
    for _ in range(20):
        edges += [(node, node + 1), (node + 1, node + 2), (node + 2, node + 3), (node, node + 3)]
        sizes += [(150, 30), (90, 20), (60, 20)]
        node += 3
    assert layered(sizes, edges).width < 260


def test_a_grid_is_drawn_without_crossings():
    """Two chains with rungs, given in an order that crosses everywhere."""
    a, b = list(range(0, 20, 2)), list(range(19, 0, -2))
    edges = [*itertools.pairwise(a), *itertools.pairwise(b)]
    layout = layered([(30, 20)] * 20, edges)
    for one, other in itertools.combinations(layout.routes, 2):
        for (p, q), (r, s) in zip(itertools.pairwise(one), itertools.pairwise(other), strict=False):
            if (p[1], q[1]) == (r[1], s[1]):
                assert (p[0] - r[0]) * (q[0] - s[0]) >= 0


@given(st.lists(st.integers(0, 9)))
def test_crossings_are_counted(values):
    slow = sum(a > b for a, b in itertools.combinations(values, 2))
    assert module._inversions(values, 10) == slow


def test_a_graph_that_is_too_large(monkeypatch):
    monkeypatch.setattr(module, "MOST_PLACES", 50)
    edges = [*itertools.pairwise(range(20)), *((0, k) for k in range(20))]
    with pytest.raises(UsageError, match="more than 50 nodes and bends"):
        layered([(9, 9)] * 20, edges)
    assert layered([], []).routes == []
