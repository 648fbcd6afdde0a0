"""Tensors from nothing: constants, given values, random numbers and choices, ranges."""

from caffe2py.ops.fill import constant, given, random, ranges, sample, special

__all__ = ["constant", "given", "random", "ranges", "sample", "special"]
