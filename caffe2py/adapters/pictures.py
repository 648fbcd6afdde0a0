"""Arrays as pictures on the screen. Needs Matplotlib (`pip install caffe2py[plot]`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2py.errors import ShapeError, UnsupportedError
from caffe2py.tensor.tensor import Array

_COLORS = 3


def show_image(image: Any, colors: Any = None, *, plain: bool = False) -> None:
    """Draw an array with Matplotlib's pyplot, gray if `colors` is "gray"; `plain`: no axes.

    UnsupportedError where Matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise UnsupportedError(
            "showing pictures needs Matplotlib; needs: pip install caffe2py[plot]"
        ) from None
    if plain:
        pyplot.imshow(image, cmap=colors, interpolation="nearest")
        pyplot.axis("off")
    else:
        pyplot.imshow(image, cmap=colors)


class PatchError(ShapeError, ValueError):
    """An array that is no picture."""


def ChannelFirst(arr: Array) -> Array:
    """(..., H, W, C) as (..., C, H, W)."""
    return np.moveaxis(arr, -1, -3)


def ChannelLast(arr: Array) -> Array:
    """(..., C, H, W) as (..., H, W, C)."""
    return np.moveaxis(arr, -3, -1)


class PatchVisualizer:
    """Shows patches: squares of numbers (gray) or of three colors each, `gap` pixels apart."""

    def __init__(self, gap: int = 1) -> None:
        self.gap = gap

    def ShowSingle(self, patch: Array, cmap: Any = None) -> Array:
        """Show one patch, (H, W), (H, W, 3) or flat, and return it in its shape.

        PatchError for any other shape.
        """
        if patch.ndim == 1:
            patch = patch.reshape(self.get_patch_shape(patch))
        elif patch.ndim != 2 and (patch.ndim != 3 or patch.shape[2] != _COLORS):
            raise PatchError(f"expected a patch (H, W) or (H, W, 3), found {patch.shape}")
        show_image(patch, "gray" if cmap is None and patch.ndim == 2 else cmap)
        return patch

    def ShowMultiple(
        self,
        patches: Array,
        ncols: int | None = None,
        cmap: Any = None,
        bg_func: Callable[[Array], Any] = np.mean,
    ) -> Array:
        """Show patches, one for each index of the first axis, in a grid, and return the picture.

        There are `ncols` columns, by default as many as rows; the gaps have the value
        `bg_func(patches)`. PatchError for shapes that are no patches.
        """
        patches = self._patches(patches)
        count, height, width = patches.shape[:3]
        columns = ncols or math.ceil(math.sqrt(count))
        rows = math.ceil(count / columns)
        step = height + self.gap, width + self.gap
        shape = (rows * step[0] - self.gap, columns * step[1] - self.gap, *patches.shape[3:])
        image = np.full(shape, bg_func(patches), np.float64)
        for number, patch in enumerate(patches):
            y, x = (n * s for n, s in zip(divmod(number, columns), step, strict=True))
            image[y : y + height, x : x + width] = patch
        gray = cmap is None and image.ndim == 2
        show_image(image, "gray" if gray else cmap, plain=True)
        return image

    def _patches(self, patches: Array) -> Array:
        """(N, H, W) for gray patches, (N, H, W, 3) for others."""
        if patches.ndim == 2:
            patches = patches.reshape(len(patches), *self.get_patch_shape(patches[0]))
        if patches.ndim == 4 and patches.shape[3] == 1:
            return patches[..., 0]
        if patches.ndim == 3 or (patches.ndim == 4 and patches.shape[3] == _COLORS):
            return patches
        raise PatchError(f"expected patches (N, H, W) or (N, H, W, 3), found {patches.shape}")

    def ShowImages(self, patches: Array, *args: Any, **kwargs: Any) -> Array:
        """As ShowMultiple, with the values brought between 0 and 1."""
        spread = patches - np.min(patches)
        return self.ShowMultiple(
            spread / (np.max(spread) + np.finfo(np.float64).eps), *args, **kwargs
        )

    def ShowChannels(
        self, patch: Array, cmap: Any = None, bg_func: Callable[[Array], Any] = np.mean
    ) -> Array:
        """Show each channel of (H, W, C) as a gray patch; PatchError for another rank."""
        if patch.ndim != 3:
            raise PatchError(f"expected (H, W, C), found {patch.shape}")
        return self.ShowMultiple(np.moveaxis(patch, 2, 0), cmap=cmap, bg_func=bg_func)

    def get_patch_shape(self, patch: Array) -> tuple[int, ...]:
        """(n, n) or (n, n, 3) for a flat patch of that size; PatchError for any other size."""
        edge = math.isqrt(patch.size)
        if edge * edge == patch.size:
            return edge, edge
        edge = math.isqrt(patch.size // _COLORS)
        if edge * edge * _COLORS == patch.size:
            return edge, edge, _COLORS
        raise PatchError(f"{patch.size} numbers are no square patch")
