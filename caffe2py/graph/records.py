"""What a net holds besides operators: records that describe its inputs and outputs."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.fields import Struct
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.schemas import NewRecord, from_blob_list, from_column_list
from caffe2py.graph.scope import NameScope
from caffe2py.proto.caffe2_pb2 import NetDef


class RecordError(UsageError, AssertionError):
    """A net has a record already."""


class Records(abc.ABC):
    """The part of a Net that keeps records: fields with names, types and blobs.

    A record is an object of a schema: it has `field_blobs()` and `field_names()`.
    """

    _input_record: Any = None
    _output_record: Any = None

    @abc.abstractmethod
    def Name(self) -> str:
        """The name of the net."""

    @abc.abstractmethod
    def Proto(self) -> NetDef:
        """The net itself."""

    @abc.abstractmethod
    def AddExternalInput(self, *inputs: Any) -> Any:
        """Declare blobs that come from outside."""

    @abc.abstractmethod
    def is_external_input(self, blob: Any) -> bool:
        """Whether the blob comes from outside."""

    @abc.abstractmethod
    def BlobIsDefined(self, blob: Any) -> bool:
        """Whether the blob exists by the end of the net."""

    def input_record(self) -> Any:
        """The record of the inputs, or None."""
        return self._input_record

    def output_record(self) -> Any:
        """The record of the outputs, or None."""
        return self._output_record

    def set_input_record(self, input_record: Any) -> Any:
        """Say which record the net reads; its blobs become external inputs. Returns it.

        A record without blobs gets new ones, in a name scope called like the net. RecordError if
        there is another record, of other blobs, already.
        """
        _refuse_other(self._input_record, input_record, "input")
        if not input_record.has_blobs():
            with NameScope(self.Name()):
                input_record = NewRecord(self, input_record)
        for blob in input_record.field_blobs():
            if not self.is_external_input(blob):
                self.AddExternalInput(blob)
        self._input_record = input_record
        return input_record

    def set_output_record(self, record: Any) -> Any:
        """Say which record the net makes. Returns it.

        RecordError if there is another one, of other blobs, already, UsageError if the net does not
        make one of its blobs.
        """
        _refuse_other(self._output_record, record, "output")
        for blob in record.field_blobs():
            if not self.BlobIsDefined(blob):
                raise UsageError(f"{blob} is not defined by the net, so it is no output")
        self._output_record = record
        return record

    def AppendOutputRecordField(self, field_name: str, record: Any) -> None:
        """Add a field to the record of the outputs, which must be there."""
        if self._output_record is None:
            raise UsageError("Tried to append to missing output record")
        for blob in record.field_blobs():
            if not self.BlobIsDefined(blob):
                raise UsageError(f"{blob} is not defined by the net, so it is no output")
        self._output_record = self._output_record + Struct((field_name, record))

    def recover_input_record_by_prefix(self, prefix: str) -> None:
        """Make the record of the inputs from those external inputs whose names begin with `prefix`.

        The rest of each name says where the field stands: "a:b" is field b of a. Nothing happens
        where there are none.
        """
        record = _from_names(self.Proto().external_input, prefix)
        if record is not None:
            self.set_input_record(record)

    def recover_output_record_by_prefix(self, prefix: str) -> None:
        """As recover_input_record_by_prefix, from the external outputs."""
        record = _from_names(self.Proto().external_output, prefix)
        if record is not None:
            self.set_output_record(record)

    def copy_records(self, source: Records, renamed: Mapping[str, str]) -> None:
        """Take the records of a net that this one is a copy of, with other names for blobs."""
        self._input_record = _renamed(source._input_record, renamed)
        self._output_record = _renamed(source._output_record, renamed)


def blobs_of(value: Any) -> list[Any]:
    """The blobs in a blob, a list of blobs, or a record: its blobs, or else its fields' names."""
    if isinstance(value, list | tuple):
        return list(value)
    if not hasattr(type(value), "field_blobs"):
        return [value]
    return list(value.field_blobs() if value.has_blobs() else value.field_names())


def _refuse_other(before: Any, record: Any, what: str) -> None:
    if before is None or before is record:
        return
    blobs = set(map(str, before.field_blobs()))
    if not record.has_blobs() or set(map(str, record.field_blobs())) != blobs:
        raise RecordError(f"the {what} record of a net cannot be set twice")


def _renamed(record: Any, renamed: Mapping[str, str]) -> Any:
    if record is None:
        return None
    blobs = [str(blob) for blob in record.field_blobs()]
    if not any(name in renamed for name in blobs):
        return record
    return from_blob_list(record, _references(renamed.get(n, n) for n in blobs))


def _from_names(names: Iterable[str], prefix: str) -> Any:
    """The record of the blobs whose names begin so; None if there are none."""
    blobs = [name for name in names if name.startswith(prefix)]
    if not blobs:
        return None
    columns = [name.removeprefix(prefix) for name in blobs]
    return from_column_list(columns, col_blobs=_references(blobs))


def _references(names: Iterable[str]) -> list[BlobReference]:
    return [BlobReference(name) for name in names]
