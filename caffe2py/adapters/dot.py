"""pydot, if it is installed: graphs that scripts know how to save and draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from caffe2py.errors import UnsupportedError


class Node(Protocol):
    """A node to convert."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """Its attributes."""


class Edge(Protocol):
    """An edge to convert."""

    @property
    def start(self) -> str:
        """The name of the node where it begins."""

    @property
    def end(self) -> str:
        """The name of the node where it ends."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """Its attributes."""


def available() -> bool:
    """Whether pydot is installed."""
    try:
        import pydot  # noqa: F401
    except ImportError:
        return False
    return True


def to_pydot(name: str, rankdir: str, nodes: Iterable[Node], edges: Iterable[Edge]) -> Any:
    """The graph as a pydot.Dot; UnsupportedError without pydot."""
    try:
        import pydot
    except ImportError:
        raise UnsupportedError("a pydot graph needs pydot", hint="pip install pydot") from None
    graph = pydot.Dot(_quoted(name), rankdir=rankdir)
    made = {}
    for node in nodes:
        attributes: dict[str, Any] = {key: _quoted(value) for key, value in node.attributes.items()}
        made[node.name] = pydot.Node(_quoted(node.name), **attributes)
        graph.add_node(made[node.name])
    for edge in edges:
        graph.add_edge(
            pydot.Edge(made[edge.start], made[edge.end], **dict[str, Any](edge.attributes))
        )
    return graph


def _quoted(text: str) -> str:
    if text.isidentifier():
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
