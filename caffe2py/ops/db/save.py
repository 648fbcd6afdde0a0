"""Save and its relatives that save every so often: Checkpoint, Snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from caffe2py.adapters.db import Mode, open_database
from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.ops.db.common import ABSOLUTE, CHUNK, DB_TYPE, full_path, require_text
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.device import CPU
from caffe2py.tensor.place import device_of, on_host
from caffe2py.tensor.serialize import CHUNK_SIZE, blob_to_protos
from caffe2py.tensor.tensor import Tensor
from caffe2py.tensor.types import TensorType

#: What separates the name of a blob from the number of a chunk in a key.
CHUNK_MARK = "#%"

#: One place for a whole number in a pattern, as C writes it.
_PLACE = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|j|z|t)?[diu]")


def _names(call: Call) -> list[str]:
    """The names that the blobs get in the database."""
    args = call.args
    inputs = [call.input_blob(k) for k in range(call.input_count)]
    if args.blob_name_overrides:
        if len(args.blob_name_overrides) != len(inputs):
            raise ArgumentError(
                f"argument 'blob_name_overrides' must name {len(inputs)} blob(s), found "
                f"{len(args.blob_name_overrides)}"
            )
        if args.strip_prefix:
            raise ArgumentError(
                "arguments 'strip_prefix' and 'blob_name_overrides' exclude each other"
            )
        names = list(args.blob_name_overrides)
    else:
        names = [stripped(name, args.strip_prefix) for name in inputs]
    for name in names:
        if names.count(name) > 1 and not args.blob_name_overrides:
            raise ArgumentError(f"two blobs would be saved under one name, '{name}'")
    return names


def stripped(name: str, prefix: str) -> str:
    """A name without everything up to and including the first place of `prefix`."""
    return name.partition(prefix)[2] if prefix and prefix in name else name


def _records(call: Call, names: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
    chunk = call.args.chunk_size
    size = CHUNK_SIZE if chunk is None or chunk < 0 else chunk or None
    for index, name in enumerate(names):
        value: Any = call.value(index)
        place = CPU
        if isinstance(value, Tensor):
            place = device_of(value.array)
            value = on_host(value.array)
        for number, proto in enumerate(blob_to_protos(name, value, size)):
            key = f"{name}{CHUNK_MARK}{number}" if isinstance(value, np.ndarray) else name
            if place != CPU:
                proto.tensor.device_detail.CopyFrom(place.to_option())
            yield key.encode(), proto.SerializeToString()


def _save(call: Call, db: str) -> None:
    type_ = require_text("db_type", call.args.db_type, "the type of the database")
    names = _names(call)
    with open_database(type_, full_path(call, db, writes=True), Mode.new) as database:
        transaction = database.new_transaction()
        for key, value in _records(call, names):
            transaction.put(key, value)
        transaction.commit()


_SAVED = {
    "absolute_path": ABSOLUTE,
    "strip_prefix": Arg(str, "", "names in the database begin behind this"),
    "blob_name_overrides": Arg(list[str], None, "the names in the database"),
    "db_type": DB_TYPE,
    "chunk_size": CHUNK,
}

save = operator(
    "Save",
    "X+ -> ",
    gradient=NotDifferentiable("it has no output"),
    needs="files",
    db=Arg(str, "", "the database, which is made anew"),
    arguments=_SAVED,
    doc="""
    Writes blobs into a new database: tensors in chunks under the keys name#%0, name#%1, ...,
    strings and what else can be saved (counters, maps, indices, cursors) under their names.

    A minidb is written whole or not at all: it replaces an old file when it is complete on the
    disk. Raises ArgumentError for two equal names, BlobTypeError for a blob that cannot be saved,
    FileError where the file cannot be written.
    """,
    example="""
    X = [1, 2], db = "model.minidb", db_type = "minidb"
    the file model.minidb
    """,
)


def write(call: Call) -> None:
    """Write the file."""
    _save(call, require_text("db", call.args.db, "the name of the database"))


save.cpu_dynamic()(write)
save.cuda_dynamic(write, host_inputs=None)


# ---------------------------------------------------------------- every so often


def _infer_periodic(query: Query) -> Sequence[TensorType]:
    if query.inputs:
        require_dtype(query, 0, np.int64)
    require_text("db", query.args.db, "a pattern with a place for the number, as in 'run_%d'")
    if query.args.every < 1:
        raise ArgumentError(f"argument 'every' must be at least 1, found {query.args.every}")
    return []


def numbered(pattern: str, number: int) -> str:
    """The pattern with the number in its place, as C's printf writes it."""
    places = _PLACE.findall(pattern.replace("%%", ""))
    if len(places) > 1 or pattern.replace("%%", "").count("%") != len(places):
        raise ArgumentError(
            f"argument 'db' must have one place for a number at most, as in 'run_%d', found "
            f"{pattern!r}"
        )
    return pattern % number if places else pattern.replace("%%", "%")


def _periodic(name: str, signature: str) -> None:
    made = operator(
        name,
        signature,
        infer=_infer_periodic,
        gradient=NotDifferentiable("it has no output"),
        needs="files",
        db=Arg(str, "", "pattern of the name: %d (or %08d, ...) is where the number goes"),
        every=Arg(int, 1, "only if the number is a multiple of it"),
        arguments=_SAVED,
        doc="""
        Saves all inputs, as Save does, whenever iter is a multiple of `every`. iter is an int64
        number; it takes the place of %d in the name.
        """,
        example="""
        iter = 2000, X = [1, 2], db = "run_%d", every = 1000
        the file run_2000
        """,
    )

    def save_sometimes(call: Call) -> None:
        if not call.input_count:
            raise ArgumentError(f"{name} needs an input: the number of the iteration")
        numbers = on_host(call.inputs[0])
        if not numbers.size:
            raise ShapeError("input 0 must hold the number of the iteration, found no element")
        number = int(numbers.reshape(-1)[0])
        if number % call.args.every == 0:
            _save(call, numbered(call.args.db, number))

    made.cpu_dynamic()(save_sometimes)
    made.cuda_dynamic(save_sometimes, host_inputs=None)


_periodic("Checkpoint", "iter, X* -> ")
_periodic("Snapshot", "iter_and_X* -> outputs*")
