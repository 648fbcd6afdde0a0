"""Predictor: two nets in a workspace of their own, one that makes weights, one that uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from caffe2py.errors import MissingBlobError, UsageError
from caffe2py.executor.inputs import as_net, as_stored_net, blob_name
from caffe2py.executor.passes.constants import fold_constants
from caffe2py.executor.passes.pipeline import optimize as optimize_net
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.analysis import clone
from caffe2py.registry.trust import SAFE, TRUSTED, Trust
from caffe2py.tensor.tensor import Array


class Predictor:
    """Runs a net on inputs: `Predictor(init_net, predict_net).run([x])`.

    The nets are given as bytes, NetDef or Net. Weights are made once, here. Bytes come from who
    knows where, so nets that are bytes may only compute, unless `trust` says more.
    """

    def __init__(
        self,
        init_net: Any,
        predict_net: Any,
        *,
        optimize: bool = True,
        trust: Trust | None = None,
    ) -> None:
        """Run the net that makes the weights and bind the other; raises what these raise.

        With `optimize`, operators are fused where the outputs stay what they are.
        """
        given_bytes = any(isinstance(net, bytes) for net in (init_net, predict_net))
        self.workspace = Workspace(trust=trust or (SAFE if given_bytes else TRUSTED))
        self.workspace.run_net_once(*as_stored_net(init_net))
        net = as_net(predict_net)
        self._net = net if net.name else clone(net, "predict")
        #: The inputs, in the order in which `run` takes them: what the first net did not make.
        self.input_names = [
            name for name in self._net.external_input if not self.workspace.has_blob(name)
        ]
        self.output_names = list(self._net.external_output)
        for name in self.input_names:
            self.workspace.create_blob(name)
        self._frozen: dict[str, int] = {}
        self._fed: set[str] = set()
        self._optimize = optimize
        self._bind()

    def _bind(self) -> None:
        if not self._optimize:
            self.workspace.create_net(self._net)
            return
        bound, made = fold_constants(self._net, self._constants(), self.output_names)
        left = {name for op in bound.op for name in op.input}
        read = {name for op in self._net.op for name in op.input} - left
        self._frozen = {n: b.version for n in read if (b := self.workspace.find(n)) is not None}
        for name in self._frozen:
            self.workspace.blob(name).watch()  # then nets that write it say so
        for name, array in made.items():
            self.workspace.create_blob(name).lend(array)
        bound = optimize_net(bound, self.output_names)
        self.workspace.create_net(bound, overwrite=True, keep=self.output_names)

    def _constants(self) -> dict[str, Array]:
        """The weights, by name. If all inputs are made, those that look like data are none."""
        data = set(self.input_names) | self._fed
        if not self.input_names:
            data |= {op.input[0] for op in self._net.op if op.input}
        arrays = {}
        for name in set(self._net.external_input) - data:
            blob = self.workspace.find(name)
            # what has another name as well may be written by that
            if blob is not None and blob.array is not None and not blob.tensor().lent:
                arrays[name] = blob.array
        return arrays

    def _follow_weights(self) -> None:
        """Fold no longer what was fed since."""
        blobs = ((n, v, self.workspace.blob(n)) for n, v in self._frozen.items())
        changed = {n for n, v, b in blobs if b.version != v or b.array is None or b.tensor().lent}
        if changed:
            self._fed |= changed
            self._bind()

    def run(self, inputs: Sequence[Any] | Mapping[Any, Any]) -> list[Any]:
        """The outputs, as arrays in the order in which the net declares them.

        Inputs are arrays in the order of `input_names` (or, if there are more of them, of the net's
        external inputs), or a mapping from names to arrays. UsageError for more inputs than the net
        has, MissingBlobError for a name that it does not have.
        """
        net = self.workspace.net(self._net.name)
        for name, value in self._named(inputs).items():
            self.workspace.feed(name, value, net.place_of(name))
        self._follow_weights()
        self.workspace.run_net(self._net.name)
        return [self.workspace.fetch(name) for name in self.output_names]

    def _named(self, inputs: Sequence[Any] | Mapping[Any, Any]) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            named = {blob_name(name): value for name, value in inputs.items()}
            for name in named:
                if not self.workspace.has_blob(name):
                    raise MissingBlobError(
                        f"Blob does not exist: {name}; the net's inputs are {self.input_names}"
                    )
            return named
        if not isinstance(inputs, Sequence) or isinstance(inputs, str | bytes):
            raise UsageError(
                f"expected a list of arrays, or a mapping of names to them, found {inputs!r:.80}"
            )
        names = self.input_names
        if len(inputs) > len(names):
            names = list(self._net.external_input)
        if len(inputs) > len(names):
            raise UsageError(f"{len(inputs)} inputs for a net with {len(names)}: {names}")
        return dict(zip(names, inputs, strict=False))
