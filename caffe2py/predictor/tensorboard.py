"""Nets and logs of trainings for TensorBoard.

tensorboard.write_graph("runs/a", net)
tensorboard.write_scalars("runs/a", [(1, {"loss": 0.7}), (2, {"loss": 0.6})])
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from caffe2py.adapters.tensorboard import Node, write_events
from caffe2py.graph.drawing import operators_of
from caffe2py.proto.args import get_value
from caffe2py.proto.caffe2_pb2 import OperatorDef

__all__ = ["graph_nodes", "write_graph", "write_scalars"]

#: Numbers of a list that are shown.
_SHOWN = 8


def write_graph(folder: str | Path, net: Any) -> None:
    """Add a Net, a NetDef or a list of operators to the events in a folder.

    UnsupportedError without tensorboardX, FileError where it cannot be written.
    """
    write_events(folder, graph_nodes(net))


def write_scalars(folder: str | Path, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
    """Add curves to the events in a folder: numbers by name for each step. Errors as above."""
    write_events(folder, scalars=rows)


def graph_nodes(net: Any) -> list[Node]:
    """A node for each operator and for each blob that none makes; the names are what they make."""
    operators, _ = operators_of(net, None)
    nodes: list[Node] = []
    made: dict[str, str] = {}
    used: set[str] = set()
    for op in operators:
        for blob in op.input:
            if blob not in made:
                made[blob] = _unique(blob, used)
                nodes.append(Node(made[blob], "Blob"))
        first = next(iter(op.output), "")
        name = _unique(op.name or first or op.type, used)
        inputs = list(dict.fromkeys(made[blob] for blob in op.input))
        nodes.append(Node(name, op.type, inputs, _attributes(op), _device(op)))
        made.update(dict.fromkeys(op.output, name))
    return nodes


def _unique(name: str, used: set[str]) -> str:
    """A name that TensorBoard takes and nobody has; parts between slashes are its groups."""
    plain = re.sub(r"[^A-Za-z0-9_./\\-]", "_", name).strip("/") or "_"
    plain = plain if re.match(r"[A-Za-z0-9.]", plain) else f".{plain}"
    found, number = plain, 0
    while found in used:
        number += 1
        found = f"{plain}_{number}"
    used.add(found)
    return found


def _attributes(op: OperatorDef) -> dict[str, str]:
    found = {"outputs": ", ".join(op.output)}
    for argument in op.arg:
        value = get_value(argument)
        if isinstance(value, list):
            shown = ", ".join(map(_text, value[:_SHOWN]))
            more = f", ... {len(value)} in all" if len(value) > _SHOWN else ""
            found[argument.name] = f"[{shown}{more}]"
        else:
            found[argument.name] = _text(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")[:200]
    return f"{value:.7g}" if isinstance(value, float) else str(value)[:200]


def _device(op: OperatorDef) -> str:
    if not op.device_option.device_type:
        return "/cpu:0"
    return f"/device:{op.device_option.device_type}:{op.device_option.device_id}"
