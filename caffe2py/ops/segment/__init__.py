"""Rows in segments: reduced, repeated, padded, packed; by lengths, by ids or by ranges."""

from caffe2py.ops.segment import (
    gather,
    lengths,
    pack,
    pad,
    ranges,
    reduce,
    reduce_gradient,
    split,
    top,
    train,
)

__all__ = [
    "gather",
    "lengths",
    "pack",
    "pad",
    "ranges",
    "reduce",
    "reduce_gradient",
    "split",
    "top",
    "train",
]
