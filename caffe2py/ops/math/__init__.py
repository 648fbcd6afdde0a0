"""Functions of one element from mathematics, and transformations of features made of them."""

from caffe2py.ops.math import features, power, rounding, special, trigonometric

__all__ = ["features", "power", "rounding", "special", "trigonometric"]
