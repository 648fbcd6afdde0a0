"""Normalisations: of channels, images, rows and neighbourhoods."""

from __future__ import annotations

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table

__all__ = ["RULES"]

RULES = Table()


@RULES("BatchNormalization")
def batch_norm(g: Emitter, n: Node) -> None:
    """SpatialBN as at test time."""
    if n.int("training_mode") or (n.opset < 7 and not n.int("is_test")):
        n.fail("batch normalisation in training")
    if n.opset < 9 and not n.int("spatial", 1):
        n.fail("spatial=0")
    if any(n.outputs[1:]):
        n.fail("running means as outputs")
    names = [n.input(k) for k in range(5)]
    rank = g.rank(names[0])
    epsilon = n.float("epsilon", 1e-5)
    if rank >= 2 and g.dtype(names[0]) == np.float32:
        g.emit("SpatialBN", *names, out=n.out, is_test=1, epsilon=epsilon)
        return
    x, scale, bias, mean, var = names
    if rank > 2:
        along = [1, -1, *(1,) * (rank - 2)]
        scale, bias, mean, var = (g.reshape(name, along) for name in names[1:])
    root = g.emit("Sqrt", g.emit("Add", var, g.scalar(epsilon, var)))
    unit = g.emit("Div", g.emit("Sub", x, mean), root)
    g.emit("Add", g.emit("Mul", unit, scale), bias, out=n.out)


@RULES("InstanceNormalization")
def instance_norm(g: Emitter, n: Node) -> None:
    """InstanceNorm."""
    names = [n.input(k) for k in range(3)]
    g.emit("InstanceNorm", *names, out=n.out, epsilon=n.float("epsilon", 1e-5))


@RULES("LayerNormalization")
def layer_norm(g: Emitter, n: Node) -> None:
    """LayerNorm; mean and 1 / stddev are further outputs."""
    x, scale, bias = n.input(0), n.input(1), n.maybe_input(2)
    axis = g.axis(x, n.int("axis", -1))
    epsilon = n.float("epsilon", 1e-5)
    mean, deviation = g.fresh("mean"), g.fresh("deviation")
    unit = g.fresh("unit")
    g.emit_all("LayerNorm", [x], [unit, mean, deviation], axis=axis, epsilon=epsilon)
    scaled = g.emit("Mul", unit, scale, out=n.out if bias is None else None)
    if bias is not None:
        g.emit("Add", scaled, bias, out=n.out)
    if any(n.outputs[1:]):
        shape = list(g.shape(x))
        shape[axis:] = [1] * (len(shape) - axis)
        if n.has_output(1):
            g.reshape(mean, shape, out=n.outputs[1])
        if n.has_output(2):
            g.reshape(g.emit("Reciprocal", deviation), shape, out=n.outputs[2])


@RULES("GroupNormalization")
def group_norm(g: Emitter, n: Node) -> None:
    """GroupNorm with a scale and a bias for each channel."""
    x, scale, bias, groups = n.input(0), n.input(1), n.input(2), n.int("num_groups")
    if n.opset < 21:  # one for each group
        channels = g.size(x, 1)
        places = np.repeat(np.arange(groups), channels // max(groups, 1))
        scale, bias = (g.take(name, places, 0) for name in (scale, bias))
    epsilon = n.float("epsilon", 1e-5)
    g.emit("GroupNorm", x, scale, bias, out=n.out, group=groups, epsilon=epsilon)


@RULES("MeanVarianceNormalization")
def mean_variance(g: Emitter, n: Node) -> None:
    """(X - mean) / deviation, over axes."""
    x = n.input(0)
    axes = g.axes(x, n.ints("axes") or [0, 2, 3])
    mean, variance = g.fresh("mean"), g.fresh("variance")
    g.emit_all("Moments", [x], [mean, variance], axes=axes, keepdims=1)
    root = g.emit("Add", g.emit("Sqrt", variance), g.scalar(1e-9, x))
    g.emit("Div", g.emit("Sub", x, mean), root, out=n.out)


@RULES("LRN")
def lrn(g: Emitter, n: Node) -> None:
    """LRN."""
    size = n.int("size")
    if size % 2 == 0:
        n.fail("an even size")
    g.emit(
        "LRN",
        n.input(0),
        out=n.out,
        size=size,
        alpha=n.float("alpha", 1e-4),
        beta=n.float("beta", 0.75),
        bias=n.float("bias", 1.0),
    )


@RULES("LpNormalization")
def lp_norm(g: Emitter, n: Node) -> None:
    """Normalize or NormalizeL1."""
    x, p = n.input(0), n.int("p", 2)
    if p not in (1, 2):
        n.fail(f"p = {p}")
    axis = g.axis(x, n.int("axis", -1))
    g.emit("Normalize" if p == 2 else "NormalizeL1", x, out=n.out, axis=axis)
