"""Convolution, transposed convolution, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from caffe2py.errors import ArgumentError, ArityError, NoGradientError, ShapeError
from caffe2py.kernels.convolve import Correlation
from caffe2py.kernels.reduce import launch_sum
from caffe2py.kernels.window import (
    CAFFE_LEGACY_POOLING,
    NOTSET,
    WINDOW_ARGS,
    Window,
    channels_last,
    join_image,
    spelled_sizes,
    split_image,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import Query, require_dtype, require_same_dtype
from caffe2py.registry.operator import lookup, operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType, shape_text

FLOATS = ("float32", "float64")

Dims = tuple[int | None, ...]


# ---------------------------------------------------------------- sizes


def _filter_parts(shape: Dims, last: bool) -> tuple[int | None, int | None, Dims]:
    """(filters, channels of a group, kernel) of the filter's shape."""
    return (shape[0], shape[-1], shape[1:-1]) if last else (shape[0], shape[1], shape[2:])


def differ(a: int | None, b: int | None) -> bool:
    """Whether two sizes are known and not equal."""
    return None not in (a, b) and a != b


def result_shape(x: Dims | None, w: Dims | None, args: Args) -> Dims | None:
    """The shape of Y, with None where it is not known; errors for whatever does not fit."""
    last = channels_last(args)
    if args.global_pooling:
        raise ArgumentError("a convolution has no global_pooling")
    if args.group < 1:
        raise ArgumentError(f"group must be at least 1, found {args.group}")
    if x is None:
        return None
    batch, channels, image = split_image(x, last)
    window = Window.read(args, len(image))
    if w is None:
        return join_image(batch, None, window.out(image), last)
    if len(w) != len(x):
        raise ShapeError(
            f"X {shape_text(x)} and filter {shape_text(w)} must have the same number of dimensions"
        )
    filters, per_group, kernel = _filter_parts(w, last)
    if any(map(differ, kernel, window.kernel)):
        raise ShapeError(
            f"the filter is {shape_text(w)}, which makes a kernel of {shape_text(kernel)}; "
            f"the arguments say {shape_text(window.kernel)}"
        )
    _check_groups(channels, per_group, filters, args.group)
    return join_image(batch, filters, window.out(image), last)


def _check_groups(
    channels: int | None, per_group: int | None, filters: int | None, groups: int
) -> None:
    if per_group is not None and differ(channels, per_group * groups):
        raise ShapeError(
            f"X has {channels} channel(s); the filter takes {per_group} in each of {groups} "
            f"group(s), {per_group * groups} together"
        )
    if filters is not None and filters % groups:
        raise ShapeError(f"{filters} filter(s) cannot be divided into {groups} group(s)")


def _infer_conv(query: Query) -> Sequence[TensorType]:
    dtype = _common_dtype(query)
    x, w = query.inputs[0].shape, query.inputs[1].shape
    shape = result_shape(x, w, query.args)
    bias = query.inputs[2].shape if len(query.inputs) > 2 else None
    if bias is not None and (len(bias) != 1 or (w is not None and differ(bias[0], w[0]))):
        needed = "?" if w is None else w[0]
        raise ShapeError(f"bias is {shape_text(bias)}, needs one element a filter: ({needed})")
    return [TensorType(dtype, shape)]


def _common_dtype(query: Query) -> DType | None:
    for index in range(len(query.inputs)):
        require_dtype(query, index, *FLOATS)
    return require_same_dtype(query, *range(len(query.inputs)))


def correlation_of(x: Array, w: Array, args: Args) -> Correlation:
    """How X meets the filter, by the arguments."""
    last = channels_last(args)
    image = x.shape[1:-1] if last else x.shape[2:]
    return Correlation(
        images=x.shape[0],
        groups=args.group,
        channels=w.shape[-1] if last else w.shape[1],
        filters=w.shape[0] // args.group,
        image=image,
        window=Window.read(args, len(image)),
        last=last,
        short=bool(getattr(args, "winograd", False)),
    )


# ---------------------------------------------------------------- Conv


def _gradient_of_conv(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """<Op>Gradient(X, filter, dY) -> dfilter, dbias (if there is a bias), dX (unless unwanted)."""
    dy = output_grads[0]
    if dy is None:
        raise NoGradientError(f"{op.type}: its gradient reads dY, which nothing provides")
    args = lookup(op.type).schema.verify(op)
    stated = "no_bias" in args.given
    x, *parameters = op.input
    grads: list[GradientName] = [None, *map(gradient_name, parameters)]
    outputs = [gradient_name(name) for name in parameters]
    if not args.no_gradient_to_input:
        grads[0] = gradient_name(x)
        outputs.append(gradient_name(x))
    # a bias that is an input takes part, whatever the forward operator says
    extra = {"no_bias": int(len(parameters) < 2)} if len(parameters) < 2 or stated else {}
    made = gradient_op(op, f"{op.type}Gradient", [x, parameters[0], dy], outputs, extra)
    return Gradient((made,), tuple(grads))


_CONV_DOC = """
Y[n, m, p] = bias[m] + sum over c and k of X[n, c, p * stride - pad + k * dilation] *
filter[m, c, k], where p and k have one to three axes, and X is 0 outside of the image.

X is (N, C, *image) and filter (M, C / group, *kernel); with order=NHWC they are (N, *image, C)
and (M, *kernel, C / group). Filters of group g see the channels of group g only. Sizes along an
axis are (image + pads - dilation * (kernel - 1) - 1) / stride + 1, rounded down. One value
(`kernel`, `stride`, ...) holds for every axis; height and width that are left out keep their
defaults; two spellings of one size must agree. Negative pads cut the image. The
names with 1D, 2D and 3D take images of any dimension too.

Filters of 3 x 3 at stride 1, with 16 channels and filters or more, are computed by short
convolutions (Winograd): tiles of 2 x 2 results, or of 4 x 4 in created nets that do not change the
filter. The error is then at most about 2e-5 of the largest element of a tile, instead of each sum's
own, and an infinity or NaN in X reaches all results of the tiles that it touches. winograd=0 sums
as the formula says.
"""
_CONV_EXAMPLE = """
X = [[[[1, 2, 3], [4, 5, 6]]]]; filter = [[[[1, 1], [1, 1]]]]; kernel = 2
Y = [[[[12, 16]]]]
"""


def _launch_conv(call: Call) -> list[Launch]:
    x, w = call.inputs[:2]
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    use = correlation_of(x, w, call.args)
    return use.launch(call, x, w, bias, call.outputs[0], steady=call.steady(1))


# ---------------------------------------------------------------- ConvGradient


def _check_outputs(query: Query) -> None:
    least, most = (1, 2) if query.args.no_bias else (2, 3)
    if not least <= query.outputs <= most:
        raise ArityError(
            f"expected {least} or {most} outputs with no_bias={query.args.no_bias}, "
            f"found {query.outputs}"
        )


def _check_dy(found: Dims | None, expected: Dims | None) -> None:
    if found is None or expected is None:
        return
    if len(expected) != len(found) or any(map(differ, expected, found)):
        raise ShapeError(f"dY is {shape_text(found)}, needs the shape of Y, {shape_text(expected)}")


def _launch_bias_gradient(call: Call, dy: Array, last: bool, db: Array) -> list[Launch]:
    channel = dy.ndim - 1 if last else 1
    return launch_sum(call, dy, [axis for axis in range(dy.ndim) if axis != channel], db)


def _infer_conv_gradient(query: Query) -> Sequence[TensorType]:
    dtype = _common_dtype(query)
    x, w, dy = query.inputs
    _check_outputs(query)
    _check_dy(dy.shape, result_shape(x.shape, w.shape, query.args))
    filters = None if w.shape is None else w.shape[0]
    bias = [] if query.args.no_bias else [TensorType(dtype, (filters,))]
    return [w.with_dtype(dtype), *bias, x.with_dtype(dtype)][: query.outputs]


_CONV_GRADIENT_DOC = """
The gradients of Conv: dfilter[m, c, k] = sum over n and p of dY[n, m, p] * X at element k of
window p, dbias[m] = sum of dY[:, m], and dX = every dY[n, m, p] * filter[m] added to the
elements of window p. With no_bias=1 the outputs are dfilter and dX; dX may be left out. Where
channels come last and there are three spatial axes, Caffe2 gives a wrong dX, and we do not.
"""


def _launch_conv_gradient(call: Call) -> list[Launch]:
    x, w, dy = call.inputs
    dw, *rest = call.outputs
    correlation = correlation_of(x, w, call.args)
    launches = correlation.launch_filter_gradient(call, x, dy, dw)
    if not call.args.no_bias:
        launches += _launch_bias_gradient(call, dy, correlation.last, rest.pop(0))
    for dx in rest:
        launches += correlation.launch_image_gradient(call, dy, w, dx)
    return launches


# ---------------------------------------------------------------- the four names

#: Who computes on devices, besides the default.
ENGINES = ("CUDNN", "NUMBA")

#: Caffe2 has one operator under four names; none of them minds how many axes an image has.
DIMENSIONS = ("", "1D", "2D", "3D")

NO_GRADIENT_TO_INPUT = Arg(bool, False, "leave X without a gradient")
WINOGRAD = Arg(bool, True, "0: no short convolutions, every result is a sum of its own")
NO_BIAS = Arg(int, 0, "1: the forward operator has no bias, and there is no dbias")

for _dimension in DIMENSIONS:
    _conv = operator(
        f"Conv{_dimension}",
        "X, filter, bias? -> Y",
        infer=_infer_conv,
        gradient=_gradient_of_conv,
        onnx="Conv",
        doc=_CONV_DOC,
        example=_CONV_EXAMPLE,
        arguments={
            **WINDOW_ARGS,
            "no_gradient_to_input": NO_GRADIENT_TO_INPUT,
            "winograd": WINOGRAD,
        },
    )
    _conv_gradient = operator(
        f"Conv{_dimension}Gradient",
        "X, filter, dY? -> dfilter, dbias?, dX?",
        infer=_infer_conv_gradient,
        input_counts={3},
        doc=_CONV_GRADIENT_DOC,
        arguments={**WINDOW_ARGS, "no_bias": NO_BIAS, "winograd": WINOGRAD},
    )
    _conv.cuda_engines(_conv.cpu(_launch_conv), *ENGINES)
    _conv_gradient.cuda_engines(_conv_gradient.cpu(_launch_conv_gradient), *ENGINES)


# ---------------------------------------------------------------- ConvTranspose

#: A transposed convolution has no dilation and no global pooling.
_PLAIN = {"dilation": 1, "dilation_h": 1, "dilation_w": 1, "dilations": (), "global_pooling": 0}
TRANSPOSED_ARGS = {
    **{name: arg for name, arg in WINDOW_ARGS.items() if name not in (*_PLAIN, "float16_compute")},
    "adj": Arg(int, 0, "elements added at the end of Y, along every spatial axis"),
    "adj_h": Arg(int, 0, "elements added below Y"),
    "adj_w": Arg(int, 0, "elements added on the right of Y"),
    "adjs": Arg(list[int], (), "elements added at the end of each spatial axis of Y"),
}


@dataclass(frozen=True)
class _Transposed:
    """The window that slides over Y, where it has one position for each element of X."""

    window: Window
    adjust: tuple[int, ...]

    @classmethod
    def read(cls, args: Args, rank: int) -> _Transposed:
        """The window of the arguments; ArgumentError for what does not fit."""
        if args.legacy_pad == CAFFE_LEGACY_POOLING:
            raise ArgumentError("legacy_pad 3 is for pooling, not for a transposed convolution")
        window = Window.read(Args(**{**vars(args), **_PLAIN}), rank)
        adjust = spelled_sizes(args, rank, "adj", "adjs", ("adj_h", "adj_w"), 0) or (0,) * rank
        if min(window.pads) < 0:
            raise ArgumentError(f"pads must be 0 or more, found {shape_text(window.pads)}")
        if any(not 0 <= a <= s for a, s in zip(adjust, window.stride, strict=True)):
            raise ArgumentError(
                f"adj {shape_text(adjust)} must be between 0 and the stride "
                f"{shape_text(window.stride)}"
            )
        # what is added at the end belongs to no window
        begin, end = window.pads[:rank], window.pads[rank:]
        pads = (*begin, *(e - a for e, a in zip(end, adjust, strict=True)))
        return cls(replace(window, pads=pads, legacy=NOTSET), adjust)

    def out(self, image: Dims) -> Dims:
        """The spatial sizes of Y; ShapeError where nothing would be left."""
        sizes: list[int | None] = []
        for axis, size in enumerate(image):
            if size is None:
                sizes.append(None)
                continue
            window, rank = self.window, self.window.rank
            pads = window.pads[axis] + window.pads[rank + axis]
            sizes.append((size - 1) * window.stride[axis] + window.kernel[axis] - pads)
            if sizes[-1] is not None and sizes[-1] < 1:
                raise ShapeError(
                    f"pads {shape_text(window.pads)} leave nothing of spatial axis {axis}"
                )
        return tuple(sizes)


def _transposed_shape(x: Dims | None, w: Dims | None, args: Args) -> Dims | None:
    """The shape of Y, with None where it is not known; errors for whatever does not fit."""
    last = channels_last(args)
    if args.group < 1:
        raise ArgumentError(f"group must be at least 1, found {args.group}")
    if x is None:
        return None
    batch, channels, image = split_image(x, last)
    transposed = _Transposed.read(args, len(image))
    if w is None:
        return join_image(batch, None, transposed.out(image), last)
    if len(w) != len(x):
        raise ShapeError(
            f"X {shape_text(x)} and filter {shape_text(w)} must have the same number of dimensions"
        )
    first, per_group, kernel = _filter_parts(w, last)
    if any(map(differ, kernel, transposed.window.kernel)):
        raise ShapeError(
            f"the filter is {shape_text(w)}, which makes a kernel of {shape_text(kernel)}; "
            f"the arguments say {shape_text(transposed.window.kernel)}"
        )
    if differ(first, channels):
        raise ShapeError(f"X has {channels} channel(s), the filter {shape_text(w)} takes {first}")
    if channels is not None and channels % args.group:
        raise ShapeError(f"{channels} channel(s) cannot be divided into {args.group} group(s)")
    out = None if per_group is None else per_group * args.group
    return join_image(batch, out, transposed.out(image), last)


def _results(w: Dims | None, args: Args) -> int | None:
    """The number of channels of Y."""
    if w is None or len(w) < 3:
        return None
    per_group = w[-1] if channels_last(args) else w[1]
    return None if per_group is None else per_group * args.group


def _infer_transposed(query: Query) -> Sequence[TensorType]:
    dtype = _common_dtype(query)
    x, w = query.inputs[0].shape, query.inputs[1].shape
    shape = _transposed_shape(x, w, query.args)
    bias = query.inputs[2].shape if len(query.inputs) > 2 else None
    channels = _results(w, query.args)
    if bias is not None and (len(bias) != 1 or differ(bias[0], channels)):
        needed = "?" if channels is None else channels
        raise ShapeError(f"bias is {shape_text(bias)}, needs one element a channel: ({needed})")
    return [TensorType(dtype, shape)]


def _transposed_correlation(x: Array, w: Array, y: Array, args: Args) -> Correlation:
    """The convolution of Y with the filter that would give an X."""
    last = channels_last(args)
    image = y.shape[1:-1] if last else y.shape[2:]
    return Correlation(
        images=x.shape[0],
        groups=args.group,
        channels=w.shape[-1] if last else w.shape[1],
        filters=w.shape[0] // args.group,
        image=image,
        window=_Transposed.read(args, len(image)).window,
        last=last,
    )


_transposed = operator(
    "ConvTranspose",
    "X, filter, bias? -> Y",
    infer=_infer_transposed,
    gradient=_gradient_of_conv,
    onnx="ConvTranspose",
    doc="""
    Y[n, c, p * stride - pad + k] = bias[c] + the sum of X[n, m, p] * filter[m, c, k] over m, p and
    k that meet there: the gradient of Conv with respect to its image.

    X is (N, M, *image) and filter (M, C / group, *kernel), Y (N, C, *size); with order=NHWC they
    are (N, *image, M), (M, *kernel, C / group) and (N, *size, C). Sizes along an axis are (image -
    1) * stride + kernel + adj - pads, where adj is at most the stride; a height or width that is
    left out keeps its default, where Caffe2 then passes over both. legacy_pad 1 and 2 mean no
    pads. Images have one to three spatial axes, where Caffe2 takes two only.
    """,
    example="""
    X = [[[[1, 2]]]]; filter = [[[[1, 10]]]]; kernel_h = 1, kernel_w = 2, stride = 2
    Y = [[[[1, 10, 2, 20]]]]
    """,
    arguments={
        **TRANSPOSED_ARGS,
        "no_bias": Arg(bool, False, "accepted; a bias that is an input is always added"),
        "no_gradient_to_input": NO_GRADIENT_TO_INPUT,
    },
)


@_transposed.cpu
def _launch_transposed(call: Call) -> list[Launch]:
    x, w = call.inputs[:2]
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    y = call.outputs[0]
    correlation = _transposed_correlation(x, w, y, call.args)
    return correlation.launch_image_gradient(call, x, w, y, bias)


def _infer_transposed_gradient(query: Query) -> Sequence[TensorType]:
    dtype = _common_dtype(query)
    x, w, dy = query.inputs
    _check_outputs(query)
    _check_dy(dy.shape, _transposed_shape(x.shape, w.shape, query.args))
    bias = [] if query.args.no_bias else [TensorType(dtype, (_results(w.shape, query.args),))]
    return [w.with_dtype(dtype), *bias, x.with_dtype(dtype)][: query.outputs]


_transposed_gradient = operator(
    "ConvTransposeGradient",
    "X, filter, dY -> dfilter, dbias?, dX?",
    infer=_infer_transposed_gradient,
    doc="""
    The gradients of ConvTranspose: dfilter[m, c, k] = sum over n and p of X[n, m, p] * dY at
    element k of window p, dbias[c] = sum of dY[:, c], and dX = Conv of dY with the filter. With
    no_bias=1 the outputs are dfilter and dX; dX may be left out.
    """,
    arguments={
        **TRANSPOSED_ARGS,
        "no_bias": Arg(bool, False, "whether the forward operator has no bias: there is no dbias"),
    },
)


@_transposed_gradient.cpu
def _launch_transposed_gradient(call: Call) -> list[Launch]:
    x, w, dy = call.inputs
    dw, *rest = call.outputs
    correlation = _transposed_correlation(x, w, dy, call.args)
    launches = correlation.launch_filter_gradient(call, dy, x, dw)
    if not call.args.no_bias:
        launches += _launch_bias_gradient(call, dy, correlation.last, rest.pop(0))
    for dx in rest:
        launches += correlation.launch(call, dy, w, None, dx)
    return launches


_transposed.cuda_engines(_launch_transposed, *ENGINES)
_transposed_gradient.cuda_engines(_launch_transposed_gradient, *ENGINES)
