"""Caffe2's control_ops_util module: If and While operators around nets."""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.graph.branches import add_if_op, add_while_op, get_external_blob_names

__all__ = ["add_if_op", "add_while_op", "get_external_blob_names"]
