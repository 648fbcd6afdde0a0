"""Caffe2's predictor_constants module: the keys and names that saved predictors use.

predictor_constants.PREDICT_NET_TYPE     # "PREDICT_NET_TYPE", the key of the net that predicts
predictor_constants.META_NET_DEF         # "!!META_NET_DEF", the record that lists all others
"""

from __future__ import annotations

from caffe2py.proto import predictor_consts_pb2 as predictor_consts

__all__ = ["predictor_constants", "predictor_consts"]

predictor_constants = predictor_consts.PredictorConsts()
