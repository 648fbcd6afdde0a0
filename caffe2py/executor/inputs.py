"""What callers may give for a net, an operator, a plan or a blob, and the message or name it means.

Builders (Net, Plan, ExecutionStep) are known by their methods, for this side of the package does
not import the one that builds. Where a builder remembers which lines of the user's program made its
operators, the message returned is a copy that says so in `debug_info`, for error messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message

from caffe2py.errors import ModelFormatError, UsageError
from caffe2py.proto.caffe2_pb2 import ExecutionStep, NetDef, OperatorDef, PlanDef
from caffe2py.proto.files import read_net, read_net_or_plan
from caffe2py.registry.operator import takes_apart
from caffe2py.tensor.stored import StoredNet, read_stored_net


def blob_name(blob: Any) -> str:
    """The name in a str, bytes or BlobReference; UsageError for anything else."""
    try:
        if isinstance(blob, bytes):
            return blob.decode()
        if isinstance(blob, str) or hasattr(type(blob), "GetUnscopedName"):
            name = str(blob)
            name.encode()
            return name
    except UnicodeError as error:
        raise UsageError(f"a name must be text in UTF-8, found {blob!r:.80}: {error}") from None
    raise UsageError(f"Expected a string or BlobReference, found {blob!r:.80}")


def net_name(net: Any) -> str:
    """The name of a Net or NetDef, or the name itself."""
    if isinstance(net, NetDef):
        return net.name
    if hasattr(type(net), "Proto"):
        return str(net.Proto().name)
    return blob_name(net)


def stringify_proto(obj: Any) -> bytes:
    """The bytes of a message, of a builder's message, or the bytes (or text) themselves."""
    if isinstance(obj, str):
        return obj.encode()
    if isinstance(obj, bytes):
        return obj
    message = obj.Proto() if hasattr(type(obj), "Proto") else obj
    if not isinstance(message, Message):
        raise UsageError(f"expected a message, a builder or bytes, found {obj!r:.80}")
    return message.SerializeToString()


def as_net(net: Any) -> NetDef:
    """The NetDef of a Net, a NetDef, or the bytes of one.

    Raises ModelFormatError for other bytes, UsageError for anything else.
    """
    if hasattr(type(net), "Proto"):
        proto = net.Proto()
        if isinstance(proto, NetDef):
            return _with_lines(proto, _lines(net))
    if isinstance(net, NetDef | bytes):
        return read_net(net, allow_empty=True)
    raise UsageError(f"expected a Net, a NetDef or its bytes, found {net!r:.80}")


def as_stored_net(net: Any) -> StoredNet:
    """As as_net, for a net that is run once: long lists of floats may be arrays."""
    if isinstance(net, bytes):
        return read_stored_net(net, takes_apart, allow_empty=True)
    return StoredNet(as_net(net), {})


def as_operator(op: Any) -> OperatorDef:
    """The OperatorDef itself, or of its bytes; errors as as_net."""
    if isinstance(op, OperatorDef):
        return op
    if not isinstance(op, bytes):
        raise UsageError(f"expected an OperatorDef or its bytes, found {op!r:.80}")
    made = OperatorDef()
    try:
        made.ParseFromString(op)
    except DecodeError as error:
        raise ModelFormatError(f"not an OperatorDef: {error!s:.200}") from None
    return made


def as_plan(plan: Any) -> PlanDef:
    """The PlanDef of a Plan, a PlanDef, its bytes, or of an ExecutionStep with its nets.

    Errors as as_net.
    """
    if isinstance(plan, PlanDef):
        return plan
    if isinstance(plan, bytes):
        found = read_net_or_plan(plan)
        if isinstance(found, PlanDef):
            return found
        raise ModelFormatError(f"expected a PlanDef, found the net '{found.name}'")
    proto = plan.Proto() if hasattr(type(plan), "Proto") else None
    if isinstance(proto, PlanDef):
        lines = plan.operator_lines() if hasattr(plan, "operator_lines") else {}
        copy = PlanDef()
        copy.CopyFrom(proto)
        for net in copy.network:
            _set_lines(net, lines.get(net.name, ()))
        return copy
    if isinstance(proto, ExecutionStep):
        nets = [as_net(net) for net in plan.Nets()]
        return PlanDef(name=proto.name, network=nets, execution_step=[proto])
    raise UsageError(f"expected a Plan, a PlanDef, its bytes or a step, found {plan!r:.80}")


def _lines(net: Any) -> Sequence[str | None]:
    return net.operator_lines() if hasattr(type(net), "operator_lines") else ()


def _with_lines(proto: NetDef, lines: Sequence[str | None]) -> NetDef:
    if not any(lines):
        return proto
    copy = NetDef()
    copy.CopyFrom(proto)
    _set_lines(copy, lines)
    return copy


def _set_lines(net: NetDef, lines: Sequence[str | None]) -> None:
    for op, line in zip(net.op, lines, strict=False):
        if line and not op.debug_info:
            op.debug_info = line
