"""Photos as arrays. Needs Pillow (`pip install caffe2py[image]`)."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from caffe2py.errors import Error, FileError, UnsupportedError, UsageError
from caffe2py.tensor.tensor import Array

#: How pixels are computed where the size changes; Pillow's names.
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")

#: The shares of red, green and blue in the luminance, of 2^15, as libpng has them.
_LUMINANCE = np.array([9798, 19235, 3735], np.int32)

#: The tag that says how the camera was held.
_ORIENTATION = 0x0112

#: Filters of warnings are one for all threads.
_filters = threading.Lock()


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
    image_module = _pillow()[0]
    picture = _opened(path, os.fspath(path), lambda file: file.convert("L" if gray else "RGB"))
    if size is not None:
        picture = picture.resize((size[1], size[0]), _filter(image_module, filter_name))
    pixels = np.asarray(picture)
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1)


def decode_image(data: bytes, *, gray: bool = False, where: str = "an image") -> Array:
    """The pixels of an image file's bytes, upright: uint8 (height, width, 3), blue first, or 1.

    Transparency is dropped, and of 16 bits the upper ones are kept. Raises FileError, which says
    `where`, for what is damaged, no image, or too large; UnsupportedError without Pillow.
    """

    def convert(file: Any) -> Array:
        if file.mode.startswith("I"):  # Pillow would cut these off at 255
            tall = np.asarray(file).astype(np.int64) >> 8
            found = np.clip(tall, 0, 255).astype(np.uint8)[:, :, None]
            return found if gray else np.repeat(found, 3, axis=2)
        if gray and file.mode == "L":
            return np.asarray(file)[:, :, None]
        picture = file.convert("RGB")
        if not gray:
            pixels = np.frombuffer(picture.tobytes("raw", "BGR"), np.uint8)
            return pixels.reshape(picture.height, picture.width, 3)
        colors = np.asarray(picture)
        return (colors.astype(np.int32) @ _LUMINANCE >> 15).astype(np.uint8)[:, :, None]

    pixels: Array = _opened(io.BytesIO(data), where, convert, gray=gray)
    return pixels


def image_size(data: bytes) -> tuple[str, int, int]:
    """Format, height and width that the head of an image file states; FileError for no image."""

    def look(file: Any) -> tuple[str, int, int]:
        return str(file.format), int(file.height), int(file.width)

    found: tuple[str, int, int] = _opened(io.BytesIO(data), "an image", look, turn=False)
    return found


def _opened(
    source: str | os.PathLike[str] | IO[bytes],
    where: str,
    use: Callable[[Any], Any],
    *,
    turn: bool = True,
    gray: bool = False,
) -> Any:
    """What `use` makes of an image, which is turned as its camera says."""
    image_module, ops = _pillow()
    try:
        with _filters, warnings.catch_warnings():
            # A small file may claim to hold gigapixels: refuse where Pillow would only warn.
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            file = image_module.open(source)
        if gray:
            file.draft("L", file.size)  # a JPEG has its luminance apart
        with file:
            lies = turn and file.getexif().get(_ORIENTATION, 1) != 1
            return use(ops.exif_transpose(file) if lies else file)
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise _unreadable(error, where, image_module) from None


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
