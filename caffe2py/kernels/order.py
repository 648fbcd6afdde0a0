"""Places of scores, the highest first, where equal scores come as C++'s library leaves them.

Detectors meet equal scores all the time, and what they then keep depends on the order of the two.
The order is that of std::sort and std::partial_sort of libstdc++: quicksort down to short runs with
the median of three as pivot, heapsort when that goes too deep, insertion at the end.
"""

from __future__ import annotations

from typing import Any

#: Runs of no more elements are left to the insertion at the end.
_SHORT = 16


def _before(scores: Any, a: Any, b: Any) -> Any:
    return scores[a] > scores[b]


def _swap(order: Any, i: Any, j: Any) -> None:
    order[i], order[j] = order[j], order[i]


# ---------------------------------------------------------------- heaps


def _sink(scores: Any, order: Any, first: Any, hole: Any, size: Any, value: Any) -> None:
    """Let the hole sink to the bottom along the larger children, then let the value rise there."""
    top = hole
    child = hole
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if _before(scores, order[first + child], order[first + child - 1]):
            child -= 1
        order[first + hole] = order[first + child]
        hole = child
    if size % 2 == 0 and child == (size - 2) // 2:
        child = 2 * (child + 1)
        order[first + hole] = order[first + child - 1]
        hole = child - 1
    parent = (hole - 1) // 2
    while hole > top and _before(scores, order[first + parent], value):
        order[first + hole] = order[first + parent]
        hole = parent
        parent = (hole - 1) // 2
    order[first + hole] = value


def _pop(scores: Any, order: Any, first: Any, size: Any, target: Any) -> None:
    """The heap's top goes to `target`, and what was there into the heap."""
    value = order[target]
    order[target] = order[first]
    _sink(scores, order, first, 0, size, value)


def _heap_first(scores: Any, order: Any, first: Any, middle: Any, last: Any) -> None:
    """The best of first..last in order, up to middle."""
    size = middle - first
    for parent in range((size - 2) // 2, -1, -1):
        _sink(scores, order, first, parent, size, order[first + parent])
    for k in range(middle, last):
        if _before(scores, order[k], order[first]):
            _pop(scores, order, first, size, k)
    for end in range(middle - 1, first, -1):
        _pop(scores, order, first, end - first, end)


def rank_first(scores: Any, order: Any, count: Any) -> None:
    """Bring the `count` best of `order` to its front, in order; for kernels."""
    _heap_first(scores, order, 0, count, order.size)


# ---------------------------------------------------------------- sorting


def _median_first(scores: Any, order: Any, first: Any, last: Any) -> None:
    """Swap the median of the second, the middle and the last element to the front."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    if _before(scores, order[a], order[b]):
        if _before(scores, order[b], order[c]):
            _swap(order, first, b)
        elif _before(scores, order[a], order[c]):
            _swap(order, first, c)
        else:
            _swap(order, first, a)
    elif _before(scores, order[a], order[c]):
        _swap(order, first, a)
    elif _before(scores, order[b], order[c]):
        _swap(order, first, c)
    else:
        _swap(order, first, b)


def _divide(scores: Any, order: Any, first: Any, last: Any) -> Any:
    """Exchange elements around the first one as pivot; returns where the second part begins."""
    low, high, pivot = first + 1, last, order[first]
    while True:
        while low < last - 1 and _before(scores, order[low], pivot):
            low += 1
        high -= 1
        while high > first and _before(scores, pivot, order[high]):
            high -= 1
        if low >= high:
            return low
        _swap(order, low, high)
        low += 1


def _insert(scores: Any, order: Any, first: Any, last: Any) -> None:
    for k in range(first + 1, last):
        value = order[k]
        at = k
        while at > first and _before(scores, value, order[at - 1]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = value


def rank_by_score(scores: Any, order: Any, stack: Any) -> None:
    """Sort `order`, places of `scores`, best first; for kernels. stack is int64 (256, 3)."""
    depth = 0
    size = order.size
    while size > 1:
        size //= 2
        depth += 2
    waiting = 1
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, order.size, depth
    while waiting > 0:
        waiting -= 1
        first, last, left = stack[waiting, 0], stack[waiting, 1], stack[waiting, 2]
        while last - first > _SHORT:
            if left == 0:
                _heap_first(scores, order, first, last, last)
                break
            left -= 1
            _median_first(scores, order, first, last)
            cut = _divide(scores, order, first, last)
            stack[waiting, 0], stack[waiting, 1], stack[waiting, 2] = cut, last, left
            waiting += 1
            last = cut
    _insert(scores, order, 0, order.size)
