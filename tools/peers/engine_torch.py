"""torch, eager: one function call an operator, without gradients."""

from __future__ import annotations

import numpy as np
import torch
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
from torch.nn import functional
from worker import RefusedError


def version():
    return torch.__version__


class Engine:
    def __init__(self, threads):
        torch.set_num_threads(threads)

    def load(self, folder, net, arrays):
        if net["kind"] == "train":
            raise RefusedError("a training net: gradients are written another way in torch")
        self.blobs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self.steps = [self.step(op) for op in net["ops"]]
        self.names = net["outputs"]

    def step(self, op):
        """(function of tensors, names that it reads, name that it makes)."""
        maker = _MAKERS.get(op["type"])
        if maker is None:
            raise RefusedError(op["type"] + " is not among the operators that are converted")
        return maker(op), op["inputs"], op["outputs"][0]

    def run(self, count):
        with torch.inference_mode():
            for _ in range(count):
                blobs = dict(self.blobs)
                for function, inputs, output in self.steps:
                    blobs[output] = function(*[blobs[name] for name in inputs])
        self.found = blobs

    def outputs(self):
        return {name: np.array(self.found[name]) for name in self.names}


# ---------------------------------------------------------------- operators


def _unary(op):
    return getattr(torch, UNARY[op["type"]][1])


def _binary(op):
    function, shape = getattr(torch, BINARY[op["type"]][1]), aligned(op)
    return function if shape is None else lambda a, b: function(a, b.reshape(shape))


def _sum(op):
    def add(first, *others):
        for other in others:
            first = first + other
        return first

    return add


def _conv(op):
    _, stride, dilation, pads = window(op)
    pad, group = pads[:2], op["args"].get("group", 1)
    require(pad == pads[2:], op, "pads that differ from side to side")
    return lambda x, w, b=None: functional.conv2d(x, w, b, stride, pad, dilation, group)


def _max_pool(op):
    if op["args"].get("global_pooling"):
        return lambda x: torch.amax(x, (2, 3), keepdim=True)
    kernel, stride, dilation, pads = window(op)
    if pads[:2] == pads[2:]:
        return lambda x: functional.max_pool2d(x, kernel, stride, pads[:2], dilation)
    around, low = _around(pads), float("-inf")
    return lambda x: functional.max_pool2d(
        functional.pad(x, around, value=low), kernel, stride, 0, dilation
    )


def _average_pool(op):
    if op["args"].get("global_pooling"):
        return lambda x: functional.adaptive_avg_pool2d(x, 1)
    kernel, stride, _, pads = window(op)
    counted = bool(op["args"].get("count_include_pad"))
    if pads[:2] == pads[2:]:
        return lambda x: functional.avg_pool2d(x, kernel, stride, pads[:2], False, counted)
    require(not counted and op["input_shapes"][0] is not None, op, "pads that differ")
    around = _around(pads)
    ones = functional.pad(torch.ones([1, 1, *op["input_shapes"][0][2:]]), around)
    inside = functional.avg_pool2d(ones, kernel, stride)
    return lambda x: functional.avg_pool2d(functional.pad(x, around), kernel, stride) / inside


def _around(pads):
    """Pads in the order of functional.pad: left, right, top, bottom."""
    top, left, bottom, right = pads
    return [left, right, top, bottom]


def _norm(op):
    require(op["args"].get("is_test"), op, "it learns (is_test is not set)")
    epsilon = op["args"].get("epsilon", 1e-5)
    return lambda x, scale, shift, mean, var: functional.batch_norm(
        x, mean, var, scale, shift, False, 0.0, epsilon
    )


def _lrn(op):
    args = op["args"]
    numbers = [args.get(*pair) for pair in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))]
    return lambda x: functional.local_response_norm(x, args["size"], *numbers)


def _fc(op):
    rows, weights, result = dense(op)
    if len(result) == 2:
        return lambda x, w, b: functional.linear(x.reshape(rows), w.reshape(weights), b)
    return lambda x, w, b: functional.linear(x.reshape(rows), w.reshape(weights), b).reshape(result)


def _matmul(op):
    turned = [bool(op["args"].get(flag)) for flag in ("trans_a", "trans_b")]
    return lambda a, b: torch.matmul(a.t() if turned[0] else a, b.t() if turned[1] else b)


def _softmax(op):
    axis, shape = softmax_axis(op), op["input_shapes"][0]
    if axis == len(shape) - 1:
        return lambda x: torch.softmax(x, -1)
    return lambda x: torch.softmax(x.flatten(axis), -1).reshape(shape)


def _concat(op):
    axis = joined_axis(op)
    return lambda *inputs: torch.cat(inputs, axis)


def _dropout(op):
    require(op["args"].get("is_test"), op, "it is random (is_test is not set)")
    return lambda x: x


def _scale(op):
    factor = op["args"].get("scale", 1.0)
    return lambda x: x * factor


def _clip(op):
    low, high = op["args"].get("min"), op["args"].get("max")
    return lambda x: torch.clamp(x, low, high)


def _reshaped(op):
    shape = op["output_shapes"][0]
    require(shape is not None, op, "shapes are not known")
    return lambda x, *others: x.reshape(shape)


def _copied(op):
    """As Caffe2 does for Reshape and Squeeze to another blob."""
    shaped = _reshaped(op)
    return lambda x, *others: shaped(x).clone()


def _transpose(op):
    axes = op["args"].get("axes") or list(range(len(op["input_shapes"][0])))[::-1]
    return lambda x: x.permute(axes).contiguous()


def _cast(op):
    to = CAST.get(op["args"].get("to"))
    require(to is not None, op, "its type")
    return lambda x: x.to(getattr(torch, to))


def _expand(op):
    shape = op["output_shapes"][0]
    require(shape is not None, op, "shapes are not known")
    return lambda x, *others: x.expand(shape).contiguous()


def _expand_gradient(op):
    axes, shape = summed_axes(op)
    return lambda dy, x: (dy.sum(axes) if axes else dy).reshape(shape)


def _lookup(op):
    def total(table, indices, lengths):
        begins = torch.cumsum(lengths, 0) - lengths
        return functional.embedding_bag(indices, table, begins.to(indices.dtype), mode="sum")

    return total


_MAKERS = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims"), _copied),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _dropout,
    "Expand": _expand,
    "FC": _fc,
    "ExpandGradient": _expand_gradient,
    "LRN": _lrn,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "ReciprocalGradient": lambda op: lambda y, dy: -(y * y * dy),
    "Scale": _scale,
    "Softmax": _softmax,
    "SparseLengthsSum": _lookup,
    "SpatialBN": _norm,
    "Sum": _sum,
    "Transpose": _transpose,
}
