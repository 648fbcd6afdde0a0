"""Caffe2's onnx.backend_rep module: an ONNX model that is ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.executor.workspace import Workspace
from caffe2py.interop.onnx.emitter import VariesError
from caffe2py.interop.onnx.importer import Imported, import_model
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.interop.onnx.read import input_names
from caffe2py.proto.analysis import clone
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.tensor import Array

__all__ = ["Caffe2Rep"]

#: Translations that are kept, one for each set of values that inputs with a say had.
_MOST_KEPT = 8


class Caffe2Rep:
    """A model and a workspace with its weights: `rep.run([x])`.

    Where inputs decide what Caffe2 takes as an argument (axes, shapes), the model is translated
    for their values when these are known: in the first run, and again for other values.
    """

    def __init__(self, model: Any, values: Mapping[str, Array] | None = None) -> None:
        self._model = model
        self._values = dict(values or {})
        self._needed: tuple[str, ...] = ()
        self._ready: dict[tuple[bytes, ...], _Ready] = {}
        self._names = input_names(model)
        try:
            self._ready[()] = _Ready(import_model(model, values=self._values))
        except VariesError as error:
            self._needed = error.inputs

    @property
    def init_net(self) -> NetDef:
        """The net that makes the weights; UsageError before the values it needs are known."""
        return self._latest().imported.init

    @property
    def predict_net(self) -> NetDef:
        """The net that computes; UsageError before the values it needs are known."""
        return self._latest().imported.predict

    @property
    def workspace(self) -> Workspace:
        """Where the nets run."""
        return self._latest().workspace

    @property
    def uninitialized(self) -> list[str]:
        """The inputs to give, in order."""
        return [name for name in self._names if name not in self._values]

    def _latest(self) -> _Ready:
        if not self._ready:
            needed = ", ".join(self._needed)
            raise UsageError(f"the nets depend on the values of {needed}", hint="run it once")
        return next(reversed(self._ready.values()))

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """The outputs, by position and by name.

        Inputs are a list in the order of the model, a mapping from names, or one array. UsageError
        for inputs that the model does not have or lacks.
        """
        named = self._named(inputs)
        ready = self._translated(named)
        for name in ready.imported.inputs:
            ready.workspace.feed(name, named[name])
        ready.workspace.run_net(ready.name)
        outputs = ready.imported.outputs
        made = onnx_package("backend.base").namedtupledict("Outputs", list(outputs))
        return made(*(ready.workspace.fetch(name) for name in outputs))

    def _named(self, inputs: Any) -> dict[str, Any]:
        names = self.uninitialized
        if isinstance(inputs, Mapping):
            given = dict(inputs)
        elif isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes):
            if len(inputs) > len(names):
                raise UsageError(f"{len(inputs)} inputs for a model with {len(names)}: {names}")
            given = dict(zip(names, inputs, strict=False))
        elif len(names) == 1:
            given = {names[0]: inputs}
        else:
            raise UsageError(f"the model has {len(names)} inputs: give a list of {names}")
        unknown = [name for name in given if name not in names]
        missing = [name for name in names if name not in given]
        if unknown or missing:
            what = f"no input '{unknown[0]}'" if unknown else f"input '{missing[0]}' is missing"
            raise UsageError(f"{what}; the inputs are {names}")
        return {name: np.asarray(value) for name, value in given.items()}

    def _translated(self, named: Mapping[str, Array]) -> _Ready:
        """The translation for these inputs; each error may name further values to fix."""
        while True:
            fixed = {name: named[name] for name in self._needed}
            shapes = [repr((a.dtype.str, a.shape)).encode() for a in fixed.values()]
            key = (*(a.tobytes() for a in fixed.values()), *shapes)
            found = self._ready.get(key)
            if found is not None:
                return found
            try:
                made = _Ready(import_model(self._model, values={**self._values, **fixed}))
            except VariesError as error:
                if set(error.inputs) <= set(self._needed):
                    raise
                self._needed = tuple(dict.fromkeys((*self._needed, *error.inputs)))
                continue
            while len(self._ready) >= _MOST_KEPT:
                self._ready.pop(next(iter(self._ready)))
            self._ready[key] = made
            return made


class _Ready:
    """A translation in a workspace of its own, its weights made."""

    def __init__(self, imported: Imported) -> None:
        self.imported = imported
        self.workspace = Workspace()
        for name, array in imported.weights.items():
            self.workspace.feed(name, array)
        for name in imported.inputs:
            self.workspace.create_blob(name)
        self.name = self.workspace.create_net(clone(imported.predict, "predict"))
