"""Fields: what a record is made of. Scalars are columns, structs and lists hold other fields."""

from __future__ import annotations

import abc
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.graph.reference import BlobReference

__all__ = ["SEPARATOR", "FeatureSpec", "Field", "FieldError", "List", "ListWithEvicted"]
__all__ += ["Metadata", "Scalar", "Struct", "as_field"]

#: Stands between the names of a field and of the one inside it.
SEPARATOR = ":"

logger = logging.getLogger(__name__)


class FieldError(UsageError, AssertionError):
    """A field or record is not what was asked for."""


class FeatureSpec(NamedTuple):
    """What the columns of a tensor of features mean."""

    feature_type: Any = None
    feature_names: Any = None
    feature_ids: Any = None
    feature_is_request_only: Any = None
    desired_hash_size: Any = None
    feature_to_index: Any = None


class Metadata(NamedTuple):
    """What is known of a scalar's values: their limit, what they are like, which features."""

    categorical_limit: int | None = None
    expected_value: Any = None
    feature_specs: Any = None


class Field(abc.ABC):
    """Base of all: a tree whose leaves are scalars, each a column of the record.

    Names, types, metadata and blobs are lists with one item a scalar, in the same order.
    """

    def __init__(self, children: Sequence[Field]) -> None:
        self._parent: tuple[Field | None, int] = (None, 0)
        self._field_offsets = [0]
        for index, child in enumerate(children):
            child._set_parent(self, index)
            self._field_offsets.append(self._field_offsets[-1] + len(child.all_scalars()))

    @abc.abstractmethod
    def parts(self) -> list[tuple[str, Field]]:
        """The fields right below this one, by name."""

    @abc.abstractmethod
    def clone(self, keep_blobs: bool = True) -> Any:
        """A copy, with blobs or without."""

    def clone_schema(self) -> Any:
        """A copy without blobs."""
        return self.clone(keep_blobs=False)

    def all_scalars(self) -> list[Scalar]:
        """The leaves."""
        return [scalar for _, part in self.parts() for scalar in part.all_scalars()]

    def field_names(self) -> list[str]:
        """The names of the leaves, with the names of what they are in: "a:b"."""
        return [
            SEPARATOR.join(filter(None, [name, inner]))
            for name, part in self.parts()
            for inner in part.field_names()
        ]

    def field_types(self) -> list[np.dtype[Any]]:
        """The types of the leaves; np.void where it is not known."""
        return [scalar.dtype for scalar in self.all_scalars()]

    def field_metadata(self) -> list[Metadata | None]:
        """The metadata of the leaves."""
        return [scalar.metadata for scalar in self.all_scalars()]

    def field_blobs(self) -> list[Any]:
        """The blobs or arrays of the leaves; FieldError if one has none."""
        return [scalar.get() for scalar in self.all_scalars()]

    def has_blobs(self) -> bool:
        """Whether all leaves have a blob or array."""
        return all(scalar.has_blobs() for scalar in self.all_scalars())

    def slice(self) -> slice:
        """Where its leaves are in the lists of the whole record."""
        first = self._child_base_id()
        return slice(first, first + len(self.all_scalars()))

    def _set_parent(self, parent: Field, index: int) -> None:
        self._parent = (parent, index)

    def _child_base_id(self, child_index: int | None = None) -> int:
        """Where the leaves begin, of the field or a part, counted in the whole record."""
        parent, index = self._parent
        before = 0 if child_index is None else self._field_offsets[child_index]
        return before + (0 if parent is None else parent._child_base_id(index))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Field):
            return NotImplemented
        return (
            self.field_names() == other.field_names()
            and self.field_types() == other.field_types()
            and self.field_metadata() == other.field_metadata()
        )

    def __repr__(self) -> str:
        inner = [f"{name}={part!r}" for name, part in self.parts()]
        if sum(map(len, inner)) < 60 and not any("\n" in text for text in inner):
            return f"{type(self).__name__}({', '.join(inner)})"
        lines = ",\n".join(inner).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {lines})"


class Scalar(Field):
    """A column: values of one type and shape, maybe with the blob or the array that holds them.

    `dtype` is what NumPy takes as one: np.float32, (np.int32, 5), (str, (2, 3)), None if it is not
    known. `blob` is a BlobReference, or values, which become an array.
    """

    dtype: np.dtype[Any]

    def __init__(self, dtype: Any = None, blob: Any = None, metadata: Any = None) -> None:
        super().__init__([])
        self._metadata: Metadata | None = None
        self.set(dtype, blob, metadata, unsafe=True)

    def parts(self) -> list[tuple[str, Field]]:
        """Nothing is below a scalar."""
        return []

    def field_names(self) -> list[str]:
        """One empty name."""
        return [""]

    def all_scalars(self) -> list[Scalar]:
        """Itself."""
        return [self]

    def field_type(self) -> np.dtype[Any]:
        """Its type."""
        return self.dtype

    def has_blobs(self) -> bool:
        """Whether it has a blob or array."""
        return self._blob is not None

    def get(self) -> Any:
        """Its blob or array; FieldError if it has none."""
        if self._blob is None:
            raise FieldError("this scalar has no blob or value")
        return self._blob

    def __call__(self) -> Any:
        """As `get`."""
        return self.get()

    def id(self) -> int:
        """Its place in the lists of the whole record."""
        return self._child_base_id()

    def clone(self, keep_blobs: bool = True) -> Scalar:
        """A copy, with the blob or without."""
        return Scalar(self._original_dtype, self._blob if keep_blobs else None, self._metadata)

    @property
    def metadata(self) -> Metadata | None:
        """What is known of the values."""
        return self._metadata

    def set_metadata(self, value: Metadata) -> None:
        """Say what is known of the values; FieldError for a limit of what is no integer."""
        if not isinstance(value, Metadata):
            raise FieldError(f"metadata must be a Metadata, found {value!r:.80}")
        self._metadata = value
        self._check_metadata()

    def set_type(self, dtype: Any) -> None:
        """Change the type."""
        self._original_dtype = dtype
        self.dtype = np.dtype(np.void) if dtype is None else np.dtype(dtype)
        self._check_metadata()

    def set_value(
        self, blob: Any, throw_on_type_mismatch: bool = False, unsafe: bool = False
    ) -> None:
        """Change the blob or array; FieldError for an array of another type, if that is asked."""
        if throw_on_type_mismatch and self.dtype.base != np.void:
            found = blob.dtype.base if isinstance(blob, np.ndarray) else type(blob).__name__
            if found != self.dtype.base:
                raise FieldError(f"expected an array of {self.dtype.base}, found {found}")
        self.set(self._original_dtype, blob, unsafe=unsafe)

    def set(
        self, dtype: Any = None, blob: Any = None, metadata: Any = None, unsafe: bool = False
    ) -> None:
        """Change all of it; `unsafe` says that nobody else relies on this scalar.

        Raises ValueError for text in the place of a blob, TypeError for a shape without a type, and
        FieldError for a type with fields or values that are no array.
        """
        if not unsafe:
            logger.warning("a scalar that others may hold is changed: set(..., unsafe=True)")
        if isinstance(blob, str | bytes):
            raise ValueError(
                f"{blob!r:.80} may be a blob's name or a value: BlobReference(...) or np.array(...)"
            )
        self._original_dtype = dtype
        known = None if dtype is None else _as_dtype(dtype)
        if known is not None and known.fields:
            raise FieldError("a scalar has no fields; from_dtype makes a Struct of such a type")
        if not isinstance(blob, BlobReference | None):
            blob, known = _as_column(blob, known)
        self.dtype = np.dtype(np.void) if known is None else known
        self._blob = blob
        if metadata is not None:
            self.set_metadata(metadata)
        self._check_metadata()

    def _check_metadata(self) -> None:
        if self._metadata is None or self._metadata.categorical_limit is None:
            return
        if not np.issubdtype(self.dtype.base, np.integer):
            raise FieldError(f"categorical_limit is for integers, found {self.dtype}")

    def __repr__(self) -> str:
        return f"Scalar({self.dtype!r}, {self._blob!r}, {self._metadata!r})"


class Struct(Field):
    """Fields by name, `Struct(("a", np.int32), ("b", List(np.float32)))`.

    A field is a Field, a type, or values. "b:c" is the field c of the struct b. The fields are
    attributes and items: s.b.c, s["b:c"], s[0], s["a", "b"] (a struct of some).
    """

    fields: dict[str, Field]

    def __init__(self, *fields: tuple[str, Any]) -> None:
        self.fields = {}
        for pair in fields:
            name, field = _named(pair)
            if name not in self.fields:
                self.fields[name] = field
                continue
            other = self.fields[name]
            if not (isinstance(field, Struct) and isinstance(other, Struct)):
                raise ValueError(f"Duplicate field name: {name}")
            self.fields[name] = other + field
        super().__init__(list(self.fields.values()))
        self._frozen = True

    def parts(self) -> list[tuple[str, Field]]:
        """The fields by name."""
        return list(self.fields.items())

    def get_children(self) -> list[tuple[str, Field]]:
        """The fields by name."""
        return self.parts()

    def clone(self, keep_blobs: bool = True) -> Any:
        """A copy, with blobs or without."""
        return type(self)(*((name, part.clone(keep_blobs)) for name, part in self.parts()))

    def get(self, item: str, default_value: Any) -> Any:
        """A field by name, or something else."""
        return getattr(self, item, default_value)

    def _find(self, name: str) -> Field | None:
        head, _, rest = name.partition(SEPARATOR)
        field = self.fields.get(head)
        if field is None or not rest:
            return field
        inner: Any = field  # scalars have no items: then a TypeError
        try:
            found: Field = inner[rest]
        except (KeyError, TypeError):
            return None
        return found

    def __contains__(self, item: str) -> bool:
        return self._find(item) is not None

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields.values())

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, list | tuple):
            names = list(self.fields)
            return Struct(*((names[k] if isinstance(k, int) else k, self[k]) for k in item))
        if isinstance(item, int):
            return list(self.fields.values())[item]
        field = self._find(item)
        if field is None:
            raise KeyError(f'field "{item}" not found')
        return field

    def __getattr__(self, item: str) -> Any:
        try:
            return self.__dict__["fields"][item]
        except KeyError:
            raise AttributeError(item) from None

    def __setattr__(self, key: str, value: Any) -> None:
        if not key.startswith("_") and self.__dict__.get("_frozen"):
            raise TypeError(f"the fields of a Struct cannot be changed: {key}")
        super().__setattr__(key, value)

    def __add__(self, other: object) -> Struct:
        """The fields of both; structs of one name are added, TypeError for others."""
        if not isinstance(other, Struct):
            return NotImplemented
        fields = dict(self.fields)
        for name, field in other.parts():
            mine = fields.get(name)
            if mine is None:
                fields[name] = field
            elif isinstance(mine, Struct) and isinstance(field, Struct):
                fields[name] = mine + field
            else:
                raise TypeError(f"field {name} is in both, and only structs can be added")
        return Struct(*fields.items())

    def __sub__(self, other: object) -> Struct:
        """The fields that the other has not; structs of one name are subtracted."""
        if not isinstance(other, Struct):
            return NotImplemented
        fields = dict(self.fields)
        for name, field in other.parts():
            mine = fields.pop(name, None)
            if mine is None:
                continue
            if type(mine) is not type(field):
                raise TypeError(f"field {name} is a {type(mine).__name__} in one of them only")
            if isinstance(mine, Struct) and len(left := mine - field):
                fields[name] = left
        order = [name for name in self.fields if name in fields]
        return Struct(*((name, fields[name]) for name in order))


class List(Field):
    """Lists of values, one a row: `lengths` says how many, the values stand one after the other."""

    def __init__(self, values: Any, lengths_blob: Any = None) -> None:
        self.lengths = _as_scalar(lengths_blob, np.int32)
        self._items = as_field(values)
        super().__init__([part for _, part in self.parts()])

    def parts(self) -> list[tuple[str, Field]]:
        """The lengths and the values."""
        return [("lengths", self.lengths), ("values", self._items)]

    def clone(self, keep_blobs: bool = True) -> Any:
        """A copy, with blobs or without."""
        return type(self)(self._items.clone(keep_blobs), self.lengths.clone(keep_blobs))

    def __getattr__(self, item: str) -> Any:
        if item.startswith("_"):
            raise AttributeError(item)
        if isinstance(self._items, Struct):
            return getattr(self._items, item)
        if item in ("value", "items"):
            return self._items
        raise AttributeError(f"a list has no field {item}")

    def __getitem__(self, item: str) -> Any:
        head, _, rest = item.partition(SEPARATOR)
        part: Any = dict(self.parts()).get(head)
        if part is None or (rest and part is not self._items):
            raise KeyError(f"a list has no field {item}")
        return part[rest] if rest else part


class ListWithEvicted(List):
    """A list that also has the values that a hash of limited size has dropped."""

    def __init__(self, values: Any, lengths_blob: Any = None, evicted_values: Any = None) -> None:
        self._evicted_values = _as_scalar(evicted_values, np.int64)
        super().__init__(values, lengths_blob)

    def parts(self) -> list[tuple[str, Field]]:
        """The lengths, the values, and what was dropped."""
        return [*super().parts(), ("_evicted_values", self._evicted_values)]

    def clone(self, keep_blobs: bool = True) -> Any:
        """A copy, with blobs or without."""
        own = (self._items, self.lengths, self._evicted_values)
        return type(self)(*(part.clone(keep_blobs) for part in own))


def as_field(value: Any, keep_blobs: bool = True) -> Any:
    """A copy of a field, or the scalar of a type, a blob or values."""
    if isinstance(value, Field):
        return value.clone(keep_blobs)
    if isinstance(value, type | np.dtype):
        return Scalar(value)
    return Scalar(blob=value)


def _as_scalar(value: Any, dtype: Any) -> Scalar:
    if not isinstance(value, Field):
        return Scalar(dtype, value)
    if not isinstance(value, Scalar):
        raise FieldError(f"expected a Scalar, found a {type(value).__name__}")
    return value.clone()


def _named(pair: tuple[str, Any]) -> tuple[str, Field]:
    """The first name of a field of a struct, and what belongs there."""
    if len(pair) != 2 or not pair[0]:
        raise FieldError(f"the fields of a Struct are pairs (name, field), found {pair!r:.80}")
    if pair[0] == "lengths":
        raise FieldError("a field of a Struct cannot be called lengths: lists have it")
    name, _, rest = pair[0].partition(SEPARATOR)
    return name, Struct((rest, pair[1])) if rest else as_field(pair[1])


def _as_dtype(dtype: Any) -> np.dtype[Any]:
    if isinstance(dtype, tuple):
        if dtype[0] == np.void:
            raise TypeError(f"{dtype} has a shape, but values of no type")
        if np.shape(dtype[1]) == () and dtype[1] == 1:  # NumPy would drop it
            dtype = (dtype[0], (1,))
    made: np.dtype[Any] = np.dtype(dtype)
    return made


def _as_column(values: Any, dtype: np.dtype[Any] | None) -> tuple[Any, np.dtype[Any] | None]:
    """The array of values, whose first axis counts rows, and its type as far as known."""
    is_array = isinstance(values, np.ndarray)
    if dtype is None or dtype == np.void:
        if not is_array:
            raise FieldError(f"values of no type must be an array, found {values!r:.80}")
        return values, dtype
    array = np.array(values, dtype=dtype.base)
    if array.size == 0 and not is_array:
        array = array.reshape((0, *dtype.shape))
    if array.ndim == 0 and not is_array:
        array = array.reshape(1)
    if array.ndim > 1 and dtype.base != np.void:
        dtype = np.dtype((dtype.base, array.shape[1:]))
    return array, dtype
