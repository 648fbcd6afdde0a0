"""Caffe2's gradient_checker module: gradients of operators and nets against numeric ones.

checker = gradient_checker.GradientChecker(0.05, 0.005)
passed, gradient, estimate = checker.CheckSimple(op, [x, w], 0, [0])
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.testing.gradients import GradientChecker, NetGradientChecker, getGradientForOp

__all__ = ["GradientChecker", "NetGradientChecker", "getGradientForOp"]
