"""If and Loop: graphs within nodes as nets within operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table
from caffe2py.interop.onnx.tensors import dtype_of
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.types import UNKNOWN, TensorType

__all__ = ["RULES"]

RULES = Table()


def _read(nets: list[NetDef], own: set[str]) -> list[str]:
    """What nets take from outside, besides their own inputs."""
    found: dict[str, None] = {}
    for net in nets:
        made = set(own)
        for op in net.op:
            found |= {name: None for name in op.input if name not in made}
            made.update(op.output)
    return list(found)


@RULES("If")
def branch(g: Emitter, n: Node) -> None:
    """If, whose nets write the outputs of the node."""
    count = sum(1 for name in n.outputs if name)
    fixed = g.constant(n.input(0))
    if fixed is not None:  # only one branch ever runs
        graph = n.graph("then_branch" if bool(fixed.reshape(-1)[0]) else "else_branch")
        made = g.graph(graph, {})
        for source, out in zip(made, n.outputs, strict=False):
            if out:
                g.alias(source, out)
        return
    nets, types = [], []
    for name in ("then_branch", "else_branch"):
        with g.inner() as ops:
            made = g.graph(n.graph(name), {})
            if len(made) != count:
                n.fail(f"{name} has {len(made)} outputs, the node {count}")
            types.append([g.type(one) for one in made])
            for source, out in zip(made, n.outputs, strict=True):
                g.alias(source, out)
            nets.append(NetDef(name=g.fresh(name), op=ops))
    inputs = [n.input(0), *_read(nets, set())]
    g.emit_all("If", inputs, n.outputs, then_net=nets[0], else_net=nets[1])
    for out, one, other in zip(n.outputs, *types, strict=True):
        same = one.dtype == other.dtype
        shape = one.shape if one.shape == other.shape else None
        g.walk.types[out] = TensorType(one.dtype if same else None, shape)


@RULES("Loop")
def loop(g: Emitter, n: Node) -> None:
    """ONNXWhile; collected values get the axis along which they are joined."""
    graph = n.graph("body")
    trips, condition = n.maybe_input(0), n.maybe_input(1)
    carried = [n.input(k) for k in range(2, len(n.inputs))]
    if len(graph.input) != len(carried) + 2:
        n.fail(f"the body has {len(graph.input)} inputs for {len(carried)} carried values")
    with g.inner() as ops:
        types = [TensorType(np.dtype(np.int64), ()), TensorType(np.dtype(np.bool_), ())]
        types += [_carried(g, name, value) for name, value in
                  zip(carried, list(graph.input)[2:], strict=True)]  # fmt: skip
        names = [g.fresh(value.name) for value in graph.input]
        for name, type_ in zip(names, types, strict=True):
            g.walk.types[name] = type_
        bound = {v.name: name for v, name in zip(graph.input, names, strict=True)}
        made = g.graph(graph, bound)
        kinds = [g.type(name) for name in made]
        last = len(carried) + 1
        made = [g.emit("Copy", name) for name in made[:last]] + [
            g.emit("ExpandDims", name, dims=[0]) for name in made[last:]
        ]
        body = NetDef(name=g.fresh("body"), op=ops)
    body.external_input.extend([*names, *_read([body], set(names))])
    body.external_output.extend(made)
    outputs = [name or g.fresh("unused") for name in n.outputs]
    outputs += [g.fresh("unused") for _ in made[len(outputs) + 1 :]]
    given = [
        trips or g.const(0, np.int64),
        condition or g.const(True, np.bool_),
        *(g.emit("Copy", name) for name in carried),
    ]
    outer = _read([body], set(names))
    body.external_input[:] = names
    g.emit_all(
        "ONNXWhile",
        [*given, *outer],
        outputs,
        body=body,
        has_trip_count=int(trips is not None),
        has_cond=int(condition is not None),
        num_loop_carried_deps=len(carried),
    )
    for out, kind in zip(outputs, kinds[1:], strict=True):
        g.walk.types[out] = TensorType(kind.dtype, None)


def _carried(g: Emitter, name: str, value: Any) -> TensorType:
    """What is known of a carried value in every round: its element type, and what is declared."""
    declared = value.type.tensor_type
    dtype = dtype_of(declared.elem_type) if declared.elem_type else g.type(name).dtype
    before = g.type(name)
    if value.type.WhichOneof("value") not in (None, "tensor_type"):
        return UNKNOWN
    shape = None
    if declared.HasField("shape"):
        dims = declared.shape.dim
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    elif before.shape == ():
        shape = ()
    return TensorType(dtype, shape)
