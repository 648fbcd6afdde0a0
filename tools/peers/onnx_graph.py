"""A net as an ONNX graph, for the engines that read ONNX. Weights are initializers."""

from __future__ import annotations

import numpy as np
from layers import (
    BINARY,
    CAST,
    UNARY,
    aligned,
    dense,
    joined_axis,
    require,
    softmax_axis,
    summed_axes,
    window,
)
from onnx import TensorProto, helper, numpy_helper
from worker import RefusedError

_OPSET, _IR = 17, 8
_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}


def build(net, arrays):
    """The serialized model; RefusedError where an operator is not among those below."""
    if net["kind"] == "train":
        raise RefusedError("a training net changes its weights, which ONNX does not express")
    graph = _Graph(net, arrays)
    for op in net["ops"]:
        maker = _MAKERS.get(op["type"])
        if maker is None:
            raise RefusedError(op["type"] + " is not among the operators that are converted")
        maker(graph, op)
    return graph.serialized()


class _Graph:
    """Nodes under construction. Blobs that are written again get new names."""

    def __init__(self, net, arrays):
        self.net, self.arrays = net, arrays
        self.nodes, self.constants, self.names = [], {}, {}
        self.count = 0

    def name(self, blob):
        return self.names.get(blob, blob)

    def names_of(self, op):
        return [self.name(blob) for blob in op["inputs"]]

    def fresh(self, text):
        self.count += 1
        return f"{text}#{self.count}"

    def constant(self, value):
        name = self.fresh("constant")
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def node(self, type_, inputs, **attributes):
        output = self.fresh(type_)
        self.nodes.append(helper.make_node(type_, inputs, [output], **attributes))
        return output

    def give(self, op, type_, inputs, **attributes):
        """A node whose result is the first output of `op`."""
        self.names[op["outputs"][0]] = self.node(type_, inputs, **attributes)

    def serialized(self):
        read = {name for node in self.nodes for name in node.input}
        fed = set(self.net["inputs"])
        weights = {**self.arrays, **self.constants}
        initializers = [
            numpy_helper.from_array(weights[name], name)
            for name in sorted(read)
            if name in weights and name not in fed
        ]
        inputs = [
            helper.make_tensor_value_info(
                name, _TYPES[self.arrays[name].dtype.name], self.arrays[name].shape
            )
            for name in self.net["inputs"]
            if name in read
        ]
        outputs = []
        for blob in self.net["outputs"]:
            if self.name(blob) == blob:
                raise RefusedError(f"output '{blob}' is made by nothing that is converted")
            outputs.append(helper.make_empty_tensor_value_info(self.name(blob)))
        graph = helper.make_graph(self.nodes, self.net["name"], inputs, outputs, initializers)
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR)
        return model.SerializeToString()


# ---------------------------------------------------------------- operators


def _unary(graph, op):
    graph.give(op, UNARY[op["type"]][0], graph.names_of(op))


def _binary(graph, op):
    a, b = graph.names_of(op)
    shape = aligned(op)
    if shape is not None:
        b = graph.node("Reshape", [b, graph.constant(np.array(shape, np.int64))])
    graph.give(op, BINARY[op["type"]][0], [a, b])


def _sum(graph, op):
    names = graph.names_of(op)
    graph.give(op, "Add" if len(names) == 2 else "Sum", names)


def _conv(graph, op):
    kernel, stride, dilation, pads = window(op)
    attributes = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads}
    graph.give(op, "Conv", graph.names_of(op), group=op["args"].get("group", 1), **attributes)


def _pool(graph, op):
    if op["args"].get("global_pooling"):
        graph.give(op, "Global" + op["type"], graph.names_of(op))
        return
    kernel, stride, dilation, pads = window(op)
    require(dilation == [1, 1], op, "dilation")
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": pads}
    if op["type"] == "AveragePool":
        attributes["count_include_pad"] = int(bool(op["args"].get("count_include_pad")))
    graph.give(op, op["type"], graph.names_of(op), **attributes)


def _norm(graph, op):
    require(op["args"].get("is_test"), op, "it learns (is_test is not set)")
    epsilon = op["args"].get("epsilon", 1e-5)
    graph.give(op, "BatchNormalization", graph.names_of(op), epsilon=epsilon)


def _lrn(graph, op):
    args = op["args"]
    attributes = {name: args[name] for name in ("size", "alpha", "beta", "bias") if name in args}
    graph.give(op, "LRN", graph.names_of(op), **attributes)


def _fc(graph, op):
    x, w, b = graph.names_of(op)
    rows, weights, result = dense(op)
    x = graph.node("Reshape", [x, graph.constant(np.array(rows, np.int64))])
    if w in graph.arrays:  # a constant, so that engines may arrange it as they like
        w = graph.constant(graph.arrays[w].reshape(weights))
    if len(result) == 2:
        graph.give(op, "Gemm", [x, w, b], transB=1)
        return
    flat = graph.node("Gemm", [x, w, b], transB=1)
    graph.give(op, "Reshape", [flat, graph.constant(np.array(result, np.int64))])


def _matmul(graph, op):
    names = graph.names_of(op)
    for index, flag in enumerate(("trans_a", "trans_b")):
        if op["args"].get(flag):
            require(len(op["input_shapes"][index] or ()) == 2, op, flag + " of no matrix")
            names[index] = graph.node("Transpose", names[index : index + 1], perm=[1, 0])
    graph.give(op, "MatMul", names)


def _softmax(graph, op):
    axis, (x,) = softmax_axis(op), graph.names_of(op)
    shape = op["input_shapes"][0]
    if axis == len(shape) - 1:
        graph.give(op, "Softmax", [x], axis=-1)
        return
    flat = graph.node("Softmax", [graph.node("Flatten", [x], axis=axis)], axis=1)
    graph.give(op, "Reshape", [flat, graph.constant(np.array(shape, np.int64))])


def _concat(graph, op):
    graph.give(op, "Concat", graph.names_of(op), axis=joined_axis(op))


def _dropout(graph, op):
    require(op["args"].get("is_test"), op, "it is random (is_test is not set)")
    graph.give(op, "Identity", graph.names_of(op))


def _scale(graph, op):
    factor = graph.constant(np.float32(op["args"].get("scale", 1.0)))
    graph.give(op, "Mul", [*graph.names_of(op), factor])


def _clip(graph, op):
    limits = [op["args"].get(name) for name in ("min", "max")]
    given = ["" if limit is None else graph.constant(np.float32(limit)) for limit in limits]
    graph.give(op, "Clip", [*graph.names_of(op), *given])


def _reshape(graph, op):
    require(op["args"].get("shape") is not None, op, "the shape is an input")
    shape = graph.constant(np.array(op["args"]["shape"], np.int64))
    graph.give(op, "Reshape", [graph.names_of(op)[0], shape])


def _dims(graph, op):
    dims = graph.constant(np.array(op["args"]["dims"], np.int64))
    graph.give(
        op, "Squeeze" if op["type"] == "Squeeze" else "Unsqueeze", [*graph.names_of(op), dims]
    )


def _transpose(graph, op):
    axes = op["args"].get("axes")
    graph.give(op, "Transpose", graph.names_of(op), **({"perm": axes} if axes else {}))


def _cast(graph, op):
    to = CAST.get(op["args"].get("to"))
    require(to is not None, op, "its type")
    graph.give(op, "Cast", graph.names_of(op), to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))


def _expand(graph, op):
    graph.give(op, "Expand", graph.names_of(op))


def _expand_gradient(graph, op):
    axes, shape = summed_axes(op)
    total = graph.names_of(op)[0]
    if axes:
        total = graph.node("ReduceSum", [total, graph.constant(np.array(axes, np.int64))])
    graph.give(op, "Reshape", [total, graph.constant(np.array(shape, np.int64))])


def _reciprocal_gradient(graph, op):
    y, dy = graph.names_of(op)
    graph.give(op, "Neg", [graph.node("Mul", [graph.node("Mul", [y, y]), dy])])


_MAKERS = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("Squeeze", "ExpandDims"), _dims),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _dropout,
    "Expand": _expand,
    "ExpandGradient": _expand_gradient,
    "FC": _fc,
    "LRN": _lrn,
    "MatMul": _matmul,
    "ReciprocalGradient": _reciprocal_gradient,
    "Reshape": _reshape,
    "Scale": _scale,
    "Softmax": _softmax,
    "SpatialBN": _norm,
    "Sum": _sum,
    "Transpose": _transpose,
}
