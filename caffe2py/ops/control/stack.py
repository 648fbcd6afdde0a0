"""The workspaces that Do makes, one on the other: what the forward pass leaves to the backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from caffe2py.errors import BlobTypeError, ValueRangeError
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.context import BoundNet, Call, Scope
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import fixed
from caffe2py.registry.operator import operator
from caffe2py.tensor.place import copy_into, device_of
from caffe2py.tensor.tensor import Array, Blob


class Frame:
    """One workspace, in which a Do runs its net, and later its gradient another one.

    Blobs outside are known in it under names of its own.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._lent: dict[str, Blob] = {}
        self._saved: dict[str, Blob] = {}
        self._nets: WeakKeyDictionary[Any, BoundNet] = WeakKeyDictionary()

    def show(self, blobs: Mapping[str, Blob]) -> None:
        """Let outer blobs be seen; a name that the workspace has made keeps its blob."""
        for name, blob in blobs.items():
            before = self._lent.get(name)
            if before is blob:
                continue
            if before is None and self._scope.find(name) is not None:
                continue
            self._lent[name] = blob
            self._nets.clear()
            if name not in self._saved:
                self._scope.lend(name, blob)

    def shows(self, blobs: Mapping[str, Blob]) -> bool:
        """Whether these outer blobs are seen under these names."""
        return all(self._lent.get(name) is blob for name, blob in blobs.items())

    def run(self, call: Call, net: NetDef) -> None:
        """Run an operator's net here."""
        bound = self._nets.get(call)
        if bound is None:
            bound = self._nets[call] = self._scope.bind(net)
        bound.run()

    def uncover(self) -> None:
        """Let outer blobs be seen again where copies were."""
        for name in self._saved:
            self._scope.lend(name, self._lent[name])

    def save(self, blobs: Mapping[str, Blob]) -> None:
        """Keep copies of what outer blobs hold now: later readers see these."""
        for name, blob in blobs.items():
            if blob.array is None:
                continue
            saved = self._saved.setdefault(name, Blob(name))
            _keep(saved, blob.array)
            self._scope.lend(name, saved)


def _keep(blob: Blob, array: Array) -> None:
    """Let a blob hold a copy of an array, where that is."""
    copy_into(blob.resize(array.shape, array.dtype, None, device_of(array)), array)
    blob.written()


class Stack:
    """Workspaces of forward runs; gradients take them from the top.

    What is no longer needed serves the same operator again, so that its net is bound once.
    """

    def __init__(self) -> None:
        self._frames: list[tuple[Call, Frame]] = []
        self._spare: WeakKeyDictionary[Any, list[Frame]] = WeakKeyDictionary()
        self._top = 0

    @property
    def empty(self) -> bool:
        """Whether no gradient can take a workspace."""
        return self._top == 0

    def clear(self) -> None:
        """Forget all workspaces."""
        self._top = 0

    def push(self, call: Call, blobs: Mapping[str, Blob]) -> Frame:
        """A workspace for a run of `call`, on top of the others."""
        for user, left in self._frames[self._top :]:
            self._spare.setdefault(user, []).append(left)
        del self._frames[self._top :]
        spare = self._spare.get(call, [])
        frame: Frame | None = spare.pop() if spare else None
        if frame is None or not frame.shows(blobs):
            spare.clear()
            frame = Frame(call.scope.apart())
            frame.show(blobs)
        frame.uncover()
        self._frames.append((call, frame))
        self._top += 1
        return frame

    def last(self) -> Frame:
        """The workspace on top."""
        return self._frames[self._top - 1][1]

    def pop(self) -> Frame:
        """The workspace on top, for a gradient; ValueRangeError if none is left."""
        if self.empty:
            raise ValueRangeError(
                "no workspace of a forward run is left: gradients have to run as often as Do"
            )
        self._top -= 1
        return self._frames[self._top][1]

    def __repr__(self) -> str:
        return f"Stack({self._top} workspaces)"


def stack_in(call: Call, value: Any, name: str) -> Stack:
    """The stack that a blob holds; BlobTypeError for anything else."""
    if not isinstance(value, Stack):
        held = "nothing" if value is None else type(value).__name__
        raise BlobTypeError(
            f"'{name}': expected workspaces from CreateScope, found {held}",
            hint="CreateScope before it",
        )
    return value


create_scope = operator(
    "CreateScope",
    " -> scope",
    gradient=NotDifferentiable("it makes a place for workspaces, no numbers"),
    doc="scope = an empty stack of workspaces, for Do.",
    example="""
    scope = no workspaces
    """,
)


def make_stack(call: Call) -> None:
    """A new stack, or the one of the last run, empty again."""
    blob = call.scope.find(call.output_blob(0))
    kept = call.kept.get("stack")
    if blob is not None and isinstance(kept, Stack) and blob.value is kept:
        kept.clear()
        return
    call.kept["stack"] = Stack()
    call.put(0, call.kept["stack"])


create_scope.cpu_dynamic()(make_stack)
create_scope.cuda_dynamic(make_stack)


has_scope = operator(
    "HasScope",
    "scope -> Y",
    infer=fixed("bool", (1,)),
    gradient=NotDifferentiable("it looks at workspaces, not at numbers"),
    doc="Y = [whether there is a workspace on the stack that no gradient has used yet], one bool.",
    example="""
    scope = two workspaces
    Y = [true]
    """,
)


def look_at_stack(call: Call) -> None:
    """One bool."""
    stack = stack_in(call, call.value(0), call.input_blob(0))
    call.outputs[0][...] = np.bool_(not stack.empty)


has_scope.cpu_dynamic()(look_at_stack)
has_scope.cuda_dynamic(look_at_stack, host_outputs=(0,))
