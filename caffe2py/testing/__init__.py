"""Checks that every operator goes through, for operators inside and outside of this package."""

from caffe2py.testing.case import Bad, Case, Sample, elementwise_samples, ints, uniform

__all__ = ["Bad", "Case", "Sample", "elementwise_samples", "ints", "uniform"]
