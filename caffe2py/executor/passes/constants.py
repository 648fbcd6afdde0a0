"""What comes out the same in every run is computed once, before the first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from caffe2py.errors import Error
from caffe2py.executor.bind import BoundOperator, Origin
from caffe2py.executor.passes.flow import Flow, opaque, pure, with_operators
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.infer import Query
from caffe2py.registry.trust import SAFE
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, checked_numel

#: Results of more bytes than this must not be larger than what they are made of.
_SMALL = 1 << 16


def fold_constants(
    net: NetDef, given: Mapping[str, Array], keep: Collection[str] | None
) -> tuple[NetDef, dict[str, Array]]:
    """The net without operators on constants alone, and what these make: name -> array.

    `given` are blobs that stay as they are; what the net writes is left out of them. The net reads
    the arrays returned as it reads weights. `keep` as for `optimize`: what is looked at is not
    folded, nor what draws random numbers, adds up over runs, or makes much out of little.
    """
    if opaque(net):
        return net, {}
    flow = Flow(net, keep)
    values = {n: a for n, a in given.items() if n not in flow.writers and n not in flow.shared}
    made: dict[str, Array] = {}
    kept = set[int]()
    for index, op in enumerate(net.op):
        found = _outputs(flow, index, values) if _may_fold(flow, index, values) else None
        if found is None:
            kept.add(index)
        else:
            made.update(zip(op.output, found, strict=True))
            values.update(made)
    if not made:
        return net, {}
    folded = with_operators(net, kept)
    read = {name for op in folded.op for name in op.input}
    made = {name: array for name, array in made.items() if name in read}
    folded.external_input.extend(name for name in made if name not in folded.external_input)
    return folded, made


def _may_fold(flow: Flow, index: int, values: Mapping[str, Array]) -> bool:
    op = flow.net.op[index]
    if not op.output or not all(name in values for name in op.input):
        return False
    outputs = flow.rows[index][1]
    if any(value in flow.observed or len(flow.writers[value[0]]) > 1 for value in outputs):
        return False
    return pure(flow.net, op)


def _outputs(flow: Flow, index: int, values: Mapping[str, Array]) -> list[Array] | None:
    """What the operator makes, each time the same; None where it does not, or fails."""
    workspace, op = Workspace(trust=SAFE), OperatorDef()  # what is folded only computes
    op.CopyFrom(flow.net.op[index])
    if not op.HasField("device_option") and flow.net.HasField("device_option"):
        op.device_option.CopyFrom(flow.net.device_option)
    for name in op.input:
        workspace.create_blob(name).lend(values[name])
    try:
        bound = BoundOperator(op, index, Origin(flow.net.name), workspace)
        if not _worth_it(bound, [values[name] for name in op.input]):
            return None
        bound.run()
    except Error:
        return None  # the net will say so, with the operator's place
    arrays = [blob.array for blob in bound.output_blobs]
    if bound.draws or bound.carries or any(array is None for array in arrays):
        return None
    return [array for array in arrays if array is not None]


def _worth_it(bound: BoundOperator, inputs: Sequence[Array]) -> bool:
    """Whether the results are small, or no larger than the inputs."""
    types = tuple(map(TensorType.of, inputs))
    query = Query(bound.schema, types, bound.args, len(bound.output_blobs), lambda k: inputs[k])
    total = 0
    for type_ in bound.operator.infer(query):
        if type_.full_shape is None or type_.dtype is None:
            return False
        total += checked_numel(type_.full_shape) * type_.dtype.itemsize
    return total <= max(_SMALL, sum(array.nbytes for array in inputs))
