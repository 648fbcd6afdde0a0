"""GRUCell: h' = u h + (1 - u) tanh(o), with an update gate u and a reset gate inside o."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.graph.net import Net
from caffe2py.modeling.layers.dense import fc
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.cell import RNNCell

__all__ = ["GRUCell"]

_GATES = ("reset", "update", "output")


class GRUCell(RNNCell):
    """A gated recurrent unit.

    r = sigmoid(W_r h + b_r + x_r), u = sigmoid(W_u h + b_u + x_u), and o = W_o (r h) + b_o + x_o,
    or with `linear_before_reset` o = r (W_o h + b_o) + x_o. A sequence that has ended keeps its
    state, or with `drop_states` gets zeros. `forget_bias` and `memory_optimization` have no effect.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float,
        memory_optimization: bool,
        drop_states: bool = False,
        linear_before_reset: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.forget_bias = float(forget_bias)
        self.memory_optimization, self.drop_states = memory_optimization, drop_states
        self.linear_before_reset = linear_before_reset

    def _apply(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Any = None,
    ) -> Any:
        """Three gates from the state and the input's three parts, and the unit."""
        net, hidden = model.net, states[0]
        parts = net.Split([input_t], [self.scope(f"input_t_{gate}") for gate in _GATES], axis=2)
        reset = self._connected(model, hidden, "reset")
        update = self._connected(model, hidden, "update")
        reset = self._total(net, reset, parts[0], "reset_gate_t")
        opened = net.Sigmoid(reset, self.scope("reset_gate_t_sigmoid"))
        output = self._output_gate(model, opened, hidden)
        update = self._total(net, update, parts[1], "update_gate_t")
        output = self._total(net, output, parts[2], "output_gate_t_summed")
        joined = [self.scope("gates_t"), self.scope("_gates_t_concat_dims")]
        gates = net.Concat([reset, update, output], joined, axis=2)[0]
        ended = [] if seq_lengths is None else [seq_lengths]
        new = net.GRUUnit(
            [hidden, gates, *ended, timestep],
            list(self.get_state_names()),
            forget_bias=self.forget_bias,
            drop_states=self.drop_states,
            sequence_lengths=bool(ended),
        )
        net.AddExternalOutputs(new)
        return (new,)

    def _connected(self, model: ModelHelper, blob: Any, gate: str) -> Any:
        size = self.hidden_size
        return fc(model, blob, self.scope(f"{gate}_gate_t"), dim_in=size, dim_out=size, axis=2)

    def _total(self, net: Net, gate: Any, part: Any, name: str) -> Any:
        return net.Sum([gate, part], self.scope(name))

    def _output_gate(self, model: ModelHelper, opened: Any, hidden: Any) -> Any:
        """The state's part in the output gate: reset after the product, or before it."""
        multiply = model.net.Mul
        if self.linear_before_reset:
            product = self._connected(model, hidden, "output")
            return multiply([opened, product], self.scope("output_gate_t_mul"))
        kept = multiply([opened, hidden], self.scope("modified_hidden_t_prev"))
        return self._connected(model, kept, "output")

    def prepare_input(self, model: ModelHelper, input_blob: Any) -> Any:
        """The input's part in the three gates, W_x x + b_x."""
        widths = {"dim_in": self.input_size, "dim_out": len(_GATES) * self.hidden_size}
        return fc(model, input_blob, self.scope("i2h"), axis=2, **widths)

    def get_state_names(self) -> Sequence[str]:
        """One state."""
        return (self.scope("hidden_t"),)

    def get_output_dim(self) -> int:
        """The width of the state."""
        return self.hidden_size
