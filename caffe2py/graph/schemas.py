"""What is done with fields: made from names and types, compared, and filled with blobs of a net."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe2py.graph.fields import (
    SEPARATOR,
    Field,
    FieldError,
    List,
    ListWithEvicted,
    Metadata,
    Scalar,
    Struct,
    as_field,
)
from caffe2py.graph.reference import BlobReference
from caffe2py.proto.caffe2_pb2 import TensorProto

logger = logging.getLogger(__name__)

_DATA_TYPES: Mapping[Any, int] = {
    str: TensorProto.STRING,
    np.float16: TensorProto.FLOAT16,
    np.float32: TensorProto.FLOAT,
    np.float64: TensorProto.DOUBLE,
    bool: TensorProto.BOOL,
    np.int8: TensorProto.INT8,
    np.int16: TensorProto.INT16,
    np.int32: TensorProto.INT32,
    np.int64: TensorProto.INT64,
    np.uint8: TensorProto.UINT8,
    np.uint16: TensorProto.UINT16,
}


def Map(
    keys: Any,
    values: Any,
    keys_name: str = "keys",
    values_name: str = "values",
    lengths_blob: Any = None,
) -> List:
    """A list of pairs."""
    return List(Struct((keys_name, keys), (values_name, values)), lengths_blob)


def MapWithEvicted(
    keys: Any,
    values: Any,
    keys_name: str = "keys",
    values_name: str = "values",
    lengths_blob: Any = None,
    evicted_values: Any = None,
) -> ListWithEvicted:
    """A list of pairs with the values that were dropped."""
    pairs = Struct((keys_name, keys), (values_name, values))
    return ListWithEvicted(pairs, lengths_blob, evicted_values)


def NamedTuple(name_prefix: str, *fields: Any) -> Struct:
    """A struct with the names prefix_0, prefix_1, ..."""
    return Struct(*((f"{name_prefix}_{index}", field) for index, field in enumerate(fields)))


def Tuple(*fields: Any) -> Struct:
    """A struct with the names field_0, field_1, ..."""
    return NamedTuple("field", *fields)


def RawTuple(num_fields: int, name_prefix: str = "field") -> Struct:
    """A struct of so many scalars without a type."""
    if not isinstance(num_fields, int) or num_fields < 0:
        raise FieldError(f"a number of fields is expected, found {num_fields!r:.80}")
    return NamedTuple(name_prefix, *[np.void] * num_fields)


def from_dtype(dtype: Any, _outer_shape: tuple[int, ...] = ()) -> Any:
    """The field for a NumPy type: a Struct if it has fields, or else a Scalar."""
    inner = np.dtype(dtype)
    shape = (*_outer_shape, *inner.shape)
    if not inner.base.fields:
        return Scalar(np.dtype((inner.base, shape)))
    parts = inner.base.fields
    return Struct(*((name, from_dtype(parts[name][0], shape)) for name in inner.base.names or ()))


def from_column_list(
    col_names: Sequence[str],
    col_types: Sequence[Any] | None = None,
    col_blobs: Sequence[Any] | None = None,
    col_metadata: Sequence[Any] | None = None,
) -> Any:
    """The record whose scalars have these names: "a:lengths" and "a:values" make a a List.

    Raises FieldError for lists of different lengths, ValueError for a name that is there twice.
    """
    count = len(col_names)
    columns = [list(c) if c is not None else [None] * count for c in (col_types, col_blobs)]
    columns.append(list(col_metadata) if col_metadata is not None else [None] * count)
    if any(len(column) != count for column in columns):
        raise FieldError(f"{count} names, but {'/'.join(str(len(c)) for c in columns)} others")
    tree: dict[str, Any] = {}
    for name, dtype, blob, metadata in zip(col_names, *columns, strict=True):
        *path, last = name.split(SEPARATOR)
        place = tree
        for step in path:
            place = place.setdefault(step, {})
            if isinstance(place, Scalar):
                raise ValueError(f"{name} is inside of a scalar")
        if last in place:
            raise ValueError(f"Duplicate field name: {name}")
        place[last] = Scalar(dtype, blob, metadata)
    return _grown(tree)


def _grown(tree: Any) -> Any:
    if isinstance(tree, Scalar):
        return tree
    parts = {name: _grown(part) for name, part in tree.items()}
    if parts.keys() == {"lengths", "values"}:
        return List(parts["values"], parts["lengths"])
    if parts.keys() == {"lengths", "keys", "values"}:
        return Map(parts["keys"], parts["values"], lengths_blob=parts["lengths"])
    return Struct(*parts.items())


def from_blob_list(schema: Field, values: Any, throw_on_type_mismatch: bool = False) -> Any:
    """A copy of a record with these blobs or arrays; FieldError for a wrong number of them."""
    if not isinstance(schema, Field):
        raise FieldError(f"expected a Field, found {schema!r:.80}")
    if isinstance(values, BlobReference):
        values = [values]
    made = schema.clone_schema()
    leaves = made.all_scalars()
    if len(leaves) != len(values):
        raise FieldError(f"{len(leaves)} values expected, found {len(values)}")
    for leaf, value in zip(leaves, values, strict=True):
        leaf.set_value(value, throw_on_type_mismatch, unsafe=True)
    return made


def as_record(value: Any) -> Any:
    """The record of a field, a dict, a list of (name, field), a list of fields, or one value."""
    if isinstance(value, Field):
        return value
    if isinstance(value, dict):
        value = list(value.items())
    if not isinstance(value, list | tuple):
        return as_field(value)
    if all(isinstance(v, tuple) and len(v) == 2 and isinstance(v[0], str) for v in value):
        return Struct(*((name, as_record(field)) for name, field in value))
    return Tuple(*map(as_record, value))


def is_schema_subset(schema: Field, original_schema: Field) -> bool:
    """Whether all names of the first are names of the second."""
    return set(schema.field_names()) <= set(original_schema.field_names())


def equal_schemas(
    schema: Field,
    original_schema: Field,
    check_field_names: bool = True,
    check_field_types: bool = True,
    check_field_metas: bool = False,
) -> bool:
    """Whether two records have the same names, types and, if asked, metadata."""
    if not isinstance(schema, Field) or not isinstance(original_schema, Field):
        raise FieldError("expected two fields")
    looks = [
        (check_field_names, Field.field_names),
        (check_field_types, Field.field_types),
        (check_field_metas, Field.field_metadata),
    ]
    return all(
        getattr(schema, look.__name__)() == getattr(original_schema, look.__name__)()
        for asked, look in looks
        if asked
    )


def schema_check(schema: Any, previous: Field | None = None) -> Any:
    """`schema` as a record; FieldError if it is not like `previous`."""
    record = as_record(schema)
    if previous is not None and not equal_schemas(record, previous):
        raise FieldError(f"expected {previous!r}, found {record!r}")
    return record


def attach_metadata_to_scalars(field: Field, metadata: Metadata) -> None:
    """Say this of all scalars."""
    for scalar in field.all_scalars():
        scalar.set_metadata(metadata)


def data_type_for_dtype(dtype: Any) -> int:
    """The number of a NumPy type in messages; TypeError for one that tensors cannot have."""
    base = np.dtype(dtype).base
    if base.kind in "SU":
        return TensorProto.STRING
    for known, number in _DATA_TYPES.items():
        if base == known:
            return number
    raise TypeError(f"tensors cannot hold {base}")


def dtype_for_core_type(core_type: int) -> Any:
    """The NumPy type of a number in messages; TypeError for an unknown one."""
    for known, number in _DATA_TYPES.items():
        if number == core_type:
            return known
    raise TypeError(f"there is no data type {core_type}")


def NewRecord(net: Any, schema: Field) -> Any:
    """A copy of a record with new blobs of a net, called like the fields."""
    if not isinstance(schema, Field):
        raise FieldError(f"expected a Field, found {schema!r:.80}")
    names = ["unnamed_scalar"] if isinstance(schema, Scalar) else schema.field_names()
    return from_blob_list(schema, [net.NextScopedBlob(name) for name in names])


def ConstRecord(net: Any, array_record: Field) -> Any:
    """A record of new blobs, which a net fills with the arrays of another."""
    made = NewRecord(net, array_record)
    for blob, array in zip(made.field_blobs(), array_record.field_blobs(), strict=True):
        net.Const(array, blob)
    return made


def InitEmptyRecord(net: Any, schema_or_record: Field, enforce_types: bool = False) -> Any:
    """A record whose blobs, new ones if there are none, a net fills with no rows at all.

    Columns of no known type are float; with `enforce_types` they are a TypeError.
    """
    record = schema_or_record
    if not record.has_blobs():
        record = NewRecord(net, record)
    for dtype, blob in zip(record.field_types(), record.field_blobs(), strict=True):
        try:
            number = data_type_for_dtype(dtype)
        except TypeError:
            if enforce_types:
                raise
            logger.warning("the type of %s is not known", blob)
            net.ConstantFill([], blob, shape=[0])
        else:
            net.ConstantFill([], blob, shape=[0, *dtype.shape], dtype=number)
    return record
