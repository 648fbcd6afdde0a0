"""Whether everything that a plan reads has been made before, and nothing is made twice at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caffe2py.errors import NetError, UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.plan import ExecutionStep, Plan
from caffe2py.proto.caffe2_pb2 import OperatorDef

_IGNORED = ("distributed_ctx_init",)


class BlobError(NetError, AssertionError):
    """A blob is not defined, or defined by several steps at once."""


class Analyzer:
    """Walks nets, steps and plans in the order in which they run: `Analyzer()(plan)`."""

    def __init__(self) -> None:
        self._scopes: list[set[str]] = [set()]

    @property
    def workspace(self) -> set[str]:
        """The blobs that exist where the walk is now."""
        return self._scopes[-1]

    def define_blob(self, blob: str) -> None:
        """Note that a blob exists."""
        self.workspace.add(blob)

    def need_blob(self, blob: str) -> None:
        """BlobError if a blob does not exist."""
        if not blob.startswith(_IGNORED) and blob not in self.workspace:
            raise BlobError(f"Blob undefined: {blob}")

    def __call__(self, obj: Any) -> None:
        """Walk; BlobError where something is wrong, UsageError for another kind of thing."""
        if isinstance(obj, OperatorDef):
            for blob in obj.input:
                self.need_blob(blob)
            self.workspace.update(obj.output)
        elif isinstance(obj, Net):
            for op in obj.Proto().op:
                self(op)
        elif isinstance(obj, ExecutionStep):
            self._step(obj)
        elif isinstance(obj, Plan):
            for step in obj.Steps():
                self._step(step)
        else:
            raise UsageError(f"cannot analyze a {type(obj).__name__}")

    @contextmanager
    def _copied(self, copied: bool) -> Iterator[set[str]]:
        self._scopes.append(set(self.workspace) if copied else self.workspace)
        try:
            yield self.workspace
        finally:
            self._scopes.pop()

    def _step(self, step: ExecutionStep) -> None:
        proto = step.Proto()
        nets = {net.Name(): net for net in step.Nets()}
        made: set[str] = set()
        with self._copied(proto.create_workspace):
            if proto.report_net:
                with self._copied(True):
                    self(nets[proto.report_net])
            for item in [*step.Substeps(), *(nets[name] for name in proto.network)]:
                with self._copied(proto.concurrent_substeps) as inside:
                    self(item)
                    if proto.should_stop_blob:
                        self.need_blob(proto.should_stop_blob)
                if proto.concurrent_substeps:
                    new = inside - self.workspace
                    if made & new:
                        raise BlobError(
                            "Error: Blobs created by multiple parallel steps: "
                            + ", ".join(sorted(made & new))
                        )
                    made |= new
        self.workspace.update(made)


def analyze(obj: Any) -> None:
    """Check a Net, an ExecutionStep or a Plan; BlobError where something is wrong."""
    Analyzer()(obj)
