"""Im2Col and Col2Im: the windows of images, laid out one after another, and back."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.unfold import launch_fold, launch_unfold
from caffe2py.kernels.window import Window, channels_last
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType, shape_text

Dims = tuple[int | None, ...]

ARGS = {
    "kernel": Arg(int, 0, "height and width of a window"),
    "kernel_h": Arg(int, None, "height of a window, if it is not `kernel`"),
    "kernel_w": Arg(int, None, "width of a window, if it is not `kernel`"),
    "stride": Arg(int, 1, "step of the windows"),
    "stride_h": Arg(int, None, "vertical step, if it is not `stride`"),
    "stride_w": Arg(int, None, "horizontal step, if it is not `stride`"),
    "dilation": Arg(int, 1, "distance of neighbours within a window"),
    "dilation_h": Arg(int, None, "vertical distance, if it is not `dilation`"),
    "dilation_w": Arg(int, None, "horizontal distance, if it is not `dilation`"),
    "pad": Arg(int, 0, "zeros around the image"),
    "order": Arg(str, "NCHW", "NCHW: channels are the second axis; NHWC: the last"),
}


def _pair(args: Args, name: str) -> tuple[int, int]:
    both = getattr(args, name)
    height, width = getattr(args, f"{name}_h"), getattr(args, f"{name}_w")
    return both if height is None else height, both if width is None else width


def _window(args: Args) -> Window:
    """The window; ArgumentError for sizes below 1."""
    window = Window(
        _pair(args, "kernel"), _pair(args, "stride"), _pair(args, "dilation"), (args.pad,) * 4
    )
    window.check()
    return window


def _columns(image: Dims, args: Args) -> Dims:
    """The shape of the windows of images of this shape."""
    window, last = _window(args), channels_last(args)
    size = image[1:3] if last else image[2:]
    channels = image[3] if last else image[1]
    height, width = window.out(size)
    deep = None if channels is None else channels * window.kernel[0] * window.kernel[1]
    return (image[0], height, width, deep) if last else (image[0], deep, height, width)


def _infer_unfold(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *FLOATS)
    require_rank(query, 0, 4)
    _window(query.args)
    channels_last(query.args)
    x = query.inputs[0]
    return [x if x.shape is None else x.with_shape(_columns(x.shape, query.args))]


def _infer_fold(query: Query) -> Sequence[TensorType]:
    for index in (0, 1):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 4)
    require_same_dtype(query, 0, 1)
    _window(query.args)
    columns, image = query.inputs
    if columns.shape is not None and image.shape is not None:
        wanted = _columns(image.shape, query.args)
        pairs = zip(columns.shape, wanted, strict=True)
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            raise ShapeError(
                f"input 0 '{query.name(0)}' must be {shape_text(wanted)}, the windows of "
                f"{shape_text(image.shape)}; found {shape_text(columns.shape)}"
            )
    return [image]


unfold = operator(
    "Im2Col",
    "X -> Y",
    infer=_infer_unfold,
    gradient="Col2Im(dY, X.shape) -> dX",
    doc="""
    Y[n, (c, u, v), i, j] = X[n, c, i * stride - pad + u * dilation, j * stride - pad + v *
    dilation], 0 outside of the image: the elements of each window, one after another.

    X is (N, C, H, W) and Y (N, C * kernel * kernel, OH, OW); with order NHWC X is (N, H, W, C) and
    Y (N, OH, OW, kernel * kernel * C), where channels run fastest.
    """,
    example="""
    X = [[[[1, 2, 3]]]]; kernel_h = 1, kernel_w = 2
    Y = [[[[1, 2]], [[2, 3]]]]
    """,
    arguments=ARGS,
)


@unfold.everywhere
def _launch_unfold(call: Call) -> Launch:
    x, last = call.inputs[0], channels_last(call.args)
    table = _window(call.args).table(x.shape[1:3] if last else x.shape[2:])
    return launch_unfold(x, table, last, call.outputs[0])


fold = operator(
    "Col2Im",
    "columns, image -> Y",
    infer=_infer_fold,
    gradient="Im2Col(dY) -> dcolumns",
    doc="""
    Y = for each pixel the sum of the elements of `columns` that Im2Col takes from it. Only the
    shape of `image` is read: it is that of Y.
    """,
    example="""
    columns = [[[[1, 2]], [[2, 3]]]]; image of shape (1, 1, 1, 3); kernel_h = 1, kernel_w = 2
    Y = [[[[1, 4, 3]]]]
    """,
    arguments=ARGS,
)


@fold.everywhere
def _launch_fold(call: Call) -> Launch:
    y, last = call.outputs[0], channels_last(call.args)
    table = _window(call.args).table(y.shape[1:3] if last else y.shape[2:])
    return launch_fold(call.inputs[0], table, last, y)
