"""NetBuilder: a list of nets and blocks that grows as the script runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextvars import Token
from typing import Any, Self

from caffe2py.graph.naming import builder_prefix
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.jobs.context import JobError, Managed

__all__ = ["NetBuilder"]


class NetBuilder(Managed):
    """Nets, and blocks that hold nets, to be run one after the other.

    While it is open (`with NetBuilder() as builder:`) `ops.Relu(x)` adds to its current net, and
    names of nets begin with its name. `core.to_execution_step(builder)` makes a step of it, which
    the stop blob ends early. Blobs of `initial_scope` are known to its If and While operators.
    """

    def __init__(
        self,
        name: str | None = None,
        initial_scope: Iterable[Any] | None = None,
        _stop_blob_required: bool = False,
        _stop_blob: BlobReference | None = None,
        _fullname: str | None = None,
        _use_control_ops: bool = False,
    ) -> None:
        if name and _fullname:
            raise JobError("a builder has either a name or a full name, not both")
        if _use_control_ops and (_stop_blob_required or _stop_blob is not None):
            raise JobError("nets of control operators have no stop blob")
        parent: NetBuilder | None = NetBuilder.current(required=False)
        above = "" if parent is None else parent.name
        self.name: str = _fullname or "/".join(filter(None, [above, name]))
        self._outer = set() if parent is None else parent.known_blobs()
        self._outer.update(str(blob) for blob in initial_scope or ())
        self._stop_blob = _stop_blob
        self._stop_blob_required = _stop_blob_required
        self._use_control_ops = _use_control_ops
        self._children: list[Any] = []
        self._current_net: Net | None = None
        self._frozen = False
        self._tokens: list[Token[str]] = []

    def __str__(self) -> str:
        return self.name or "Un-named NetBuilder"

    def known_blobs(self) -> set[str]:
        """The names of the blobs that are there: from outside, and of the nets in it."""
        names = set(self._outer)
        for child in self._children:
            if isinstance(child, Net):
                names |= child.UsedBlobNames()
        return names

    def add(self, child: Any) -> Any:
        """Append a net, which becomes the current one, or a block or step. Returns it."""
        self._refuse_changes()
        if self._use_control_ops and not _is_net_like(child):
            raise JobError("inside of a control operator only nets and control operators fit")
        self._children.append(child)
        self._current_net = child if isinstance(child, Net) else None
        return child

    def current_net(self, name: str | None = None) -> Net:
        """The net that operators are added to; with a name, or if there is none, a new one."""
        self._refuse_changes()
        if self._current_net is None or name is not None:
            self.add(Net(name))
        assert self._current_net is not None
        return self._current_net

    def stop_blob(self) -> BlobReference:
        """The bool that ends the builder's step when it is true; made if there is none.

        It begins as false where it is first asked for. If that is not in the first net, then a net
        before all others does it too.
        """
        if self._use_control_ops:
            raise JobError("nets of control operators have no stop blob")
        if self._stop_blob is None:
            net = self.current_net()
            self._stop_blob = BlobReference(net.NextName("stop_blob"), net)
            net.Const(False, blob_out=self._stop_blob)
            if net is not self._children[0]:
                start = Net("stop_blob_init")
                start.Const(False, blob_out=self._stop_blob)
                self._children.insert(0, start)
        return self._stop_blob

    def stop_if(self, blob: Any) -> None:
        """End the step here if the bool `blob` is true."""
        stop_blob = self.stop_blob()
        self.current_net().Or([stop_blob, blob], [stop_blob])
        self._current_net = None  # the step looks at its stop blob between nets

    def stop(self) -> None:
        """End the step here."""
        self.stop_if(self.current_net().Const(True))

    def freeze(self) -> None:
        """Refuse changes from now on, also of the blocks in it."""
        for child in self._children:
            if isinstance(child, NetBuilder):
                child.freeze()
        self._current_net = None
        self._frozen = True

    def get(self) -> list[Any]:
        """The nets and blocks in it, which is frozen by that."""
        self.freeze()
        return self._children

    def finish(self) -> None:
        """What is left to do at the end of the `with` block, while it is still open."""
        if self._use_control_ops and self._children:
            self._children = [self.merge_nets(self._children, self._outer)]

    def __enter__(self) -> Self:
        super().__enter__()
        self._tokens.append(builder_prefix.set(self.name))
        return self

    def __exit__(self, kind: Any = None, *rest: Any) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            builder_prefix.reset(self._tokens.pop())
            super().__exit__(kind, *rest)
            self.freeze()
        if kind is None and self._stop_blob_required and self._stop_blob is None:
            raise JobError(f"'{self}' would never end", hint="ops.stop() or ops.stop_if(blob)")

    @staticmethod
    def merge_nets(nets_or_builders: Iterable[Any], outer_blob_names: Collection[str]) -> Any:
        """One net of all, the first with the others appended; None for none.

        Its external outputs are those that are named in `outer_blob_names`: what a nested block
        writes is for this net alone otherwise. JobError for a builder that is no single net.
        """
        merged: Net | None = None
        for net in map(_single_net, nets_or_builders):
            if merged is None:
                merged = net
            else:
                merged.AppendNet(net)
        if merged is not None:
            outputs = merged.Proto().external_output
            outputs[:] = [name for name in outputs if name in outer_blob_names]
        return merged

    def _refuse_changes(self) -> None:
        if self._frozen:
            raise JobError(f"NetBuilder '{self}' is finished, nothing can be added")

    def _take(self) -> Net | None:
        """One net of what is in it, which is empty then."""
        children, self._children, self._current_net = self._children, [], None
        merged: Net | None = self.merge_nets(children, self._outer)
        return merged


def _is_net_like(child: Any) -> bool:
    return isinstance(child, Net) or (isinstance(child, NetBuilder) and child._use_control_ops)


def _single_net(item: Any) -> Net:
    if isinstance(item, NetBuilder) and item._use_control_ops:
        nets = item.get()
        if len(nets) == 1:
            item = nets[0]
    if not isinstance(item, Net):
        raise JobError(f"expected a net or a control operator, found {item!r:.80}")
    return item
