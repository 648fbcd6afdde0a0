"""The steps of a recurrent network: a workspace each, in which a net is bound once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from caffe2py.errors import BlobTypeError, MissingBlobError, ShapeError, ValueRangeError
from caffe2py.kernels.copy import launch_expand
from caffe2py.ops.recurrent_network.arguments import Link
from caffe2py.ops.recurrent_network.deferred import Deferred
from caffe2py.proto.analysis import clone, external_inputs
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.context import BoundNet, Call, Scope
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.tensor import Array, Blob, Tensor
from caffe2py.tensor.types import TensorType


class Steps:
    """The workspaces of a network's steps: what the forward pass leaves to the backward one."""

    def __init__(self, outer: Scope, shared: Iterable[str], timestep: str) -> None:
        self._between = outer.child()
        self.shared = frozenset(shared)
        for name in self.shared:
            self._between.create_local_blob(name)
        self._timestep = timestep
        self.scopes: list[Scope] = []

    def grow(self, count: int) -> None:
        """Have at least `count` steps."""
        for number in range(len(self.scopes), count):
            scope = self._between.child()
            scope.create_local_blob(self._timestep).feed(np.array([number], np.int32))
            self.scopes.append(scope)


def put_array(call: Call, target: Array, source: Array) -> None:
    """target = source at once, repeated along the axes where it has one element."""
    if isinstance(target, np.ndarray):
        target[...] = source
    elif target.size:
        call.run_now(launch_expand(source.reshape(fitted(source.shape, target.ndim)), target))


def clear_array(call: Call, target: Array) -> None:
    """target = 0 at once."""
    put_array(call, target, np.zeros((1,) * target.ndim, target.dtype))


def fitted(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """A shape with axes of size 1 in front."""
    return (1,) * (rank - len(shape)) + tuple(shape)


def placed(net: NetDef, device: Device) -> NetDef:
    """The net, which runs on a device unless it or its operators say where."""
    if device == CPU or net.HasField("device_option"):
        return net
    made = clone(net, net.name)
    made.device_option.CopyFrom(device.to_option())
    return made


class Unrolled:
    """A net that is bound in the workspace of every step, and its links."""

    def __init__(
        self,
        steps: Steps,
        net: NetDef,
        links: Sequence[Link],
        device: Device,
        late: Deferred | None = None,
    ) -> None:
        """`late` runs after the last step; both where they say, or else on the device."""
        self.steps = steps
        self.links = tuple(links)
        self._net = placed(net, device)
        read = set(external_inputs(net))
        made = {name for op in net.op for name in op.output}
        # what a step makes is its own, even if a blob of that name happens to exist outside
        self.local = frozenset(link.internal for link in links) | made.difference(
            read, steps.shared
        )
        self._made = made
        self._late = late if late is not None and late.ops else None
        self._device = device
        self._bound: list[BoundNet] = []
        self._joined: BoundNet | None = None
        self._outer: tuple[Array, ...] = ()
        self._lent: list[tuple[Link, Blob, Array]] = []
        self._seen = -1

    def run(self, scope: Scope, order: range) -> None:
        """Run the steps in this order; every link's outer blob is found in `scope`."""
        late = self._late.links if self._late else ()
        outer = tuple(array_of(scope, link.external) for link in (*self.links, *late))
        self._bind(len(order))
        if len(self._outer) != len(outer) or any(
            a is not b for a, b in zip(outer, self._outer, strict=True)
        ):
            self._lend(outer, len(order))
            self._joined = self._join(scope, outer[len(self.links) :], order)
        if self._joined is not None:
            self._joined.run()
        if self._seen != Blob.changes:
            self._require_in_place()
            self._seen = Blob.changes

    def _join(self, scope: Scope, late: Sequence[Array], order: range) -> BoundNet | None:
        """All steps as one net; None where there are none."""
        if not order:
            return None
        nets = [self._bound[number] for number in order]
        scopes = self.steps.scopes[: len(order)]
        if self._late is not None:
            nets.append(self._late.bind(scope, scopes, late, self._device))
        # blobs of the steps and what is linked to them change from step to step
        inside = {*self.local, *self.steps.shared, *(link.external for link in self.links)}
        for step in scopes[:1]:
            inside.update(step.local_blobs())
        return scope.join(nets, inside)

    def _bind(self, count: int) -> None:
        self.steps.grow(count)
        if len(self._bound) < count:
            self._outer = ()  # the new steps have no links yet
        for number in range(len(self._bound), count):
            scope = self.steps.scopes[number]
            for name in sorted(self.local):
                scope.create_local_blob(name)
            self._bound.append(scope.bind(clone(self._net, f"{self._net.name}[{number}]")))

    def _lend(self, outer: tuple[Array, ...], count: int) -> None:
        self._lent.clear()
        for number in range(count):
            for link, array in zip(self.links, outer, strict=False):
                begin = number + link.offset
                if not 0 <= begin <= begin + link.window <= len(array):
                    raise ValueRangeError(
                        f"'{link.internal}' of step {number} of {count} would be "
                        f"'{link.external}'[{begin}:{begin + link.window}], "
                        f"which has {len(array)} steps"
                    )
                blob = self.steps.scopes[number].create_local_blob(link.internal)
                part = array[begin : begin + link.window]
                blob.lend(part)
                self._lent.append((link, blob, part))
        self._outer = outer

    def _require_in_place(self) -> None:
        """ShapeError where the net has made a linked blob that does not fit its outer one."""
        for link, blob, part in self._lent:
            found = blob.array
            if link.internal not in self._made or found is None:
                continue
            if found.size != part.size or found.dtype != part.dtype:
                self._outer = ()
                raise ShapeError(
                    f"net '{self._net.name}' makes '{link.internal}' {TensorType.of(found)}; "
                    f"a step of '{link.external}' is {TensorType.of(part)}"
                )


def array_of(scope: Scope, name: str) -> Array:
    """What an outer blob holds; MissingBlobError, or BlobTypeError unless it has steps."""
    blob = scope.find(name)
    if blob is None:
        raise MissingBlobError(f"'{name}', which a link names, does not exist")
    if blob.array is None or blob.array.ndim == 0:
        raise BlobTypeError(f"'{name}', which a link names, must hold a tensor with steps")
    return blob.array


def tensor_of(call: Call, index: int) -> Array:
    """The tensor of an input; BlobTypeError where there is none."""
    value = call.value(index)
    if not isinstance(value, Tensor):
        raise BlobTypeError(
            f"input {index} '{call.input_blob(index)}': expected a tensor, "
            f"found {type(value).__name__}"
        )
    return value.array


def steps_of(call: Call, index: int) -> Steps:
    """The steps in an input; BlobTypeError for anything else."""
    steps = call.value(index)
    if not isinstance(steps, Steps):
        raise BlobTypeError(
            f"'{call.input_blob(index)}' must hold the steps of a RecurrentNetwork, "
            f"found {type(steps).__name__}"
        )
    return steps
