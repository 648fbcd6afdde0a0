"""From an image to a square of numbers: box, size, place, mirror, colors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffe2py.errors import ValueRangeError
from caffe2py.kernels.photo import (
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    Taps,
    Tint,
    covered,
    launch_take,
    launch_tint,
    two_neighbours,
)
from caffe2py.kernels.random import below, normal, uniform01
from caffe2py.ops.image_input.records import Box
from caffe2py.registry.context import Launch
from caffe2py.registry.schema import Args
from caffe2py.tensor.tensor import Array

_LARGEST = 2**31 - 1

#: Principal components of the colors of photos (red, green, blue), and their sizes: Caffe2's.
_COMPONENTS = np.array(
    [
        [-144.7125, 183.396, 102.2295],
        [-148.104, -1.1475, -207.57],
        [-148.818, -177.174, 107.1765],
    ]
)
_SIZES = np.array([0.2175, 0.0188, 0.0045])

#: Parts of the area, ratios of width to height, and attempts of a crop of random size.
_LEAST_AREA, _RATIOS, _ATTEMPTS = 0.08, (3 / 4, 4 / 3), 10

#: The shares of blue, green and red in the luminance, of 2^15, as integers round them.
_LUMINANCE = np.array([3735, 19235, 9798], np.int32)


class Draws:
    """Random numbers of one image: those of a key, one after another."""

    def __init__(self, key: np.uint64) -> None:
        self._key = key
        self._count = 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        with np.errstate(over="ignore"):  # the generator's words wrap around
            return low + (high - low) * float(uniform01(self._key, self._next()))

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        with np.errstate(over="ignore"):
            return low + int(below(self._key, self._next(), high - low + 1))

    def normal(self) -> float:
        """A standard normal number."""
        with np.errstate(over="ignore"):
            return float(normal(self._key, 2 * self._next()))


@dataclass(frozen=True)
class View:
    """A part of an image, the size to which it is resized, and the corner of the square in that."""

    box: Box
    height: int
    width: int
    top: int
    left: int


def with_channels(image: Array, channels: int) -> Array:
    """The image in color or gray."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    mixed = (image.astype(np.int32) @ _LUMINANCE + (1 << 14)) >> 15
    return mixed.astype(np.uint8)[:, :, None]


def choose_view(image: Array, box: Box | None, args: Args, draws: Draws) -> View:
    """What of an image is shown; ValueRangeError where its shape is too narrow to be resized."""
    height, width = image.shape[:2]
    whole = Box(0, 0, height, width)
    part = box if box is not None and box.fits(height, width) else whole
    if args.scale_jitter_type and not args.is_test:
        cut = _random_part(part, draws)
        if cut is not None:
            return View(cut, args.crop, args.crop, 0, 0)
    height, width = _new_size(part, args, draws)
    room = height - args.crop, width - args.crop
    if min(room) < 0:
        raise ValueRangeError(f"an image of {height} x {width} is smaller than crop, {args.crop}")
    if args.is_test:
        return View(part, height, width, room[0] // 2, room[1] // 2)
    return View(part, height, width, draws.integer(0, room[0]), draws.integer(0, room[1]))


def _random_part(part: Box, draws: Draws) -> Box | None:
    """A part of random area and shape (C. Szegedy et al., 2015); None if none fits."""
    for _ in range(_ATTEMPTS):
        area = math.ceil(draws.uniform(_LEAST_AREA, 1) * part.height * part.width)
        ratio = draws.uniform(*_RATIOS)
        height, width = int(math.sqrt(area / ratio)), int(math.sqrt(area * ratio))
        if 1 <= height <= part.height and 1 <= width <= part.width:
            top = part.top + draws.integer(0, part.height - height)
            return Box(top, part.left + draws.integer(0, part.width - width), height, width)
    return None


def _new_size(part: Box, args: Args, draws: Draws) -> tuple[int, int]:
    """Height and width after resizing, which is up to `minsize` only, or to `scale` both ways."""
    drawn = random_scale(args)
    wanted = draws.integer(*drawn) if drawn else max(args.scale, args.minsize)
    if args.warp:
        height = width = wanted
    elif part.height > part.width:
        height, width = _proportional(part.height, wanted, part.width), wanted
    else:
        height, width = wanted, _proportional(part.width, wanted, part.height)
    if max(height, width) > _LARGEST:
        raise ValueRangeError(
            f"an image of {part.height} x {part.width} is too narrow to be resized to {wanted}"
        )
    grows = height > part.height or width > part.width
    return (height, width) if args.scale > 0 or grows else (part.height, part.width)


def random_scale(args: Args) -> tuple[int, int] | None:
    """The least and the largest size to enlarge to, if it is drawn."""
    found = args.random_scale
    return None if found is None or -1 in found else (found[0], found[1])


def least_size(args: Args) -> int:
    """The size to which all images are enlarged; 0 or less if none is given."""
    drawn = random_scale(args)
    return drawn[0] if drawn else int(args.minsize)


def _proportional(longer: int, wanted: int, shorter: int) -> int:
    """As Caffe2 computes it, in float32."""
    return int(np.float32(longer) * np.float32(wanted) / np.float32(shorter))


def launch_view(image: Array, view: View, mirrored: bool, y: Array) -> Launch:
    """y = what the view shows of the image, as floats from 0 to 255."""
    box, crop = view.box, len(y)
    shrinks = view.height <= box.height and view.width <= box.width
    taps = covered if shrinks else two_neighbours
    rows = taps(box.height, view.height, view.top, view.top + crop)
    columns = taps(box.width, view.width, view.left, view.left + crop)
    if mirrored:
        columns = Taps(*(np.ascontiguousarray(part[::-1]) for part in columns))
    part = image[box.top : box.top + box.height, box.left : box.left + box.width]
    return launch_take(np.ascontiguousarray(part), rows, columns, y)


def choose_tint(args: Args, channels: int, draws: Draws) -> Tint:
    """How the colors of an image are moved."""
    order: list[int] = []
    factors: list[float] = []
    shift = np.zeros(3)
    if channels == 3 and not args.is_test:
        if args.color_jitter:
            order = _shuffled([SATURATION, BRIGHTNESS, CONTRAST], draws.integer)
            spread = [args.img_saturation, args.img_brightness, args.img_contrast]
            factors = [1 + draws.uniform(-spread[kind], spread[kind]) for kind in order]
        if args.color_lighting:
            sizes = np.array([draws.normal() * args.color_lighting_std for _ in range(3)])
            shift = (_COMPONENTS @ (_SIZES * sizes))[::-1]
    mean, std = means(args)
    return Tint(
        np.array(order, np.int64),
        np.array(factors, np.float32),
        shift.astype(np.float32),
        mean,
        np.float32(1) / std,
    )


def _shuffled(kinds: list[int], integer: Callable[[int, int], int]) -> list[int]:
    for k in range(len(kinds) - 1, 0, -1):
        other = integer(0, k)
        kinds[k], kinds[other] = kinds[other], kinds[k]
    return kinds


def means(args: Args) -> tuple[Array, Array]:
    """The mean and the standard deviation of blue, green and red."""
    found = []
    for several, single in ((args.mean_per_channel, args.mean), (args.std_per_channel, args.std)):
        values = np.array(several or [single], np.float32)
        found.append(np.repeat(values, 3) if values.size == 1 else values)
    return found[0], found[1]


def transform(
    image: Array, box: Box | None, args: Args, draws: Draws, y: Array
) -> tuple[Launch, Launch]:
    """The two launches that make y, float32 (crop, crop, channels), of an image."""
    image = with_channels(image, y.shape[2])
    view = choose_view(image, box, args, draws)
    mirrored = bool(args.mirror and not args.is_test and draws.integer(0, 1))
    return (
        launch_view(image, view, mirrored, y),
        launch_tint(choose_tint(args, y.shape[2], draws), y),
    )
