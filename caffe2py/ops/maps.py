"""Maps from integers to integers: CreateMap, KeyValueToMap, MapToKeyValue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ModelFormatError, ShapeError
from caffe2py.proto.caffe2_pb2 import BlobProto, TensorProto, TensorProtos
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.objects import TypedMap
from caffe2py.tensor.serialize import register_blob, tensor_to_proto, tensors_from_content
from caffe2py.tensor.types import (
    UNKNOWN,
    DType,
    TensorType,
    dtype_from_number,
    dtype_name,
    shape_text,
)

_NONE = NotDifferentiable("a map has no derivative")
_TYPES = ("int32", "int64")


def _type_name(key: DType, value: DType) -> str:
    return f"(std::unordered_map<{key.name}_t, {value.name}_t>)"


_NAMES = [_type_name(np.dtype(k), np.dtype(v)) for k in _TYPES for v in _TYPES]


def _pack(found: TypedMap, proto: BlobProto) -> None:
    proto.type = _type_name(found.key_dtype, found.value_dtype)
    protos = TensorProtos()
    for values, dtype in ((found, found.key_dtype), (found.values(), found.value_dtype)):
        tensor = tensor_to_proto(np.array(list(values), dtype))
        tensor.segment.begin, tensor.segment.end = 0, len(found)
        protos.protos.append(tensor)
    proto.content = protos.SerializeToString()


def _unpack(proto: BlobProto) -> TypedMap:
    arrays = tensors_from_content(proto)
    if len(arrays) != 2 or arrays[0].size != arrays[1].size:
        raise ModelFormatError(f"blob '{proto.name}': a map is two tensors of one size")
    keys, values = (array.reshape(-1) for array in arrays)
    found = TypedMap(keys.dtype, values.dtype)
    found.update(zip(keys.tolist(), values.tolist(), strict=True))
    return found


register_blob(TypedMap, _NAMES, _pack, _unpack)


def _infer_create(query: Query) -> Sequence[TensorType]:
    for name in ("key_dtype", "value_dtype"):
        dtype = dtype_from_number(getattr(query.args, name))
        if dtype.name not in _TYPES:
            raise ArgumentError(
                f"argument '{name}' must be int32 or int64, found {dtype_name(dtype)}"
            )
    return [UNKNOWN]


create = operator(
    "CreateMap",
    " -> map",
    infer=_infer_create,
    gradient=_NONE,
    key_dtype=Arg(int, TensorProto.INT32, "DataType of the keys: INT32 or INT64"),
    value_dtype=Arg(int, TensorProto.INT32, "DataType of the values: INT32 or INT64"),
    valued_dtype=Arg(int, None, "not read: Caffe2's reservoir layer misspells value_dtype so"),
    doc="Makes an empty map.",
    example="""
    key_dtype = INT64
    map = {}
    """,
)


@create.everywhere_dynamic()
def make_map(call: Call) -> None:
    """A new map in every run."""
    args = call.args
    call.put(0, TypedMap(dtype_from_number(args.key_dtype), dtype_from_number(args.value_dtype)))


def _infer_to_map(query: Query) -> Sequence[TensorType]:
    sizes = []
    for index in (0, 1):
        require_dtype(query, index, *_TYPES)
        shape = query.inputs[index].shape
        sizes.append(None if shape is None else product(shape))
    if None not in sizes and sizes[0] != sizes[1]:
        raise ShapeError(
            f"there must be one value for each key: {shape_text(query.inputs[0].shape)} and "
            f"{shape_text(query.inputs[1].shape)}"
        )
    return [UNKNOWN]


to_map = operator(
    "KeyValueToMap",
    "keys, values -> map",
    infer=_infer_to_map,
    gradient=_NONE,
    doc="""
    map = from each key to its value; the first one counts where a key is there twice. Each run
    makes a new map.
    """,
    example="""
    keys = [1, 2]; values = [10, 20]
    map = {1: 10, 2: 20}
    """,
)


@to_map.cpu_dynamic()
def make_from_pairs(call: Call) -> None:
    """Fill a map."""
    keys, values = tensor_of(call, 0).reshape(-1), tensor_of(call, 1).reshape(-1)
    found = TypedMap(keys.dtype, values.dtype)
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        found.setdefault(key, value)
    call.put(0, found)


to_pairs = operator(
    "MapToKeyValue",
    "map -> keys, values",
    gradient=_NONE,
    doc="keys, values = what is in the map, as vectors, in the order in which keys were added.",
    example="""
    map = {1: 10, 2: 20}
    keys = [1, 2]; values = [10, 20]
    """,
)


@to_pairs.cpu_dynamic()
def make_pairs(call: Call) -> None:
    """Write them down."""
    found = held(call, 0, TypedMap, "CreateMap")
    call.output(0, (len(found),), found.key_dtype)[:] = list(found)
    call.output(1, (len(found),), found.value_dtype)[:] = list(found.values())
