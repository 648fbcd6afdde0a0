"""Which filler operator makes a constant, and with what arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.proto.caffe2_pb2 import TensorProto

_FILLERS = {
    "int32": "GivenTensorIntFill",
    "int64": "GivenTensorInt64Fill",
    "bool": "GivenTensorBoolFill",
}


def constant_fill(array: Any, dtype: Any = None) -> tuple[str, dict[str, Any]]:
    """The operator type and its arguments that make a tensor of these values.

    Types without a filler of their own become float32. A plain bool is a ConstantFill.
    """
    if isinstance(array, bool):
        return "ConstantFill", {"dtype": TensorProto.BOOL, "value": array}
    values = np.array(array, dtype=dtype)
    text = values.dtype.kind in "SUO"
    op_type = "GivenTensorStringFill" if text else _FILLERS.get(values.dtype.name)
    return op_type or "GivenTensorFill", {"shape": values.shape, "values": values.reshape(-1)}
