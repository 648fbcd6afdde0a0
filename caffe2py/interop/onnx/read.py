"""An ONNX model from a file, trusted in nothing: sizes, names and order are checked here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from caffe2py.errors import Error, ModelFormatError, NetError, UsageError
from caffe2py.interop.damage import damage_named
from caffe2py.interop.onnx.node import attribute_value
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.proto.analysis import MAX_NET_DEPTH
from caffe2py.proto.files import MAX_NAME, file_content

__all__ = ["MOST_NODES", "check_graph", "input_names", "read_model", "subgraphs"]

#: Nodes of a model, those of its inner graphs included.
MOST_NODES = 100_000


def read_model(source: Any) -> tuple[Any, Path | None]:
    """The ModelProto in a file, in bytes, or given as such; and the folder of the file.

    Raises FileError where the file cannot be read, ModelFormatError where it holds no ONNX model,
    NetError for a graph that is cyclic, reads what nothing makes, or is too large.
    """
    try:
        with damage_named():
            return _read_model(source)
    except Error as error:
        if isinstance(source, str | os.PathLike):
            error.with_where(os.fspath(source))
        raise


def _read_model(source: Any) -> tuple[Any, Path | None]:
    folder: Path | None = None
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        model, folder = _parsed(file_content(path)), path.absolute().parent
    elif isinstance(source, bytes | bytearray | memoryview):
        model = _parsed(bytes(source))
    elif isinstance(source, onnx_package().ModelProto):
        model = source
    else:
        raise UsageError(f"expected a path, bytes or a ModelProto, found {type(source).__name__}")
    _require_graph(model)
    check_graph(model.graph)
    return model, folder


def _parsed(data: bytes) -> Any:
    model = onnx_package().ModelProto()
    if not data:
        raise ModelFormatError("expected an ONNX model, found nothing (0 bytes)")
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelFormatError(
            f"expected an ONNX model, found {len(data)} bytes that are cut off, damaged or of "
            "another kind"
        ) from None
    return model


def _require_graph(model: Any) -> None:
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise ModelFormatError("expected an ONNX model, found a message without a graph")
    if not model.opset_import:
        raise ModelFormatError("the model does not say which opset it uses (opset_import)")


def input_names(model: Any) -> list[str]:
    """The inputs of a model that are no weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in weights]


def subgraphs(node: Any) -> Iterator[tuple[str, Any]]:
    """The graphs in the attributes of a node, with the names of these."""
    for attribute in node.attribute:
        field, value = attribute_value(attribute)
        if field == "g":
            yield attribute.name, value
        elif field == "graphs":
            for graph in value:
                yield attribute.name, graph


def check_graph(graph: Any) -> None:
    """Raise NetError for what does not make a graph, ModelFormatError for impossible names."""
    left = [MOST_NODES]
    _check(graph, frozenset(), 0, left)


def _check(graph: Any, outer: frozenset[str], depth: int, left: list[int]) -> None:
    if depth > MAX_NET_DEPTH:
        raise NetError(f"graphs are nested more than {MAX_NET_DEPTH} deep")
    left[0] -= len(graph.node)
    if left[0] < 0:
        raise NetError(f"the model has more than {MOST_NODES} nodes")
    made_by = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    given = [value.name for value in graph.input]
    weights = [tensor.name for tensor in graph.initializer]
    weights += [tensor.values.name for tensor in graph.sparse_initializer]
    _check_names([*given, *weights, *made_by])
    known = set(outer) | set(given) | set(weights)
    for index, node in enumerate(graph.node):
        _check_node(index, node, known, made_by)
        for _, inner in subgraphs(node):
            _check(inner, frozenset(known), depth + 1, left)
        known.update(name for name in node.output if name)
    for value in graph.output:
        if value.name not in known:
            raise NetError(f"nothing makes the graph's output '{value.name}'")


def _check_names(names: list[Any]) -> None:
    for name in names:
        if isinstance(name, bytes):
            raise ModelFormatError(f"the name {name!r:.60} is not UTF-8")
        if len(name) > MAX_NAME:
            raise ModelFormatError(f"a name of {len(name)} characters, {MAX_NAME} is the limit")


def _check_node(index: int, node: Any, known: set[str], made_by: dict[str, int]) -> None:
    label = f"node #{index} ({node.op_type or 'without a type'})"
    if not node.op_type:
        raise ModelFormatError(f"{label}: it has no operator")
    for name in node.input:
        if not name or name in known:
            continue
        if name in made_by:
            raise NetError(
                f"{label} reads '{name}', which node #{made_by[name]} makes only then: "
                "the graph is cyclic, or not in order"
            )
        raise NetError(f"{label} reads '{name}', which nothing makes")
    for name in node.output:
        if name and (name in known or made_by[name] != index):
            raise NetError(f"{label} makes '{name}', which is made twice")
