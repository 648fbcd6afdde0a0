"""What operators with nets of their own need of those who build nets: backward passes and names."""

from __future__ import annotations

from collections.abc import Mapping

from caffe2py.graph.backward import backward_pass
from caffe2py.graph.naming import unique_net_name
from caffe2py.graph.reference import ScopedName
from caffe2py.graph.versions import Forward
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.gradient import GradientRef
from caffe2py.registry.operator import provide


class NestedNets:
    """The service "nested nets" of the registry."""

    @staticmethod
    def backward(
        net: NetDef, given: Mapping[str, str]
    ) -> tuple[list[OperatorDef], dict[str, GradientRef]]:
        """The backward operators of a net, from the gradients of its blobs; errors name the net."""
        made = backward_pass(Forward(list(net.op), net.name), given)
        return made.operators, made.gradients

    @staticmethod
    def unique_name(base: str) -> str:
        """A name that no other net of this process has."""
        return unique_net_name(base)

    @staticmethod
    def scoped(name: str) -> str:
        """The name of a blob in the current name scope."""
        return str(ScopedName(name))


provide("nested nets", NestedNets)
