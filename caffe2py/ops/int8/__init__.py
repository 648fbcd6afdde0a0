"""Operators on quantized tensors of 8-bit integers, channels last."""

from caffe2py.ops.int8 import arithmetic, conv, layout, pool, region

__all__ = ["arithmetic", "conv", "layout", "pool", "region"]
