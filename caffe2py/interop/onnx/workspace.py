"""Caffe2's onnx.workspace module: a workspace as an object, with the names of the module."""

from __future__ import annotations

from typing import Any

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.executor import workspace as executor
from caffe2py.executor.inputs import as_net, blob_name

__all__ = ["Workspace"]


class Workspace:
    """Blobs and nets of its own: `Workspace().RunNetOnce(net)`."""

    def __init__(self) -> None:
        self._workspace = executor.Workspace()

    def FeedBlob(self, name: Any, value: Any) -> None:
        """Copy a value into a blob."""
        self._workspace.feed(blob_name(name), value)

    def FetchBlob(self, name: Any) -> Any:
        """A copy of what a blob holds; MissingBlobError if there is none."""
        return self._workspace.fetch(blob_name(name))

    def HasBlob(self, name: Any) -> bool:
        """Whether there is such a blob."""
        return self._workspace.has_blob(blob_name(name))

    def Blobs(self) -> list[str]:
        """The names of all blobs."""
        return self._workspace.blobs()

    def CreateNet(self, net: Any, overwrite: bool = False) -> str:
        """Bind a net under its name."""
        return self._workspace.create_net(as_net(net), overwrite=overwrite)

    def RunNet(self, name: Any, num_iter: int = 1) -> None:
        """Run a net that was created."""
        self._workspace.run_net(blob_name(name), num_iter)

    def RunNetOnce(self, net: Any) -> None:
        """Run a net once and forget it."""
        self._workspace.run_net_once(as_net(net))

    def RunOperatorOnce(self, op: Any) -> None:
        """Run one operator."""
        self._workspace.run_operator_once(op)
