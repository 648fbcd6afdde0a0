"""A model with its weights made, ready to be fed and run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.errors import Error, MissingBlobError
from caffe2py.executor.net import CreatedNet
from caffe2py.executor.passes.constants import fold_constants
from caffe2py.executor.passes.pipeline import optimize
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.load import Model
from caffe2py.predictor.metanet import require_fitting
from caffe2py.predictor.placing import place
from caffe2py.proto.analysis import clone, nested_nets
from caffe2py.proto.caffe2_pb2 import NetDef, PlanDef
from caffe2py.registry.trusted import require_trusted
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.place import copy_into, device_of, on_host
from caffe2py.tensor.tensor import Tensor

__all__ = ["Session"]

_SHOWN = 4


class Session:
    """A workspace in which the init net has run. Needs the operators: `import caffe2py.core`."""

    def __init__(
        self,
        model: Model,
        device: Device | None = None,
        *,
        keep: Sequence[str] = (),
        optimize: bool = True,
    ) -> None:
        """Make the weights, on the CPU. `device` overrides the devices that the model names.

        What has no kernel on that device stays on the CPU.
        With `optimize` the net runs with operators fused; of its blobs, only the model's outputs
        and those to `keep` are then sure to be made. Raises what the init net raises.
        """
        self.model = model
        self.workspace = Workspace(trust=model.trust)
        self.fed: set[str] = set()
        self._device = device
        self._where: dict[str, Device] = {}
        self._keep = {*model.outputs, *keep}
        self._optimize = optimize
        self._net = ""
        self._folded: set[str] = set()
        for name, value in model.blobs.items():
            blob = self.workspace.create_blob(name)
            if isinstance(value, Tensor):
                blob.feed(value.array, value.quantum)
            else:
                blob.put(value)
        for net in model.nets:
            require_trusted(net, model.trust)  # before the init net does anything
        if model.init is not None:
            try:
                self.workspace.run_net_once(_on_cpu(model.init, device), model.weights)
            except Error as error:
                raise error.with_where(f"init net {model.init_file}".strip()) from None
        if model.blobs and isinstance(model.predict, NetDef):
            require_fitting(model.predict, self.workspace, model.blobs, model.predict_file)

    def feed(self, name: str, value: Any) -> None:
        """Give an input; UsageError with near names for a blob that the model does not take."""
        self.model.require_input(name)
        self.workspace.feed(name, value, self._where.get(name, CPU))
        self.fed.add(name)
        if name in self._folded:
            self._net = ""  # what was made of it is another thing now

    def require_inputs(self) -> None:
        """Raise MissingBlobError, with what to type, if an input has not been fed."""
        model = self.model
        missing = [n for n in model.inputs if n not in self.fed and n not in model.stand_ins]
        if not missing:
            return
        data = [n for n in model.data_inputs if n in missing]
        if not data:
            raise MissingBlobError(
                model.notes[0] if model.notes else f"nothing makes {_some(missing)}",
                where=model.predict_file or None,
                hint="--init FILE",
            )
        raise MissingBlobError(
            f"input {_some(data)} is not given",
            where=f"net '{model.name}'",
            hint=f"--input {data[0]}=x.npy, or {data[0]}=1x3x224x224:f32:rand",
        )

    def prepare(self) -> None:
        """Bind the net to its blobs, so that `run` does nothing else than run."""
        if isinstance(self.model.predict, NetDef) and not self._net:
            net = _on_cpu(self.model.predict, self._device)
            named = net if net.name else clone(net, self.model.name)
            if self._optimize:
                named = optimize(self._fold(named), self._keep)
            keep = self._keep if self._optimize else None
            if self._device is not None and self._device != CPU:
                named, self._where = place(named, self._device)
                self._bring_inputs()
            self._net = self.workspace.create_net(named, overwrite=True, keep=keep)

    def _bring_inputs(self) -> None:
        """Put what the net reads where it looks for it."""
        for name, device in self._where.items():
            blob = self.workspace.find(name)
            if blob is not None and blob.array is not None and device_of(blob.array) != device:
                array = blob.array
                target = blob.resize(array.shape, array.dtype, blob.quantum, device)
                copy_into(target, array)
                blob.written()

    def _fold(self, net: NetDef) -> NetDef:
        """The net without what only the weights decide, which is computed here."""
        data = {*self.fed, *self.model.inputs, *self.model.stand_ins}
        blobs = ((n, self.workspace.find(n)) for n in self.model.reads if n not in data)
        arrays = {name: blob.array for name, blob in blobs if blob is not None}
        weights = {name: on_host(array) for name, array in arrays.items() if array is not None}
        folded, made = fold_constants(net, weights, self._keep)
        self._folded = {n for op in net.op for n in op.input} - {
            n for op in folded.op for n in op.input
        }
        for name, array in made.items():
            self.workspace.create_blob(name).lend(array)
        return folded

    @property
    def created(self) -> CreatedNet | None:
        """The bound net; None for a plan, or before `prepare`."""
        return self.workspace.net(self._net) if self._net else None

    def run(self) -> None:
        """Run the net, or the whole plan, once."""
        if isinstance(self.model.predict, PlanDef):
            self.workspace.run_plan(self.model.predict)
            return
        try:
            self.prepare()
            self.workspace.run_net(self._net)
        except Error as error:
            if self.model.blobs:  # an input may not fit the parameters: of which file?
                error.with_where(self.model.predict_file)
            raise

    def fetch(self, names: Sequence[str]) -> dict[str, Any]:
        """What blobs hold after the run; MissingBlobError with near names."""
        return {name: self.workspace.fetch(name) for name in names}

    def made_outputs(self) -> list[str]:
        """The model's outputs that hold something: inference may leave a declared one out."""
        found = ((name, self.workspace.find(name)) for name in self.model.outputs)
        return [name for name, blob in found if blob is not None and blob.value is not None]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{n}'" for n in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, ... {len(names)} in all"


def _on_cpu(net: NetDef, device: Device | None) -> NetDef:
    """The net with every operator on the CPU if a device is given; otherwise the net itself."""
    if device is None:
        return net
    moved = clone(net, net.name)
    moved.ClearField("device_option")
    for inner in (moved, *(inner for inner, _ in nested_nets(moved))):
        for op in inner.op:
            seed = op.device_option.random_seed
            op.ClearField("device_option")
            if seed:
                op.device_option.random_seed = seed
    return moved
