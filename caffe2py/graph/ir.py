"""A net as an SSA graph: each write makes a new version of a blob, with one maker and its users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from caffe2py.proto.caffe2_pb2 import OperatorDef


class OpSSA(NamedTuple):
    """One operator, and which versions of its inputs and outputs it reads and writes."""

    op: OperatorDef
    in_versions: dict[str, int]
    out_versions: dict[str, int]


class IR:
    """The versions of all blobs that a list of operators reads and writes.

    A blob's first version is 0, whether it comes from outside or its first write makes it. `ssa`
    has the operators in order, `frontier` the last version of each blob, and `input_usages[blob]
    [version]` the indices of the operators that read it, one entry for each time.
    """

    #: What the name of the gradient that a backward pass starts from ends in.
    AUTOGEN_GRAD_SUFFIX = "_autogen_grad"
    #: In the extra_info of operators that add up gradients: "is_auto_gen_sum_ops:1".
    IS_AUTO_GEN_SUM_OPS_TAG = "is_auto_gen_sum_ops"
    #: With this in an operator's extra_info ("...:1") such a sum has the tag above, and no device.
    ONLY_KEEP_IS_AUTO_GEN_SUM_OPS_TAG = "only_keep_is_auto_gen_sum_ops_tag"

    def __init__(self, operators: Iterable[OperatorDef]) -> None:
        self.ssa: list[OpSSA] = []
        self.frontier: dict[str, int] = {}
        self.input_usages: defaultdict[str, defaultdict[int, list[int]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._makers: dict[tuple[str, int], int] = {}
        for op in operators:
            self._play(op)

    def _play(self, op: OperatorDef) -> None:
        index = len(self.ssa)
        reads = {blob: self.frontier.setdefault(blob, 0) for blob in op.input}
        for blob in op.input:
            self.input_usages[blob][reads[blob]].append(index)
        writes: dict[str, int] = {}
        for blob in op.output:
            writes[blob] = self.frontier[blob] + 1 if blob in self.frontier else 0
            self.frontier[blob] = writes[blob]
            self._makers[blob, writes[blob]] = index
        self.ssa.append(OpSSA(op, reads, writes))

    def maker(self, blob: str, version: int) -> int | None:
        """The index of the operator that writes this version; None if it comes from outside."""
        return self._makers.get((blob, version))

    def users(self, blob: str, version: int) -> list[int]:
        """The indices of the operators that read this version, ascending."""
        if blob not in self.input_usages:
            return []
        return list(dict.fromkeys(self.input_usages[blob].get(version, ())))
