"""A net in figures, without running it: shapes, parameters, multiply-adds, activation memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caffe2py.errors import Error
from caffe2py.predictor.load import Model
from caffe2py.proto.analysis import last_use
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.cost import multiply_adds
from caffe2py.registry.infer import Query, product
from caffe2py.registry.infer_net import Step, Walk
from caffe2py.tensor.tensor import Tensor
from caffe2py.tensor.types import TensorType

__all__ = ["Row", "Summary", "bytes_of", "known_before", "summarize"]


@dataclass(frozen=True)
class Row:
    """One operator: the types of its outputs, its parameters, its work.

    None stands for what is unknown. `parameters` are the elements of the weights that it reads.
    `output_bytes` leaves out what is unknown and never read, as a mask that inference needs not.
    """

    index: int
    op: OperatorDef
    outputs: tuple[TensorType, ...]
    output_bytes: int | None
    parameters: int | None
    parameter_bytes: int | None
    multiply_adds: int | None
    error: Error | None = None


@dataclass(frozen=True)
class Summary:
    """A net: its operators in order, and totals over what is known.

    Weights that several operators read count once in the totals. `activation_bytes` is the sum
    over all blobs that operators write, `peak_bytes` the most that is needed at one time if every
    blob is freed after its last use. `unknown` counts the operators whose figures are incomplete.
    """

    name: str
    rows: tuple[Row, ...]
    parameters: int
    parameter_bytes: int
    multiply_adds: int
    activation_bytes: int
    peak_bytes: int
    unknown: int
    types: Mapping[str, TensorType] = field(default_factory=dict)


def known_before(model: Model, given: Mapping[str, TensorType]) -> Walk:
    """What is known of blobs before the predict net runs: what its init net makes, and `given`.

    A stand-in of one element tells nothing about the input that will take its place. Raises the
    first error of the init net.
    """
    walk = Walk({name: _type_of(value) for name, value in model.blobs.items()})
    for step in walk.steps(model.init or NetDef()):
        if step.error is not None:
            raise step.error
    for name in set(model.inputs) - set(model.stand_ins):
        walk.values.pop(name, None)  # what takes the place of the init net's zeros
    for name in model.stand_ins:
        if walk.types.get(name, TensorType()).shape == (1,):
            walk.types.pop(name)
            walk.values.pop(name, None)
    for name, type_ in given.items():
        walk.types[name] = type_
        walk.values.pop(name, None)
    return walk


def _type_of(value: Any) -> TensorType:
    return TensorType.of(value.array, value.quantum) if isinstance(value, Tensor) else TensorType()


def summarize(model: Model, net: NetDef, given: Mapping[str, TensorType]) -> Summary:
    """The figures of one net of a model, its inputs having the `given` types."""
    walk = known_before(model, given)
    weights = set(walk.types) - set(given) - set(model.inputs)
    weights |= set(model.missing_weights)
    before = dict(walk.types)
    steps = list(walk.steps(net))
    wanted = {*_read(net), *model.outputs}
    rows = tuple(_row(step, weights, wanted) for step in steps)
    used = {name: before[name] for name in _read(net) if name in weights and name in before}
    total, peak = _activations(net, steps, model.outputs)
    return Summary(
        name=net.name or model.name,
        rows=rows,
        parameters=sum(_elements(t) or 0 for t in used.values()),
        parameter_bytes=sum(bytes_of(t) or 0 for t in used.values()),
        multiply_adds=sum(row.multiply_adds or 0 for row in rows),
        activation_bytes=total,
        peak_bytes=peak,
        unknown=sum(_incomplete(row) for row in rows),
        types=walk.types,
    )


def _read(net: NetDef) -> Iterable[str]:
    return dict.fromkeys(name for op in net.op for name in op.input)


def _row(step: Step, weights: set[str], wanted: set[str]) -> Row:
    pairs = zip(step.op.input, step.inputs, strict=True)
    own = [type_ for name, type_ in pairs if name in weights]
    work: int | None = None
    if step.operator is not None and step.args is not None and step.error is None:
        query = Query(step.operator.schema, step.inputs, step.args, len(step.outputs))
        work = multiply_adds(query, step.outputs)
    sizes = [
        bytes_of(type_)
        for name, type_ in zip(step.op.output, step.outputs, strict=True)
        if name in wanted or type_.full_shape is not None
    ]
    return Row(
        step.index,
        step.op,
        step.outputs,
        _sum(sizes),
        _sum([_elements(t) for t in own]),
        _sum([bytes_of(t) for t in own]),
        work,
        step.error,
    )


def _incomplete(row: Row) -> bool:
    return None in (row.parameters, row.multiply_adds, row.output_bytes)


def _elements(type_: TensorType) -> int | None:
    return None if type_.full_shape is None else product(type_.full_shape)


def bytes_of(type_: TensorType) -> int | None:
    """The memory that a tensor of this type takes, None if that is unknown."""
    elements = _elements(type_)
    return None if elements is None or type_.dtype is None else elements * type_.dtype.itemsize


def _sum(parts: list[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _activations(net: NetDef, steps: list[Step], outputs: Iterable[str]) -> tuple[int, int]:
    """Bytes of all blobs that operators write, and the most that live at the same time."""
    last = last_use(net) | dict.fromkeys(outputs, len(net.op))
    largest: dict[str, int] = {}
    living: dict[str, int] = {}
    peak = 0
    for step in steps:
        for name, type_ in zip(step.op.output, step.outputs, strict=True):
            living[name] = bytes_of(type_) or 0
            largest[name] = max(largest.get(name, 0), living[name])
        peak = max(peak, sum(living.values()))
        living = {name: size for name, size in living.items() if last[name] > step.index}
    return sum(largest.values()), peak
