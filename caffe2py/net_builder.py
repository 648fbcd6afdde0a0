"""Caffe2's net_builder module: nets with loops and branches, written in blocks.

with NetBuilder() as builder:
    n = ops.Const(3)
    with ops.loop():
        ops.stop_if(ops.LE([n, ops.Const(0)]))
        ops.Add([n, ops.Const(-1)], [n])
plan = core.Plan(core.to_execution_step(builder, "countdown"))
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.jobs.builder import NetBuilder
from caffe2py.jobs.operations import Operations, ops

__all__ = ["NetBuilder", "Operations", "ops"]
