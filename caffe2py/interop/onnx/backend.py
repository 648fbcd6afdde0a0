"""Caffe2's onnx.backend module: run ONNX models, or translate them to nets.

import caffe2.python.onnx.backend as backend
rep = backend.prepare(model)
outputs = rep.run([x])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.errors import UnsupportedError
from caffe2py.interop.onnx.backend_rep import Caffe2Rep
from caffe2py.interop.onnx.importer import import_model
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.interop.onnx.read import check_graph, read_model
from caffe2py.interop.onnx.tensors import array_of, tensor_of
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.tensor import Array

__all__ = [
    "Caffe2Backend",
    "is_compatible",
    "onnx_graph_to_caffe2_net",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]

#: The opset of a single node, unless another is asked for.
_OPSET = 13


class Caffe2Backend:
    """The interface that ONNX gives its backends, all of it class methods."""

    @classmethod
    def prepare(
        cls,
        model: Any,
        device: str = "CPU",
        raw_values_dict: Mapping[str, Array] | None = None,
        **kwargs: Any,
    ) -> Caffe2Rep:
        """A model that is ready to run; `raw_values_dict` has inputs that never change.

        Raises UnsupportedError that lists all nodes without counterpart.
        """
        if not cls.supports_device(device):
            raise UnsupportedError(f"there is no device '{device}'", hint="device='CPU'")
        found, folder = read_model(model)
        if folder is not None or _has_external(found):
            found = _inlined_data(found, folder)
        return Caffe2Rep(found, raw_values_dict)

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> Any:
        """The outputs of a model; as prepare(model).run(inputs)."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,
        opset_version: int = _OPSET,
        **kwargs: Any,
    ) -> Any:
        """The outputs of one node."""
        helper = onnx_package("helper")
        names = list(dict.fromkeys(name for name in node.input if name))
        if isinstance(inputs, Mapping):
            arrays = {name: np.asarray(inputs[name]) for name in names}
        else:
            arrays = {n: np.asarray(a) for n, a in zip(names, inputs, strict=True)}
        described = [
            helper.make_tensor_value_info(n, tensor_of(n, a).data_type, a.shape)
            for n, a in arrays.items()
        ]
        outputs = [onnx_package().ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "node", described, outputs)
        opset = helper.make_opsetid(node.domain, opset_version)
        model = helper.make_model(graph, opset_imports=[opset])
        return cls.run_model(model, arrays, device)

    @classmethod
    def onnx_graph_to_caffe2_net(
        cls, model: Any, device: str = "CPU", opset_version: int | None = None
    ) -> tuple[NetDef, NetDef]:
        """The net that makes the weights, and the net that computes."""
        made = import_model(model)
        return made.init, made.predict

    @classmethod
    def supports_device(cls, device_str: str) -> bool:
        """Whether models can run there: "CPU", "CPU:0"."""
        return device_str.partition(":")[0].upper() == "CPU"

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model can be run; the reasons against it are prepare's errors."""
        try:
            cls.prepare(model, device, **kwargs)
        except UnsupportedError:
            return False
        return True


def _has_external(model: Any) -> bool:
    return any(tensor.data_location for tensor in model.graph.initializer)


def _inlined_data(model: Any, folder: Any) -> Any:
    """The model with its weights inside, so that its files are read once."""
    made = onnx_package().ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        if tensor.data_location:
            tensor.CopyFrom(tensor_of(tensor.name, array_of(tensor, folder)))
    check_graph(made.graph)
    return made


prepare = Caffe2Backend.prepare
run_model = Caffe2Backend.run_model
run_node = Caffe2Backend.run_node
onnx_graph_to_caffe2_net = Caffe2Backend.onnx_graph_to_caffe2_net
supports_device = Caffe2Backend.supports_device
is_compatible = Caffe2Backend.is_compatible
