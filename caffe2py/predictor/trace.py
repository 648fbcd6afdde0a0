"""A run as a trace that chrome://tracing and ui.perfetto.dev show.

The format is Chrome's "Trace Event Format": an object with the list `traceEvents`. Here it has
names of process and threads ("M"), one complete event ("X") for every iteration on the first
thread and for every operator on the second, and one counter ("C") of resident memory an iteration.
Times are microseconds since the first operator began.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe2py.errors import FileError
from caffe2py.executor.benchmark import OperatorRecord

__all__ = ["resident_bytes", "trace_events", "write_trace"]

_ITERATIONS, _OPERATORS = 1, 2


def trace_events(
    name: str, records: Sequence[OperatorRecord], resident: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """The events of a net of this name; `resident` is memory in bytes, once an iteration."""
    process = os.getpid()
    events = [
        _named("process_name", f"caffe2py: {name}", process, 0),
        _named("thread_name", "iterations", process, _ITERATIONS),
        _named("thread_name", "operators", process, _OPERATORS),
    ]
    runs = len(records[0].seconds) if records else 0
    zero = records[0].starts[0] if runs else 0.0
    details = [_details(index, record) for index, record in enumerate(records)]
    for k in range(runs):
        first, last = records[0].starts[k], records[-1].starts[k] + records[-1].seconds[k]
        events.append(
            _complete(f"iteration {k}", "net", process, _ITERATIONS, first - zero, last - first)
        )
        if k < len(resident):
            memory = {"name": "resident memory", "ph": "C", "pid": process, "tid": 0}
            megabytes = {"MB": round(resident[k] / 1e6, 3)}
            events.append({**memory, "ts": _micro(first - zero), "args": megabytes})
        for record, (label, detail, work) in zip(records, details, strict=True):
            seconds = record.seconds[k]
            rate = {"GFLOP/s": round(work / seconds / 1e9, 3)} if work and seconds else {}
            event = _complete(
                label,
                record.operator.op.type,
                process,
                _OPERATORS,
                record.starts[k] - zero,
                seconds,
            )
            events.append({**event, "args": {**detail, **rate}})
    return events


def write_trace(path: str | Path, events: Sequence[dict[str, Any]]) -> None:
    """Write events as a file that the viewers open; FileError where it cannot be written."""
    content = {"traceEvents": list(events), "displayTimeUnit": "ms"}
    try:
        Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", where=str(path)) from None


def resident_bytes() -> int:
    """The memory of this process that is in RAM now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)


def _named(what: str, name: str, process: int, thread: int) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}


def _complete(
    name: str, category: str, process: int, thread: int, start: float, seconds: float
) -> dict[str, Any]:
    return {
        "name": name,
        "cat": category,
        "ph": "X",
        "ts": _micro(start),
        "dur": _micro(seconds),
        "pid": process,
        "tid": thread,
        "args": {},
    }


def _details(index: int, record: OperatorRecord) -> tuple[str, dict[str, Any], int]:
    """The label, the arguments that are the same in every iteration, and the operations."""
    op = record.operator.op
    label = f"{op.type} {op.name or (op.output[0] if op.output else '')}".strip()
    detail = {
        "type": op.type,
        "name": op.name,
        "index": index,
        "inputs": list(op.input),
        "outputs": list(op.output),
        "input_shapes": [str(type_) for type_ in record.inputs],
        "output_shapes": [str(type_) for type_ in record.outputs],
        "bytes": record.bytes_moved,
    }
    return label, detail, 2 * (record.multiply_adds or 0)
