"""Caffe2's optimizer_context module: other optimizers for some of the parameters."""

from __future__ import annotations

from caffe2py.modeling.modifier_context import DEFAULT_MODIFIER, OptimizerContext, UseOptimizer

__all__ = ["DEFAULT_OPTIM", "OptimizerContext", "UseOptimizer"]

DEFAULT_OPTIM = DEFAULT_MODIFIER
