"""Fewer operators for the same results: a fully connected layer takes in the Relu behind it."""

from __future__ import annotations

from collections.abc import Collection

from caffe2py.executor.passes.flow import Flow, opaque, with_operators
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

_LAYERS = ("FC", "FCTransposed")


def fuse_layers(net: NetDef, keep: Collection[str] | None = None) -> NetDef:
    """The net with layers that limit their results themselves; the net itself if there are none.

    `keep` as for `optimize`.
    """
    if opaque(net):
        return net
    flow = Flow(net, keep)
    pairs: dict[int, int] = {}
    for index, op in enumerate(net.op):
        if op.type in _LAYERS and len(op.output) == 1 and len(op.input) == 3:
            relu = _taken_in(flow, index)
            if relu is not None:
                pairs[relu] = index
    made = with_operators(net, set(range(len(net.op))) - set(pairs.values()))
    if pairs:
        left = [index for index in range(len(net.op)) if index not in pairs.values()]
        for place, index in enumerate(left):
            if index in pairs:
                made.op[place].CopyFrom(_fused(net.op[pairs[index]], net.op[index]))
    return made


def _taken_in(flow: Flow, index: int) -> int | None:
    """The Relu that alone reads the layer's result, if the layer can be computed in its place."""
    ops = flow.net.op
    value = flow.rows[index][1][0]
    readers = flow.readers[value]
    if value in flow.observed or len(readers) != 1:
        return None
    layer, relu = ops[index], ops[readers[0]]
    if relu.type != "Relu" or layer.device_option != relu.device_option:
        return None
    inputs = set(layer.input)
    if relu.output[0] in inputs or inputs & flow.shared:
        return None
    between = {name for op in ops[index:][: readers[0] - index] for name in op.output}
    return None if inputs & between else readers[0]


def _fused(layer: OperatorDef, relu: OperatorDef) -> OperatorDef:
    made = OperatorDef()
    made.CopyFrom(layer)
    made.type = "FusedFC"
    made.name = f"{layer.name or layer.type} + {relu.name or relu.type}"
    made.output[0] = relu.output[0]
    if layer.type == "FCTransposed":
        made.arg.append(make_argument("transposed", 1))
    return made
