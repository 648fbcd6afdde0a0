"""Blocks that are execution steps: loops, branches, and a guard that tells who stopped."""

from __future__ import annotations

from typing import Any, Self

from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.jobs.builder import NetBuilder
from caffe2py.jobs.context import JobError

__all__ = ["Branch", "Loop", "Once", "StopGuard"]


def _here() -> Net:
    """The net that operators are added to now."""
    net: Net = NetBuilder.current().current_net()
    return net


class Once(NetBuilder):
    """A block that runs once, although it has a stop blob: at its end it stops itself."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)

    def finish(self) -> None:
        """Stop, if anything in the block may."""
        if self._stop_blob is not None:
            self.stop()
        super().finish()


class StopGuard(Once):
    """A block that runs once and writes down whether it was stopped before its end."""

    def __init__(self, has_stopped_blob: Any = None, name: str | None = None) -> None:
        super().__init__(name)
        self._stopped = has_stopped_blob
        self._is_complete = False

    def __enter__(self) -> Self:
        super().__enter__()
        self._stopped = self.current_net().Const(True, blob_out=self._stopped)
        return self

    def finish(self) -> None:
        """Who comes this far was not stopped."""
        self.current_net().Const(False, blob_out=self._stopped)
        self._is_complete = True
        super().finish()

    def has_stopped(self) -> BlobReference:
        """The bool that tells it, for use after the block."""
        if not self._is_complete:
            raise JobError("has_stopped() is known after the block only")
        blob: BlobReference = self._stopped
        return blob


class Loop(NetBuilder):
    """A block that runs until it is stopped, or `iters` times: a number, or a blob with one."""

    def __init__(self, iters: Any = None, name: str | None = None) -> None:
        super().__init__(name, _stop_blob_required=True)
        self._limit: BlobReference | None = None
        if iters is not None:
            self._one = _here().Const(1)
            self._count = _here().Const(0)
            self._limit = iters if isinstance(iters, BlobReference) else _here().Const(iters)

    def iter(self) -> BlobReference:
        """How many rounds are complete: 0, 1, ...; JobError for a loop without a number."""
        if self._limit is None:
            raise JobError("this loop does not count, for it has no number of rounds")
        return self._count

    def __enter__(self) -> Self:
        super().__enter__()
        if self._limit is not None:
            self.stop_if(self.current_net().GE([self._count, self._limit]))
        return self

    def finish(self) -> None:
        """Count the round."""
        if self._limit is not None:
            self.current_net().Add([self._count, self._one], [self._count])
        super().finish()


class Branch(Once):
    """A block that runs if a bool is true, and in a chain, if no branch before it ran.

    with ops.If(condition) as branch: ...
    with branch.Elif(other) as branch: ...
    with branch.Else(): ...
    """

    def __init__(
        self, cond: Any = None, name: str | None = None, taken: BlobReference | None = None
    ) -> None:
        super().__init__(name)
        if cond is None and taken is None:
            raise JobError("If needs a condition")
        self._is_last = cond is None
        skip = taken if cond is None else _here().Not(cond)
        if taken is None:
            taken = _here().Const(False)
        elif cond is not None:
            skip = _here().Or([taken, skip])
        self._skip, self._taken = skip, taken

    def __enter__(self) -> Self:
        super().__enter__()
        self.stop_if(self._skip)
        self.current_net().Const(True, blob_out=self._taken)
        return self

    def Elif(self, cond: Any, name: str | None = None) -> Branch:
        """The branch if no one before ran and `cond` is true."""
        return self._next(cond, name)

    def Else(self, name: str | None = None) -> Branch:
        """The branch if no one before ran."""
        return self._next(None, name)

    def _next(self, cond: Any, name: str | None) -> Branch:
        if self._is_last:
            raise JobError("nothing can follow an Else")
        branch: Branch = NetBuilder.current().add(Branch(cond, name or self.name, self._taken))
        return branch
