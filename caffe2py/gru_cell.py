"""Caffe2's gru_cell module: gated recurrent units."""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.modeling.recurrent.gru import GRUCell
from caffe2py.modeling.recurrent.layers import GRU

__all__ = ["GRU", "GRUCell"]
