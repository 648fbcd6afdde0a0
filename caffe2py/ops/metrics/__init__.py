"""Metrics of predictions and of the distribution of elements."""

from caffe2py.ops.metrics import accuracy, histogram, precision, quantile

__all__ = ["accuracy", "histogram", "precision", "quantile"]
