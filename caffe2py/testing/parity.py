"""Whether an operator computes on a CUDA device, real or simulated, what it computes on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py.executor.workspace import Workspace
from caffe2py.proto.analysis import nested_nets
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.operator import lookup
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.tensor import Int8Tensor, device_of
from caffe2py.testing.case import Case, Sample
from caffe2py.testing.checks import assert_close, describe, feed, make_op

#: Both may be off by the row's tolerance, and devices have exponentials of their own.
_FACTOR = 4


def on_device(op: OperatorDef, device: Device) -> OperatorDef:
    """A copy of an operator that runs there, with the nets that it runs."""
    moved = OperatorDef()
    moved.CopyFrom(op)
    for each in (moved, *(inner for net, _ in nested_nets(moved) for inner in net.op)):
        each.device_option.CopyFrom(device.to_option())
    return moved


def run_on(op: OperatorDef, inputs: Any, device: Device) -> Workspace:
    """A fresh workspace in which the operator has run there; twice, the second from its table."""
    workspace = Workspace()
    kernel = lookup(op.type).kernel(device, op.engine)
    for index, (name, value) in enumerate(zip(op.input, inputs, strict=True)):
        is_tensor = isinstance(value, np.ndarray | Int8Tensor)
        moves = is_tensor and not (kernel.host_inputs and index in kernel.host_inputs)
        if moves and not (isinstance(value, np.ndarray) and value.dtype.kind in "OSU"):
            workspace.feed(name, value, device)
        else:
            feed(workspace, name, value)
    workspace.run_net_once(NetDef(name="check", op=[on_device(op, device)]))
    return workspace


def check_parity(case: Case, sample: Sample, device: Device) -> None:
    """Outputs have the CPU's types, shapes and values, and are where they should be."""
    what = f"{describe(case.op, sample)} on {device}"
    op = make_op(case.op, sample)
    expected = run_on(op, sample.inputs, CPU)
    found = run_on(op, sample.inputs, device)
    host_outputs = lookup(op.type).kernel(device).host_outputs
    for index, name in enumerate(op.output):
        wanted = expected.find(name)
        if wanted is None or wanted.array is None:
            continue
        array = found.blob(name).array
        assert array is not None, f"{what}: output {index} holds no tensor"
        left = index in host_outputs or index - len(op.output) in host_outputs
        place = CPU if left or wanted.array.dtype.hasobject else device
        assert device_of(array) == place, f"{what}: output {index} is on {device_of(array)}"
        answer, right = found.fetch(name), expected.fetch(name)
        if isinstance(right, Int8Tensor):
            assert answer[1:] == right[1:], f"{what}: output {index} has another quantum"
            answer, right = answer.data, right.data
        allowed = _FACTOR * case.allowed(right.dtype)
        assert_close(answer, right, allowed, f"{what} output {index}")
