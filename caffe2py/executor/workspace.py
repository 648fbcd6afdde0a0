"""A workspace: named blobs, created nets, and child workspaces that see their parent's blobs."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from caffe2py.errors import (
    BlobTypeError,
    DeviceError,
    DTypeError,
    Error,
    MissingBlobError,
    NetError,
    UsageError,
)
from caffe2py.executor.bind import BoundOperator, Origin
from caffe2py.executor.net import CreatedNet, JoinedNets
from caffe2py.executor.plan import run_plan
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef, PlanDef
from caffe2py.registry.context import BoundNet
from caffe2py.registry.trust import TRUSTED, Trust
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.late import late
from caffe2py.tensor.place import copy_into, device_of, on_host
from caffe2py.tensor.tensor import Array, Blob, Int8Tensor, Tensor, as_tensor_array, passed_on
from caffe2py.tensor.types import Quantum, dtype_name


def _integers(data: Any) -> Array:
    """The integers of a quantized tensor; DTypeError for other elements."""
    array = as_tensor_array(data)
    if array.dtype not in (np.uint8, np.int32):
        raise DTypeError(
            f"a quantized tensor holds uint8 or int32, found {dtype_name(array.dtype)}"
        )
    return array


class Workspace:
    """Blobs by name. Not to be changed from several threads at once; its nets may run in turns."""

    def __init__(self, parent: Workspace | None = None, trust: Trust | None = None) -> None:
        """`trust` is what its nets may do: default what the parent's may, or everything."""
        self.parent = parent
        self.trust: Trust = trust or (parent.trust if parent else TRUSTED)
        self.root_folder: str = parent.root_folder if parent else "."
        self._blobs: dict[str, Blob] = {}
        self._nets: dict[str, CreatedNet] = {}
        self._created: dict[str, int] = {}
        self._lock = threading.RLock()

    @contextmanager
    def trusting(self, trust: Trust) -> Iterator[None]:
        """Bind and run nets that may do other things than those of this workspace otherwise may."""
        before, self.trust = self.trust, trust
        try:
            yield
        finally:
            self.trust = before

    # ---- blobs

    def find(self, name: str) -> Blob | None:
        """The blob of this name, here or in a parent."""
        workspace: Workspace | None = self
        while workspace is not None:
            blob = workspace._blobs.get(name)
            if blob is not None:
                return blob
            workspace = workspace.parent
        return None

    def blob(self, name: str) -> Blob:
        """The blob of this name; MissingBlobError says what might have been meant."""
        found = self.find(name)
        if found is None:
            raise MissingBlobError(f"blob '{name}' does not exist. {self.explain_missing(name)}")
        return found

    def create_blob(self, name: str) -> Blob:
        """The blob of this name, made here if neither this workspace nor a parent has it."""
        with self._lock:
            found = self.find(name)
            if found is None:
                found = self._blobs[name] = Blob(name)
            return found

    def create_local_blob(self, name: str) -> Blob:
        """The blob of this name in this very workspace, hiding one of a parent."""
        with self._lock:
            return self._blobs.setdefault(name, Blob(name))

    def has_blob(self, name: str) -> bool:
        """Whether there is such a blob, here or in a parent."""
        return self.find(name) is not None

    def remove_blob(self, name: str) -> bool:
        """Forget a blob of this workspace; False if there was none."""
        with self._lock:
            blob = self._blobs.pop(name, None)
            if blob is not None:
                blob.put(None)
            return blob is not None

    def blobs(self) -> list[str]:
        """The names of all blobs, parents' included, sorted."""
        names = set(self._blobs)
        return sorted(names | set(self.parent.blobs()) if self.parent else names)

    def local_blobs(self) -> list[str]:
        """The names of the blobs of this very workspace, sorted."""
        return sorted(self._blobs)

    def feed(self, name: str, value: Any, device: Device = CPU) -> None:
        """Copy a value into a blob: an array (or what becomes one), or str/bytes as they are.

        An Int8Tensor makes a quantized tensor. On a CUDA device, an array of another library that
        is there already (CuPy, PyTorch) is shared, not copied.

        The blob keeps its storage if shape and type stay the same, so nets need no new plan.
        Raises DTypeError for an array that no tensor can hold.
        """
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            self.create_blob(name).put(value)
            return
        quantum = None
        try:
            if device.kind == "cuda" and self._share(name, value, device):
                return
            if isinstance(value, Int8Tensor):
                quantum = Quantum(float(np.float32(value.scale)), int(value.zero_point))
                value = _integers(value.data)
            array = as_tensor_array(value)
        except Error as error:
            raise error.with_where(f"FeedBlob('{name}')") from None
        if device.kind == "cpu":
            self.create_blob(name).feed(array, quantum)
        else:
            self._feed_device(name, array, quantum, device)

    def _share(self, name: str, value: Any, device: Device) -> bool:
        """Hold an array of another library that is on the device, if it is one."""
        if isinstance(value, np.ndarray):
            return False
        array = late("tensor.cuda.devices", "from_outside")(value)
        if array is None:
            return False
        if device_of(array) != device:
            raise DeviceError(f"the array is on {device_of(array)}, expected on {device}")
        self.create_blob(name).take(cast(Array, array))
        return True

    def _feed_device(
        self, name: str, array: Array, quantum: Quantum | None, device: Device
    ) -> None:
        blob = self.create_blob(name)
        if blob.borrowed is not None:
            blob.value = None
        try:
            copy_into(blob.resize(array.shape, array.dtype, quantum, device), array)
        except Error as error:
            raise error.with_where(f"FeedBlob('{name}', device {device})") from None
        blob.written()

    def fetch(self, name: str) -> Any:
        """A copy of what a blob holds; an object that is no tensor is returned as it is.

        A quantized tensor is an Int8Tensor.

        Raises MissingBlobError if there is no blob, or nothing in it; BlobTypeError for one that an
        optimised net needs no more.
        """
        blob = self.blob(name)
        if blob.borrowed is not None:
            raise passed_on(name)
        if isinstance(blob.value, Tensor):
            array = np.array(on_host(blob.value.array), order="C", copy=True, subok=False)
            return array if blob.quantum is None else Int8Tensor(array, *blob.quantum)
        if blob.value is None:
            raise MissingBlobError(f"blob '{name}' holds no value yet", hint="run what makes it")
        return blob.value

    def fetch_array(self, name: str) -> Array:
        """As fetch, refusing with BlobTypeError what is no tensor; of a quantized one its data."""
        value = self.fetch(name)
        if isinstance(value, Int8Tensor):
            return value.data
        if not isinstance(value, np.ndarray):
            raise BlobTypeError(f"blob '{name}' holds a {type(value).__name__}, not a tensor")
        return value

    def explain_missing(self, name: str) -> str:
        """What a user can do about a blob that does not exist."""
        names = self.blobs()
        tail = name.rpartition("/")[2]
        scoped = [n for n in names if n != name and n.rpartition("/")[2] == tail][:3]
        near = scoped or difflib.get_close_matches(name, names, 3, 0.7)
        if near:
            return (
                "There is " + " and ".join(f"'{n}'" for n in near) + ": is a scope or a letter off?"
            )
        return (
            f"Feed it with FeedBlob('{name}', array), or run first what makes it (an init net); "
            f"the workspace holds {len(names)} blob(s)."
        )

    # ---- nets

    def seed_for(self, name: str) -> int:
        """A seed that depends on how many nets of this name were made here before.

        So a program gives the same numbers in every run, and two nets in a row give different ones.
        """
        with self._lock:
            count = self._created.get(name, 0)
            self._created[name] = count + 1
        return count

    def create_net(
        self, net: NetDef, *, overwrite: bool = False, keep: Collection[str] | None = None
    ) -> str:
        """Bind a net to this workspace under its name and return the name.

        `keep` are the blobs that are looked at after a run, besides those that the net declares as
        its outputs; all others may then share storage. None: every blob is.

        Raises NetError if there is no name, or it is taken; what binding raises leaves the old net.
        """
        if not net.HasField("name"):
            raise NetError("a net must have a name to be created")
        if net.name in self._nets and not overwrite:
            raise NetError(
                f"net '{net.name}' exists already", hint="overwrite=True, or another name"
            )
        self._nets[net.name] = CreatedNet(net, self, outermost=True, keep=keep)
        return net.name

    def net(self, name: str) -> CreatedNet:
        """A created net; NetError with near names otherwise."""
        found = self._nets.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self._nets, 3, 0.6)
            guess = f"; did you mean {' or '.join(near)}?" if near else ""
            raise NetError(f"net '{name}' was not created{guess}", hint="CreateNet first")
        return found

    def delete_net(self, name: str) -> None:
        """Forget a created net."""
        self._nets.pop(name, None)

    def nets(self) -> list[str]:
        """The names of the created nets."""
        return list(self._nets)

    def run_net(self, name: str, iterations: int = 1) -> None:
        """Run a created net."""
        self.net(name).run(iterations)

    def bind(self, net: NetDef) -> CreatedNet:
        """Bind a net to this workspace without keeping it."""
        return CreatedNet(net, self)

    def join(self, nets: Sequence[BoundNet], written: Collection[str]) -> JoinedNets:
        """Nets that `bind` made as one, in this order; during a run others write to `written`."""
        return JoinedNets([net for net in nets if isinstance(net, CreatedNet)], written)

    def run_net_once(
        self, net: NetDef, values: Mapping[tuple[int, str], Array] | None = None
    ) -> None:
        """Bind a net, run it once, forget it. Its blobs stay.

        `values` are floats that arguments lack, by position of the operator and name; blobs take
        over the arrays.
        """
        bound = self.bind(net)
        for (index, argument), array in (values or {}).items():
            args = bound.operators[index].args
            args.apart = {**args.apart, argument: array}
        bound.run()

    def run_operator_once(self, op: OperatorDef) -> None:
        """Run one operator."""
        self.run_operators_once([op])

    def run_operators_once(self, ops: Iterable[OperatorDef]) -> None:
        """Run operators, each bound when the ones before it have run."""
        for index, op in enumerate(ops):
            bound = BoundOperator(op, index, Origin("", self.seed_for("")), self)
            try:
                bound.run()
            finally:
                for blob in bound.output_blobs:
                    blob.written()

    def run_plan(self, plan: PlanDef) -> None:
        """Run a plan: create its nets, then its execution steps."""
        run_plan(plan, self)

    def child(self, bindings: Mapping[str, str] | None = None) -> Workspace:
        """A workspace that sees this one's blobs; `bindings` lends some of them other names."""
        made = type(self)(self)
        for inner, outer in (bindings or {}).items():
            made._blobs[inner] = self.blob(outer)
        return made

    def apart(self) -> Workspace:
        """A workspace with the same root folder that sees no blob but those lent to it."""
        made = type(self)()
        made.root_folder, made.trust = self.root_folder, self.trust
        return made

    def lend(self, name: str, blob: Blob) -> None:
        """Let a blob of another workspace be this one's under a name."""
        with self._lock:
            self._blobs[name] = blob

    def reset(self, root_folder: str | None = None) -> None:
        """Forget all blobs and nets; `root_folder` is where file operators look."""
        with self._lock:
            self._nets.clear()
            self._created.clear()
            self._blobs.clear()
            if root_folder:
                try:
                    Path(root_folder).mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise UsageError(f"no folder can be made at {root_folder!r}: {error}") from None
                self.root_folder = root_folder
