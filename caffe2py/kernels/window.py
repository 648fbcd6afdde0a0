"""Sliding windows: their arguments and geometry, and the loops that unfold images for products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import shape_text

NOTSET, VALID, SAME, CAFFE_LEGACY_POOLING = range(4)

#: Spatial axes that the loops handle; images of fewer axes get leading ones of size 1.
AXES = 3

#: Rows of the array that `Window.table` makes, each with one entry a spatial axis.
IMAGE, OUT, KERNEL, STRIDE, DILATION, BEGIN, END = range(7)

_LARGEST = 2**31 - 1

#: The arguments that describe a window, as Conv and the pooling operators share them.
WINDOW_ARGS: dict[str, Arg] = {
    "kernel": Arg(int, None, "window size along every spatial axis"),
    "kernel_h": Arg(int, None, "window height; needs kernel_w"),
    "kernel_w": Arg(int, None, "window width; needs kernel_h"),
    "kernels": Arg(list[int], (), "window size along each spatial axis"),
    "stride": Arg(int, 1, "step of the window along every spatial axis"),
    "stride_h": Arg(int, 1, "vertical step"),
    "stride_w": Arg(int, 1, "horizontal step"),
    "strides": Arg(list[int], (), "step along each spatial axis"),
    "dilation": Arg(int, 1, "distance of neighbours within the window, along every spatial axis"),
    "dilation_h": Arg(int, 1, "vertical distance within the window"),
    "dilation_w": Arg(int, 1, "horizontal distance within the window"),
    "dilations": Arg(list[int], (), "distance within the window along each spatial axis"),
    "pad": Arg(int, 0, "elements added on every side; negative ones cut the image"),
    "pad_t": Arg(int, 0, "elements added above"),
    "pad_l": Arg(int, 0, "elements added on the left"),
    "pad_b": Arg(int, 0, "elements added below"),
    "pad_r": Arg(int, 0, "elements added on the right"),
    "pads": Arg(
        list[int], (), "elements added at the begin of each spatial axis, then at each end"
    ),
    "legacy_pad": Arg(
        int,
        0,
        "0: pads as given; 1 (VALID): none; 2 (SAME): output size = ceil(size / stride); "
        "3: as Caffe pools, rounding the output size up",
    ),
    "global_pooling": Arg(int, 0, "1: the window is the whole image"),
    "order": Arg(str, "NCHW", "NCHW: channels before the spatial axes; NHWC: after them"),
    "group": Arg(int, 1, "number of groups of channels that do not see each other"),
    "float16_compute": Arg(bool, False, "accepted; sums are always as wide as the elements"),
    "shared_buffer": Arg(int, 0, "accepted; scratch memory is never shared"),
}

Dims = tuple[int | None, ...]


# ---------------------------------------------------------------- geometry


def channels_last(args: Args) -> bool:
    """Whether `order` is NHWC (or nhwc); ArgumentError for anything but that and NCHW."""
    order = str(args.order).upper()
    if order not in ("NCHW", "NHWC"):
        raise ArgumentError(f"order must be NCHW or NHWC, found '{args.order}'")
    return order == "NHWC"


def split_image(shape: Sequence[int | None], last: bool) -> tuple[int | None, int | None, Dims]:
    """(batch, channels, spatial sizes) of a batch of images; `last`: channels come last.

    ShapeError unless there are 1 to 3 spatial axes, or where anything but the batch is empty.
    """
    dims = tuple(shape)
    if not 3 <= len(dims) <= 2 + AXES:
        raise ShapeError(
            f"images must have 3 to {2 + AXES} dimensions (batch, channels, 1 to {AXES} spatial), "
            f"found {shape_text(dims)}"
        )
    if 0 in dims[1:]:
        raise ShapeError(f"images must not be empty, found {shape_text(dims)}")
    return (dims[0], dims[-1], dims[1:-1]) if last else (dims[0], dims[1], dims[2:])


def join_image(batch: int | None, channels: int | None, image: Dims, last: bool) -> Dims:
    """The shape of a batch of images, the inverse of `split_image`."""
    return (batch, *image, channels) if last else (batch, channels, *image)


@dataclass(frozen=True)
class Window:
    """A window that slides over 1 to 3 spatial axes; `pads` are all begins, then all ends.

    With `legacy` padding or `whole` (global pooling) some of it depends on the image: `on` gives
    the window for one image. A position outside of the image counts as padding, and with
    CAFFE_LEGACY_POOLING or large pads a window may lie outside altogether.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    legacy: int = NOTSET
    whole: bool = False

    @classmethod
    def read(cls, args: Args, rank: int) -> Window:
        """The window that the arguments describe for `rank` spatial axes.

        ArgumentError for sizes that are missing, not positive, of another number than `rank`, or
        given twice with different values. Where global_pooling is set the kernel is ignored.
        """
        whole = bool(args.global_pooling)
        given = spelled_sizes(args, rank, "kernel", "kernels", ("kernel_h", "kernel_w"), None)
        if given is None and not whole:
            raise ArgumentError("kernel (or kernel_h and kernel_w, or kernels) must be given")
        window = cls(
            (1,) * rank if whole or given is None else given,
            spelled_sizes(args, rank, "stride", "strides", ("stride_h", "stride_w"), 1)
            or (1,) * rank,
            spelled_sizes(args, rank, "dilation", "dilations", ("dilation_h", "dilation_w"), 1)
            or (1,) * rank,
            _pads(args, rank),
            args.legacy_pad,
            whole,
        )
        window.check()
        return window

    def check(self) -> None:
        """ArgumentError for sizes that make no window."""
        named = {"kernel": self.kernel, "stride": self.stride, "dilation": self.dilation}
        for name, values in named.items():
            if min(values) < 1:
                raise ArgumentError(f"{name} must be at least 1, found {shape_text(values)}")
        for name, values in {**named, "pads": self.pads}.items():
            if max(map(abs, values)) > _LARGEST:
                raise ArgumentError(f"{name} {shape_text(values)} is too large")
        if self.legacy not in (NOTSET, VALID, SAME, CAFFE_LEGACY_POOLING):
            raise ArgumentError(f"legacy_pad must be 0, 1, 2 or 3, found {self.legacy}")
        if self.whole and (any(self.pads) or max(*self.stride, *self.dilation) > 1):
            raise ArgumentError("with global_pooling there can be no pad, stride or dilation")
        if self.legacy in (VALID, SAME) and any(self.pads):
            raise ArgumentError(
                f"legacy_pad {self.legacy} sets the pads itself, found {shape_text(self.pads)}"
            )
        if self.legacy in (SAME, CAFFE_LEGACY_POOLING) and max(self.dilation) > 1:
            raise ArgumentError(f"legacy_pad {self.legacy} does not allow a dilation")
        if self.legacy == CAFFE_LEGACY_POOLING and min(self.pads) < 0:
            raise ArgumentError(f"legacy_pad 3 needs pads of 0 or more, found {self.pads}")

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    def out(self, image: Dims) -> Dims:
        """The number of positions along each axis of an image, None where its size is unknown.

        ShapeError where the window does not fit once.
        """
        if self.whole:
            return (1,) * self.rank
        return tuple(
            None if size is None else self._axis(axis, size)[0] for axis, size in enumerate(image)
        )

    def on(self, image: Sequence[int]) -> Window:
        """The window for images of one size: kernel and pads explicit, no `legacy`, not `whole`."""
        if self.whole:
            return replace(self, kernel=tuple(image), legacy=NOTSET, whole=False)
        axes = [self._axis(axis, size) for axis, size in enumerate(image)]
        pads = (*(begin for _, begin, _ in axes), *(end for _, _, end in axes))
        return replace(self, pads=pads, legacy=NOTSET)

    def _axis(self, axis: int, size: int) -> tuple[int, int, int]:
        """Output size and both pads along one axis."""
        kernel, stride = self.kernel[axis], self.stride[axis]
        begin, end = self.pads[axis], self.pads[self.rank + axis]
        reach = self.dilation[axis] * (kernel - 1) + 1
        if self.legacy == CAFFE_LEGACY_POOLING:
            count, end = _caffe_axis(size, kernel, stride, begin)
        else:
            if self.legacy == SAME:
                needed = (-(-size // stride) - 1) * stride + kernel - size
                begin = math.trunc(needed / 2)
                end = needed - begin
            count = (size + begin + end - reach) // stride + 1
        if count < 1:
            raise ShapeError(
                f"a window of {reach} does not fit into {size} elements "
                f"with pads {begin} and {end} along spatial axis {axis}"
            )
        return count, begin, end

    def table(self, image: Sequence[int]) -> Array:
        """int64 (7, 3) for kernels: rows IMAGE, OUT, KERNEL, STRIDE, DILATION, BEGIN, END.

        Missing leading axes have size and kernel 1. The k-th element of the o-th window along an
        axis is `o * stride - begin + k * dilation`, which may be outside of the image.
        """
        fitted = self.on(image)
        out = fitted.out(tuple(image))
        table = np.ones((7, AXES), np.int64)
        table[BEGIN:] = 0
        rows: tuple[Sequence[int | None], ...] = (
            image,
            out,
            fitted.kernel,
            fitted.stride,
            fitted.dilation,
            fitted.pads[: self.rank],
            fitted.pads[self.rank :],
        )
        for row, values in enumerate(rows):
            table[row, AXES - self.rank :] = np.array(values, np.int64)
        return table


def _caffe_axis(size: int, kernel: int, stride: int, begin: int) -> tuple[int, int]:
    """Output size and end pad as Caffe pools: rounded up, unless a window begins in the end pad."""
    free = size + 2 * begin - kernel
    count = -(-free // stride) + 1
    if begin > 0 and (count - 1) * stride >= size + begin:
        count -= 1
    return count, begin + stride * (count - free // stride - 1)


def spelled_sizes(
    args: Args, rank: int, one: str, many: str, pair: tuple[str, str], default: int | None
) -> tuple[int, ...] | None:
    """One size in its three spellings: for all axes, height and width, or a list; None: not given.

    ArgumentError where spellings disagree or do not fit the number of axes.
    """
    found: dict[str, tuple[int, ...]] = {}
    single, values = getattr(args, one), tuple(getattr(args, many))
    height, width = (getattr(args, name) for name in pair)
    if single != default:
        found[one] = (single,) * rank
    if (height, width) != (default, default):
        if height is None or width is None:
            raise ArgumentError(f"{pair[0]} and {pair[1]} must be given together")
        found[f"{pair[0]} and {pair[1]}"] = (height, width)
    if values:
        found[many] = values
    return _agreed(found, rank)


def _pads(args: Args, rank: int) -> tuple[int, ...]:
    sides = (args.pad_t, args.pad_l, args.pad_b, args.pad_r)
    found: dict[str, tuple[int, ...]] = {}
    if args.pad:
        found["pad"] = (args.pad,) * (2 * rank)
    if any(sides):
        found["pad_t, pad_l, pad_b, pad_r"] = sides
    if args.pads:
        found["pads"] = tuple(args.pads)
    return _agreed(found, 2 * rank) or (0,) * (2 * rank)


def _agreed(found: dict[str, tuple[int, ...]], count: int) -> tuple[int, ...] | None:
    """The one value of all spellings; ArgumentError where they differ or are too few or many."""
    for name, values in found.items():
        if len(values) != count:
            raise ArgumentError(
                f"{name} has {len(values)} value(s) where the image needs {count}: "
                f"{shape_text(values)}"
            )
    if len(set(found.values())) > 1:
        text = ", ".join(f"{name} {shape_text(values)}" for name, values in found.items())
        raise ArgumentError(f"the same size is given twice with different values: {text}")
    return next(iter(found.values()), None)
