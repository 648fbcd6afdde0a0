"""Caffe2's recurrent module: a net of one step, run over a sequence."""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.modeling.recurrent.network import recurrent_net, set_rnn_executor_config
from caffe2py.modeling.recurrent.steps import retrieve_step_blobs

__all__ = ["recurrent_net", "retrieve_step_blobs", "set_rnn_executor_config"]
