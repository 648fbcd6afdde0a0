"""Caffe2's rnn_cell module: recurrent cells, and layers that put them over a sequence.

model = model_helper.ModelHelper("tagger")
h, h_last, c, c_last = rnn_cell.LSTM(
    model, "words", "lengths", None, dim_in=32, dim_out=64, scope="lstm", outputs_with_grads=(0,))
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.modeling.recurrent.attending import (
    AttentionCell,
    LSTMWithAttentionCell,
    MILSTMWithAttentionCell,
)
from caffe2py.modeling.recurrent.attention import AttentionType
from caffe2py.modeling.recurrent.cell import RNNCell
from caffe2py.modeling.recurrent.dropout import DropoutCell
from caffe2py.modeling.recurrent.layers import (
    LSTM,
    MILSTM,
    BasicRNN,
    LayerNormLSTM,
    LayerNormMILSTM,
    LSTMWithAttention,
    cudnn_LSTM,
    layered_LSTM,
)
from caffe2py.modeling.recurrent.layers import (
    over_sequence as _LSTM,  # noqa: F401, N812  (scripts put cells of their own into it)
)
from caffe2py.modeling.recurrent.lstm import (
    LayerNormLSTMCell,
    LayerNormMILSTMCell,
    LSTMCell,
    LSTMInitializer,
    MILSTMCell,
)
from caffe2py.modeling.recurrent.parameters import GetLSTMParamNames, InitFromLSTMParams
from caffe2py.modeling.recurrent.plain import BasicRNNCell
from caffe2py.modeling.recurrent.stacked import MultiRNNCell
from caffe2py.modeling.recurrent.unrolled import UnrolledCell

__all__ = [
    "LSTM",
    "MILSTM",
    "AttentionCell",
    "AttentionType",
    "BasicRNN",
    "BasicRNNCell",
    "DropoutCell",
    "GetLSTMParamNames",
    "InitFromLSTMParams",
    "LSTMCell",
    "LSTMInitializer",
    "LSTMWithAttention",
    "LSTMWithAttentionCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "LayerNormMILSTM",
    "LayerNormMILSTMCell",
    "MILSTMCell",
    "MILSTMWithAttentionCell",
    "MultiRNNCell",
    "RNNCell",
    "UnrolledCell",
    "cudnn_LSTM",
    "layered_LSTM",
]
