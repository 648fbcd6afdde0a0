"""Loops that judge predictions: accuracy of each class, average precision, perplexity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.device import launch_total, on_cuda
from caffe2py.kernels.jit import kernel
from caffe2py.kernels.losses import explain_label
from caffe2py.kernels.parallel import is_on_device
from caffe2py.kernels.reduce import launch_arg
from caffe2py.kernels.vectormath import log
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.tensor import Array


@kernel()
def _class_accuracy(x: Any, labels: Any, accuracies: Any, amounts: Any) -> Any:
    for c in range(x.shape[1]):
        accuracies[c] = 0
        amounts[c] = 0
    for r in range(x.shape[0]):
        if not 0 <= labels[r] < x.shape[1]:
            return min(r + 1, 2**31 - 1)
        best = 0
        for c in range(1, x.shape[1]):
            if x[r, c] > x[r, best]:
                best = c
        if best == labels[r]:
            accuracies[best] += 1
        amounts[labels[r]] += 1
    for c in range(x.shape[1]):
        if amounts[c] > 0:
            accuracies[c] /= accuracies.dtype.type(amounts[c])
    return 0


def launch_class_accuracy(
    x: Array, labels: Array, accuracies: Array, amounts: Array
) -> list[Launch]:
    """For each class its rows, and the share of them whose largest element is the label's.

    ValueRangeError (at run time) for labels that are no column of x.
    """
    explain = explain_label(labels, x.shape[1])
    if not is_on_device(x):
        return [_class_accuracy(x, labels, accuracies, amounts, explain=explain)]
    best = empty_on(device_of(x), (len(x), 1), np.dtype(np.int64))
    return [
        launch_arg(x, 1, best, largest=True),
        on_cuda("metrics.CLASSES")(best.reshape(-1), labels, accuracies, amounts, explain=explain),
    ]


@kernel("reassoc")
def _perplexity(x: Any, y: Any) -> None:
    """The sum of logarithms stays finite where a product of powers would not."""
    total = 0.0
    for i in range(x.size):
        total += log(np.float64(x[i]))
    y[0] = math.exp(-total / x.size) if x.size > 0 else 1.0


def launch_perplexity(x: Array, y: Array) -> list[Launch]:
    """The one element of y = the product of x ** (-1 / n); 1 for no elements."""
    if is_on_device(x):
        return launch_total("totals.PERPLEXITY", x.size, (x.reshape(-1),), y, (x.size,))
    return [_perplexity(x.reshape(-1), y.reshape(-1))]


@kernel()
def _remember(x: Any, labels: Any, scores: Any, truth: Any, used: Any) -> None:
    """Append rows to the columns of a buffer; the oldest make room."""
    size = scores.shape[1]
    new = min(x.shape[0], size)
    drop = max(used[0] + new - size, 0)
    first = x.shape[0] - new
    for c in range(x.shape[1]):
        for k in range(used[0] - drop):
            scores[c, k] = scores[c, k + drop]
            truth[c, k] = truth[c, k + drop]
        for k in range(new):
            scores[c, used[0] - drop + k] = x[first + k, c]
            truth[c, used[0] - drop + k] = labels[first + k, c]
    used[0] += new - drop


def _goes_down(scores, c, i, j):
    """Whether prediction i ranks below j: a smaller score, or an equal one that came later."""
    if scores[c, i] != scores[c, j]:
        return scores[c, i] < scores[c, j] or scores[c, i] != scores[c, i]
    return i > j


def _sift_ranks(scores, c, order, at, count):
    """Move down the heap whose first is the one that ranks lowest."""
    mine = order[at]
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and _goes_down(scores, c, order[child + 1], order[child]):
            child += 1
        if not _goes_down(scores, c, order[child], mine):
            break
        order[at] = order[child]
        at = child
    order[at] = mine


def _rank(scores, c, order, count):
    """Heap sort: `order` becomes the places of column c from the largest score on."""
    for k in range(count):
        order[k] = k
    for k in range(count // 2 - 1, -1, -1):
        _sift_ranks(scores, c, order, k, count)
    for last in range(count - 1, 0, -1):
        order[0], order[last] = order[last], order[0]
        _sift_ranks(scores, c, order, 0, last)


@kernel()
def _average_precision(scores: Any, truth: Any, used: Any, order: Any, y: Any) -> None:
    for c in range(scores.shape[0]):
        _rank(scores, c, order, used[0])
        hits = 0.0
        found = 0
        total = 0.0
        for k in range(used[0]):
            label = truth[c, order[k]]
            hits += label
            if label == 1:
                found += 1
                total += hits / (k + 1)
        y[c] = total / max(found, 1)


def launch_average_precision(
    call: Call, x: Array, labels: Array, size: int, y: Array
) -> list[Launch]:
    """y[c] = the average precision of the last `size` predictions for class c, in all runs."""
    shape = (x.shape[1], size)
    if "scores" not in call.kept or call.kept["scores"].shape != shape:
        call.kept["scores"] = np.zeros(shape, x.dtype)
        call.kept["truth"] = np.zeros(shape, labels.dtype)
        call.kept["used"] = np.zeros(1, np.int64)
    buffers = (call.kept["scores"], call.kept["truth"], call.kept["used"])
    order = call.scratch((size,), np.int64)
    return [_remember(x, labels, *buffers), _average_precision(*buffers, order, y)]
