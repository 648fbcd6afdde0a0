"""Fewer operators for the same results: Conv and what follows it in a row become FusedConv.

A NetDef goes in and another comes out; weights are not looked at. Blobs that somebody may look at
hold afterwards what they would have held, so nothing changes but the time it takes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from caffe2py.executor.passes.flow import Flow, opaque
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

_CONVOLUTIONS = ("Conv", "Conv2D")

#: What may follow a convolution, in this order, each at most once.
_ORDER = {"SpatialBN": 0, "AffineChannel": 0, "Sum": 1, "Relu": 2}


def fuse_convolutions(net: NetDef, keep: Collection[str] | None = None) -> NetDef:
    """The net with convolutions that take in what follows them; the net itself if there are none.

    `keep` are the blobs that are looked at afterwards, besides those that the net declares as its
    outputs; None: all of them.
    """
    if opaque(net):
        return net
    chains = _Chains(net, keep).find()
    if not chains:
        return net
    last = {chain.members[-1]: chain for chain in chains}
    gone = {index for chain in chains for index in chain.members}
    fused = NetDef()
    fused.CopyFrom(net)
    del fused.op[:]
    for index, op in enumerate(net.op):
        if index in last:
            fused.op.append(last[index].operator(net))
        elif index not in gone:
            fused.op.append(op)
    return fused


@dataclass(frozen=True)
class _Chain:
    """The indices of a convolution and of what it takes in, and which input of the Sum is added."""

    members: tuple[int, ...]
    added: str | None

    def operator(self, net: NetDef) -> OperatorDef:
        """The one operator that stands for them."""
        convolution, *others = (net.op[index] for index in self.members)
        types = {op.type: op for op in others}
        made = OperatorDef()
        made.CopyFrom(convolution)
        made.type = "FusedConv"
        made.name = " + ".join(op.name or op.type for op in (convolution, *others))
        del made.output[:]
        made.output.append(net.op[self.members[-1]].output[0])
        flags = {"bias": len(convolution.input) > 2, "relu": "Relu" in types}
        if "SpatialBN" in types:
            norm = types["SpatialBN"]
            made.input.extend(norm.input[1:5])
            flags["norm"] = True
            made.arg.extend(arg for arg in norm.arg if arg.name == "epsilon")
        if "AffineChannel" in types:
            made.input.extend(types["AffineChannel"].input[1:3])
            flags["affine"] = True
        if self.added is not None:
            made.input.append(self.added)
            flags["sum"] = True
        made.arg.extend(make_argument(name, int(on)) for name, on in flags.items() if on)
        return made


class _Chains:
    """Looks for convolutions whose results go only where they can be taken in."""

    def __init__(self, net: NetDef, keep: Collection[str] | None) -> None:
        flow = Flow(net, keep)
        self.net, self.rows, self.observed = net, flow.rows, flow.observed
        self.readers, self.writers = flow.readers, flow.writers
        self.taken: set[int] = set()

    def find(self) -> list[_Chain]:
        """All chains, none of which shares an operator with another."""
        chains = []
        for index, op in enumerate(self.net.op):
            if op.type not in _CONVOLUTIONS or len(op.output) != 1:
                continue
            chain = self._from(index)
            while len(chain.members) > 1 and not self._can_move(chain):
                chain = self._shorter(chain)
            if len(chain.members) > 1:
                self.taken.update(chain.members)
                chains.append(chain)
        return chains

    def _from(self, start: int) -> _Chain:
        members, added, place = [start], None, -1
        while True:
            value = self.rows[members[-1]][1][0]
            readers = self.readers[value]
            if value in self.observed or len(readers) != 1:
                break
            op = self.net.op[readers[0]]
            order = _ORDER.get(op.type, -1)
            if order <= place or readers[0] in self.taken or not self._fits(start, op, value[0]):
                break
            if op.type == "Sum":
                added = op.input[1] if op.input[0] == value[0] else op.input[0]
            members.append(readers[0])
            place = order
        return _Chain(tuple(members), added)

    def _fits(self, start: int, op: OperatorDef, blob: str) -> bool:
        """Whether the operator is of a form that can be taken in."""
        args = {arg.name: arg for arg in op.arg}
        if op.device_option != self.net.op[start].device_option or len(op.output) != 1:
            return False
        if op.type == "Sum":
            return len(op.input) == 2 and op.input[0] != op.input[1]
        if op.type in ("SpatialBN", "AffineChannel"):
            order = [a.s for a in self.net.op[start].arg if a.name == "order"]
            same = [a.s for a in op.arg if a.name == "order"]
            if (order or [b"NCHW"]) != (same or [b"NCHW"]) or op.input[0] != blob:
                return False
            if op.type == "AffineChannel":
                return len(op.input) == 3
            return "is_test" in args and args["is_test"].i == 1 and len(op.input) == 5
        return len(op.input) == 1 and op.input[0] == blob

    def _can_move(self, chain: _Chain) -> bool:
        """Whether what the members read is still there at the last one, which is where they go."""
        last, inner = chain.members[-1], set(chain.members)
        made = {self.rows[index][1][0] for index in chain.members[:-1]}
        output = self.net.op[last].output[0]
        for index in chain.members:
            for value in self.rows[index][0]:
                if value in made:
                    continue
                later = (w for w in self.writers[value[0]] if index <= w <= last)
                if value[0] == output or any(w not in inner for w in later):
                    return False
                if any(w in inner for w in self.writers[value[0]] if w < last):
                    return False
        return True

    def _shorter(self, chain: _Chain) -> _Chain:
        gone = self.net.op[chain.members[-1]]
        return _Chain(chain.members[:-1], None if gone.type == "Sum" else chain.added)
