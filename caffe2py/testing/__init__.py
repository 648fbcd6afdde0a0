"""Checks that every operator goes through, for operators inside and outside of this package."""

from caffe2py.tensor.tensor import Int8Tensor
from caffe2py.testing.case import Bad, Case, Made, Sample, elementwise_samples, ints, uniform

__all__ = ["Bad", "Case", "Int8Tensor", "Made", "Sample", "elementwise_samples", "ints", "uniform"]
