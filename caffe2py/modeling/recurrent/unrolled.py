"""UnrolledCell: the steps one after the other in the net itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from caffe2py.graph.device import DeviceOption
from caffe2py.graph.queries import DataType
from caffe2py.graph.scope import NameScope
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.parameter_sharing import ParameterSharing
from caffe2py.modeling.recurrent.cell import RNNCell, reference
from caffe2py.proto.caffe2_pb2 import PROTO_CPU

__all__ = ["UnrolledCell"]


class UnrolledCell(RNNCell):
    """`T` copies of a cell's step in the net, which share their parameters.

    For sequences of exactly T steps; what is in the net can be seen and differentiated like
    everything else.
    """

    def __init__(self, cell: RNNCell, T: int) -> None:
        super().__init__(cell.name, cell.forward_only, getattr(cell, "initializer", None))
        self.cell, self.T = cell, T

    def apply_over_sequence(
        self,
        model: ModelHelper,
        inputs: Any,
        seq_lengths: Any = None,
        initial_states: Any = None,
        outputs_with_grads: Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """As RNNCell.apply_over_sequence."""
        first = self._first_states(model) if initial_states is None else initial_states
        if outputs_with_grads is None:
            outputs_with_grads = [2 * self.cell.get_output_state_index()]
        sequence = self.cell.prepare_input(model, inputs)
        names = [f"{sequence}_timestep_{t}" for t in range(self.T)]
        parts = model.net.Split(sequence, names, axis=0)
        # strings mean blobs here, not inside the scopes of the steps
        given = reference(seq_lengths), [reference(blob) for blob in first]
        rows = self._steps(model, parts if self.T > 1 else [parts], *given)
        joined = [self._joined(model, values) for values in zip(*rows, strict=True)]
        found = tuple(blob for pair in zip(joined, rows[-1], strict=True) for blob in pair)
        self._stop_others(model, found, outputs_with_grads)
        return self.cell._prepare_output_sequence(model, found), found

    def _steps(self, model: ModelHelper, parts: Any, seq_lengths: Any, states: Any) -> list[Any]:
        """The states after each step."""
        rows = []
        for number, part in enumerate(parts):
            scope = f"timestep_{number}"
            with ParameterSharing({scope: ""}), NameScope(scope):
                timestep = model.param_init_net.ConstantFill(
                    [],
                    "timestep",
                    value=number,
                    shape=[1],
                    dtype=DataType.INT32,
                    device_option=DeviceOption(PROTO_CPU),
                )
                states = self.cell._apply(
                    model=model,
                    input_t=part,
                    seq_lengths=seq_lengths,
                    states=states,
                    timestep=timestep,
                )
            rows.append(states)
        return rows

    @staticmethod
    def _joined(model: ModelHelper, values: Sequence[Any]) -> Any:
        """One state in all steps."""
        name = str(values[0])[len("timestep_0/") :]  # right outside of name scopes, as in Caffe2
        return model.net.Concat(list(values), [f"{name}_concat", f"{name}_concat_info"], axis=0)[0]

    @staticmethod
    def _stop_others(model: ModelHelper, found: Sequence[Any], wanted: Collection[int]) -> None:
        """Outputs that get no gradient get zeros, as those of RecurrentNetwork do."""
        for number, blob in enumerate(found):
            if number not in wanted:
                model.net.ZeroGradient(blob, [])
