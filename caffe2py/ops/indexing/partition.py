"""Rows dealt out by keys, and collected again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import (
    ArityError,
    NoGradientError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.lookup import wrong_lengths
from caffe2py.kernels.spread import launch_take_shards
from caffe2py.ops.indexing.common import INDEX_TYPES, INT32, Dims, differ, require_rows
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientRef,
    GradientSlice,
    NoGradient,
    TakesSlices,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_rank,
    require_same_dtype,
)
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import on_host
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, TensorType, shape_text

# ---------------------------------------------------------------- Partition

PACK = Arg(bool, False, "whether keys are divided by the number of partitions")


def _require_partitions(query: Query, least: int) -> int:
    """How many partitions there are: outputs come in groups as large as the inputs."""
    inputs, outputs = len(query.inputs), query.outputs
    if inputs < least or outputs == 0 or outputs % inputs:
        raise ArityError(
            f"expected {least} input(s) or more and a multiple of their number of outputs, found "
            f"{inputs} input(s) and {outputs} output(s)"
        )
    return outputs // inputs


def _infer_parts(query: Query, keys: int) -> list[TensorType]:
    """The types of one partition of the inputs from the keys on."""
    require_dtype(query, keys, *INDEX_TYPES)
    shape = require_rows(query, keys)
    rank = None if shape is None else len(shape)
    types = []
    for index in range(keys, len(query.inputs)):
        x = query.inputs[index]
        if (
            shape is not None
            and x.shape is not None
            and (len(x.shape) < len(shape) or any(map(differ, x.shape, shape)))
        ):
            raise ShapeError(
                f"input {index} '{query.name(index)}' is {shape_text(x.shape)}, must begin with "
                f"the shape of the keys, {shape_text(shape)}"
            )
        known = rank is not None and x.shape is not None
        types.append(x.with_shape((None, *x.shape[rank:]) if known and x.shape else None))
    return types


def _infer_partition(query: Query) -> Sequence[TensorType]:
    count = _require_partitions(query, 1)
    return _infer_parts(query, 0) * count


_partition = operator(
    "Partition",
    "input* -> partitions*",
    infer=_infer_partition,
    gradient=NoGradient("rows are moved by keys that are data"),
    pack_first_input=PACK,
    doc="""
    The first input holds keys, int32 or int64; further inputs, of any type, begin with its shape. A
    row belongs to partition key mod n, n = the number of outputs by that of inputs. Outputs are,
    for each partition, its keys and its rows of each further input, in order; keys are floor(key /
    n) with pack_first_input. Raises ArityError for a number of outputs that is no multiple of that
    of inputs, ShapeError for inputs of other shapes.
    """,
    example="""
    input = [3, 4, 5], [30, 40, 50]; 4 outputs
    partitions = [4], [40], [3, 5], [30, 50]
    """,
)


def _shards(keys: Array, count: int) -> list[Array]:
    """The places of each partition's keys."""
    shards = keys.reshape(-1) % count
    return [np.flatnonzero(shards == k) for k in range(count)]


def _deal(call: Call, first: int, count: int) -> list[Array]:
    """Write the partitions of the inputs from the keys on; returns their places."""
    inputs = call.inputs
    keys = inputs[first]
    places = _shards(keys, count)
    for index in range(first, len(inputs)):
        x = inputs[index]
        if index == first and call.args.pack_first_input:
            x = x // count
        rows = x.reshape(keys.size, *x.shape[keys.ndim :])
        for part, chosen in enumerate(places):
            values = rows[chosen]
            call.output(part * len(inputs) + index, values.shape, values.dtype)[...] = values
    return places


@_partition.cpu_dynamic()
def _run_partition(call: Call) -> None:
    _deal(call, 0, call.output_count // call.input_count)


def _infer_lengths_partition(query: Query) -> Sequence[TensorType]:
    count = _require_partitions(query, 2)
    require_dtype(query, 0, "int32")
    require_rank(query, 1, 1)
    return [query.inputs[0], *_infer_parts(query, 1)] * count


_lengths_partition = operator(
    "LengthsPartition",
    "input* -> partitions*",
    infer=_infer_lengths_partition,
    gradient=NoGradient("rows are moved by keys that are data"),
    pack_first_input=PACK,
    doc="""
    Partition of rows that come in segments: the first input holds the lengths of segments, int32,
    the second the keys, a vector of int32 or int64; further inputs have a row for each key. Outputs
    are, for each partition, how many of its rows each segment had, its keys (floor(key / n) with
    pack_first_input, if there is more than one partition) and its rows of each further input.
    Raises ValueRangeError unless the lengths add up to the number of keys.
    """,
    example="""
    input = [2, 1], [3, 4, 5]; 4 outputs
    partitions = [1, 0], [4], [1, 1], [3, 5]
    """,
)


@_lengths_partition.cpu_dynamic()
def _run_lengths_partition(call: Call) -> None:
    lengths, keys = call.inputs[:2]
    count = call.output_count // call.input_count
    if count == 1:
        for index, x in enumerate(call.inputs):
            call.output(index, x.shape, x.dtype)[...] = x
        return
    if lengths.min(initial=0) < 0 or lengths.sum() != keys.size:
        raise wrong_lengths(lengths, keys.size, "keys")
    segments = np.repeat(np.arange(lengths.size), lengths.reshape(-1))
    for part, places in enumerate(_deal(call, 1, count)):
        found = np.bincount(segments[places], minlength=lengths.size)
        output = call.output(part * call.input_count, lengths.shape, INT32)
        output[...] = found.reshape(lengths.shape)


# ---------------------------------------------------------------- GatherByKey


def _gradient_of_gathered(op: OperatorDef, output_grads: Sequence[GradientRef]) -> Gradient:
    """Partition deals the gradient out by the same keys; the keys' own partitions are left."""
    grad = output_grads[0]
    if grad is None:
        raise NoGradientError("GatherByKey: nothing provides the gradient of its output")
    names = [gradient_name(name) for name in op.input[1:]]
    outputs: list[str] = []
    grads: list[GradientRef] = [None]
    for name in names:
        if isinstance(grad, GradientSlice):
            parts = GradientSlice(f"{name}_indices", f"{name}_values")
            outputs += [f"_{name}_indices_keys", *parts]
            grads.append(parts)
        else:
            outputs += [f"_{name}_keys", name]
            grads.append(name)
    read = list(grad) if isinstance(grad, GradientSlice) else [grad]
    given = any(arg.name == "pack_first_input" for arg in op.arg)
    args = {} if given else {"pack_first_input": 0}
    made = gradient_op(op, "Partition", [op.input[0], *read], outputs, args)
    return Gradient((made,), tuple(grads))


def _infer_gathered(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, *INDEX_TYPES)
    require_rank(query, 0, 1)
    shards = range(1, len(query.inputs))
    dtype = require_same_dtype(query, *shards)
    shapes = [require_rows(query, index) for index in shards]
    known = [shape for shape in shapes if shape is not None]
    for index, shape in zip(shards, shapes, strict=True):
        if shape is None:
            continue
        if len(shape) != len(known[0]) or any(map(differ, shape[1:], known[0][1:])):
            raise ShapeError(
                f"input {index} '{query.name(index)}' is {shape_text(shape)}; rows of the first "
                f"shard are {shape_text(known[0][1:])}"
            )
    keys = query.inputs[0].shape
    rows: Dims = (None,) if keys is None else keys
    counts = [None if shape is None else shape[0] for shape in shapes]
    if None not in counts and differ(rows[0], sum(n or 0 for n in counts)):
        raise ShapeError(f"{rows[0]} key(s) for {sum(n or 0 for n in counts)} row(s) in all shards")
    return [TensorType(dtype, (*rows, *known[0][1:]) if known else None)]


_gathered = operator(
    "GatherByKey",
    "keys, sharded_values+ -> values",
    infer=_infer_gathered,
    gradient=TakesSlices(_gradient_of_gathered),
    doc="""
    values[k] = the next row of the shard keys[k] mod n, for n shards: the inverse of Partition.
    Keys are int32 or int64, shards of any one type. Raises ShapeError for shards of other shapes,
    ValueRangeError for another number of rows in a shard than of its keys.
    """,
    example="""
    keys = [3, 4, 5]; sharded_values = [40], [30, 50]
    values = [30, 40, 50]
    """,
)


def _take_objects(keys: Array, shards: Sequence[Array], y: Array) -> None:
    for shard, places in enumerate(_shards(keys, len(shards))):
        if places.size != len(shards[shard]):
            raise ValueRangeError(
                f"{places.size} key(s) belong to shard {shard} of {len(shards[shard])} row(s)"
            )
        y[places] = shards[shard]


@_gathered.everywhere
def _launch_gathered(call: Call) -> list[Launch]:
    keys, *shards = call.inputs
    y = call.outputs[0]
    width = math.prod(y.shape[1:])
    if y.dtype == STRING:
        return [launch_python(lambda: _take_objects(on_host(keys), shards, y))]
    rows = [x.reshape(x.shape[0], width) for x in shards]
    return launch_take_shards(keys, rows, y.reshape(y.shape[0], width))
