"""Numbers that are made of all elements: sums of products, means; whether all are finite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.kernels.cuda.form import form
from caffe2py.kernels.cuda.sums import Total
from caffe2py.kernels.cuda.teams import blocks_for_items
from caffe2py.kernels.cuda.threads import cuda
from caffe2py.kernels.losses import status_at


def _sum(total: Any, weight: Any) -> Any:
    return total


def _product(i: Any, a: Any, b: Any) -> Any:
    return np.float64(a[i]) * np.float64(b[i]), 0.0


def _magnitude(i: Any, x: Any) -> Any:
    return abs(np.float64(x[i])), 0.0


def _element(i: Any, x: Any) -> Any:
    return np.float64(x[i]), 0.0


def _mean(total: Any, weight: Any, count: Any) -> Any:
    return total / max(count, 1)


def _logarithm(i: Any, x: Any) -> Any:
    return math.log(np.float64(x[i])), 0.0


def _perplexity(total: Any, weight: Any, count: Any) -> Any:
    return math.exp(-total / count) if count > 0 else 1.0


#: The sum of a * b, of |x|, the mean of x, and the product of x ** (-1 / n).
DOT = Total("dot", _product, _sum)
MAGNITUDES = Total("magnitudes", _magnitude, _sum)
MEAN = Total("mean", _element, _mean)
PERPLEXITY = Total("perplexity", _logarithm, _perplexity)


def _finite_blocks(x: Any) -> int:
    return blocks_for_items(-(-x.size // 4))


@form(blocks=_finite_blocks)
def require_finite(x: Any) -> Any:
    """The status for the first element that is none of the finite numbers."""
    status = 0
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        if not math.isfinite(x[i]) and status == 0:
            status = status_at(i)
    return status
