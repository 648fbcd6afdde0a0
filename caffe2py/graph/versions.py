"""What a backward pass may read: blobs in the versions that the forward operators left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import NetError
from caffe2py.graph.ir import IR, OpSSA
from caffe2py.graph.rules import names_of
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.gradient import Gradient, GradientRef, GradientSlice
from caffe2py.registry.place import operator_place


@dataclass(frozen=True)
class Forward:
    """The operators to walk through, and what messages say of them.

    `net` is the name of their net, `first` the index of the first of them in it, and `lines` where
    the user's program created each.
    """

    operators: Sequence[OperatorDef]
    net: str = ""
    first: int = 0
    lines: Sequence[str | None] = ()

    def place(self, index: int) -> str:
        """An operator as messages name it: "op #3 FC 'name' (built at train.py:12)"."""
        op = OperatorDef(type=self.operators[index].type, name=self.operators[index].name)
        op.debug_info = self.operators[index].debug_info or self.line(index) or ""
        return operator_place("", index + self.first, op)

    def line(self, index: int) -> str | None:
        """Where the user's program created an operator, if known."""
        return self.lines[index] if index < len(self.lines) else None


class Versions:
    """The blobs of the forward operators, and what the backward pass has written over."""

    def __init__(self, forward: Forward, ir: IR) -> None:
        self.forward = forward
        self.ir = ir
        self._overwritten: dict[str, str] = {}

    def written(self, ops: Sequence[OperatorDef]) -> None:
        """Note what backward operators write."""
        for op in ops:
            for name in op.output:
                if name in self.ir.frontier:
                    self._overwritten.setdefault(name, op.type)

    def check_reads(
        self, row: OpSSA, group: Sequence[OperatorDef], output_grads: Sequence[GradientRef]
    ) -> None:
        """Every blob that a backward operator reads must be what it was at the operator."""
        local = {name for gradient in output_grads for name in names_of(gradient)}
        for op in group:
            for name in op.input:
                if name in local:
                    continue
                if name not in row.in_versions and name not in row.out_versions:
                    raise NetError(
                        f"its gradient {op.type} reads '{name}', which is neither an input nor an "
                        "output, nor the gradient of one"
                    )
                self._check_read(row, op.type, name)
            local.update(op.output)

    def check_slices(self, row: OpSSA, group: Sequence[OperatorDef], found: Gradient) -> None:
        """So must the indices that become a part of a sparse gradient."""
        made = {name for op in group for name in op.output}
        for gradient in found.input_grads:
            for name in gradient if isinstance(gradient, GradientSlice) else ():
                if name not in made and name in row.in_versions:
                    self._check_read(row, "slice", name)

    def _check_read(self, row: OpSSA, reader: str, name: str) -> None:
        """Refuse a version that another operator has overwritten; `reader` is what reads it."""
        version = row.out_versions.get(name, row.in_versions.get(name, 0))
        if version != self.ir.frontier[name]:
            later = self.ir.maker(name, version + 1)
            by = "another operator" if later is None else self.forward.place(later)
            raise NetError(
                f"its gradient {reader} reads '{name}' in version {version}, which {by} "
                f"has overwritten; {self.history(name)}",
                hint=f"another name for what {by.partition(' (')[0]} writes",
            )
        if name in self._overwritten:
            raise NetError(
                f"its gradient {reader} reads '{name}', which {self._overwritten[name]} of "
                "the backward pass has overwritten by then",
                hint="a name that does not end in _grad",
            )

    def history(self, blob: str) -> str:
        """All versions of a blob: "version 0 from op #1 FC, read by op #2 Relu; version 1 ..."."""
        parts = []
        for version in range(self.ir.frontier[blob] + 1):
            maker = self.ir.maker(blob, version)
            origin = "outside" if maker is None else self.forward.place(maker)
            users = [self.forward.place(user) for user in self.ir.users(blob, version)]
            readers = f", read by {', '.join(users)}" if users else ", not read"
            parts.append(f"version {version} from {origin}{readers}")
        return f"'{blob}' has {'; '.join(parts)}"
