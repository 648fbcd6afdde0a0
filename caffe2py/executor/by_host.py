"""A device's operator that the host computes: copies of the inputs, and of what comes out.

Caffe2 does the same for operators that are no computation of many equal parts. Blobs that hold no
tensor are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Scope
from caffe2py.tensor.device import CPU
from caffe2py.tensor.place import copy_into, device_of, on_host
from caffe2py.tensor.tensor import Blob, Tensor


class HostScope:
    """A workspace in which the blobs that an operator names are others, on the host."""

    def __init__(self, scope: Any, op: OperatorDef) -> None:
        self._scope = scope
        self.blobs_here = {name: Blob(name) for name in (*op.input, *op.output)}

    def find(self, name: str) -> Blob | None:
        """The host's blob, or another one of the workspace."""
        found: Blob | None = self.blobs_here.get(name) or self._scope.find(name)
        return found

    def create_blob(self, name: str) -> Blob:
        """The host's blob, or one of the workspace."""
        found: Blob = self.blobs_here.get(name) or self._scope.create_blob(name)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scope, name)


class ByHost:
    """The host's operator that stands in for a device's, and the copies around it."""

    def __init__(self, call: Any, scope: Scope, bind: Callable[[OperatorDef, Any], Any]) -> None:
        """`call` is the device's bound operator; `bind` binds one to a workspace."""
        self._call = call
        op = OperatorDef()
        op.CopyFrom(call.op)
        op.device_option.CopyFrom(CPU.to_option())
        op.device_option.random_seed = call.op.device_option.random_seed
        self._scope = HostScope(scope, op)
        self.bound = bind(op, self._scope)

    def run(self) -> None:
        """Copy in, compute, copy out."""
        call = self._call
        for blob in call.input_blobs:
            _bring(blob, self._scope.blobs_here[blob.name])
        self.bound.run()
        for index, blob in enumerate(call.output_blobs):
            made = self._scope.blobs_here[blob.name]
            array = made.array
            if array is None:
                if made.value is not None and made.value is not blob.value:
                    blob.put(made.value)
                continue
            device = CPU if index in call.host_outputs or array.dtype.hasobject else call.device
            target = blob.resize(array.shape, array.dtype, made.quantum, device)
            copy_into(target, array)
            blob.written()


def _bring(source: Blob, target: Blob) -> None:
    """Let the host's blob hold what the device's holds."""
    if source.array is None:
        if target.value is not source.value:
            target.put(source.value)
    elif device_of(source.array) == CPU:
        if target.value is not source.value:
            target.value = source.value
            target.changed()
    else:
        if not isinstance(target.value, Tensor) or device_of(target.tensor().array) != CPU:
            target.value = None
        target.feed(on_host(source.array), source.quantum)
