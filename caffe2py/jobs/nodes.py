"""Where tasks run: nodes, the cluster that they make, and the kinds of workspace."""

from __future__ import annotations

from typing import Any

from caffe2py.jobs.context import DefaultManaged

__all__ = ["Cluster", "Node", "WorkspaceType"]


class Cluster(DefaultManaged):
    """The nodes that were named while it was open, in order."""

    def __init__(self) -> None:
        self._node_kwargs: dict[str, dict[str, Any]] = {}

    def add_node(self, node: Node) -> None:
        """Take a node in; what is known of one of that name already wins."""
        self._node_kwargs[str(node)] = {**node.kwargs(), **self._node_kwargs.get(str(node), {})}

    def nodes(self) -> list[str]:
        """Their names."""
        return list(self._node_kwargs)

    def node_kwargs(self) -> dict[str, dict[str, Any]]:
        """What they were made with, by name."""
        return self._node_kwargs

    def __repr__(self) -> str:
        return f"Cluster(nodes={self.nodes()}, node_kwargs={self.node_kwargs()})"


class Node(DefaultManaged):
    """A place by name; tasks made in its `with` block belong to it.

    Tasks of one node see each other's blobs in the global workspace. Other arguments are for the
    session.
    """

    def __init__(self, node: Any = "local", **kwargs: Any) -> None:
        self._name = str(node)
        self._kwargs = kwargs
        Cluster.current().add_node(self)

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"Node(name={self._name}, kwargs={self._kwargs})"

    def kwargs(self) -> dict[str, Any]:
        """The other arguments."""
        return self._kwargs


class WorkspaceType:
    """Whether a task runs in the session's workspace or in one of its own, gone afterwards."""

    PRIVATE = "private"
    GLOBAL = "global"
