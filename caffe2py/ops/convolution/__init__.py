"""Convolution, transposed convolution, and a convolution with what commonly follows it."""

from caffe2py.ops.convolution import fused, plain

__all__ = ["fused", "plain"]
