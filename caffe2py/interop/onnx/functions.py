"""Operators that ONNX defines through others, and functions of a model: their bodies as nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.interop.onnx.tensors import number_of
from caffe2py.tensor.types import TensorType

__all__ = ["body_of", "inlined", "renamed_graph"]


def body_of(node: Node, types: Sequence[TensorType]) -> Any:
    """The FunctionProto by which ONNX defines an operator, None where there is none."""
    defs = onnx_package("defs")
    try:
        schema = defs.get_schema(node.op_type, node.opset, node.proto.domain)
    except Exception:  # its SchemaError is no public class: there is no such operator
        return None
    function = onnx_package().FunctionProto()
    if schema.has_function:
        function.CopyFrom(schema.function_body)
        return function
    if not schema.has_context_dependent_function or any(t.dtype is None for t in types):
        return None
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= node.opset]
    if not versions:
        return None
    described = [_type_proto(type_).SerializeToString() for type_ in types]
    data = schema.get_context_dependent_function_with_opset_version(
        max(versions), node.proto.SerializeToString(), described
    )
    function.ParseFromString(data)
    return function if function.node else None


def _type_proto(type_: TensorType) -> Any:
    made = onnx_package().TypeProto()
    made.tensor_type.elem_type = 0 if type_.dtype is None else number_of(type_.dtype)
    if type_.shape is not None:
        shape = made.tensor_type.shape
        shape.SetInParent()
        for dim in type_.shape:
            place = shape.dim.add()
            if dim is not None:
                place.dim_value = dim
    return made


def inlined(function: Any, node: Node, fresh: Callable[[str], str]) -> list[Any]:
    """The nodes of a function that take the place of one node; inner blobs have new names."""
    names = dict(zip(function.input, node.proto.input, strict=False))
    names |= dict.fromkeys(list(function.input)[len(node.proto.input) :], "")
    names |= {o: n for o, n in zip(function.output, node.proto.output, strict=False) if n}
    given = {a.name: a for a in function.attribute_proto}
    given |= {a.name: a for a in node.proto.attribute}
    return [_renamed(inner, names, given, fresh) for inner in function.node]


def _renamed(
    proto: Any, names: dict[str, str], given: Mapping[str, Any], fresh: Callable[[str], str]
) -> Any:
    made = onnx_package().NodeProto()
    made.CopyFrom(proto)
    made.input[:] = [names.get(name, name) for name in proto.input]
    for name in proto.output:
        if name and name not in names:
            names[name] = fresh(name)
    made.output[:] = [names.get(name, name) for name in proto.output]
    del made.attribute[:]
    for attribute in proto.attribute:
        source = attribute
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in given:
                continue  # the default of the inner operator holds
            source = given[attribute.ref_attr_name]
        copy = made.attribute.add()
        copy.CopyFrom(source)
        copy.name = attribute.name
        for graph in [copy.g] if copy.HasField("g") else copy.graphs:
            _rename_graph(graph, names, given, fresh)
    return made


def renamed_graph(graph: Any, names: Mapping[str, str], fresh: Callable[[str], str]) -> Any:
    """A graph within a node under new names; `names` are those that its inputs get."""
    made = onnx_package().GraphProto()
    made.CopyFrom(graph)
    for value in made.input:
        value.name = names.get(value.name, value.name)
    _rename_graph(made, names, {}, fresh, keep=set(names.values()))
    return made


def _rename_graph(
    graph: Any,
    outer: Mapping[str, str],
    given: Mapping[str, Any],
    fresh: Callable[[str], str],
    keep: Collection[str] = (),
) -> None:
    """Give a graph within a function the names of what it reads from outside."""
    names = dict(outer)
    for value in (*graph.input, *graph.initializer):
        if value.name in keep:
            continue
        names[value.name] = value.name = fresh(value.name)
    nodes = [_renamed(node, names, given, fresh) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in graph.output:
        value.name = names.get(value.name, value.name)
