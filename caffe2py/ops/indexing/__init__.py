"""Elements by their indices, keys, masks and values."""

from caffe2py.ops.indexing import (
    buckets,
    gather,
    lists,
    masks,
    partition,
    rows,
    scatter,
    search,
    slices,
    top,
)

__all__ = [
    "buckets",
    "gather",
    "lists",
    "masks",
    "partition",
    "rows",
    "scatter",
    "search",
    "slices",
    "top",
]
