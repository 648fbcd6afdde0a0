"""Load: blobs from databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.adapters.db import Cursor, Database, Mode, Reader, open_database
from caffe2py.errors import ArgumentError, Error, ModelFormatError, ValueRangeError
from caffe2py.ops.db.common import ABSOLUTE, DB_TYPE, full_path, require_text
from caffe2py.ops.db.save import CHUNK_MARK, stripped
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.held import held
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.place import copy_of
from caffe2py.tensor.serialize import blob_from_proto, parse_blob
from caffe2py.tensor.tensor import Array, Tensor
from caffe2py.tensor.types import STRING

load = operator(
    "Load",
    "readers* -> outputs*",
    gradient=NoGradient("what it reads is given"),
    needs="files if db or dbs",
    absolute_path=ABSOLUTE,
    add_prefix=Arg(str, "", "put before the names in the database, after stripping"),
    strip_prefix=Arg(str, "", "the names in the database are taken from behind this on"),
    db=Arg(str, "", "the database"),
    dbs=Arg(list[str], None, "several databases"),
    db_type=DB_TYPE,
    keep_device=Arg(int, 0, "1: where each blob was when it was saved"),
    load_all=Arg(int, 0, "1: make a blob for everything that is in the databases"),
    allow_incomplete=Arg(bool, False, "what is not found is left as it is"),
    source_blob_names=Arg(list[str], None, "the names in the database, if not those of outputs"),
    shape=Arg(list[int], None, "without effect"),
    doc="""
    Reads blobs from databases, or from what CreateDB opened: by default those with the names of the
    outputs. Other records are ignored.

    Nothing is changed before all has been read. Raises ArgumentError for names that contradict each
    other, FileError for a missing file, ModelFormatError for a damaged one and for chunks that are
    missing or twice there, ValueRangeError where an output is not found, or found twice.
    """,
    example="""
    db = "model.minidb", db_type = "minidb"
    outputs = what Save wrote under these names
    """,
)


@dataclass
class _Found:
    """A blob in the making."""

    source: int
    value: Any = None
    segments: list[tuple[int, int]] = field(default_factory=list)
    #: Where it was when it was saved.
    device: Device = CPU

    def add(self, key: str, data: bytes, *, opens: bool) -> None:
        proto = parse_blob(data)
        chunk = proto.HasField("tensor") and proto.tensor.HasField("segment")
        if self.value is not None and not (chunk and self.segments):
            raise ModelFormatError(f"blob '{key}' is there twice")
        if chunk:
            self.segments.append((proto.tensor.segment.begin, proto.tensor.segment.end))
        if proto.HasField("tensor") and proto.type == "Tensor":
            self.device = Device.from_option(proto.tensor.device_detail)
            proto.tensor.ClearField("device_detail")
        before = self.value
        self.value = blob_from_proto(proto, before, opens=opens)
        if before is not None and self.value is not before:
            raise ModelFormatError(f"blob '{key}': its chunks differ in type or shape")

    def require_whole(self, key: str) -> None:
        if not self.segments or not isinstance(self.value, np.ndarray):
            return
        position = 0
        for begin, end in sorted(self.segments):
            if begin != position:
                what = "are missing" if begin > position else "are there twice"
                low, high = min(begin, position), max(begin, position)
                raise ModelFormatError(f"blob '{key}': elements {low} to {high} {what}")
            position = end
        if position != self.value.size:
            raise ModelFormatError(
                f"blob '{key}': elements {position} to {self.value.size} are missing"
            )


def _sources(call: Call) -> Iterator[tuple[str, Database | None, Cursor]]:
    """Name, database and cursor of all that is to be read."""
    if call.input_count:
        for k in range(call.input_count):
            reader = held(call, k, Reader, "CreateDB")
            yield reader.path, None, reader.cursor()
        return
    args = call.args
    type_ = require_text("db_type", args.db_type, "the type of the database")
    names = args.dbs or [require_text("db", args.db, "the name of the database")]
    for name in names:
        require_text("dbs", name, "no name may be empty")
        if names.count(name) > 1:
            raise ArgumentError(f"argument 'dbs' names '{name}' twice")
    for name in names:
        path = full_path(call, name)
        database = open_database(type_, path, Mode.read)
        yield path, database, database.new_cursor()


def _wanted(call: Call) -> dict[str, int] | None:
    """Output by name in the database; None: everything."""
    args = call.args
    outputs = [call.output_blob(k) for k in range(call.output_count)]
    names = args.source_blob_names
    if names:
        if len(names) != len(outputs):
            raise ArgumentError(
                f"argument 'source_blob_names' must name {len(outputs)} blob(s), found {len(names)}"
            )
        if args.strip_prefix or args.load_all:
            other = "strip_prefix" if args.strip_prefix else "load_all"
            raise ArgumentError(f"arguments 'source_blob_names' and '{other}' exclude each other")
    if args.load_all:
        return None
    wanted: dict[str, int] = {}
    for index, name in enumerate(names or outputs):
        if wanted.setdefault(name, index) != index:
            raise ArgumentError(f"'{name}' is to be loaded twice")
    return wanted


def _read(call: Call, wanted: dict[str, int] | None) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for number, (path, database, cursor) in enumerate(_sources(call)):
        try:
            while cursor.valid():
                _read_record(call, cursor, number, wanted, found)
                cursor.next()
        except Error as error:
            raise error if error.where == path else error.with_where(path) from None
        finally:
            if database is not None:
                database.close()
    return found


def _read_record(
    call: Call,
    cursor: Cursor,
    number: int,
    wanted: dict[str, int] | None,
    found: dict[str, _Found],
) -> None:
    name = cursor.key().decode(errors="backslashreplace").partition(CHUNK_MARK)[0]
    key = call.args.add_prefix + stripped(name, call.args.strip_prefix)
    if wanted is not None and key not in wanted:
        return
    blob = found.setdefault(key, _Found(number))
    if blob.source != number:
        raise ValueRangeError(f"blob '{key}' is in two of the databases")
    blob.add(key, cursor.value(), opens=call.scope.trust.allows("files"))


def _placed(array: Array, device: Device) -> Array:
    """The array, on a device; strings stay on the host."""
    return array if device == CPU or array.dtype == STRING else copy_of(array, device)


def read(call: Call) -> None:
    """Read everything, then give it to the blobs."""
    wanted = _wanted(call)
    found = _read(call, wanted)
    for key, blob in found.items():
        blob.require_whole(key)
    names = wanted or {call.output_blob(k): k for k in range(call.output_count)}
    missing = [name for name in names if name not in found]
    if missing and not (call.args.allow_incomplete and wanted is not None):
        raise ValueRangeError(
            f"Expected to load {len(names)} blob(s), {len(missing)} of them not found: "
            f"{', '.join(missing[:8])}",
            hint="allow_incomplete",
        )
    for key, blob in found.items():
        value = blob.value
        if isinstance(value, np.ndarray):
            device = blob.device if call.args.keep_device else call.device
            value = Tensor(_placed(value, device))
        if wanted is None:
            call.scope.create_blob(key).put(value)
        else:
            call.put(wanted[key], value)


load.cpu_dynamic(takes_nothing=True)(read)
load.cuda_dynamic(read, takes_nothing=True)
