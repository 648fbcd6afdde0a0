"""Convolutions and pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError
from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table

__all__ = ["RULES"]

RULES = Table()

#: Places along the axes of a window that is taken apart.
_MOST_PLACES = 1024


def _kernel(g: Emitter, n: Node, weights: str | None) -> list[int]:
    """The size of the window, which for convolutions is that of the weights too."""
    given = n.ints("kernel_shape")
    if given is not None:
        return given
    if weights is None:
        n.fail("no kernel_shape")
    return list(g.shape(weights)[2:])


def _pads(
    g: Emitter, n: Node, kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """Elements added at the begin of each axis, then at each end."""
    auto = n.text("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return n.ints("pads") or [0] * (2 * len(kernel))
    if auto == "VALID":
        return [0] * (2 * len(kernel))
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        n.fail(f"auto_pad '{auto}'")
    begins, ends = [], []
    for k, window in enumerate(kernel):
        size = g.size(n.input(0), k + 2)
        reach = dilations[k] * (window - 1) + 1
        whole = max((-(-size // strides[k]) - 1) * strides[k] + reach - size, 0)
        small, large = whole // 2, whole - whole // 2
        begins.append(small if auto == "SAME_UPPER" else large)
        ends.append(large if auto == "SAME_UPPER" else small)
    return begins + ends


def _strides(n: Node, kernel: list[int]) -> tuple[list[int], list[int]]:
    """Strides and dilations, 1 unless given; ArgumentError for lists that do not fit the window."""
    ones = [1] * len(kernel)
    found = n.ints("strides") or ones, n.ints("dilations") or ones
    pads = n.ints("pads") or [0] * (2 * len(kernel))
    if {len(kernel)} != {len(values) for values in found} or len(pads) != 2 * len(kernel):
        raise ArgumentError(
            f"a window of {len(kernel)} axes with {len(found[0])} strides, {len(found[1])} "
            f"dilations and {len(pads)} pads"
        )
    if min((*kernel, *found[0], *found[1]), default=1) < 1:
        raise ArgumentError(f"a window of {kernel} in steps of {found[0]}, dilated {found[1]}")
    return found


@RULES("Conv")
def conv(g: Emitter, n: Node) -> None:
    """Conv."""
    kernel = _kernel(g, n, n.input(1))
    strides, dilations = _strides(n, kernel)
    g.emit(
        "Conv",
        *n.all_inputs(),
        out=n.out,
        kernels=kernel,
        strides=strides,
        dilations=dilations,
        pads=_pads(g, n, kernel, strides, dilations),
        group=n.int("group", 1),
    )


@RULES("ConvTranspose")
def conv_transpose(g: Emitter, n: Node) -> None:
    """ConvTranspose; dilated filters are constants with zeros between."""
    names = n.all_inputs()
    kernel = _kernel(g, n, names[1])
    strides, dilations = _strides(n, kernel)
    if any(d != 1 for d in dilations):
        weights = g.require_constant(names[1], "the filter, which is dilated,")
        kernel = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        wide = np.zeros((*weights.shape[:2], *kernel), weights.dtype)
        steps = tuple(slice(None, None, d) for d in dilations)
        wide[(slice(None), slice(None), *steps)] = weights
        names[1] = g.const(wide)
    extra = n.ints("output_padding") or [0] * len(kernel)
    pads = _transposed_pads(g, n, kernel, strides, extra)
    size = len(kernel)
    if any(a > s for a, s in zip(extra, strides, strict=True)):
        # what is added behind is what is not cut off there
        pads[size:] = [p - a for p, a in zip(pads[size:], extra, strict=True)]
        extra = [0] * size
    g.emit(
        "ConvTranspose",
        *names,
        out=n.out,
        kernels=kernel,
        strides=strides,
        pads=pads,
        adjs=extra,
        group=n.int("group", 1),
    )


def _transposed_pads(
    g: Emitter, n: Node, kernel: list[int], strides: list[int], extra: list[int]
) -> list[int]:
    auto, wanted = n.text("auto_pad", "NOTSET"), n.ints("output_shape")
    if wanted is None and auto in ("NOTSET", "", "VALID"):
        return n.ints("pads") or [0] * (2 * len(kernel))
    begins, ends = [], []
    for k, window in enumerate(kernel):
        size = g.size(n.input(0), k + 2)
        target = size * strides[k] if wanted is None else wanted[-len(kernel) :][k]
        whole = strides[k] * (size - 1) + extra[k] + window - target
        if whole < 0:  # ONNX pads nothing there, and the result is larger by output_padding
            extra[k], whole = extra[k] - whole, 0
        small, large = whole // 2, whole - whole // 2
        begins.append(small if auto != "SAME_LOWER" else large)
        ends.append(large if auto != "SAME_LOWER" else small)
    return begins + ends


def _pool(g: Emitter, n: Node) -> dict[str, Any]:
    """The arguments of a window; with ceil_mode it reaches further at the end."""
    kernel = _kernel(g, n, None)
    strides, dilations = _strides(n, kernel)
    pads = _pads(g, n, kernel, strides, dilations)
    if n.int("ceil_mode"):
        pads = list(pads)
        for k, window in enumerate(kernel):
            reach = dilations[k] * (window - 1) + 1
            begin, end = pads[k], pads[k + len(kernel)]
            room = g.size(n.input(0), k + 2) + begin + end - reach
            count = -(-room // strides[k]) + 1
            if (count - 1) * strides[k] >= g.size(n.input(0), k + 2) + begin:
                count -= 1  # it would begin behind the image
            pads[k + len(kernel)] += max((count - 1) * strides[k] - room, 0)
    return {"kernels": kernel, "strides": strides, "dilations": dilations, "pads": pads}


@RULES("MaxPool")
def max_pool(g: Emitter, n: Node) -> None:
    """MaxPool, or MaxPoolWithIndex with its places made those of the whole blob."""
    x, window = n.input(0), _pool(g, n)
    dtype = g.dtype(x)
    if dtype != np.float32:
        x = g.cast(x, np.float32)
    if any(d != 1 for d in window["dilations"]):
        g.cast(_dilated_max(g, n, x, window), dtype, out=n.out)
        return
    if not n.has_output(1):
        made = g.emit("MaxPool", x, out=n.out if dtype == np.float32 else None, **window)
        if dtype != np.float32:
            g.cast(made, dtype, out=n.out)
        return
    if dtype != np.float32:
        n.fail(f"places in {dtype}")
    shape = g.shape(x)
    places = g.fresh("places")
    g.emit_all("MaxPoolWithIndex", [x], [n.out, places], **window)
    places = g.cast(places, np.int64)
    if n.int("storage_order"):
        places = _column_major(g, n, places, shape)
    planes = np.arange(shape[0] * shape[1]) * int(np.prod(shape[2:]))
    offset = g.const(planes.reshape(*shape[:2], *(1,) * (len(shape) - 2)), np.int64)
    g.emit("Add", places, offset, out=n.outputs[1])


def _dilated_max(g: Emitter, n: Node, x: str, window: dict[str, Any]) -> str:
    """The largest of the image as each place of the window sees it; the window is not dense."""
    if n.has_output(1):
        n.fail("places of a dilated window")
    kernel = window["kernels"]
    if sum(kernel) > _MOST_PLACES:
        n.fail(f"a dilated window of {kernel}")
    size = len(kernel)
    made = x
    for k in range(size):
        shape = list(g.shape(made))
        before, after = window["pads"][k], window["pads"][k + size]
        parts = []
        for width in (before, after):
            shape[k + 2] = width
            parts.append(g.emit("ConstantFill", shape=shape, value=-math.inf) if width else "")
        made = g.concat([p for p in (parts[0], made, parts[1]) if p], k + 2)
        seen = []
        room = g.size(made, k + 2) - window["dilations"][k] * (kernel[k] - 1)
        for place in range(kernel[k]):
            first = place * window["dilations"][k]
            seen.append(g.take(made, np.arange(first, first + room, window["strides"][k]), k + 2))
        made = g.emit("Max", *seen)
    return made


def _column_major(g: Emitter, n: Node, places: str, shape: tuple[int, ...]) -> str:
    if len(shape) != 4:
        n.fail("storage_order=1 of what is no image")
    height, width = (g.const(size, np.int64) for size in shape[2:])
    row = g.emit("Div", places, width)
    column = g.emit("Sub", places, g.emit("Mul", row, width))
    return g.emit("Add", g.emit("Mul", column, height), row)


@RULES("AveragePool")
def average_pool(g: Emitter, n: Node) -> None:
    """AveragePool; dilated or with ceil_mode as a quotient of two sums over windows."""
    x, window = n.input(0), _pool(g, n)
    whole = n.int("count_include_pad") if n.opset >= 7 else 0
    reaches = n.int("ceil_mode") and whole
    dilated = any(d != 1 for d in window["dilations"])
    fits = all(
        p < k
        for p, k in zip(window["pads"], window["kernels"] * 2, strict=True)
    )  # fmt: skip
    if not reaches and not dilated and fits:
        g.emit("AveragePool", x, out=n.out, count_include_pad=whole, **window)
        return
    shape = g.shape(x)
    kernel, own = window["kernels"], n.ints("pads") or [0] * (2 * len(window["kernels"]))
    flat = g.reshape(x, [shape[0] * shape[1], 1, *shape[2:]])
    ones = np.ones((1, 1, *kernel), np.float32)
    total = g.emit("Conv", flat, g.const(ones), **window)
    counted = np.ones((1, 1, *shape[2:]), np.float32)
    pads = list(window["pads"])
    if whole:  # padding counts, what ceil_mode adds behind it does not
        size = len(kernel)
        sides = [(0, 0), (0, 0), *((own[k], own[k + size]) for k in range(size))]
        counted = np.pad(counted, sides, constant_values=1)
        pads = [0] * size + [pads[k + size] - own[k + size] for k in range(size)]
    count = g.emit("Conv", g.const(counted), g.const(ones), **{**window, "pads": pads})
    mean = g.emit("Div", total, count)
    sizes = g.shape(mean)
    g.reshape(mean, [shape[0], shape[1], *sizes[2:]], out=n.out)


@RULES("LpPool")
def lp_pool(g: Emitter, n: Node) -> None:
    """LpPool."""
    p = float(n.int("p", 2)) if n.opset >= 2 else n.float("p", 2.0)
    window = _pool(g, n)
    if any(d != 1 for d in window["dilations"]):
        n.fail("a dilated window")
    g.emit("LpPool", n.input(0), out=n.out, p=p, **window)


_GLOBAL = {"GlobalAveragePool": "AveragePool", "GlobalMaxPool": "MaxPool", "GlobalLpPool": "LpPool"}


@RULES(*_GLOBAL)
def global_pool(g: Emitter, n: Node) -> None:
    """Pooling of the whole image."""
    args = {}
    if n.op_type == "GlobalLpPool":
        args["p"] = float(n.int("p", 2)) if n.opset >= 2 else n.float("p", 2.0)
    g.emit(_GLOBAL[n.op_type], n.input(0), out=n.out, global_pooling=1, **args)


@RULES("MaxRoiPool")
def max_roi_pool(g: Emitter, n: Node) -> None:
    """RoIPool."""
    height, width = n.ints("pooled_shape") or [0, 0]
    g.emit_all(
        "RoIPool",
        [n.input(0), n.input(1)],
        [n.out],
        pooled_h=height,
        pooled_w=width,
        spatial_scale=n.float("spatial_scale", 1.0),
        is_test=1,
    )


@RULES("RoiAlign")
def roi_align(g: Emitter, n: Node) -> None:
    """RoIAlign, whose regions begin with the number of the image."""
    if n.text("mode", "avg") != "avg":
        n.fail("mode 'max'")
    default = "half_pixel" if n.opset >= 16 else "output_half_pixel"
    moved = n.text("coordinate_transformation_mode", default) == "half_pixel"
    number = g.cast(g.emit("ExpandDims", n.input(2), dims=[1]), np.float32)
    regions = g.concat([number, n.input(1)], 1)
    g.emit(
        "RoIAlign",
        n.input(0),
        regions,
        out=n.out,
        pooled_h=n.int("output_height", 1),
        pooled_w=n.int("output_width", 1),
        spatial_scale=n.float("spatial_scale", 1.0),
        sampling_ratio=n.int("sampling_ratio"),
        aligned=int(moved),
    )
