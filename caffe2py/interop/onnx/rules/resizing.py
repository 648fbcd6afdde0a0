"""Upsample and Resize: with Caffe2's own operators, or axis by axis with constant weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from caffe2py.errors import UnsupportedError
from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.rules.matrix import product
from caffe2py.interop.onnx.table import Table
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import checked_numel

__all__ = ["RULES"]

RULES = Table()

_MOST_WEIGHTS = 2**24


@dataclass(frozen=True)
class _How:
    """What decides which elements make up one of the result."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool
    outside: float


@dataclass(frozen=True)
class _Along:
    """One axis: its sizes, and result / source as the coordinates see it."""

    source: int
    target: int
    scale: float
    #: The part of the source that is looked at, for tf_crop_and_resize.
    region: tuple[float, float] = (0.0, 1.0)


@RULES("Upsample", "Resize")
def resize(g: Emitter, n: Node) -> None:
    """Each axis that changes its size, one after the other."""
    x = n.input(0)
    how = _how(n)
    axes, along = _sizes(g, n, g.shape(x))
    crops = how.coordinates == "tf_crop_and_resize"
    if crops:
        along = _cropped(g, n, along)
    if _native(g, n, how, axes, along):
        return
    made = x
    dtype = g.dtype(x)
    if how.mode != "nearest" and dtype.kind != "f":
        n.fail(f"interpolation of {dtype}")
    for axis, one in zip(axes, along, strict=True):
        if one.source != one.target or one.scale != 1 or one.region != (0, 1):
            made = _axis(g, made, axis, one, how)
    if crops and how.outside:
        made = g.emit("Add", made, g.const(_outside(g, made, axes, along, how), dtype))
    g.alias(made, n.out)


def _cropped(g: Emitter, n: Node, along: list[_Along]) -> list[_Along]:
    """The axes with the region that the second input names: all begins, then all ends."""
    region = g.require_constant(n.input(1), "the region").reshape(-1).astype(np.float64)
    if region.size != 2 * len(along) or not np.isfinite(region).all():
        n.fail(f"a region of {region.size} numbers for {len(along)} axes")
    size = len(along)
    return [replace(one, region=(region[k], region[k + size])) for k, one in enumerate(along)]


def _outside(g: Emitter, x: str, axes: list[int], along: list[_Along], how: _How) -> Array:
    """The value for what lies outside of the source, 0 for the rest."""
    shape = g.shape(x)
    if checked_numel(shape, 8) > _MOST_WEIGHTS:
        raise UnsupportedError(f"values outside of the source for {shape}")
    found = np.zeros(shape, np.bool_)
    for axis, one in zip(axes, along, strict=True):
        along_axis = [1] * len(shape)
        along_axis[axis] = -1
        places = _places(one, how)
        found |= ((places < 0) | (places > one.source - 1)).reshape(along_axis)
    return found * how.outside


def _how(n: Node) -> _How:
    mode = n.text("mode", "nearest")
    old = n.op_type == "Upsample" or n.opset < 11
    coordinates = "asymmetric" if old else n.text("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else n.text("nearest_mode", "round_prefer_floor")
    if mode not in ("nearest", "linear", "cubic"):
        n.fail(f"mode '{mode}'")
    return _How(
        mode,
        coordinates,
        nearest,
        n.float("cubic_coeff_a", -0.75),
        bool(n.int("exclude_outside")),
        bool(n.int("antialias")),
        n.float("extrapolation_value"),
    )


def _sizes(g: Emitter, n: Node, shape: tuple[int, ...]) -> tuple[list[int], list[_Along]]:
    """The axes and what happens to them."""
    chosen = n.ints("axes")
    axes = list(range(len(shape))) if chosen is None else [a % len(shape) for a in chosen]
    scales: list[float] | None = None
    if n.op_type == "Upsample" and n.opset < 9:
        scales = n.floats("scales")
        if scales is None:
            scales = [1.0, 1.0, n.float("height_scale"), n.float("width_scale")]
    else:
        position = 1 if n.op_type == "Upsample" or n.opset < 11 else 2
        name = n.maybe_input(position)
        if name is not None:
            scales = [float(v) for v in g.require_constant(name, "the scales").reshape(-1)]
    source = [shape[axis] for axis in axes]
    if scales:
        if len(scales) != len(axes) or not all(math.isfinite(s) and s > 0 for s in scales):
            n.fail(f"the scales {scales[:8]} for {len(axes)} axes")
        made = [_Along(s, math.floor(s * f), f) for s, f in zip(source, scales, strict=True)]
    else:
        sizes = g.int_list(n.input(3), "the list of sizes")
        if len(sizes) != len(axes):
            n.fail(f"{len(sizes)} sizes for {len(axes)} axes")
        made = _fitted(n, source, sizes)
    return axes, made


def _fitted(n: Node, source: list[int], sizes: list[int]) -> list[_Along]:
    policy = n.text("keep_aspect_ratio_policy", "stretch")
    ratios = [t / max(s, 1) for s, t in zip(source, sizes, strict=True)]
    if policy == "stretch":
        return [_Along(s, t, r) for s, t, r in zip(source, sizes, ratios, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [_Along(s, math.floor(s * scale + 0.5), scale) for s in source]


def _native(g: Emitter, n: Node, how: _How, axes: list[int], along: list[_Along]) -> bool:
    """Whether Caffe2 has it: images, and coordinates that both count alike."""
    changed = {axis: one for axis, one in zip(axes, along, strict=True)
               if one.source != one.target or one.scale != 1}  # fmt: skip
    x = n.input(0)
    if g.rank(x) != 4 or set(changed) - {2, 3} or g.dtype(x) != np.float32 or how.antialias:
        return False
    ratios = {k: changed[k].scale if k in changed else 1.0 for k in (2, 3)}
    whole = all(one.scale * one.source == one.target for one in changed.values())
    exact = whole and all(float(np.float32(r)) == r and r >= 1 for r in ratios.values())
    scales = {"height_scale": ratios[2], "width_scale": ratios[3]}
    plain = how.coordinates == "asymmetric" and how.nearest == "floor"
    if how.mode == "nearest" and plain and exact:
        g.emit("ResizeNearest", x, out=n.out, **scales)
        return True
    if how.mode == "linear" and how.coordinates == "align_corners" and exact:
        g.emit("UpsampleBilinear", x, out=n.out, **scales)
        return True
    return False


def _axis(g: Emitter, x: str, axis: int, one: _Along, how: _How) -> str:
    """One axis: Gather where each element of the result is one of the source, else a product."""
    places = _places(one, how)
    crops = how.coordinates == "tf_crop_and_resize"
    if how.mode == "nearest" and not how.antialias and not crops:
        return g.take(x, _nearest(places, one, how), axis)
    weights = _weights(places, one, how)
    rank = g.rank(x)
    order = [k for k in range(rank) if k != axis] + [axis]
    rows = g.transpose(x, order)
    made = product(g, rows, g.const(weights.T, g.dtype(x)))
    return g.transpose(made, [int(k) for k in np.argsort(order)])


def _places(one: _Along, how: _How) -> Array:
    """Where in the source the elements of the result lie."""
    checked_numel((one.target,), 8)
    k = np.arange(one.target, dtype=np.float64)
    if how.coordinates == "align_corners":
        length = one.scale * one.source  # of the result, before it was rounded
        return k * ((one.source - 1) / (length - 1)) if length != 1 else k * 0.0
    if how.coordinates == "asymmetric":
        return k / one.scale
    if how.coordinates == "tf_crop_and_resize":
        begin, end = (edge * (one.source - 1) for edge in one.region)
        if one.target == 1:
            return (begin + end) / 2 + k
        return begin + k * (end - begin) / (one.target - 1)
    if how.coordinates == "pytorch_half_pixel" and one.target == 1:
        return k * 0.0
    if how.coordinates == "tf_half_pixel_for_nn":
        return (k + 0.5) / one.scale
    middle = (k + 0.5) / one.scale - 0.5
    if how.coordinates == "half_pixel_symmetric":
        exact = one.scale * one.source
        shift = one.source / 2 * (1 - one.target / exact)
        return shift + middle
    if how.coordinates in ("half_pixel", "pytorch_half_pixel"):
        return middle
    raise UnsupportedError(f"coordinate_transformation_mode '{how.coordinates}'")


def _nearest(places: Array, one: _Along, how: _How) -> Array:
    ways: dict[str, Callable[[Array], Array]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    }
    if how.nearest not in ways:
        raise UnsupportedError(f"nearest_mode '{how.nearest}'")
    found: Array = np.clip(ways[how.nearest](places), 0, one.source - 1)
    return found.astype(np.int64)


def _weights(places: Array, one: _Along, how: _How) -> Array:
    """Weights (result, source) of an interpolation; each row adds up to 1."""
    if one.source * one.target > _MOST_WEIGHTS:
        raise UnsupportedError(f"an interpolation from {one.source} to {one.target} elements")
    wide = max(1.0, 1.0 / one.scale) if how.antialias else 1.0
    reach = math.ceil((2 if how.mode == "cubic" else 1) * wide)
    weights = np.zeros((one.target, one.source))
    rows = np.arange(one.target)
    if how.mode == "nearest":
        weights[rows, _nearest(places, one, how)] = 1.0
        return _inside(weights, places, one)
    base = np.floor(places).astype(np.int64)
    parts = []
    crops = how.coordinates == "tf_crop_and_resize"
    for step in range(-reach + 1, reach + 1):
        place = base + step
        part = _kernel_value((place - places) / wide, how)
        if how.exclude_outside:
            part = np.where((place < 0) | (place >= one.source), 0.0, part)
        parts.append((np.clip(place, 0, one.source - 1), part))
    total = np.sum([part for _, part in parts], axis=0)
    for place, part in parts:
        np.add.at(weights, (rows, place), part / total)
    return _inside(weights, places, one) if crops else weights


def _inside(weights: Array, places: Array, one: _Along) -> Array:
    """The weights without those of places outside of the source."""
    outside = (places < 0) | (places > one.source - 1)
    return np.where(outside[:, None], 0.0, weights)


def _kernel_value(distance: Array, how: _How) -> Array:
    d = np.abs(distance)
    if how.mode == "linear":
        return np.maximum(0.0, 1.0 - d)
    a = how.cubic
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
