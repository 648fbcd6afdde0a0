"""Caffe2's regularizer_context module: regularizers for some of the parameters."""

from __future__ import annotations

from caffe2py.modeling.modifier_context import RegularizerContext, UseRegularizer

__all__ = ["RegularizerContext", "UseRegularizer"]
