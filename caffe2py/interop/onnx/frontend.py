"""Caffe2's onnx.frontend module: nets as ONNX models.

import caffe2.python.onnx.frontend as frontend
model = frontend.caffe2_net_to_onnx_model(predict, init, {"data": (1, (1, 3, 224, 224))})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.errors import UsageError
from caffe2py.executor.inputs import as_net
from caffe2py.interop.onnx.exporter import DEFAULT, export_model, init_arrays
from caffe2py.interop.onnx.tensors import dtype_of, tensor_of
from caffe2py.proto.analysis import clone, external_inputs
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.types import TensorType

__all__ = [
    "Caffe2Frontend",
    "caffe2_init_net_to_initializer",
    "caffe2_net_to_onnx_graph",
    "caffe2_net_to_onnx_model",
]

ValueInfo = Mapping[str, tuple[int, Sequence[int]]]


class Caffe2Frontend:
    """The translation as class methods, as scripts call it."""

    target_opset_version = DEFAULT

    @classmethod
    def caffe2_net_to_onnx_model(
        cls,
        predict_net: Any,
        init_net: Any = None,
        value_info: ValueInfo | None = None,
        opset_version: int | None = None,
    ) -> Any:
        """The ModelProto of a net whose weights `init_net` makes.

        `value_info` has the ONNX data type and shape of each input: {"data": (1, (1, 3, 8, 8))}.
        Raises UnsupportedError that lists all operators without counterpart.
        """
        net = _net(predict_net)
        weights = init_arrays(_net(init_net)) if init_net is not None else {}
        types = {n: TensorType(dtype_of(t), tuple(s)) for n, (t, s) in (value_info or {}).items()}
        for name in types:
            weights.pop(name, None)  # a stand-in of the init net
        unknown = [n for n in external_inputs(net) if n not in types and n not in weights]
        if unknown:
            raise UsageError(
                f"value_info lacks the input '{unknown[0]}'",
                hint=f"value_info={{'{unknown[0]}': (onnx.TensorProto.FLOAT, (1, 3, 224, 224))}}",
            )
        opset = cls.target_opset_version if opset_version is None else opset_version
        return export_model(net, weights, types, opset=opset)

    @classmethod
    def caffe2_net_to_onnx_graph(
        cls, predict_net: Any, init_net: Any = None, value_info: ValueInfo | None = None
    ) -> Any:
        """The graph of that model."""
        return cls.caffe2_net_to_onnx_model(predict_net, init_net, value_info).graph

    @classmethod
    def caffe2_init_net_to_initializer(cls, init_net: Any) -> list[Any]:
        """The weights that a net makes, as ONNX tensors; whatever its fillers are."""
        return [tensor_of(n, np.asarray(a)) for n, a in init_arrays(_net(init_net)).items()]


def _net(net: Any) -> NetDef:
    """The NetDef of a Net, a NetDef, or the bytes of one, with a name."""
    proto = as_net(net)
    return proto if proto.name else clone(proto, "net")


caffe2_net_to_onnx_graph = Caffe2Frontend.caffe2_net_to_onnx_graph
caffe2_net_to_onnx_model = Caffe2Frontend.caffe2_net_to_onnx_model
caffe2_init_net_to_initializer = Caffe2Frontend.caffe2_init_net_to_initializer
