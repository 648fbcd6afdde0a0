"""What tasks give back: blobs by name, whose values a session knows after the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe2py.graph.fields import Field
from caffe2py.graph.schemas import from_blob_list
from caffe2py.jobs.context import JobError

__all__ = ["TaskOutput", "TaskOutputList"]


class TaskOutput:
    """A blob, a list of blobs, or a record."""

    def __init__(self, names: Any) -> None:
        self._record = names if isinstance(names, Field) else None
        if self._record is not None:
            names = self._record.field_blobs()
        self._is_one = not isinstance(names, list | tuple)
        self.names: Sequence[Any] = [names] if self._is_one else names
        self._values: Sequence[Any] | None = None
        self._fetch_func: Callable[[Any], Any] | None = None

    def set(self, values: Sequence[Any], _fetch_func: Callable[[Any], Any] | None = None) -> None:
        """Say where the values are, and what fetches one."""
        if len(values) != len(self.names):
            raise JobError(f"{len(self.names)} values expected, found {len(values)}")
        self._values = values
        self._fetch_func = _fetch_func

    def get(self) -> Any:
        """Where the values are, in the form of the output; JobError before a run."""
        return self._formed(self._known())

    def fetch(self) -> Any:
        """The values, in the form of the output; JobError before a run."""
        fetch = self._fetch_func
        if fetch is None:
            raise JobError(f"{self!r} cannot be fetched before a session ran it")
        return self._formed([fetch(value) for value in self._known()])

    def _known(self) -> Sequence[Any]:
        if self._values is None:
            raise JobError(f"{self!r} has no value before a session ran it")
        return self._values

    def _formed(self, values: Sequence[Any]) -> Any:
        if self._is_one:
            return values[0]
        if self._record is None:
            return values
        return from_blob_list(self._record, values)

    def __repr__(self) -> str:
        return f"TaskOutput(names={self.names}, values={self._values})"


class TaskOutputList:
    """The outputs of one task."""

    def __init__(self, outputs: list[TaskOutput] | None = None) -> None:
        self.outputs = outputs or []

    def names(self) -> list[Any]:
        """The blobs of all outputs, one after the other."""
        return [name for output in self.outputs for name in output.names]

    def set_values(
        self, values: Sequence[Any], _fetch_func: Callable[[Any], Any] | None = None
    ) -> None:
        """Say for all blobs in `names()` where their values are."""
        if len(values) != len(self.names()):
            raise JobError(f"{len(self.names())} values expected, found {len(values)}")
        first = 0
        for output in self.outputs:
            output.set(values[first : first + len(output.names)], _fetch_func)
            first += len(output.names)

    def __repr__(self) -> str:
        return f"TaskOutputList(outputs={self.outputs})"
