"""Whether a whole net is content with what it is granted, found out before any of it runs."""

from __future__ import annotations

from collections.abc import Iterator

from caffe2py.errors import Error, TrustError
from caffe2py.proto.analysis import nested_nets
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.operator import find
from caffe2py.registry.place import operator_place
from caffe2py.registry.trust import Trust

__all__ = ["refusals", "require_trusted"]


def refusals(net: NetDef, trust: Trust) -> Iterator[TrustError]:
    """An error for each operator, also of nets inside of operators, that needs what is not granted.

    Operators that cannot be bound anyhow are left to who binds them.
    """
    for index, op in enumerate(net.op):
        for inner in (op, *(o for nested, _ in nested_nets(op) for o in nested.op)):
            error = _refusal(inner, trust)
            if error is not None:
                yield error.with_where(operator_place(net.name, index, op))


def require_trusted(net: NetDef, trust: Trust) -> None:
    """Raise TrustError for the first of them."""
    for error in refusals(net, trust):
        raise error


def _refusal(op: OperatorDef, trust: Trust) -> TrustError | None:
    operator = find(op.type)
    if operator is None or operator.schema.need is None:
        return None
    try:
        args = operator.schema.verify(op)
        operator.schema.require(trust, args)
    except TrustError as error:
        return error
    except Error:
        return None
    return None
