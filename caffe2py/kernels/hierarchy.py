"""Loops of the hierarchical softmax: a class's probability is a product of small softmaxes.

A tree lies flat: one softmax is `count` consecutive rows of the weight matrix, from `first` on. The
way to a class is a run of such softmaxes, with the entry that is taken in each. Of every softmax
`inner` keeps the `count` scores, and behind them the `count` probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import Error, ShapeError, ValueRangeError
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.vectormath import exp
from caffe2py.registry.context import Launch
from caffe2py.tensor.tensor import Array

__all__ = ["Branches", "Ways", "launch_search", "launch_ways", "launch_ways_gradient"]

#: Probabilities count as at least this much.
_TINY = np.float32(1e-20)

#: What a kernel says of a label without a way is one more than its place; of sizes, this.
_MISFIT = -2


@dataclass(frozen=True)
class Ways:
    """For every class, sorted by `words`, its softmaxes: those of [begins[k], begins[k + 1])."""

    words: Array
    begins: Array
    first: Array
    count: Array
    target: Array

    def arrays(self) -> tuple[Array, ...]:
        """What kernels take: int64 all of them."""
        return self.words, self.begins, self.first, self.count, self.target


@dataclass(frozen=True)
class Branches:
    """A tree, node by node from the root: its softmax, and where its entries begin.

    `child` has for every entry the node that it leads to, or -1 for a class.
    """

    first: Array
    begins: Array
    child: Array

    def arrays(self) -> tuple[Array, ...]:
        """What kernels take: int64 all of them."""
        return self.first, self.begins, self.child


def _way_of(words: Any, word: Any) -> Any:
    """The place of a class among the sorted ones, or -1."""
    low, high = 0, words.size
    while low < high:
        middle = (low + high) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < words.size and words[low] == word else -1


def _check(words: Any, begins: Any, count: Any, labels: Any, size: Any) -> Any:
    """0, or why the labels cannot be followed: one more than the place of one without a way."""
    total = 0
    for n in range(labels.size):
        way = _way_of(words, labels[n])
        if way < 0:
            return n + 1
        for k in range(begins[way], begins[way + 1]):
            total += 2 * count[k]
    return 0 if total == size else _MISFIT


def _softmax(x: Any, n: Any, w: Any, b: Any, first: Any, count: Any, inner: Any, at: Any) -> None:
    """Scores of a row of x with `count` rows of w into inner[at:], their softmax behind them."""
    top = -math.inf
    for j in range(count):
        score = x.dtype.type(0)
        for d in range(x.shape[1]):
            score += x[n, d] * w[first + j, d]
        score += b[first + j]
        inner[at + j] = score
        top = max(top, score)
    total = x.dtype.type(0)
    for j in range(count):
        e = exp(inner[at + j] - x.dtype.type(top))
        inner[at + count + j] = e
        total += e
    for j in range(count):
        inner[at + count + j] /= total


def _loss(p: Any, tiny: Any) -> Any:
    """-log p, and of 0 that of a tiny number; NaN stays."""
    return -math.log(tiny if p < tiny else p)


@kernel("contract", "reassoc")
def _follow(
    x: Any, w: Any, b: Any, labels: Any, words: Any, begins: Any, first: Any, count: Any,
    target: Any, y: Any, inner: Any,
) -> Any:  # fmt: skip
    status = _check(words, begins, count, labels, inner.size)
    if status:
        return status
    tiny = x.dtype.type(_TINY)
    at = 0
    for n in range(x.shape[0]):
        way = _way_of(words, labels[n])
        y[n] = 0
        for k in range(begins[way], begins[way + 1]):
            _softmax(x, n, w, b, first[k], count[k], inner, at)
            y[n] += _loss(inner[at + count[k] + target[k]], tiny)
            at += 2 * count[k]
    return 0


@kernel("contract", "reassoc")
def _follow_back(
    x: Any, w: Any, labels: Any, inner: Any, dy: Any, words: Any, begins: Any, first: Any,
    count: Any, target: Any, dx: Any, dw: Any, db: Any, dinner: Any,
) -> Any:  # fmt: skip
    status = _check(words, begins, count, labels, inner.size)
    if status:
        return status
    tiny = x.dtype.type(_TINY)
    for i in range(w.shape[0]):
        db[i] = 0
        for d in range(w.shape[1]):
            dw[i, d] = 0
    at = 0
    for n in range(x.shape[0]):
        way = _way_of(words, labels[n])
        for d in range(x.shape[1]):
            dx[n, d] = 0
        for k in range(begins[way], begins[way + 1]):
            size = count[k]
            taken = inner[at + size + target[k]]
            slope = -dy[n] / (tiny if taken < tiny else taken)
            for j in range(size):
                dinner[at + size + j] = 0
            dinner[at + size + target[k]] = slope
            for j in range(size):
                # the derivative of a softmax, of which only one entry counts
                own = x.dtype.type(j == target[k])
                change = slope * taken * (own - inner[at + size + j])
                dinner[at + j] = change
                row = first[k] + j
                db[row] += change
                for d in range(x.shape[1]):
                    dw[row, d] += change * x[n, d]
                    dx[n, d] += change * w[row, d]
            at += 2 * size
    return 0


def _explain(labels: Array, name: str, inner: Array) -> Any:
    def explain(status: int) -> Error:
        if status == _MISFIT:
            return ShapeError(f"the ways to these labels do not fill {inner.size} intermediates")
        return ValueRangeError(
            f"{name}[{status - 1}] is {int(labels[status - 1])}, which is no class of the hierarchy"
        )

    return explain


def launch_ways(
    x: Array, w: Array, b: Array, labels: Array, ways: Ways, name: str, y: Array, inner: Array
) -> Launch:
    """y[n] = the sum of -log p over the way to labels[n]; `inner` gets scores and probabilities.

    x (N, D), w (R, D), b (R,); every softmax of `ways` lies within the R rows. At run time
    ValueRangeError for a label without a way, and ShapeError where `inner` is of another size.
    """
    return _follow(x, w, b, labels, *ways.arrays(), y, inner, explain=_explain(labels, name, inner))


def launch_ways_gradient(
    operands: tuple[Array, Array],
    labels: Array,
    ways: Ways,
    name: str,
    given: tuple[Array, Array],
    results: tuple[Array, Array, Array, Array],
) -> Launch:
    """(dx, dw, db, dinner) from (x, w), (inner, dy); shapes and errors as launch_ways.

    dinner has -dy / p at the entry that was taken, 0 at others, before each of these the derivative
    by the scores.
    """
    inner, dy = given
    return _follow_back(
        *operands, labels, inner, dy, *ways.arrays(), *results,
        explain=_explain(labels, name, inner),
    )  # fmt: skip


# ---------------------------------------------------------------- search


def _keep_best(found: Any, score: Any, have: Any, best: Any, ids: Any, n: Any) -> Any:
    """Put an entry among the best of row n, sorted; of equal ones the first stays in front."""
    most = best.shape[1]
    if have == most and not score < best[n, most - 1]:
        return have
    at = have if have < most else most - 1
    while at > 0 and score < best[n, at - 1]:
        best[n, at] = best[n, at - 1]
        ids[n, at] = ids[n, at - 1]
        at -= 1
    best[n, at] = score
    ids[n, at] = found
    return have + 1 if have < most else have


@kernel("contract", "reassoc")
def _search(
    x: Any, w: Any, b: Any, first: Any, begins: Any, child: Any, beam: Any, inner: Any,
    open_: Any, costs: Any, best: Any, ids: Any,
) -> None:  # fmt: skip
    tiny = x.dtype.type(_TINY)
    limit = x.dtype.type(beam)
    for n in range(x.shape[0]):
        have = 0
        waiting = 1
        open_[0] = 0
        costs[0] = 0
        for j in range(best.shape[1]):
            best[n, j] = 0
            ids[n, j] = -1
        while waiting > 0 and best.shape[1] > 0:
            waiting -= 1
            node, cost = open_[waiting], costs[waiting]
            size = begins[node + 1] - begins[node]
            _softmax(x, n, w, b, first[node], size, inner, 0)
            for j in range(size):
                score = _loss(inner[size + j], tiny) + cost
                inner[j] = score
                if score < cost + limit:
                    have = _keep_best(begins[node] + j, score, have, best, ids, n)
            # the first child is the next to be looked at
            for j in range(size - 1, -1, -1):
                below = child[begins[node] + j]
                if below >= 0 and inner[j] < cost + limit:
                    open_[waiting] = below
                    costs[waiting] = inner[j]
                    waiting += 1


def launch_search(
    x: Array,
    w: Array,
    b: Array,
    tree: Branches,
    beam: float,
    scratch: tuple[Array, Array, Array],
    results: tuple[Array, Array],
) -> Launch:
    """The entries of a tree with the smallest sums of -log p from the root to them.

    An entry is looked at where its own -log p is below `beam`, and so are all on the way to it.
    `results` are the sums (N, K), in order, and the entries' numbers, int64 (N, K); where there are
    fewer than K, 0 and -1. `scratch` has room for two softmaxes, and twice for all nodes: int64
    and of x's type.
    """
    return _search(x, w, b, *tree.arrays(), beam, *scratch, *results)
