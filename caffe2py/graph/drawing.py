"""Pictures of nets and plans, as nodes and edges, and as text in the DOT language."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.net import Net
from caffe2py.proto.caffe2_pb2 import ExecutionStep, NetDef, OperatorDef, PlanDef

OP_STYLE = {"shape": "box", "color": "#0F9D58", "style": "filled", "fontcolor": "#FFFFFF"}
BLOB_STYLE = {"shape": "octagon"}

_MOST_PARALLEL = 3  # of many steps side by side so many are drawn


@dataclass(frozen=True)
class Node:
    """A node: a name that no other node has, and attributes; without a label the name is shown."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes, by name."""

    start: str
    end: str
    attributes: Mapping[str, str] = field(default_factory=dict)


OpNodes = Callable[[OperatorDef, int], Node]
BlobNodes = Callable[..., Node]


class Drawing:
    """A directed graph. `to_string` and `write` give it in the DOT language."""

    def __init__(self, name: str = "", rankdir: str = "LR") -> None:
        self.name = name
        self.rankdir = rankdir
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []

    def add_node(self, node: Node) -> Node:
        """Add a node unless it is there."""
        return self.nodes.setdefault(node.name, node)

    def add_edge(self, start: Node, end: Node, **attributes: str) -> None:
        """Add an arrow."""
        self.edges.append(Edge(start.name, end.name, attributes))

    def get_name(self) -> str:
        """The graph's name."""
        return self.name

    def to_string(self) -> str:
        """The graph in the DOT language."""
        lines = [f"digraph {_quoted(self.name)} {{", f"rankdir={self.rankdir};"]
        lines += [f"{_quoted(n.name)}{_listed(n.attributes)};" for n in self.nodes.values()]
        lines += [
            f"{_quoted(e.start)} -> {_quoted(e.end)}{_listed(e.attributes)};" for e in self.edges
        ]
        return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _listed(attributes: Mapping[str, str]) -> str:
    if not attributes:
        return ""
    return " [" + ", ".join(f"{key}={_quoted(value)}" for key, value in attributes.items()) + "]"


# ---------------------------------------------------------------- nodes


def op_nodes(append_output: bool, **attributes: str) -> OpNodes:
    """What makes the node of an operator: its name and type, and its outputs if asked for."""

    def make(op: OperatorDef, op_id: int) -> Node:
        name = f"{op.name}/{op.type}" if op.name else op.type
        lines = [f"{name} (op#{op_id})", *(op.output if append_output else ())]
        return Node("\n".join(lines), attributes)

    return make


def blob_nodes(**attributes: str) -> BlobNodes:
    """What makes the node of a blob."""

    def make(node_name: str, label: str) -> Node:
        return Node(node_name, {"label": label, **attributes})

    return make


# ---------------------------------------------------------------- graphs


def operators_of(operators_or_net: Any, name: str | None) -> tuple[list[OperatorDef], str]:
    """The operators of a Net, a NetDef or a list, and the name of the picture."""
    net = operators_or_net.Proto() if isinstance(operators_or_net, Net) else operators_or_net
    if isinstance(net, NetDef):
        return list(net.op), net.name if name is None else name
    operators = list(net)
    for op in operators:
        if not isinstance(op, OperatorDef):
            raise UsageError(f"expected a net or a list of operators, found {op!r:.80}")
    return operators, "unnamed" if name is None else name


def net_graph(
    operators_or_net: Any,
    name: str | None = None,
    rankdir: str = "LR",
    op_node: OpNodes | None = None,
    blob_node: BlobNodes | None = None,
) -> Drawing:
    """Operators and blobs; a blob that is written again gets a new node each time."""
    operators, title = operators_of(operators_or_net, name)
    op_node = op_node or op_nodes(False, **OP_STYLE)
    blob_node = blob_node or blob_nodes(**BLOB_STYLE)
    graph = Drawing(title, rankdir)
    versions: defaultdict[str, int] = defaultdict(int)
    current: dict[str, Node] = {}
    for number, op in enumerate(operators):
        made = graph.add_node(op_node(op, number))
        for blob in op.input:
            if blob not in current:
                current[blob] = graph.add_node(blob_node(f"{blob}{versions[blob]}", label=blob))
            graph.add_edge(current[blob], made)
        for blob in op.output:
            if blob in current:
                versions[blob] += 1
            current[blob] = graph.add_node(blob_node(f"{blob}{versions[blob]}", label=blob))
            graph.add_edge(made, current[blob])
    return graph


def minimal_graph(
    operators_or_net: Any,
    name: str | None = None,
    rankdir: str = "LR",
    minimal_dependency: bool = False,
    op_node: OpNodes | None = None,
) -> Drawing:
    """Operators only; with `minimal_dependency` without arrows that longer ways imply."""
    operators, title = operators_of(operators_or_net, name)
    op_node = op_node or op_nodes(False, **OP_STYLE)
    graph = Drawing(title, rankdir)
    writers: dict[str, Node] = {}
    ancestors: dict[str, set[str]] = {}
    for number, op in enumerate(operators):
        made = graph.add_node(op_node(op, number))
        parents = [writers[blob] for blob in op.input if blob in writers]
        above = set().union(*(ancestors[p.name] for p in parents)) if parents else set()
        ancestors[made.name] = above | {parent.name for parent in parents}
        for parent in parents:
            if not (minimal_dependency and parent.name in above):
                graph.add_edge(parent, made)
        writers.update(dict.fromkeys(op.output, made))
    return graph


def plan_graph(plan: PlanDef, name: str | None = None, rankdir: str = "TB") -> Drawing:
    """The execution steps of a plan, and the nets that they run."""
    graph = Drawing(plan.name if name is None else name, rankdir)
    _add_steps(graph, plan.execution_step, "")
    return graph


def _add_steps(
    graph: Drawing, steps: Iterable[ExecutionStep], prefix: str, chained: bool = True
) -> list[Node]:
    nodes: list[Node] = []
    for number, step in enumerate(steps):
        place = f"{prefix}{number}"
        node = graph.add_node(Node(f"{step.name} #{place}", {"label": _label(step), **OP_STYLE}))
        if nodes and chained:
            graph.add_edge(nodes[-1], node)
        nodes.append(node)
        _add_inside(graph, step, node, place)
    return nodes


def _add_inside(graph: Drawing, step: ExecutionStep, node: Node, place: str) -> None:
    parallel = step.concurrent_substeps
    if step.network:
        inner = [graph.add_node(Node(net)) for net in step.network]
        for before, after in itertools.pairwise(inner):
            graph.add_edge(before, after)
    else:
        shown = step.substep[:_MOST_PARALLEL] if parallel else step.substep
        inner = _add_steps(graph, shown, f"{place}.", not parallel)
        hidden = len(step.substep) - len(shown)
        if hidden:
            inner.append(graph.add_node(Node(f"{hidden} more steps #{place}", OP_STYLE)))
    for first in inner if parallel else inner[:1]:
        graph.add_edge(node, first, arrowhead="dot", style="dashed")


def _label(step: ExecutionStep) -> str:
    lines = [step.name, ""]
    lines += [f"Reporter: {step.report_net}"] if step.report_net else []
    lines += [f"Stopper: {step.should_stop_blob}"] if step.should_stop_blob else []
    lines += ["Concurrent"] if step.concurrent_substeps else []
    lines += ["Once"] if step.only_once else []
    return "\n".join(lines)
