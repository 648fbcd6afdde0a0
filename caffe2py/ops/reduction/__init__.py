"""Reductions: over chosen axes, over the first or last ones, and over all elements."""

from caffe2py.ops.reduction import axes, elements, ends, extrema, moments, norms

__all__ = ["axes", "elements", "ends", "extrema", "moments", "norms"]
