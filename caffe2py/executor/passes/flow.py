"""Which operator of a net writes what the others read, and what is looked at from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from caffe2py.errors import Error
from caffe2py.proto.analysis import Versioned, nested_nets, ssa
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.operator import lookup
from caffe2py.tensor.device import Device

#: These make two blobs one memory, so that a write to one is a write to the other.
SHARING = ("Alias", "AliasWithName", "UnsafeCoalesce", "rnn_internal_apply_link")


def opaque(net: NetDef) -> bool:
    """Whether blobs may be read or written where only the operators know it."""
    return next(nested_nets(net), None) is not None or any(op.control_input for op in net.op)


class Flow:
    """The values of a net, each a blob's name with the number of writes it has seen.

    `rows` are inputs and outputs by operator, `readers` operators by value, `writers` by name.
    `results` are values that count after the net has run: those of the blobs in `keep` (None: all
    of them), of the outputs that the net declares, and of blobs that its next run reads again.
    `observed` are these and all values of `shared` blobs, which have one memory with others.
    """

    def __init__(self, net: NetDef, keep: Collection[str] | None) -> None:
        self.net = net
        self.rows = ssa(net)
        self.readers: dict[Versioned, list[int]] = defaultdict(list)
        self.writers: dict[str, list[int]] = defaultdict(list)
        final: dict[str, Versioned] = {}
        for index, (inputs, outputs) in enumerate(self.rows):
            for value in inputs:
                self.readers[value].append(index)
            for value in outputs:
                self.writers[value[0]].append(index)
                final[value[0]] = value
        again = {name for name in final if self.readers.get((name, 0))}
        looked_at = set(final) if keep is None else {*keep, *net.external_output, *again}
        self.results = {value for name, value in final.items() if name in looked_at}
        sharing = [op for op in net.op if op.type in SHARING]
        self.shared = {name for op in sharing for name in (*op.input, *op.output)}
        values = (value for row in self.rows for part in row for value in part)
        self.observed = self.results | {value for value in values if value[0] in self.shared}

    def unused(self, value: Versioned) -> bool:
        """Whether nobody reads or looks at a value."""
        return value not in self.observed and not self.readers.get(value)


def pure(net: NetDef, op: OperatorDef) -> bool:
    """Whether an operator does nothing but compute its outputs, as far as is declared.

    What runs as Python every time may do anything, unless it says which inputs decide.
    """
    holder = op if op.HasField("device_option") else net
    device = Device()
    if holder.HasField("device_option"):
        device = Device.from_option(holder.device_option)
    try:
        kernel = lookup(op.type).kernel(device, op.engine)
    except Error:
        return False
    return kernel.reads is not None or not kernel.dynamic(op)


def in_place_only(op: OperatorDef) -> bool:
    """Whether some input must also be an output, or that is not known."""
    try:
        return bool(lookup(op.type).schema.enforced)
    except Error:
        return True


def with_operators(net: NetDef, kept: Collection[int]) -> NetDef:
    """The net with some of its operators only; the net itself if these are all."""
    if len(kept) == len(net.op):
        return net
    made = NetDef()
    made.CopyFrom(net)
    del made.op[:]
    made.op.extend(op for index, op in enumerate(net.op) if index in kept)
    return made
