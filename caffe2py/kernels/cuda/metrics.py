"""Loops on devices that judge predictions."""

from __future__ import annotations

from typing import Any

from caffe2py.kernels.cuda.form import device_kernel
from caffe2py.kernels.cuda.rows import row_sums
from caffe2py.kernels.losses import status_at


def _classes_shape(best: Any, labels: Any, accuracies: Any, amounts: Any) -> Any:
    return max(accuracies.size, 1), best.size


def _class_term(c: Any, r: Any, best: Any, labels: Any, accuracies: Any, amounts: Any) -> Any:
    mine = labels[r] == c
    return 1.0 if mine and best[r] == c else 0.0, 1.0 if mine else 0.0


def _class_put(
    c: Any, hits: Any, count: Any, best: Any, labels: Any, accuracies: Any, amounts: Any
) -> Any:
    if c < accuracies.size:
        accuracies[c] = hits / max(count, 1.0)
        amounts[c] = count
    if c == 0:
        for r in range(labels.size):
            if not 0 <= labels[r] < accuracies.size:
                return status_at(r)
    return 0


_classes = row_sums("_class_accuracy", _classes_shape, _class_term, _class_put, checked=True)

#: The rows of each class, and the share of them whose `best` is the class.
CLASSES = device_kernel(_classes[1])(_classes[0])
