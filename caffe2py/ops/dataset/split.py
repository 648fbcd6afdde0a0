"""Positions by category: KeySplit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ValueRangeError
from caffe2py.ops.dataset.cursor import NONE
from caffe2py.registry.context import Call
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

_INT32 = np.dtype(np.int32)


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "int64", "int32")
    limit = query.args.categorical_limit
    if limit < 1:
        raise ArgumentError(f"argument 'categorical_limit' must be at least 1, found {limit}")
    if query.outputs < limit:
        raise ArityError(
            f"expected {limit} output(s), one for each category, found {query.outputs}"
        )
    return [TensorType(_INT32, (None,))] * limit


split = operator(
    "KeySplit",
    "keys -> positions+",
    infer=_infer,
    gradient=NONE,
    categorical_limit=Arg(int, 0, "how many categories there are"),
    doc="""
    positions[k] = where keys, seen as a vector, is k, int32. Raises ValueRangeError for a key
    outside of [0, categorical_limit).
    """,
    example="""
    keys = [1, 0, 1], categorical_limit = 2
    positions = [1]; [0, 2]
    """,
)


@split.cpu_dynamic()
def split_keys(call: Call) -> None:
    """Find them."""
    keys, limit = call.inputs[0].reshape(-1), call.args.categorical_limit
    if keys.size and not 0 <= keys.min() <= keys.max() < limit:
        bad = keys.min() if keys.min() < 0 else keys.max()
        raise ValueRangeError(f"key {bad} is outside of [0, {limit})")
    for k in range(limit):
        found = np.flatnonzero(keys == k)
        call.output(k, found.shape, _INT32)[:] = found
