"""Caffe2's control_ops_grad module: what backward passes do to If operators."""

from __future__ import annotations

from caffe2py.graph.accumulate import rename_output
from caffe2py.proto.caffe2_pb2 import OperatorDef

__all__ = ["disambiguate_grad_if_op_output"]


def disambiguate_grad_if_op_output(grad_op: OperatorDef, idx: int, new_grad_output: str) -> None:
    """Let a gradient If write its output number `idx` under another name, and so do its nets."""
    rename_output(grad_op, idx, new_grad_output)
