"""Elements chosen by masks: boolean ones, and those that hide parts of sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, ShapeError, ValueRangeError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.index import launch_gather
from caffe2py.kernels.spread import (
    MODES,
    launch_count,
    launch_expand_masked,
    launch_mask_sequence,
    launch_places,
    launch_unmask,
)
from caffe2py.ops.indexing.common import (
    INT64,
    Dims,
    refuse_strings,
    require_rows,
    require_size,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import (
    Query,
    canonical_axis,
    product,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, Shape, TensorType, shape_text

# ---------------------------------------------------------------- BooleanMask


def _infer_mask(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, "bool")
    require_rank(query, 1, 1)
    data = require_rows(query, 0)
    if data is not None:
        require_size(query, 1, 0, data[0], "one flag for each row of 'data'")
    shape = None if data is None else (None, *data[1:])
    return [query.inputs[0].with_shape(shape), TensorType(INT64, (None,))][: query.outputs]


_mask = operator(
    "BooleanMask",
    "data, mask -> masked_data, masked_indices?",
    infer=_infer_mask,
    gradient="BooleanMaskGradient(mask, dmasked_data) -> ddata",
    doc="""
    masked_data = the rows data[i] with mask[i] true, in order; masked_indices = their places i,
    int64. Data is of any type, mask a vector of bools with one flag for each row.
    """,
    example="""
    data = [[1, 2], [3, 4], [5, 6]]; mask = [true, false, true]
    masked_data = [[1, 2], [5, 6]]; masked_indices = [0, 2]
    """,
)


@_mask.cpu_dynamic()
def _run_mask(call: Call) -> None:
    data, mask = call.inputs
    places = np.flatnonzero(mask)
    chosen = data[places]
    call.output(0, chosen.shape, data.dtype)[...] = chosen
    if call.output_count > 1:
        call.output(1, places.shape, INT64)[...] = places


def _run_mask_there(call: Call) -> list[Launch]:
    """The host waits to know how many rows there are."""
    data, mask = call.inputs
    before = call.scratch((mask.size + 1,), INT64)
    flags = mask.view(np.uint8)
    for launch in launch_count(flags, before):
        call.run_now(launch)
    count = int(on_host(before[mask.size :])[0])
    indices = call.scratch((count,), INT64)
    chosen = call.output(0, (count, *data.shape[1:]), data.dtype)
    if call.output_count > 1:
        indices = call.output(1, (count,), INT64)
    launches = [launch_places(flags, before, indices)]
    if data.dtype == STRING:
        return [*launches, launch_python(lambda: np.copyto(chosen, data[on_host(indices)]))]
    width = math.prod(data.shape[1:])
    three = (1, len(data), width), (1, count, width)
    return [*launches, launch_gather(data.reshape(three[0]), indices, chosen.reshape(three[1]))]


_mask.cuda_dynamic(_run_mask_there)


def _infer_mask_gradient(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "bool")
    require_rank(query, 0, 1)
    refuse_strings(query, 1)
    dy, mask = require_rows(query, 1), query.inputs[0].shape
    if dy is None:
        return [TensorType(query.inputs[1].dtype)]
    return [query.inputs[1].with_shape((None if mask is None else mask[0], *dy[1:]))]


_mask_gradient = operator(
    "BooleanMaskGradient",
    "mask, dmasked_data -> ddata",
    infer=_infer_mask_gradient,
    doc="""
    ddata[i] = the next row of dmasked_data where mask[i] is true, 0 elsewhere. Rows may have any
    shape, where Caffe2 takes single elements only. Raises ValueRangeError for another number of
    rows than of true flags.
    """,
)


def _matrix(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


@_mask_gradient.everywhere
def _launch_mask_gradient(call: Call) -> list[Launch]:
    mask, dy = call.inputs
    return launch_expand_masked(mask, _matrix(dy), _matrix(call.outputs[0]))


# ---------------------------------------------------------------- BooleanUnmask


def _infer_unmask(query: Query) -> Sequence[TensorType]:
    count = len(query.inputs)
    if count % 2:
        raise ArityError(f"expected an even number of inputs, found {count}: masks and values")
    masks, values = range(0, count, 2), range(1, count, 2)
    first = query.inputs[0].shape
    for index in masks:
        require_dtype(query, index, "bool")
        require_rank(query, index, 1)
        if first is not None:
            require_size(query, index, 0, first[0], "all masks have one size")
    for index in values:
        require_rank(query, index, 1)
    return [TensorType(require_same_dtype(query, *values), first or (None,))]


_unmask = operator(
    "BooleanUnmask",
    "mask, values, more* -> unmasked_data",
    infer=_infer_unmask,
    gradient=NoGradient("values are moved by masks that are data"),
    doc="""
    Inputs are pairs of a mask (bool) and the values that belong where it is true, vectors:
    unmasked_data[i] = the next value of the first mask that is true at i. All masks have one size,
    all values one type, which may be any. Raises ArityError for a mask without values,
    ValueRangeError where no mask is true, and for another number of values than of places.
    """,
    example="""
    mask = [true, false, true]; values = [1, 2]; mask2 = [false, true, false]; values2 = [9]
    unmasked_data = [1, 9, 2]
    """,
)


def _unmask_objects(pairs: Sequence[tuple[Array, Array]], y: Array) -> None:
    free = np.ones(y.shape, bool)
    for number, (mask, values) in enumerate(pairs):
        places = np.flatnonzero(on_host(mask) & free)
        if places.size != values.size:
            raise ValueRangeError(f"mask {number} holds at {places.size} place(s), not its values")
        y[places] = values
        free[places] = False
    if free.any():
        raise ValueRangeError(f"all masks are false at position {int(free.argmax())}")


@_unmask.everywhere
def _launch_unmask(call: Call) -> list[Launch]:
    pairs = list(zip(call.inputs[::2], call.inputs[1::2], strict=True))
    y = call.outputs[0]
    if y.dtype == STRING:
        return [launch_python(lambda: _unmask_objects(pairs, y))]
    return launch_unmask(call, pairs, y)


# ---------------------------------------------------------------- SequenceMask


def _parts(shape: Dims, args: Args) -> tuple[Dims, Dims, Dims, Dims]:
    """The axes of the batch, of rows, of columns, and those that repeat a mask."""
    rank = len(shape)
    axis = canonical_axis(args.axis, rank)
    batch = 0
    if args.batch is not None:
        batch = canonical_axis(args.batch, rank, "batch") + 1
        if batch > axis:
            raise ShapeError(f"batch {args.batch} must lie before axis {args.axis}")
    inner = rank
    if "repeat_from_axis" in args.given:
        inner = canonical_axis(args.repeat_from_axis, rank, "repeat_from_axis")
        if inner <= axis:
            raise ShapeError(
                f"repeat_from_axis {args.repeat_from_axis} must lie behind axis {args.axis}"
            )
    return shape[:batch], shape[batch:axis], shape[axis:inner], shape[inner:]


def _check_mode(args: Args, inputs: int) -> None:
    if args.mode not in MODES:
        raise ArgumentError(f"mode must be one of {', '.join(MODES)}, found '{args.mode}'")
    if "repeat_from_axis" in args.given and (args.mode != "sequence" or args.batch is not None):
        raise ArgumentError("repeat_from_axis needs mode 'sequence' and no batch")
    if args.mode in MODES[:2] and inputs < 2:
        raise ArityError(f"mode '{args.mode}' needs a second input: lengths or centres")


def _infer_sequence(query: Query) -> Sequence[TensorType]:
    _check_mode(query.args, len(query.inputs))
    require_dtype(query, 0, *FLOATS)
    given = None
    if query.args.mode in MODES[:2]:
        require_dtype(query, 1, "int32")
        given = query.inputs[1].shape
    x = query.inputs[0]
    if x.shape is None:
        return [x]
    rows = product(_parts(x.shape, query.args)[1])
    found = None if given is None else product(given)
    if rows is not None and found is not None and found < rows:
        raise ShapeError(
            f"input 1 '{query.name(1)}' is {shape_text(given)}; the mask has {rows} row(s)"
        )
    return [x]


_sequence = operator(
    "SequenceMask",
    "input, sequence_lengths? -> masked_tensor",
    infer=_infer_sequence,
    gradient="SequenceMask(dmasked_tensor, sequence_lengths; grad=1) -> dinput",
    mode=Arg(str, None, f"which elements are hidden: {', '.join(MODES)}"),
    axis=Arg(int, 1, "the axes before it count rows, it and those behind columns"),
    grad=Arg(bool, False, "whether to fill with 0, as gradients need"),
    radius=Arg(int, 10, "how far a window reaches to both sides"),
    batch=Arg(int, None, "the last of the axes that all have the same mask"),
    repeat_from_axis=Arg(int, -1, "the first of the axes along which the mask repeats"),
    fill_val=Arg(float, None, "what hidden elements become; minus infinity by default"),
    doc="""
    masked_tensor = input, with `fill_val` in the elements that the mask hides. The mask has a row
    for each index of the axes before `axis` and a column for each of those from it on; column j of
    row i is hidden where j >= sequence_lengths[i] ('sequence'), |j - sequence_lengths[i]| > radius
    ('window'), j > i ('upper'), j < i ('lower'), j >= i ('upperdiag'), j <= i ('lowerdiag'). With
    `batch` rows begin anew for each index of the axes up to that one; with `repeat_from_axis`
    columns end before that axis. Lengths are int32. Raises ArgumentError for an unknown mode,
    ArityError and ShapeError for lengths that lack.
    """,
    example="""
    input = [[1, 2, 3], [4, 5, 6]]; sequence_lengths = [1, 2]; mode = 'sequence'; fill_val = 0.0
    masked_tensor = [[1, 0, 0], [4, 5, 0]]
    """,
)


def _sizes(shape: Shape, args: Args) -> tuple[int, ...]:
    return tuple(product(part) or 0 for part in _parts(shape, args))


@_sequence.everywhere
def _launch_sequence(call: Call) -> Launch:
    x, args = call.inputs[0], call.args
    sizes = _sizes(x.shape, args)
    fill = -math.inf if args.fill_val is None else args.fill_val
    given = call.inputs[1].reshape(-1) if args.mode in MODES[:2] else None
    y = call.outputs[0].reshape(sizes)
    return launch_mask_sequence(
        x.reshape(sizes), given, args.mode, args.radius, 0.0 if args.grad else fill, y
    )
