"""A net and its weights as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error, NetError, SchemaError, UnsupportedError
from caffe2py.executor.workspace import Workspace
from caffe2py.interop.onnx.exports import EXPORTS
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.interop.onnx.tensors import number_of
from caffe2py.interop.onnx.writer import Op, Writer
from caffe2py.proto.analysis import external_inputs, produced, ssa
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.infer_net import Step, Walk
from caffe2py.registry.trust import SAFE
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType

__all__ = ["NEWEST", "OLDEST", "export_model", "init_arrays"]

#: The opsets that can be written.
OLDEST, NEWEST = 9, 21
DEFAULT = 13

_SHOWN = 12
#: Integers of a weight that may be a shape.
_MOST_VALUES = 64


def export_model(
    predict: NetDef,
    weights: Mapping[str, Array],
    inputs: Mapping[str, TensorType],
    *,
    opset: int = DEFAULT,
    outputs: Sequence[str] | None = None,
) -> Any:
    """A ModelProto that computes what the net does, with these weights inside.

    `inputs` are the other blobs that the net reads, with their types and shapes: what ONNX says
    depends on them. `outputs` are those of the net unless named, and keep their order and, where no
    input has it already, their names. Needs the operators: `import caffe2py.core`.

    Raises UnsupportedError that lists every operator without counterpart, NetError for a blob that
    nothing makes, and what inference objects to.
    """
    onnx = onnx_package()
    if not OLDEST <= opset <= NEWEST:
        raise UnsupportedError(f"opset {opset} cannot be written, {OLDEST} to {NEWEST} can")
    _require_blobs(predict, weights, inputs)
    wanted = list(outputs or predict.external_output or _last(predict))
    names = _Names(predict, wanted)
    taken = {name for op in predict.op for name in (*op.input, *op.output)}
    taken |= {names.of(*blob) for row in names.rows for blobs in row for blob in blobs}
    types = {name: TensorType.of(array) for name, array in weights.items()}
    walk = Walk({**types, **inputs}, {n: a for n, a in weights.items() if _gives_shapes(a)})
    writer = Writer(opset, taken, weights)
    _write(predict, walk, writer, names)
    helper = onnx.helper
    described = [
        helper.make_tensor_value_info(name, number_of(type_.dtype), type_.shape)
        for name, type_ in inputs.items() if type_.dtype is not None
    ]  # fmt: skip
    results = [_described(names.final(name), walk.types.get(name)) for name in wanted]
    for name in wanted:  # an output that is a weight or input has to come from a node
        if names.final(name) == name and name not in produced(predict):
            raise NetError(f"the net does not make its output '{name}'")
    graph = helper.make_graph(
        writer.nodes, predict.name or "net", described, results, writer.tensors()
    )
    versions = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph,
        opset_imports=versions,
        producer_name="caffe2py",
        ir_version=helper.find_min_ir_version_for(versions, ignore_unknown=True),
    )
    onnx.checker.check_model(model)
    return model


def _gives_shapes(array: Array) -> bool:
    return array.dtype.kind in "iu" and array.size <= _MOST_VALUES


def init_arrays(init: NetDef | None) -> dict[str, Array]:
    """The arrays that an init net makes, whatever its fillers are."""
    if init is None:
        return {}
    workspace = Workspace()
    workspace.run_net_once(init)
    found = {}
    for name in produced(init):
        blob = workspace.find(name)
        if blob is not None and blob.array is not None:
            found[name] = np.array(blob.array)
    return found


def _require_blobs(
    predict: NetDef, weights: Mapping[str, Array], inputs: Mapping[str, TensorType]
) -> None:
    missing = [n for n in external_inputs(predict) if n not in weights and n not in inputs]
    if missing:
        shown = ", ".join(f"'{name}'" for name in missing[:_SHOWN])
        raise NetError(
            f"net '{predict.name}': nothing makes {shown}", hint="give the types of all inputs"
        )


def _last(predict: NetDef) -> list[str]:
    """The blobs that no operator reads after they were written."""
    rows = ssa(predict)
    read = {blob for inputs, _ in rows for blob in inputs}
    last = {name: version for _, outputs in rows for name, version in outputs}
    return [name for name, version in last.items() if (name, version) not in read]


class _Names:
    """A name of its own for each write of a blob: ONNX writes each name once."""

    def __init__(self, predict: NetDef, wanted: Sequence[str]) -> None:
        self.rows = ssa(predict)
        self._last = {name: v for _, outputs in self.rows for name, v in outputs}
        read = {blob for inputs, _ in self.rows for blob in inputs}
        #: Blobs from outside whose name a later write cannot have.
        self._outside = {name for name, version in read if version == 0}
        self._wanted = set(wanted)
        self._used = {name for op in predict.op for name in (*op.input, *op.output)}
        self.given: dict[tuple[str, int], str] = {}

    def of(self, name: str, version: int) -> str:
        """The name of one version."""
        if not name:
            return ""
        plain_is_last = name in self._wanted and name not in self._outside
        plain = self._last.get(name, 0) if plain_is_last else (0 if name in self._outside else 1)
        if version == plain:
            return name
        key = (name, version)
        if key not in self.given:
            made = f"{name}_{version}"
            while made in self._used:
                made += "_"
            self._used.add(made)
            self.given[key] = made
        return self.given[key]

    def final(self, name: str) -> str:
        """The name of the last version."""
        return self.of(name, self._last.get(name, 0))


def _write(predict: NetDef, walk: Walk, writer: Writer, names: _Names) -> None:
    """Write all operators, or say which cannot be."""
    failures = []
    for step in walk.steps(predict):
        if step.error is not None:
            if not isinstance(step.error, SchemaError) and step.op.type not in EXPORTS:
                failures.append(f"#{step.index} {step.op.type}: ONNX has no counterpart")
                continue
            raise step.error
        rule = EXPORTS.get(step.op.type)
        if rule is None and step.op.input:
            failures.append(f"#{step.index} {step.op.type}: ONNX has no counterpart")
            continue
        try:
            if rule is None or not step.op.input:
                _run(step, writer, names)
            else:
                rule(writer, _op(step, names))
        except UnsupportedError as error:
            failures.append(f"#{step.index} {step.op.type}: {error}")
        except Error as error:
            raise error.with_where(f"op #{step.index} {step.op.type}") from None
    if failures:
        more = len(failures) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        shown = "; ".join(failures[:_SHOWN])
        raise UnsupportedError(
            f"net '{predict.name}': {len(failures)} operator(s) cannot be written: {shown}{rest}"
        )


def _op(step: Step, names: _Names) -> Op:
    inputs, outputs = names.rows[step.index]
    assert step.args is not None  # a step without an error has arguments
    return Op(
        step.op,
        step.args,
        tuple(names.of(*blob) for blob in inputs),
        tuple(names.of(*blob) for blob in outputs),
        step.inputs,
        step.outputs,
    )


def _run(step: Step, writer: Writer, names: _Names) -> None:
    """An operator without inputs: its outputs are constants."""
    workspace = Workspace(trust=SAFE)  # the net may come from a file
    workspace.run_operators_once([step.op])
    for name, version in names.rows[step.index][1]:
        constant = writer.const(workspace.fetch_array(name), None)
        writer.add("Identity", constant, out=names.of(name, version))


def _described(name: str, type_: TensorType | None) -> Any:
    onnx = onnx_package()
    if type_ is None or type_.dtype is None:
        return onnx.ValueInfoProto(name=name)
    return onnx.helper.make_tensor_value_info(name, number_of(type_.dtype), type_.shape)
