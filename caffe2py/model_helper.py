"""Caffe2's model_helper module: a model is a net, its parameters and how these begin."""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.modeling.extract import ExtractPredictorNet
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.parameter_info import ParameterInfo, ParameterTags
from caffe2py.modeling.parameter_sharing import ParameterSharing

__all__ = [
    "ExtractPredictorNet",
    "ModelHelper",
    "ParameterInfo",
    "ParameterSharing",
    "ParameterTags",
]
