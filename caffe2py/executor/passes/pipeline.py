"""All passes over a net, in the order in which one helps the next."""

from __future__ import annotations

from collections.abc import Collection

from caffe2py.executor.passes.convolutions import fuse_convolutions
from caffe2py.executor.passes.dead import drop_copies, drop_unused
from caffe2py.executor.passes.layers import fuse_layers
from caffe2py.proto.caffe2_pb2 import NetDef

#: Copies hide from each other what belongs together, so they go before anything is fused.
_PASSES = (drop_unused, drop_copies, fuse_convolutions, fuse_layers)


def optimize(net: NetDef, keep: Collection[str] | None = None) -> NetDef:
    """A net with the same results in less time; the net itself where nothing can be gained.

    `keep` are the blobs that are looked at afterwards, besides those that the net declares as its
    outputs; None: all of them.
    """
    for shorten in _PASSES:
        net = shorten(net, keep)
    return net
