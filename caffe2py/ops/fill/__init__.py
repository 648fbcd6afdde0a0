"""Tensors from nothing: constants, given values, random numbers, ranges."""

from caffe2py.ops.fill import constant, given, random, ranges

__all__ = ["constant", "given", "random", "ranges"]
