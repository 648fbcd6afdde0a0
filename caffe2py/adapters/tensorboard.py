"""Graphs and curves for TensorBoard. Needs tensorboardX (`pip install caffe2py[tensorboard]`)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caffe2py.errors import FileError, UnsupportedError

__all__ = ["Node", "write_events"]


class Node(NamedTuple):
    """A node of a graph: what it is, the names of the nodes that it reads, and its attributes."""

    name: str
    op: str
    inputs: Sequence[str] = ()
    attributes: Mapping[str, str] = {}
    device: str = ""


def write_events(
    folder: str | Path,
    nodes: Sequence[Node] = (),
    scalars: Iterable[tuple[int, Mapping[str, float]]] = (),
) -> None:
    """Add a file of events to a folder: a graph, and numbers by name for each step.

    UnsupportedError where tensorboardX is not installed, FileError where it cannot be written.
    """
    graph = _graph(nodes) if nodes else None
    event_pb2, summary_pb2, record_writer = _modules()
    target = Path(folder)
    name = f"events.out.tfevents.{time.time_ns() // 1000:020d}.caffe2py"
    scratch = target / f".{name}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        writer = record_writer(str(scratch))
        try:
            _write(writer, event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))
            if graph is not None:
                _write(writer, event_pb2.Event(wall_time=time.time(), graph_def=graph))
            for step, values in scalars:
                found = [
                    summary_pb2.Summary.Value(tag=tag, simple_value=value)
                    for tag, value in values.items()
                ]
                summary = summary_pb2.Summary(value=found)
                _write(writer, event_pb2.Event(wall_time=time.time(), step=step, summary=summary))
        finally:
            writer.close()
        scratch.replace(target / name)
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()


def _write(writer: Any, event: Any) -> None:
    writer.write(event.SerializeToString())


def _graph(nodes: Sequence[Node]) -> bytes:
    """The nodes as a GraphDef."""
    _modules()
    from tensorboardX.proto.attr_value_pb2 import AttrValue
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.versions_pb2 import VersionDef

    made = GraphDef(versions=VersionDef(producer=22))
    for node in nodes:
        attributes = {
            key: AttrValue(s=value.encode(errors="replace"))
            for key, value in node.attributes.items()
        }
        made.node.append(
            NodeDef(
                name=node.name,
                op=node.op,
                input=list(node.inputs),
                device=node.device,
                attr=attributes,
            )
        )
    content: bytes = made.SerializeToString()
    return content


def _modules() -> tuple[Any, Any, Any]:
    try:
        from tensorboardX.proto import event_pb2, summary_pb2
        from tensorboardX.record_writer import RecordWriter
    except ImportError:
        raise UnsupportedError(
            "files for TensorBoard need tensorboardX; needs: pip install caffe2py[tensorboard]"
        ) from None
    return event_pb2, summary_pb2, RecordWriter
