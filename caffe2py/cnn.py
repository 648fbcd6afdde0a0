"""Caffe2's cnn module: CNNModelHelper. New programs write ModelHelper and brew."""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.modeling.cnn import CNNModelHelper

__all__ = ["CNNModelHelper"]
