"""Layers of Caffe 1 as operators: one small function each, in a table by type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.errors import Error, ModelFormatError, UnsupportedError
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import checked_numel

__all__ = ["LAYERS", "NO_COMPUTATION", "Layer", "LayerRule", "blob_array"]

#: Layers that give data or measure training; a net that predicts has none.
NO_COMPUTATION = frozenset(
    [
        "Data",
        "DummyData",
        "HDF5Data",
        "HDF5Output",
        "ImageData",
        "Input",
        "MemoryData",
        "WindowData",
        "Silence",
        "Accuracy",
        "EuclideanLoss",
        "HingeLoss",
        "InfogainLoss",
        "MultinomialLogisticLoss",
        "ContrastiveLoss",
        "SigmoidCrossEntropyLoss",
    ]
)

_CEIL = 3  # legacy_pad: sizes rounded up, as Caffe 1 pools


def blob_array(blob: Any) -> Array:
    """The float32 array of a BlobProto; ModelFormatError where its values do not fit its shape."""
    shape = tuple(blob.shape.dim)
    if not blob.HasField("shape"):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    values = blob.data or blob.double_data
    if checked_numel(shape, 4) != len(values):
        raise ModelFormatError(f"a blob of shape {shape} holds {len(values)} values")
    return np.array(values, np.float32).reshape(shape)


@dataclass
class Layer:
    """A layer that is being translated: what it says, its weights, and what came of it."""

    proto: Any
    weights: Sequence[Array]
    is_test: bool
    params: dict[str, Array] = field(default_factory=dict)
    ops: list[OperatorDef] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The layer's name, which its weights get."""
        return str(self.proto.name)

    @property
    def bottom(self) -> list[str]:
        """The blobs that it reads."""
        return list(self.proto.bottom)

    @property
    def top(self) -> list[str]:
        """The blobs that it makes."""
        return list(self.proto.top)

    def x(self) -> str:
        """The only input."""
        if len(self.proto.bottom) < 1 or not self.proto.top:
            raise ModelFormatError("it has no bottom or no top")
        return str(self.proto.bottom[0])

    def weight(self, index: int, suffix: str, shape: Sequence[int] | None = None) -> str:
        """A weight under the name of the layer; ModelFormatError if it is not there."""
        if index >= len(self.weights):
            raise ModelFormatError(
                f"it has {len(self.weights)} weights, and number {index} is used"
            )
        array = self.weights[index]
        return self.param(suffix, array if shape is None else array.reshape(shape))

    def param(self, suffix: str, array: Array) -> str:
        """A weight with these values."""
        name = f"{self.name}_{suffix}"
        self.params[name] = np.ascontiguousarray(array, np.float32)
        return name

    def add(
        self, type_: str, inputs: Sequence[str], outputs: Sequence[str], **args: Any
    ) -> OperatorDef:
        """Append an operator; arguments that are None are left out."""
        op = OperatorDef(type=type_, input=inputs, output=outputs)
        op.arg.extend(make_argument(k, v) for k, v in args.items() if v is not None)
        self.ops.append(op)
        return op


#: Adds the operators that a layer means. Raises UnsupportedError for what Caffe2 has not.
LayerRule = Callable[[Layer], None]
LAYERS: dict[str, LayerRule] = {}


def _layer(*names: str) -> Callable[[LayerRule], LayerRule]:
    def add(rule: LayerRule) -> LayerRule:
        LAYERS.update(dict.fromkeys(names, rule))
        return rule

    return add


def _pair(several: Sequence[int], param: Any, name: str, default: int) -> tuple[int, int]:
    """Height and width of a window's size, stride or pad."""
    if param.HasField(f"{name}_h") or param.HasField(f"{name}_w"):
        return int(getattr(param, f"{name}_h")), int(getattr(param, f"{name}_w"))
    if len(several) > 2:
        raise UnsupportedError(f"{len(several)} spatial axes")
    if not several:
        return default, default
    return int(several[0]), int(several[-1])


_Pair = tuple[int, int]


def _window(kernel: _Pair, stride: _Pair, pad: _Pair) -> dict[str, Any]:
    """The arguments of a window, short where height and width agree."""
    if min(kernel) < 1 or min(stride) < 1:
        raise ModelFormatError(f"a window of {kernel} in steps of {stride}")
    args: dict[str, Any] = {}
    for name, (high, wide) in (("kernel", kernel), ("stride", stride)):
        args |= {name: high} if high == wide else {f"{name}_h": high, f"{name}_w": wide}
    if pad[0] == pad[1]:
        return args | {"pad": pad[0]}
    return args | {"pad_t": pad[0], "pad_b": pad[0], "pad_l": pad[1], "pad_r": pad[1]}


@_layer("Convolution", "Deconvolution")
def convolution(layer: Layer) -> None:
    """Conv or ConvTranspose."""
    p = layer.proto.convolution_param
    if p.axis != 1:
        raise UnsupportedError(f"axis {p.axis}")
    args = _window(
        _pair(p.kernel_size, p, "kernel", 0),
        _pair(p.stride, p, "stride", 1),
        _pair(p.pad, p, "pad", 0),
    )
    if p.group > 1:
        args["group"] = p.group
    deconvolution = layer.proto.type == "Deconvolution"
    if any(d != 1 for d in p.dilation):
        if deconvolution:
            raise UnsupportedError("a dilated deconvolution")
        high, wide = int(p.dilation[0]), int(p.dilation[-1])
        args |= {"dilation_h": high, "dilation_w": wide}
    inputs = [layer.x(), layer.weight(0, "w")]
    if p.bias_term:
        inputs.append(layer.weight(1, "b", [-1]))
    layer.add("ConvTranspose" if deconvolution else "Conv", inputs, layer.top, **args)


@_layer("InnerProduct")
def inner_product(layer: Layer) -> None:
    """FC, or FCTransposed."""
    p = layer.proto.inner_product_param
    if not layer.weights:
        raise ModelFormatError("it has no weights")
    weights = layer.weights[0]
    matrix = weights.reshape(weights.shape[-2:]) if weights.ndim == 4 else weights
    inputs = [layer.x(), layer.param("w", matrix)]
    if p.bias_term:
        inputs.append(layer.weight(1, "b", [-1]))
    else:
        inputs.append(layer.param("b", np.zeros(p.num_output, np.float32)))
    axis = p.axis if p.axis != 1 else None
    layer.add("FCTransposed" if p.transpose else "FC", inputs, layer.top, axis=axis)


@_layer("Pooling")
def pooling(layer: Layer) -> None:
    """MaxPool or AveragePool, with sizes rounded up.

    Where Caffe 1 counts its pads as zeros of the mean, so does the operator.
    """
    p = layer.proto.pooling_param
    kinds = {p.MAX: "MaxPool", p.AVE: "AveragePool"}
    if p.pool not in kinds:
        raise UnsupportedError("stochastic pooling")
    if p.global_pooling:
        layer.add(kinds[p.pool], [layer.x()], layer.top, global_pooling=1)
        return
    single = [[int(v)] for v in (p.kernel_size, p.stride, p.pad)]
    pad = _pair(single[2], p, "pad", 0)
    args = _window(_pair(single[0], p, "kernel", 0), _pair(single[1], p, "stride", 1), pad)
    if p.pool == p.AVE and max(pad):
        args["count_include_pad"] = 1
    if p.round_mode == p.CEIL:
        args["legacy_pad"] = _CEIL
    layer.add(kinds[p.pool], [layer.x()], layer.top[:1], **args)


_PLAIN = {"AbsVal": "Abs", "BNLL": "Softplus", "Sigmoid": "Sigmoid", "TanH": "Tanh"}


@_layer(*_PLAIN)
def plain(layer: Layer) -> None:
    """An operator without arguments."""
    layer.add(_PLAIN[layer.proto.type], [layer.x()], layer.top)


@_layer("ReLU")
def relu(layer: Layer) -> None:
    """Relu, or LeakyRelu."""
    slope = layer.proto.relu_param.negative_slope
    if slope:
        layer.add("LeakyRelu", [layer.x()], layer.top, alpha=slope)
    else:
        layer.add("Relu", [layer.x()], layer.top)


@_layer("ELU")
def elu(layer: Layer) -> None:
    """Elu."""
    layer.add("Elu", [layer.x()], layer.top, alpha=layer.proto.elu_param.alpha)


@_layer("PReLU")
def prelu(layer: Layer) -> None:
    """PRelu."""
    layer.add("PRelu", [layer.x(), layer.weight(0, "slope", [-1])], layer.top)


@_layer("LRN")
def lrn(layer: Layer) -> None:
    """LRN across channels."""
    p = layer.proto.lrn_param
    if p.norm_region != p.ACROSS_CHANNELS:
        raise UnsupportedError("normalisation within channels")
    args = {"size": p.local_size, "alpha": p.alpha, "beta": p.beta, "bias": p.k}
    outputs = [layer.top[0], f"{layer.name}_scale"] if not layer.is_test else layer.top
    layer.add("LRN", [layer.x()], outputs, order="NCHW", **args)


@_layer("Dropout")
def dropout(layer: Layer) -> None:
    """Dropout, which does nothing at test time."""
    outputs = layer.top if layer.is_test else [layer.top[0], f"{layer.name}_mask"]
    ratio = layer.proto.dropout_param.dropout_ratio
    layer.add("Dropout", [layer.x()], outputs, ratio=ratio, is_test=int(layer.is_test))


@_layer("Softmax", "SoftmaxWithLoss", "SoftmaxLoss")
def softmax(layer: Layer) -> None:
    """Softmax; of a loss what it does at test time."""
    if layer.proto.type != "Softmax" and not layer.is_test:
        layer.add("SoftmaxWithLoss", layer.bottom, [f"{layer.name}_prob", layer.top[0]])
        return
    axis = layer.proto.softmax_param.axis
    x = layer.x()
    if axis == 1:
        layer.add("Softmax", [x], layer.top[:1])
    else:
        layer.add("Softmax", [x], layer.top[:1], axis=axis)


@_layer("Concat")
def concat(layer: Layer) -> None:
    """Concat."""
    p = layer.proto.concat_param
    axis = p.concat_dim if p.HasField("concat_dim") else p.axis
    outputs = [layer.top[0], f"{layer.name}_dims"]
    layer.add("Concat", layer.bottom, outputs, axis=axis)


@_layer("Slice")
def slice_(layer: Layer) -> None:
    """Split."""
    p = layer.proto.slice_param
    axis = p.slice_dim if p.HasField("slice_dim") else p.axis
    points = [int(v) for v in p.slice_point]
    if not points:
        layer.add("Split", [layer.x()], layer.top, axis=axis)
        return
    if len(points) != len(layer.top) - 1:
        raise ModelFormatError(f"{len(points)} points for {len(layer.top)} parts")
    inner = [b - a for a, b in zip([0, *points], points, strict=False)]
    tops, rest, x = layer.top, layer.x(), layer.name
    # the last part is as wide as what is left, which the layer does not say
    layer.add("Slice", [rest], [f"{x}_rest"], **_cut(axis, points[-1], None))
    begin = 0
    for top, width in zip(tops, inner, strict=False):
        layer.add("Slice", [rest], [top], **_cut(axis, begin, begin + width))
        begin += width
    layer.add("Copy", [f"{x}_rest"], [tops[-1]])


def _cut(axis: int, begin: int, end: int | None) -> dict[str, list[int]]:
    if axis < 0:
        raise UnsupportedError("a slice along an axis that is counted from the end")
    ends = [-1] * axis + [-1 if end is None else end]
    return {"starts": [0] * axis + [begin], "ends": ends}


@_layer("Split")
def split(layer: Layer) -> None:
    """Copies under other names."""
    for top in layer.top:
        layer.add("Copy", [layer.x()], [top])


@_layer("Eltwise")
def eltwise(layer: Layer) -> None:
    """Sum, with factors if there are any; product or maximum."""
    p = layer.proto.eltwise_param
    names = layer.bottom
    if p.operation == p.MAX:
        layer.add("Max", names, layer.top)
    elif p.operation == p.PROD:
        _chain(layer, "Mul", names)
    elif p.coeff and any(c != 1 for c in p.coeff):
        if len(p.coeff) != len(names):
            raise ModelFormatError(f"{len(p.coeff)} factors for {len(names)} blobs")
        scaled = []
        for k, (name, factor) in enumerate(zip(names, p.coeff, strict=True)):
            scaled.append(f"{layer.name}_{k}")
            layer.add("Scale", [name], scaled[-1:], scale=factor)
        layer.add("Sum", scaled, layer.top)
    else:
        layer.add("Sum", names, layer.top)


def _chain(layer: Layer, type_: str, names: list[str]) -> None:
    total = names[0]
    for k, name in enumerate(names[1:], 1):
        last = k == len(names) - 1
        out = layer.top[0] if last else f"{layer.name}_{k}"
        layer.add(type_, [total, name], [out])
        total = out


@_layer("BatchNorm")
def batch_norm(layer: Layer) -> None:
    """SpatialBN with the saved means; Caffe 1 keeps sums of them and how much they weigh."""
    if len(layer.weights) < 3:
        raise ModelFormatError(f"it has {len(layer.weights)} weights, expected 3")
    if not layer.is_test and not layer.proto.batch_norm_param.use_global_stats:
        raise UnsupportedError("batch normalisation in training", hint="is_test=True")
    weight = float(layer.weights[2].reshape(-1)[0])
    factor = 0.0 if weight == 0 else 1.0 / weight
    mean, var = (array.reshape(-1) * np.float32(factor) for array in layer.weights[:2])
    inputs = [
        layer.x(),
        layer.param("scale", np.ones_like(mean)),
        layer.param("bias", np.zeros_like(mean)),
        layer.param("mean", mean),
        layer.param("var", var),
    ]
    p = layer.proto.batch_norm_param
    epsilon = p.eps if p.HasField("eps") else 1e-5
    layer.add("SpatialBN", inputs, layer.top, is_test=1, epsilon=epsilon, order="NCHW")


@_layer("Scale")
def scale(layer: Layer) -> None:
    """Mul and Add along an axis, by Caffe2's own broadcasting."""
    p = layer.proto.scale_param
    factor = layer.bottom[1] if len(layer.bottom) > 1 else layer.weight(0, "scale")
    biased = p.bias_term
    product = f"{layer.name}_product" if biased else layer.top[0]
    layer.add("Mul", [layer.x(), factor], [product], broadcast=1, axis=p.axis)
    if biased:
        bias = layer.weight(len(layer.weights) - 1, "bias")
        layer.add("Add", [product, bias], layer.top, broadcast=1, axis=p.axis)


@_layer("Bias")
def bias(layer: Layer) -> None:
    """Add along an axis."""
    added = layer.bottom[1] if len(layer.bottom) > 1 else layer.weight(0, "bias")
    axis = layer.proto.bias_param.axis
    layer.add("Add", [layer.x(), added], layer.top, broadcast=1, axis=axis)


@_layer("Power")
def power(layer: Layer) -> None:
    """(shift + scale * X) ** power."""
    p = layer.proto.power_param
    name = layer.x()
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if p.scale != 1:
        steps.append(("Scale", [], {"scale": p.scale}))
    if p.shift:
        shift = layer.param("shift", np.array([p.shift], np.float32))
        steps.append(("Add", [shift], {"broadcast": 1}))
    if p.power != 1 or not steps:
        steps.append(("Pow", [], {"exponent": p.power}))
    for k, (type_, more, args) in enumerate(steps):
        out = layer.top[0] if k == len(steps) - 1 else f"{layer.name}_{k}"
        layer.add(type_, [name, *more], [out], **args)
        name = out


@_layer("Flatten")
def flatten(layer: Layer) -> None:
    """Flatten."""
    p = layer.proto.flatten_param
    if p.axis != 1 or p.end_axis != -1:
        raise UnsupportedError(f"the axes {p.axis} to {p.end_axis} only")
    layer.add("Flatten", [layer.x()], layer.top)


@_layer("Reshape")
def reshape(layer: Layer) -> None:
    """Reshape."""
    p = layer.proto.reshape_param
    if p.axis or p.num_axes != -1:
        raise UnsupportedError("a reshape of some axes")
    shape = [int(dim) for dim in p.shape.dim]
    layer.add("Reshape", [layer.x()], [layer.top[0], f"{layer.name}_dims"], shape=shape)


@_layer("Tile")
def tile(layer: Layer) -> None:
    """Tile."""
    p = layer.proto.tile_param
    layer.add("Tile", [layer.x()], layer.top, tiles=p.tiles, axis=p.axis)


@_layer("ArgMax")
def arg_max(layer: Layer) -> None:
    """ArgMax along an axis."""
    p = layer.proto.argmax_param
    if p.out_max_val or p.top_k != 1 or not p.HasField("axis"):
        raise UnsupportedError("values, several places, or no axis")
    layer.add("ArgMax", [layer.x()], layer.top, axis=p.axis)


def translated(layer: Layer) -> Layer:
    """The layer with its operators and weights; errors name it."""
    rule = LAYERS.get(layer.proto.type)
    if rule is None:
        raise UnsupportedError("there is no translation for it")
    try:
        rule(layer)
    except (Error, ValueError) as error:
        if isinstance(error, ValueError):
            raise ModelFormatError(f"its weights do not fit: {error}") from None
        raise
    if not all(math.isfinite(a.f) for op in layer.ops for a in op.arg if a.HasField("f")):
        raise ModelFormatError("an argument that is no finite number")
    return layer
