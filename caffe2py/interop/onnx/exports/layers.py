"""Convolutions, pooling, normalisation and resizing of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.interop.onnx.writer import ExportTable, Op, Writer

__all__ = ["EXPORTS"]

EXPORTS = ExportTable()

_VALID, _SAME, _CAFFE = 1, 2, 3  # legacy_pad


def _sizes(op: Op, several: str, one: str, axes: int, sides: tuple[str, ...]) -> list[int]:
    """One number for each spatial axis (or side), in whichever way the operator says them."""
    if op.arg(several):
        return [int(v) for v in op.arg(several)]
    if axes == 2 and any(op.given(side) for side in sides):
        return [int(op.arg(side)) for side in sides]
    value = op.arg(one)
    return [0 if value is None else int(value)] * (axes * (2 if one == "pad" else 1))


def _window(op: Op, image: Sequence[int], output: Sequence[int]) -> dict[str, list[int]]:
    """The attributes of a window over an image of these sizes."""
    axes = len(image)
    kernel = _sizes(op, "kernels", "kernel", axes, ("kernel_h", "kernel_w"))
    stride = _sizes(op, "strides", "stride", axes, ("stride_h", "stride_w"))
    dilation = [1] * axes
    if hasattr(op.args, "dilation"):
        dilation = _sizes(op, "dilations", "dilation", axes, ("dilation_h", "dilation_w"))
    pads = _sizes(op, "pads", "pad", axes, ("pad_t", "pad_l", "pad_b", "pad_r"))
    legacy = op.arg("legacy_pad")
    if legacy in (_VALID, _SAME, _CAFFE):
        pads = _legacy(op, image, output, kernel, stride, dilation, pads)
    made = {"kernel_shape": kernel, "strides": stride, "pads": pads}
    return made if all(d == 1 for d in dilation) else {**made, "dilations": dilation}


def _legacy(
    op: Op, image: Sequence[int], output: Sequence[int], kernel: list[int], stride: list[int],
    dilation: list[int], pads: list[int],
) -> list[int]:  # fmt: skip
    """Pads that give the very output that the old rules give."""
    legacy, axes = op.arg("legacy_pad"), len(image)
    begins, ends = [], []
    for k in range(axes):
        reach = dilation[k] * (kernel[k] - 1) + 1
        whole = (output[k] - 1) * stride[k] + reach - image[k]
        first = pads[k] if legacy == _CAFFE else max(whole, 0) // 2
        if legacy == _VALID:
            first, whole = 0, 0
        begins.append(first)
        ends.append(max(whole - first, 0))
    if legacy == _CAFFE and any(e >= k for e, k in zip(ends, kernel, strict=True)):
        op.fail("a window wholly outside of the image")
    return begins + ends


class _Image:
    """An image with its channels in front, whatever the order of the operator."""

    def __init__(self, w: Writer, op: Op, *, last: bool | None = None) -> None:
        self.w, self.op = w, op
        self.rank = op.rank()
        self.last = op.arg("order").upper() == "NHWC" if last is None else last
        self.front = [0, self.rank - 1, *range(1, self.rank - 1)]
        self.back = [0, *range(2, self.rank), 1]

    def first(self, name: str) -> str:
        """The blob with channels in front."""
        return self.w.transpose(name, self.front) if self.last else name

    def spatial(self, shape: Sequence[int]) -> Sequence[int]:
        """The sizes without batch and channels."""
        return shape[1:-1] if self.last else shape[2:]

    def add(self, type_: str, *inputs: str, **attributes: Any) -> None:
        """A node whose output gets its channels back where they were."""
        if not self.last:
            self.w.add(type_, *inputs, out=self.op.y, **attributes)
            return
        self.w.transpose(self.w.add(type_, *inputs, **attributes), self.back, out=self.op.y)


@EXPORTS("Conv", "Conv1D", "Conv2D", "Conv3D")
def conv(w: Writer, op: Op) -> None:
    """Conv."""
    image = _Image(w, op)
    names = [image.first(op.x), image.first(op.inputs[1]), *op.inputs[2:]]
    window = _window(op, image.spatial(op.shape()), image.spatial(op.output_shape()))
    image.add("Conv", *names, group=op.arg("group"), **window)


@EXPORTS("ConvTranspose")
def conv_transpose(w: Writer, op: Op) -> None:
    """ConvTranspose."""
    image = _Image(w, op)
    sizes = image.spatial(op.shape())
    window = _window(op, sizes, image.spatial(op.output_shape()))
    if op.arg("legacy_pad") in (_VALID, _SAME):
        window["pads"] = [0] * (2 * len(sizes))
    adjs = _sizes(op, "adjs", "adj", len(sizes), ("adj_h", "adj_w"))
    names = [image.first(op.x), image.first(op.inputs[1]), *op.inputs[2:]]
    if op.arg("no_bias"):
        names = names[:2]
    extra = {"output_padding": adjs} if any(adjs) else {}
    image.add("ConvTranspose", *names, group=op.arg("group"), **window, **extra)


def _padded(kernel: list[int], pads: list[int]) -> bool:
    """Whether ONNX's runtimes take these pads: none may reach the window's size."""
    return all(p < k for p, k in zip(pads, kernel * 2, strict=True))


@EXPORTS("MaxPool", "MaxPool1D", "MaxPool2D", "MaxPool3D",
         "AveragePool", "AveragePool1D", "AveragePool2D", "AveragePool3D", "LpPool")  # fmt: skip
def pool(w: Writer, op: Op) -> None:
    """Pooling, of windows or of the whole image."""
    image = _Image(w, op)
    kind = op.type.rstrip("123D") if op.type[-1] == "D" else op.type
    attributes: dict[str, Any] = {}
    if kind == "LpPool":
        p = op.arg("p")
        if p != int(p):
            op.fail(f"p = {p}")
        attributes["p"] = int(p)
    if op.arg("global_pooling"):
        image.add(f"Global{kind}", image.first(op.x), **attributes)
        return
    window = _window(op, image.spatial(op.shape()), image.spatial(op.output_shape()))
    if not _padded(window["kernel_shape"], window["pads"]):
        op.fail("pads as large as the window")
    if kind == "AveragePool":
        counts = op.arg("count_include_pad")
        if counts and op.arg("legacy_pad") == _CAFFE:
            op.fail("count_include_pad with the pooling of Caffe")
        attributes["count_include_pad"] = int(counts)
    image.add(kind, image.first(op.x), **attributes, **window)


@EXPORTS("SpatialBN")
def batch_norm(w: Writer, op: Op) -> None:
    """BatchNormalization as at test time."""
    if not op.arg("is_test"):
        op.fail("batch normalisation in training")
    image = _Image(w, op)
    epsilon = op.arg("epsilon")
    image.add("BatchNormalization", image.first(op.x), *op.inputs[1:5], epsilon=epsilon)


@EXPORTS("InstanceNorm")
def instance_norm(w: Writer, op: Op) -> None:
    """InstanceNormalization."""
    if len(op.outputs) > 1:
        op.fail("outputs for the gradient")
    image = _Image(w, op)
    epsilon = op.arg("epsilon")
    image.add("InstanceNormalization", image.first(op.x), *op.inputs[1:3], epsilon=epsilon)


@EXPORTS("AffineChannel")
def affine_channel(w: Writer, op: Op) -> None:
    """X * scale + bias, one of each a channel."""
    names = list(op.inputs[1:3])
    if op.arg("order").upper() == "NCHW" and op.rank() > 2:
        names = [w.reshape(name, [-1, *[1] * (op.rank() - 2)]) for name in names]
    w.add("Add", w.add("Mul", op.x, names[0]), names[1], out=op.y)


@EXPORTS("LayerNorm")
def layer_norm(w: Writer, op: Op) -> None:
    """(X - mean) / sqrt(variance + epsilon) of each row, then scale and bias."""
    rank, axis = op.rank(), op.axis(op.arg("axis"))
    axes = list(range(axis, rank))
    dtype = op.dtype()
    mean = w.reduce("ReduceMean", op.x, axes, True)
    centred = w.add("Sub", op.x, mean)
    variance = w.reduce("ReduceMean", w.add("Mul", centred, centred), axes, True)
    deviation = w.add("Sqrt", w.add("Add", variance, w.scalar(op.arg("epsilon"), dtype)))
    affine = op.arg("elementwise_affine")
    made = w.add("Div", centred, deviation, out=None if affine else op.y)
    if affine:
        row = list(op.shape()[axis:])
        scale, bias = (w.reshape(name, row) for name in op.inputs[1:3])
        w.add("Add", w.add("Mul", made, scale), bias, out=op.y)
    for name, value in zip(op.outputs[1:], (mean, deviation), strict=False):
        w.reshape(value, [*op.shape()[:axis], 1], out=name)


@EXPORTS("GroupNorm")
def group_norm(w: Writer, op: Op) -> None:
    """InstanceNormalization of the groups, then scale and bias of the channels."""
    if op.arg("order").upper() != "NCHW":
        op.fail("order NHWC")
    groups = op.arg("num_groups") if op.given("num_groups") else op.arg("group")
    shape = op.shape()
    cut = w.reshape(op.x, [shape[0], groups, -1])
    unit = [w.const(np.full(groups, v), np.float32) for v in (1, 0)]
    made = w.add("InstanceNormalization", cut, *unit, epsilon=op.arg("epsilon"))
    along = [-1, *[1] * (len(shape) - 2)]
    scale, bias = (w.reshape(name, along) for name in op.inputs[1:3])
    w.add("Add", w.add("Mul", w.reshape(made, shape), scale), bias, out=op.y)


@EXPORTS("LRN")
def lrn(w: Writer, op: Op) -> None:
    """LRN."""
    if op.arg("size") % 2 == 0:
        op.fail("an even size")
    image = _Image(w, op)
    attributes = {name: op.arg(name) for name in ("size", "alpha", "beta", "bias")}
    image.add("LRN", image.first(op.x), **attributes)


@EXPORTS("ResizeNearest", "UpsampleBilinear")
def resize(w: Writer, op: Op) -> None:
    """Resize by constant factors."""
    if len(op.inputs) > 1:
        op.fail("factors that are an input")
    image = _Image(w, op, last=None if op.type == "ResizeNearest" else False)
    if image.last:
        op.fail("order NHWC")
    scales = [1.0, 1.0, op.arg("height_scale"), op.arg("width_scale")]
    corners = op.type == "UpsampleBilinear"
    w.resize(op.x, "linear" if corners else "nearest", scales, corners, op.y)


@EXPORTS("UpsampleNearest")
def upsample_nearest(w: Writer, op: Op) -> None:
    """Resize by one whole factor."""
    factor = float(op.arg("scale"))
    scales = [1.0] * (op.rank() - 2) + [factor, factor]
    w.resize(op.x, "nearest", scales, False, op.y)


@EXPORTS("PadImage")
def pad_image(w: Writer, op: Op) -> None:
    """Pad."""
    if op.arg("order").upper() != "NCHW":
        op.fail("order NHWC")
    sides = _sizes(op, "pads", "pad", 2, ("pad_t", "pad_l", "pad_b", "pad_r"))
    pads = [0, 0, *sides[:2], 0, 0, *sides[2:]]
    mode, value = op.arg("mode"), op.arg("value")
    if w.opset < 11:
        w.add("Pad", op.x, out=op.y, mode=mode, pads=pads, value=value)
        return
    w.add("Pad", op.x, w.const(pads, np.int64), w.const(value, np.float32), out=op.y, mode=mode)
