"""Values of records: into the blobs of a workspace, and back."""

from __future__ import annotations

from typing import Any

from caffe2py.executor.native import NativeWorkspace
from caffe2py.graph.fields import Field, FieldError
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.schemas import from_blob_list

__all__ = ["FeedRecord", "FetchRecord"]


def FetchRecord(
    blob_record: Field, ws: NativeWorkspace | None = None, throw_on_type_mismatch: bool = False
) -> Any:
    """A copy of a record with what its blobs hold, in a workspace or the current one."""
    blobs = _blobs(blob_record)
    workspace = ws or NativeWorkspace.current
    values = [workspace.fetch_blob(str(blob)) for blob in blobs]
    return from_blob_list(blob_record, values, throw_on_type_mismatch)


def FeedRecord(blob_record: Field, arrays: Any, ws: NativeWorkspace | None = None) -> None:
    """Put arrays, or those of a record, into the blobs of a record."""
    blobs = _blobs(blob_record)
    values = arrays.field_blobs() if isinstance(arrays, Field) else arrays
    if len(values) != len(blobs):
        raise FieldError(f"{len(blobs)} arrays expected, found {len(values)}")
    workspace = ws or NativeWorkspace.current
    for blob, value in zip(blobs, values, strict=True):
        workspace.feed_blob(str(blob), value)


def _blobs(record: Any) -> list[BlobReference]:
    if not isinstance(record, Field):
        raise FieldError(f"expected a record, found {record!r:.80}")
    blobs = record.field_blobs()
    for blob in blobs:
        if not isinstance(blob, BlobReference):
            raise FieldError(f"expected a record of blobs, found a value: {blob!r:.80}")
    return blobs
