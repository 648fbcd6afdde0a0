"""Weights of an LSTM gate by gate, and in the blobs of the layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe2py.executor.session import FeedBlob, FetchBlob

__all__ = ["GetLSTMParamNames", "InitFromLSTMParams"]

_GATES = ("input_gate", "forget_gate", "output_gate", "cell")
_LETTERS = {"weights": "w", "biases": "b"}


def GetLSTMParamNames() -> dict[str, list[str]]:
    """How the gates' weights and biases are called, in the order in which a layer keeps them."""
    return {kind: [f"{gate}_{x}" for gate in _GATES] for kind, x in _LETTERS.items()}


def InitFromLSTMParams(
    lstm_pblobs: Mapping[str, Mapping[str, Any]], param_values: Mapping[str, Mapping[str, Any]]
) -> None:
    """Feed the parameters of an LSTM layer from those of its gates.

    `lstm_pblobs` is what LSTM(return_params=True) gives: for "input" and "recurrent" the blobs of
    the "weights" and "biases", which exist. `param_values` has for the same keys arrays under the
    names of GetLSTMParamNames.
    """
    for part, values in param_values.items():
        for kind, names in GetLSTMParamNames().items():
            blob = lstm_pblobs[part][kind]
            whole = np.concatenate([np.ravel(values[name]) for name in names])
            FeedBlob(blob, whole.reshape(FetchBlob(blob).shape).astype(np.float32))
