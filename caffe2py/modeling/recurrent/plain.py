"""BasicRNNCell: h' = f(W h + b + x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.net import Net
from caffe2py.modeling.layers.dense import fc
from caffe2py.modeling.layers.plain import sum as add
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.cell import RNNCell

__all__ = ["BasicRNNCell"]

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh"}


class BasicRNNCell(RNNCell):
    """The state is its own output: h' = activation(W h + b + W_x x + b_x).

    `activation` is "relu" or "tanh". A sequence that has ended keeps its state, or with
    `drop_states` gets zeros. `forget_bias`, `memory_optimization` and `initializer` have no effect.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float,
        memory_optimization: bool,
        drop_states: bool = False,
        initializer: Any = None,
        activation: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in _ACTIVATIONS:
            raise UsageError(
                f"BasicRNNCell has the activations {', '.join(_ACTIVATIONS)}, found {activation!r}"
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        self.drop_states, self.activation = drop_states, activation

    def apply_override(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Any = None,
    ) -> Any:
        """FC of the state, plus the prepared input, activated."""
        size = self.hidden_size
        gates = fc(model, states[0], "gates_t", dim_in=size, dim_out=size, axis=2)
        add(model, [gates, input_t], gates)
        activate = model.net.operator_method(_ACTIVATIONS[str(self.activation)])
        hidden = activate(gates, "hidden_t")
        if seq_lengths is None:
            return (hidden,)
        return (self._unless_ended(model.net, hidden, states[0], seq_lengths, timestep),)

    def _unless_ended(
        self, net: Net, hidden: Any, before: Any, seq_lengths: Any, timestep: Any
    ) -> Any:
        """The new state of sequences that go on, the old one (or 0) of others."""
        now = net.CopyFromCPUInput(timestep, "timestep_gpu")
        masks = [
            compare([seq_lengths, now], f"{name}_b", broadcast=1)
            for compare, name in ((net.GT, "valid"), (net.LE, "invalid"))
        ]
        goes_on, ended = (
            net.Cast(mask, name, to="float")
            for mask, name in zip(masks, ("valid", "invalid"), strict=True)
        )
        along = {"broadcast": 1, "axis": 1}
        new = net.Mul([hidden, goes_on], "hidden_valid", **along)
        if self.drop_states:
            return new
        old = net.Mul([before, ended], "hidden_invalid", **along)
        return net.Add([new, old], hidden)

    def prepare_input(self, model: ModelHelper, input_blob: Any) -> Any:
        """W_x x + b_x."""
        widths = {"dim_in": self.input_size, "dim_out": self.hidden_size}
        return fc(model, input_blob, self.scope("i2h"), axis=2, **widths)

    def get_state_names(self) -> Sequence[str]:
        """One state."""
        return (self.scope("hidden_t"),)

    def get_output_dim(self) -> int:
        """The width of the state."""
        return self.hidden_size
