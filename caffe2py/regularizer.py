"""Caffe2's regularizer module: terms on top of the loss, and bounds for parameters.

reg = regularizer.L2Norm(0.001)
term = reg(model.net, model.param_init_net, w, by=regularizer.RegularizationBy.ON_LOSS)
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.optim.regularizer import (
    BoundedGradientProjection,
    ConstantNorm,
    ElasticNet,
    ElasticNetL1NormTrimmed,
    GroupL1Norm,
    L0ApproxNorm,
    L1Norm,
    L1NormTrimmed,
    L2Norm,
    LogBarrier,
    LpNorm,
    MaxNorm,
    RegularizationBy,
    Regularizer,
    SparseL1Norm,
    SparseL2Norm,
    SparseLpNorm,
)

__all__ = [
    "BoundedGradientProjection",
    "ConstantNorm",
    "ElasticNet",
    "ElasticNetL1NormTrimmed",
    "GroupL1Norm",
    "L0ApproxNorm",
    "L1Norm",
    "L1NormTrimmed",
    "L2Norm",
    "LogBarrier",
    "LpNorm",
    "MaxNorm",
    "RegularizationBy",
    "Regularizer",
    "SparseL1Norm",
    "SparseL2Norm",
    "SparseLpNorm",
]
