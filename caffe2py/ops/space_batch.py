"""Blocks of pixels moved into the batch, and back."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ArgumentError, DTypeError, ShapeError
from caffe2py.kernels.resize import launch_blocks
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import STRING, TensorType, shape_text

_LARGEST = 2**31 - 1
Dims = tuple[int | None, ...]

ARGS = {
    "pad": Arg(int, 0, "pixels around the image"),
    "pad_t": Arg(int, None, "pixels above, if not `pad`"),
    "pad_l": Arg(int, None, "pixels on the left, if not `pad`"),
    "pad_b": Arg(int, None, "pixels below, if not `pad`"),
    "pad_r": Arg(int, None, "pixels on the right, if not `pad`"),
    "block_size": Arg(int, 2, "height and width of a block"),
    "order": Arg(str, "NCHW", "must be NCHW: the channels are the second axis"),
}


def _pads(args: Args) -> tuple[int, int, int, int]:
    """Top, left, bottom, right."""
    found = [args.pad if v is None else v for v in (args.pad_t, args.pad_l, args.pad_b, args.pad_r)]
    if not 0 <= min(found) <= max(found) <= _LARGEST:
        raise ArgumentError(f"pads must be 0 or more, found {shape_text(tuple(found))}")
    return found[0], found[1], found[2], found[3]


def _images(query: Query) -> tuple[int, Dims | None]:
    """The size of a block, and the shape of X."""
    args = query.args
    if str(args.order).upper() != "NCHW":
        raise ArgumentError(f"order must be NCHW, found '{args.order}'")
    if not 1 <= args.block_size <= 1 << 15:
        raise ArgumentError(f"block_size must be at least 1, found {args.block_size}")
    if query.inputs[0].dtype == STRING:
        raise DTypeError(f"input 0 '{query.name(0)}' is string, and images hold numbers")
    require_rank(query, 0, 4)
    return args.block_size, query.inputs[0].shape


def _infer_to_batch(query: Query) -> Sequence[TensorType]:
    block, x = _images(query)
    top, left, bottom, right = _pads(query.args)
    if x is None:
        return [query.inputs[0]]
    sizes: list[int | None] = []
    for name, size, pad in (("height", x[2], top + bottom), ("width", x[3], left + right)):
        if size is not None and (size + pad) % block:
            raise ShapeError(f"the {name} {size} + {pad} is no multiple of the block size {block}")
        sizes.append(None if size is None else (size + pad) // block)
    batch = None if x[0] is None else x[0] * block * block
    return [query.inputs[0].with_shape((batch, x[1], *sizes))]


def _infer_to_space(query: Query) -> Sequence[TensorType]:
    block, x = _images(query)
    top, left, bottom, right = _pads(query.args)
    if x is None:
        return [query.inputs[0]]
    if x[0] is not None and x[0] % (block * block):
        raise ShapeError(f"{x[0]} image(s) do not make blocks of {block} x {block} pixels")
    sizes: list[int | None] = []
    for name, size, pad in (("height", x[2], top + bottom), ("width", x[3], left + right)):
        if size is not None and size * block < pad:
            raise ShapeError(f"the {name} {size} x {block} is smaller than its pads, {pad}")
        sizes.append(None if size is None else size * block - pad)
    batch = None if x[0] is None else x[0] // (block * block)
    return [query.inputs[0].with_shape((batch, x[1], *sizes))]


to_batch = operator(
    "SpaceToBatch",
    "X -> Y",
    infer=_infer_to_batch,
    gradient="BatchToSpace(dY) -> dX",
    doc="""
    Y[(k * b + l) * N + n, c, i, j] = X[n, c, i * b + k - pad_t, j * b + l - pad_l], 0 outside of
    the image, where b is block_size: pixel (k, l) of every block becomes an image of its own.

    X is (N, C, H, W) of any type of numbers; the padded height and width are multiples of b, and
    Y is (N * b * b, C, (H + pads) / b, (W + pads) / b). (Caffe2 reads pad in the place of pad_l,
    pad_b and pad_r.)
    """,
    example="""
    X = [[[[1, 2, 3, 4], [5, 6, 7, 8]]]]
    Y = [[[[1, 3]]], [[[2, 4]]], [[[5, 7]]], [[[6, 8]]]]
    """,
    arguments=ARGS,
)


@to_batch.everywhere
def _launch_to_batch(call: Call) -> Launch:
    top, left, _, _ = _pads(call.args)
    return launch_blocks(call.inputs[0], call.outputs[0], call.args.block_size, top, left)


to_space = operator(
    "BatchToSpace",
    "X -> Y",
    infer=_infer_to_space,
    gradient="SpaceToBatch(dY) -> dX",
    doc="""
    Y[n, c, i * b + k - pad_t, j * b + l - pad_l] = X[(k * b + l) * N + n, c, i, j], without what is
    outside of the image: SpaceToBatch undone, where b is block_size.

    X is (N * b * b, C, H, W) of any type of numbers, Y (N, C, H * b - pads, W * b - pads). (Caffe2
    reads pad in the place of pad_l, pad_b and pad_r.)
    """,
    example="""
    X = [[[[1, 3]]], [[[2, 4]]], [[[5, 7]]], [[[6, 8]]]]
    Y = [[[[1, 2, 3, 4], [5, 6, 7, 8]]]]
    """,
    arguments=ARGS,
)


@to_space.everywhere
def _launch_to_space(call: Call) -> Launch:
    x, y = call.inputs[0], call.outputs[0]
    top, left, _, _ = _pads(call.args)
    return launch_blocks(y, x, call.args.block_size, top, left, back=True)
