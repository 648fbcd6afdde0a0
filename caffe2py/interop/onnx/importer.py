"""An ONNX model as two nets: one that makes the weights, one that computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe2py.errors import DTypeError, Error, NetError, SchemaError, UnsupportedError
from caffe2py.interop.damage import damage_named
from caffe2py.interop.onnx.emitter import Emitter, VariesError
from caffe2py.interop.onnx.functions import body_of, inlined, renamed_graph
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.read import MOST_NODES, read_model
from caffe2py.interop.onnx.rules import RULES
from caffe2py.interop.onnx.tensors import array_of, dtype_of
from caffe2py.interop.weights import weights_net
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType

__all__ = ["Imported", "import_model"]

#: The versions of ONNX's operators whose meaning the rules know.
OLDEST_OPSET, NEWEST_OPSET = 1, 28

_DEFAULT = ("", "ai.onnx")
_MOST_DEPTH = 16  # functions that call functions
_SHOWN = 12


@dataclass(frozen=True)
class Imported:
    """The nets of a model. `inputs` are the blobs to feed, with what the model says of them."""

    predict: NetDef
    inputs: Mapping[str, TensorType]
    outputs: tuple[str, ...]
    weights: Mapping[str, Array]

    @cached_property
    def init(self) -> NetDef:
        """The net that makes the weights."""
        return weights_net(f"{self.predict.name}_init", self.weights)


def import_model(
    source: Any,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    values: Mapping[str, Array] | None = None,
    folder: Path | None = None,
) -> Imported:
    """Translate the model in a file, in bytes, or given as a ModelProto.

    `shapes` are those of inputs that the model leaves open; some operators need them. `values` are
    inputs that are fixed: they become weights. External data are read from the folder of the file
    (`folder`, where there is no file). Needs the operators: `import caffe2py.core`.

    Raises UnsupportedError that lists every node without counterpart, VariesError if nothing is
    missing but the values of some inputs; FileError,
    ModelFormatError, NetError and SchemaError for a model that is no model.
    """
    with damage_named():
        model, found = read_model(source)
        return _imported(model, shapes or {}, values or {}, found or folder)


def _imported(
    model: Any,
    shapes: Mapping[str, Sequence[int]],
    values: Mapping[str, Array],
    folder: Path | None,
) -> Imported:
    opsets = _versions(model)
    opset = opsets.get("", NEWEST_OPSET)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UnsupportedError(
            f"the model uses opset {opset} of ONNX, known are {OLDEST_OPSET} to {NEWEST_OPSET}"
        )
    graph = model.graph
    emitter = Emitter(graph.name or "onnx", _hints(graph))
    emitter.taken.update(_all_names(graph))
    _add_weights(emitter, graph, folder)
    for name, array in values.items():
        emitter.add_weight(name, np.asarray(array))
    _add_inputs(emitter, graph, shapes)
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    translation = Translation(emitter, opsets | {"": opset}, functions)
    translation.nodes(graph.node)
    translation.finish()
    outputs = [value.name for value in graph.output]
    predict = emitter.net(outputs)
    used = set(predict.external_input) | set(outputs)
    weights = {name: array for name, array in emitter.weights.items() if name in used}
    types = {name: emitter.walk.types[name] for name in emitter.inputs}
    return Imported(predict, types, tuple(outputs), weights)


def _versions(owner: Any) -> dict[str, int]:
    """The version of each domain that a model or a function uses; ONNX's own is ""."""
    return {"" if e.domain in _DEFAULT else e.domain: e.version for e in owner.opset_import}


def _all_names(graph: Any) -> set[str]:
    """Every name of the graph, so that no new blob gets one of them."""
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    return names | {value.name for value in (*graph.input, *graph.initializer, *graph.output)}


def _add_weights(emitter: Emitter, graph: Any, folder: Path | None) -> None:
    for tensor in graph.initializer:
        if not tensor.name:
            raise NetError("an initializer has no name")
        emitter.add_weight(tensor.name, array_of(tensor, folder))
    if graph.sparse_initializer:
        raise UnsupportedError("sparse initializers have no counterpart")


def _add_inputs(emitter: Emitter, graph: Any, shapes: Mapping[str, Sequence[int]]) -> None:
    for value in graph.input:
        if value.name in emitter.weights:
            continue  # files of the first versions list weights among the inputs
        type_ = _type_of(value)
        if value.name in shapes:
            type_ = _merged(value.name, type_, tuple(shapes[value.name]))
        emitter.add_input(value.name, type_)
    unknown = [name for name in shapes if name not in emitter.inputs]
    if unknown:
        raise NetError(f"the model has no input '{unknown[0]}'; it has {emitter.inputs}")


def _merged(name: str, type_: TensorType, shape: tuple[int, ...]) -> TensorType:
    said = type_.shape
    fits = said is None or len(said) == len(shape)
    if said is not None and fits:
        fits = all(a is None or a == b for a, b in zip(said, shape, strict=True))
    if not fits:
        raise NetError(f"input '{name}' is {type_} in the model, and the shape given is {shape}")
    return type_.with_shape(shape)


def _type_of(value: Any) -> TensorType:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        what = "of no type" if kind is None else f"a {kind.removesuffix('_type')}"
        raise UnsupportedError(f"input '{value.name}' is {what}, not a tensor")
    return _tensor_type(value.type.tensor_type)


def _tensor_type(type_: Any) -> TensorType:
    dtype = dtype_of(type_.elem_type) if type_.elem_type else None
    if not type_.HasField("shape"):
        return TensorType(dtype, None)
    dims = type_.shape.dim
    return TensorType(
        dtype,
        tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in dims),
    )


def _hints(graph: Any) -> dict[str, TensorType]:
    """What the file says of the blobs between, where that can be used."""
    found = {}
    for value in (*graph.value_info, *graph.output):
        if value.type.WhichOneof("value") == "tensor_type":
            try:
                found[value.name] = _tensor_type(value.type.tensor_type)
            except UnsupportedError:
                continue  # the node that makes it will say so
    return found


class Translation:
    """Translates nodes one by one and remembers those that it cannot."""

    def __init__(
        self,
        emitter: Emitter,
        opsets: Mapping[str, int],
        functions: Mapping[tuple[str, str, str], Any],
    ) -> None:
        self.emitter = emitter
        self.opsets = dict(opsets)
        self.functions = functions
        self.failures: list[str] = []
        self._varying: dict[str, None] = {}
        self._unknown: set[str] = set()
        emitter.graph = self._graph
        self._final = False  # whether more than values is missing
        self._left = MOST_NODES

    def nodes(self, protos: Any) -> None:
        """Translate nodes in order."""
        for index, proto in enumerate(protos):
            domain = "" if proto.domain in _DEFAULT else proto.domain
            node = Node(proto, index, self.opsets.get(domain, 1))
            try:
                self._node(node, self.opsets, 0)
            except VariesError as error:
                self._failed(node, str(error))
                self._varying |= dict.fromkeys(error.inputs)
            except UnsupportedError as error:
                self._failed(node, str(error))
                self._final = True
            except DTypeError as error:
                self._failed(node, str(error))
                self._final = True
            except Error as error:
                raise error.with_where(node.label) from None

    def _graph(self, graph: Any, bound: Mapping[str, str]) -> list[str]:
        """Translate a graph within a node, under names of its own; the names of its outputs."""
        inner = renamed_graph(graph, bound, self.emitter.fresh)
        for tensor in inner.initializer:
            self.emitter.add_weight(tensor.name, array_of(tensor))
        for index, proto in enumerate(inner.node):
            domain = "" if proto.domain in _DEFAULT else proto.domain
            node = Node(proto, index, self.opsets.get(domain, 1))
            try:
                self._node(node, self.opsets, 0)
            except Error as error:
                raise error.with_where(f"{node.label} of '{graph.name}'") from None
        return [value.name for value in inner.output]

    def finish(self) -> None:
        """Raise UnsupportedError if anything could not be translated."""
        if not self.failures:
            return
        shown = "; ".join(self.failures[:_SHOWN])
        more = len(self.failures) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        message = f"{len(self.failures)} node(s) have no counterpart: {shown}{rest}"
        if self._final or not self._varying:
            raise UnsupportedError(message)
        raise VariesError(message, list(self._varying))

    def _failed(self, node: Node, reason: str) -> None:
        self._unknown.update(node.outputs)
        self.failures.append(f"{node.label}: {reason}")

    def _node(self, node: Node, opsets: Mapping[str, int], depth: int) -> None:
        if self._unknown.intersection(name for name in node.inputs if name) and self._rule(node):
            self._unknown.update(node.outputs)  # the cause has been reported
            return
        domain = node.proto.domain
        rule = RULES.get(node.op_type) if domain in _DEFAULT else None
        if rule is None:
            self._function(node, opsets, depth)
            return
        try:
            rule(self.emitter, node)
        except (IndexError, ValueError, ZeroDivisionError) as error:
            # rules read lists and shapes as if they fitted; only a damaged model's do not
            raise SchemaError(
                f"its attributes and inputs do not fit each other: {error}"
            ) from error

    def _rule(self, node: Node) -> bool:
        return node.proto.domain in _DEFAULT and node.op_type in RULES

    def _function(self, node: Node, opsets: Mapping[str, int], depth: int) -> None:
        """Translate the nodes by which an operator is defined, in its place."""
        key = (node.proto.domain, node.op_type, node.proto.overload)
        function = self.functions.get(key)
        if function is None and node.proto.domain in _DEFAULT:
            types = [self.emitter.type(n) if n else UNKNOWN for n in node.inputs]
            function = body_of(node, types)
        if function is None:
            domain = f" of the domain '{node.proto.domain}'" if node.proto.domain else ""
            node.fail(f"there is no translation for {node.op_type}{domain}, opset {node.opset}")
        if depth >= _MOST_DEPTH:
            raise NetError(f"functions call each other more than {_MOST_DEPTH} deep")
        inner = dict(opsets) | _versions(function)
        protos = inlined(function, node, self.emitter.fresh)
        self._left -= len(protos)
        if self._left < 0:
            raise NetError(f"functions make more than {MOST_NODES} nodes")
        for index, proto in enumerate(protos):
            domain = "" if proto.domain in _DEFAULT else proto.domain
            child = Node(proto, index, inner.get(domain, 1))
            try:
                self._node(child, inner, depth + 1)
            except Error as error:
                raise error.with_where(f"{child.label} of its definition") from None
