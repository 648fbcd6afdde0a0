"""Reductions: over chosen axes, over the first or last ones, and over all elements."""

from caffe2py.ops.reduction import axes, elements, ends

__all__ = ["axes", "elements", "ends"]
