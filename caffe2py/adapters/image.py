"""Photos as arrays. Needs Pillow (`pip install caffe2py[image]`)."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from caffe2py.errors import Error, FileError, UnsupportedError, UsageError
from caffe2py.tensor.tensor import Array

#: How pixels are computed where the size changes; Pillow's names.
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


def read_image(
    path: str | os.PathLike[str],
    size: tuple[int, int] | None = None,
    *,
    gray: bool = False,
    filter_name: str = "bicubic",
) -> Array:
    """The pixels of an image file, upright: uint8 (height, width, 3), red first, or (h, w, 1) gray.

    `size` is (height, width); the picture is stretched to it. Raises FileError for a file that is
    missing, damaged or no image, UnsupportedError where Pillow is not installed.
    """
    image_module, ops = _pillow()
    try:
        with warnings.catch_warnings():
            # A small file may claim to hold gigapixels: refuse where Pillow would only warn.
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            with image_module.open(path) as file:
                picture = ops.exif_transpose(file).convert("L" if gray else "RGB")
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise _unreadable(error, os.fspath(path), image_module) from None
    if size is not None:
        picture = picture.resize((size[1], size[0]), _filter(image_module, filter_name))
    pixels = np.asarray(picture)
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1)


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise UnsupportedError(
            "reading images needs Pillow; needs: pip install caffe2py[image]"
        ) from None
    return Image, ImageOps


def _filter(image_module: Any, name: str) -> Any:
    if name not in FILTERS:
        raise UsageError(f"'{name}' is no resampling filter; known: {', '.join(FILTERS)}")
    return image_module.Resampling[name.upper()]


def _unreadable(error: Exception, path: str, image_module: Any) -> Error:
    bombs = (image_module.DecompressionBombWarning, image_module.DecompressionBombError)
    if isinstance(error, FileNotFoundError):
        return FileError("no such file", where=path, hint="check the path")
    if isinstance(error, image_module.UnidentifiedImageError):
        return FileError("is not an image that Pillow can read", where=path)
    if isinstance(error, bombs):
        return FileError(f"is refused as too large an image: {error}", where=path)
    return FileError(f"cannot be read as an image: {error}", where=path)
