"""Predictor: two nets in a workspace of their own, one that makes weights, one that uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from caffe2py.errors import MissingBlobError, UsageError
from caffe2py.executor.inputs import as_net, blob_name
from caffe2py.executor.passes.pipeline import optimize as optimize_net
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.analysis import clone


class Predictor:
    """Runs a net on inputs: `Predictor(init_net, predict_net).run([x])`.

    The nets are given as bytes, NetDef or Net. Weights are made once, here.
    """

    def __init__(self, init_net: Any, predict_net: Any, *, optimize: bool = True) -> None:
        """Run the net that makes the weights and bind the other; raises what these raise.

        With `optimize`, operators are fused where the outputs stay what they are.
        """
        self.workspace = Workspace()
        self.workspace.run_net_once(as_net(init_net))
        net = as_net(predict_net)
        self._net = net if net.name else clone(net, "predict")
        #: The inputs, in the order in which `run` takes them: what the first net did not make.
        self.input_names = [
            name for name in self._net.external_input if not self.workspace.has_blob(name)
        ]
        self.output_names = list(self._net.external_output)
        for name in self.input_names:
            self.workspace.create_blob(name)
        bound = optimize_net(self._net, self.output_names) if optimize else self._net
        self.workspace.create_net(bound, keep=self.output_names if optimize else None)

    def run(self, inputs: Sequence[Any] | Mapping[Any, Any]) -> list[Any]:
        """The outputs, as arrays in the order in which the net declares them.

        Inputs are arrays in the order of `input_names` (or, if there are more of them, of the net's
        external inputs), or a mapping from names to arrays. UsageError for more inputs than the net
        has, MissingBlobError for a name that it does not have.
        """
        for name, value in self._named(inputs).items():
            self.workspace.feed(name, value)
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
