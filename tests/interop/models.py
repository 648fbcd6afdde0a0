"""Small ONNX models, and what onnxruntime and the nets make of them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.executor.workspace import Workspace
from caffe2py.interop.onnx.exporter import export_model
from caffe2py.interop.onnx.importer import import_model
from caffe2py.interop.onnx.verify import differences, run_onnxruntime
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.types import TensorType

FLOAT = TensorProto.FLOAT


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights=None, opset=13, **extra):
    """A ModelProto; inputs and outputs are name -> shape or value."""
    described = [
        [v if isinstance(v, onnx.ValueInfoProto) else value(n, v) for n, v in side.items()]
        for side in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    graph = helper.make_graph(nodes, "toy", *described, tensors)
    versions = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8, **extra)


def run_nets(init, predict, inputs):
    """What the two nets make of inputs, by the names of the outputs."""
    workspace = Workspace()
    workspace.run_net_once(init)
    for name, array in inputs.items():
        workspace.feed(name, array)
    workspace.run_net_once(predict)
    return {name: workspace.fetch(name) for name in predict.external_output}


def import_difference(proto, inputs):
    """The largest difference between the imported nets and onnxruntime."""
    made = import_model(proto, {name: array.shape for name, array in inputs.items()})
    ours = run_nets(made.init, made.predict, inputs)
    return max(differences(ours, run_onnxruntime(proto, inputs, list(ours))).values())


def net(*rows):
    """A net of rows (type, inputs, outputs, arguments)."""
    made = NetDef(name="toy")
    for type_, inputs, outputs, args in rows:
        op = made.op.add(type=type_, input=inputs.split(), output=outputs.split())
        op.arg.extend(make_argument(k, v) for k, v in args.items())
    return made


def export_difference(made, inputs, weights=None, opset=13):
    """The largest difference between a net and onnxruntime on its export; and the model."""
    types = {name: TensorType.of(array) for name, array in inputs.items()}
    exported = export_model(made, weights or {}, types, opset=opset)
    workspace = Workspace()
    for name, array in {**(weights or {}), **inputs}.items():
        workspace.feed(name, array)
    workspace.run_net_once(made)
    outputs = [v.name for v in exported.graph.output]
    wanted = list(made.external_output) or outputs
    ours = {name: workspace.fetch(own) for name, own in zip(outputs, wanted, strict=True)}
    return max(differences(ours, run_onnxruntime(exported, inputs, outputs)).values()), exported
