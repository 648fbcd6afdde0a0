"""The part of a training net that predicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from caffe2py.errors import NetError
from caffe2py.graph.net import Net
from caffe2py.proto.caffe2_pb2 import Argument, DeviceOption, NetDef, OperatorDef

__all__ = ["ExtractPredictorNet"]


def ExtractPredictorNet(
    net_proto: NetDef,
    input_blobs: Iterable[Any],
    output_blobs: Iterable[Any],
    device: DeviceOption | None = None,
    renames: Mapping[str, str] | None = None,
    disabled_inputs: Iterable[str] | None = None,
) -> tuple[Net, list[str]]:
    """A net that leads from inputs to outputs, and the other blobs that it needs: its parameters.

    It keeps the operators between the first that reads an input and the last that writes an output,
    if all they read is known: external inputs, `input_blobs`, and what was made before. `device`
    is given to all operators; `renames` renames blobs; blobs in `disabled_inputs` are not known.
    Raises NetError if nothing reads an input or nothing makes an output, and for an operator that
    is set to train (is_test=0).
    """
    inputs = {str(blob): None for blob in input_blobs}
    outputs = {str(blob): None for blob in output_blobs}
    external = set(net_proto.external_input)
    known = external.union(inputs) - set(disabled_inputs or ())
    used, made = dict(inputs), dict(outputs)
    net = Net(f"{net_proto.name}_predict")
    for original in _between(net_proto, set(inputs), set(outputs)):
        if not known.issuperset(original.input):
            continue
        op = OperatorDef()
        op.CopyFrom(original)
        used.update(dict.fromkeys(_step_inputs(op, external)))
        if device is not None:
            _place(op, device)
        _refuse_training(op)
        net.Proto().op.append(op)
        known.update(op.output)
        used.update(dict.fromkeys(name for name in op.input if name in external))
        made.update(dict.fromkeys(n for n in op.output if n in set(net_proto.external_output)))
    proto = net.Proto()
    proto.external_input.extend(used)
    proto.external_output.extend(made)
    _rename(proto, renames or {})
    given = {(renames or {}).get(name, name) for name in inputs}
    return net, [name for name in proto.external_input if name not in given]


def _between(net: NetDef, inputs: set[str], outputs: set[str]) -> list[OperatorDef]:
    ops = list(net.op)
    readers = [
        k for k, op in enumerate(ops) if inputs.intersection(op.input) and op.type != "StopGradient"
    ]
    writers = [k for k, op in enumerate(ops) if outputs.intersection(op.output)]
    for found, what in ((readers, f"input={sorted(inputs)}"), (writers, f"output={outputs}")):
        if not found:
            raise NetError(f"No ops with {what}", where=f"net '{net.name}'")
    return ops[readers[0] : writers[-1] + 1]


def _step_nets(op: OperatorDef) -> list[Argument]:
    """The arguments of a recurrent operator that hold nets it needs to predict."""
    return [arg for arg in op.arg if op.type == "RecurrentNetwork" and arg.name == "step_net"]


def _step_inputs(op: OperatorDef, external: set[str]) -> list[str]:
    """What step nets read from outside; the nets for going backward are dropped."""
    if op.type != "RecurrentNetwork":
        return []
    for arg in op.arg:
        if arg.name == "backward_step_net":
            arg.ClearField("n")
    return [n for arg in _step_nets(op) for n in arg.n.external_input if n in external]


def _place(op: OperatorDef, device: DeviceOption) -> None:
    for inner in (op, *(step for arg in _step_nets(op) for step in arg.n.op)):
        inner.device_option.device_type = device.device_type
        inner.device_option.device_id = device.device_id


def _refuse_training(op: OperatorDef) -> None:
    if any(arg.name == "is_test" and arg.i == 0 for arg in op.arg):
        raise NetError(
            f"op {op.type} '{op.output[0]}' had is_test=0, did you try to extract a predictor "
            "from a train model (instead of test model)?"
        )


def _rename(net: NetDef, renames: Mapping[str, str]) -> None:
    lists = [net.external_input, net.external_output]
    for op in net.op:
        lists += [op.input, op.output]
        for arg in _step_nets(op):
            lists += [arg.n.external_input, arg.n.external_output]
            lists += [side for step in arg.n.op for side in (step.input, step.output)]
    for names in lists:
        names[:] = [renames.get(name, name) for name in names]
