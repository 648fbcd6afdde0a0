"""Questions that scripts ask of operators and nets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.paths import (
    Ssa,
    get_op_ids_in_path,
    get_output_producers,
    get_undefined_blobs,
    versions,
)
from caffe2py.proto.caffe2_pb2 import NetDef, TensorProto
from caffe2py.registry.lazy import load_lazy
from caffe2py.registry.operator import find

__all__ = [
    "DataType",
    "IsOperator",
    "IsOperatorWithEngine",
    "RefreshRegisteredOperators",
    "get_net_name",
    "get_op_ids_in_path",
    "get_output_producers",
    "get_ssa",
    "get_undefined_blobs",
    "output_to_list",
]


class DataType:
    """The numbers of data types, as Cast and ConstantFill take them."""

    UNDEFINED = TensorProto.UNDEFINED
    FLOAT = TensorProto.FLOAT
    INT32 = TensorProto.INT32
    BYTE = TensorProto.BYTE
    STRING = TensorProto.STRING
    BOOL = TensorProto.BOOL
    UINT8 = TensorProto.UINT8
    INT8 = TensorProto.INT8
    UINT16 = TensorProto.UINT16
    INT16 = TensorProto.INT16
    INT64 = TensorProto.INT64
    FLOAT16 = TensorProto.FLOAT16
    DOUBLE = TensorProto.DOUBLE
    ZERO_COLLISION_HASH = TensorProto.ZERO_COLLISION_HASH


def IsOperator(op_type: str) -> bool:
    """Whether there is an operator of this type."""
    return find(op_type) is not None


def IsOperatorWithEngine(op_type: str, engine: str) -> bool:
    """Whether the operator has an implementation of its own for this engine, on any device."""
    operator = find(op_type)
    wanted = "" if engine == "DEFAULT" else engine
    return operator is not None and any(name == wanted for _, name in operator.kernels)


def RefreshRegisteredOperators(trigger_lazy: bool = True) -> None:
    """Load the libraries that were registered for later; new operators are seen at once."""
    if trigger_lazy:
        load_lazy()


def get_net_name(netlike: Any) -> str:
    """The name of a Net, a NetDef, or the name itself."""
    if isinstance(netlike, Net):
        return netlike.Name()
    return netlike.name if isinstance(netlike, NetDef) else str(netlike)


def output_to_list(op_output: Any) -> list[Any]:
    """What an operator method returned, as a list of references."""
    if isinstance(op_output, list | tuple):
        return list(op_output)
    return [] if op_output is None else [op_output]


def get_ssa(net: Any, blob_versions: Mapping[str, int] | None = None) -> tuple[Ssa, dict[str, int]]:
    """For each operator its inputs and outputs as (blob, version), and the last version of each.

    `net` is a Net or a NetDef; versions count from `blob_versions`, or from 0.
    """
    proto = net.Proto() if isinstance(net, Net) else net
    if not isinstance(proto, NetDef):
        raise UsageError(f"expected a Net or a NetDef, found {net!r:.80}")
    return versions(proto, blob_versions or {})
