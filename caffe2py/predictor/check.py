"""All that is wrong with a model, found without running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from caffe2py.errors import Error, MissingBlobError, ModelFormatError, NetError
from caffe2py.executor.net import RUNNERS
from caffe2py.predictor.load import Model
from caffe2py.predictor.summary import known_before
from caffe2py.proto.analysis import external_inputs, nested_nets, produced
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.infer_net import Walk
from caffe2py.registry.operator import lookup
from caffe2py.registry.place import operator_place
from caffe2py.registry.trusted import refusals
from caffe2py.tensor.device import Device
from caffe2py.tensor.types import TensorType

__all__ = ["problems"]


def problems(model: Model, given: Mapping[str, TensorType] | None = None) -> list[Error]:
    """Every reason why the model would not run, each with its place; none where it might.

    Looked for: unknown operators (in nested nets too), uses that contradict a declaration, devices
    without kernel, types and shapes that cannot fit, blobs that nothing makes, operators that need
    what the model is not trusted with, a missing or incomplete init net. `given` are types of
    inputs, which let more be inferred.
    """
    found: list[Error] = []
    if model.init is not None:
        found += _net_problems(model.init, Walk())
    try:
        walk = known_before(model, given or {})
    except Error:
        walk = Walk(given)  # reported above
    for net in model.nets:
        found += _net_problems(net, walk)
        found += _blob_problems(model, net)
    for net in [*model.nets, *([model.init] if model.init is not None else [])]:
        found += refusals(net, model.trust)
    missing = set(model.missing_weights) - set(given or {})
    if missing and model.notes:
        where = model.predict_file or None
        found.append(ModelFormatError(model.notes[0], where=where, hint="--init FILE"))
    return found


def _net_problems(net: NetDef, walk: Walk) -> Iterator[Error]:
    if net.type not in RUNNERS:
        known = ", ".join(sorted(t for t in RUNNERS if t))
        yield NetError(f"net '{net.name}' has the type '{net.type}'; known: {known}")
    for step in walk.steps(net):
        if step.error is not None:
            yield step.error
        else:
            yield from _kernel_problem(net, step.index, step.op)
        yield from _written_twice(net, step.index, step.op)
        for inner, _ in nested_nets(step.op):
            yield from _nested_problems(net, step.index, step.op, inner)


def _kernel_problem(net: NetDef, index: int, op: OperatorDef) -> Iterator[Error]:
    option = op.device_option if op.HasField("device_option") else net.device_option
    try:
        lookup(op.type).kernel(Device.from_option(option), op.engine)
    except Error as error:
        yield error.with_where(operator_place(net.name, index, op))


def _written_twice(net: NetDef, index: int, op: OperatorDef) -> Iterator[Error]:
    twice = [name for name, count in Counter(op.output).items() if count > 1]
    if twice:
        place = operator_place(net.name, index, op)
        yield NetError(f"the operator writes '{twice[0]}' twice", where=place)


def _nested_problems(outer: NetDef, index: int, op: OperatorDef, inner: NetDef) -> Iterator[Error]:
    """Uses of operators in a net that is an argument; its types depend on the outer operator."""
    for k, nested in enumerate(inner.op):
        try:
            lookup(nested.type).schema.verify(nested)
        except Error as error:
            place = operator_place(outer.name, index, op)
            error.with_where(operator_place(inner.name, k, nested))
            yield error.with_where(place)


def _blob_problems(model: Model, net: NetDef) -> Iterator[Error]:
    """Blobs that are read before they are made, and promised outputs that nothing makes."""
    written = produced(net)
    elsewhere = set(produced(model.init)) if model.init is not None else set()
    for other in model.nets:
        elsewhere |= set(produced(other)) if other is not net else set()
    declared = set(net.external_input)
    for name in external_inputs(net):
        if name in written and name not in declared and name not in elsewhere:
            reader = next(k for k, op in enumerate(net.op) if name in op.input)
            if written[name][0] == reader:
                continue  # in place: an input that is not declared, no more
            place = operator_place(net.name, reader, net.op[reader])
            maker = f"op #{written[name][0]} {net.op[written[name][0]].type}"
            yield MissingBlobError(
                f"input '{name}' does not exist yet: only {maker} makes it, later", where=place
            )
    for name in net.external_output:
        if name not in written and name not in declared and name not in elsewhere:
            yield MissingBlobError(
                f"net '{net.name}' promises the output '{name}', which nothing makes"
            )
