"""Caffe2's net_drawer module: pictures of nets.

With pydot installed the functions return pydot graphs, which draw themselves if graphviz is there.
Without it they return a Drawing, whose `to_string()` is text in the DOT language.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caffe2py.adapters import dot
from caffe2py.errors import UsageError
from caffe2py.graph.drawing import (
    BLOB_STYLE,
    OP_STYLE,
    Drawing,
    minimal_graph,
    net_graph,
    plan_graph,
)
from caffe2py.graph.drawing import blob_nodes as GetBlobNodeProducer  # noqa: N812
from caffe2py.graph.drawing import op_nodes as GetOpNodeProducer  # noqa: N812
from caffe2py.proto.caffe2_pb2 import OperatorDef, PlanDef

__all__ = [
    "BLOB_STYLE",
    "OP_STYLE",
    "GetBlobNodeProducer",
    "GetGraphInJson",
    "GetGraphPngSafe",
    "GetOpNodeProducer",
    "GetOperatorMapForPlan",
    "GetPlanGraph",
    "GetPydotGraph",
    "GetPydotGraphMinimal",
]

log = logging.getLogger(__name__)

#: An image of one transparent pixel.
_EMPTY_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJg"
    "gg=="
)


def _shown(graph: Drawing) -> Any:
    if not dot.available():
        return graph
    return dot.to_pydot(graph.name, graph.rankdir, graph.nodes.values(), graph.edges)


def GetPydotGraph(
    operators_or_net: Any,
    name: str | None = None,
    rankdir: str = "LR",
    op_node_producer: Any = None,
    blob_node_producer: Any = None,
) -> Any:
    """Operators and blobs of a Net, a NetDef, or a list of operators."""
    return _shown(net_graph(operators_or_net, name, rankdir, op_node_producer, blob_node_producer))


def GetPydotGraphMinimal(
    operators_or_net: Any,
    name: str | None = None,
    rankdir: str = "LR",
    minimal_dependency: bool = False,
    op_node_producer: Any = None,
) -> Any:
    """The operators alone; `minimal_dependency` leaves out arrows that longer ways imply."""
    return _shown(
        minimal_graph(operators_or_net, name, rankdir, minimal_dependency, op_node_producer)
    )


def GetPlanGraph(plan_def: PlanDef, name: str | None = None, rankdir: str = "TB") -> Any:
    """The steps of a plan and the nets that they run."""
    return _shown(plan_graph(plan_def, name, rankdir))


def GetOperatorMapForPlan(plan_def: PlanDef) -> dict[str, list[OperatorDef]]:
    """The operators of each net of a plan, under "plan_net"."""
    made = {}
    for number, net in enumerate(plan_def.network):
        suffix = net.name if net.HasField("name") else f"network_{number}"
        made[f"{plan_def.name}_{suffix}"] = list(net.op)
    return made


def GetGraphInJson(operators_or_net: Any, output_filepath: str) -> None:
    """Write operators and blobs as JSON: nodes with id, label and type; edges between ids."""
    graph = net_graph(operators_or_net)
    numbers = {name: number for number, name in enumerate(graph.nodes)}
    nodes: list[dict[str, Any]] = []
    operators = 0
    for name, node in graph.nodes.items():
        if "label" in node.attributes:
            nodes.append({"id": numbers[name], "label": node.attributes["label"], "type": "blob"})
            continue
        label = name.rpartition(" (op#")[0]
        nodes.append({"id": numbers[name], "label": label, "op_id": operators, "type": "op"})
        operators += 1
    edges = [{"source": numbers[e.start], "target": numbers[e.end]} for e in graph.edges]
    Path(output_filepath).write_text(json.dumps({"nodes": nodes, "edges": edges}), "utf-8")


def GetGraphPngSafe(func: Callable[..., Any], *args: Any, **kwargs: Any) -> bytes:
    """The picture that `func(...)` describes, as PNG; one transparent pixel if that fails."""
    try:
        graph = func(*args, **kwargs)
        if not hasattr(graph, "create_png"):
            raise UsageError("func is expected to return pydot.Dot", hint="pip install pydot")
        made: bytes = graph.create_png()
    except Exception as error:
        log.error("Failed to draw graph: %s", error)
        return _EMPTY_PNG
    return made
