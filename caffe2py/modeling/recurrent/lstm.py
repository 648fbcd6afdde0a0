"""LSTM cells: plain, with layer normalization, multiplicative (MI), and both.

All share c' = sigmoid(f + forget_bias) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'); they
differ in how the gates i, f, o, g come from the input and the last h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from caffe2py.graph.reference import BlobReference
from caffe2py.modeling.initializers import Initializer
from caffe2py.modeling.layers.dense import fc
from caffe2py.modeling.layers.normalization import layer_norm
from caffe2py.modeling.layers.plain import concat
from caffe2py.modeling.layers.plain import sum as add
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.cell import RNNCell

__all__ = [
    "LSTMCell",
    "LSTMInitializer",
    "LayerNormLSTMCell",
    "LayerNormMILSTMCell",
    "MILSTMCell",
]


class LSTMInitializer:
    """First states that are parameters, zero in the beginning."""

    def __init__(self, hidden_size: int) -> None:
        self.hidden_size = hidden_size

    def create_states(self, model: ModelHelper) -> list[BlobReference]:
        """`initial_hidden_state` and `initial_cell_state`, of shape (hidden_size,)."""
        zero = Initializer("ConstantFill", value=0.0)
        names = [f"initial_{kind}_state" for kind in ("hidden", "cell")]
        return [model.create_param(name, [self.hidden_size], zero) for name in names]


class _Gates(RNNCell):
    """What the four kinds of cells have in common."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float,
        memory_optimization: bool,
        drop_states: bool = False,
        initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(initializer=initializer or LSTMInitializer(hidden_size), **kwargs)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.gates_size = 4 * hidden_size
        self.forget_bias = float(forget_bias)
        self.memory_optimization, self.drop_states = memory_optimization, drop_states

    def prepare_input(self, model: ModelHelper, input_blob: Any) -> Any:
        """The input's part in the gates, W_x x + b_x."""
        widths = {"dim_in": self.input_size, "dim_out": self.gates_size}
        return fc(model, input_blob, self.scope("i2h"), axis=2, **widths)

    def get_state_names_override(self) -> Sequence[str]:
        """The hidden state, which is the output, and the cell state."""
        return ["hidden_t", "cell_t"]

    def get_output_dim(self) -> int:
        """The width of the hidden state."""
        return self.hidden_size

    def get_input_params(self) -> dict[str, str]:
        """The names of the input's weights and biases."""
        return self._parameter_names("i2h")

    def get_recurrent_params(self) -> dict[str, str]:
        """The names of the hidden state's weights and biases."""
        return self._parameter_names("gates_t")

    def _parameter_names(self, layer: str) -> dict[str, str]:
        kinds = ("weights", "biases")
        return {kind: f"{self.scope(layer)}_{kind[0]}" for kind in kinds}

    # ---- the parts of a step

    def _inner(self, name: str) -> str:
        """The name of a blob of the step, for where no name scope has been entered."""
        return self.scope(name)

    def _project(self, model: ModelHelper, hidden: Any, extra: Any, name: str) -> Any:
        """W [h, extra inputs] + b."""
        joined, width = hidden, self.hidden_size
        if extra is not None:
            pairs = list(extra)
            blobs = [hidden, *(blob for blob, _ in pairs)]
            joined = concat(model, blobs, self._inner("gates_concatenated_input_t"), axis=2)
            width = sum((size for _, size in pairs), width)
        widths = {"dim_in": width, "dim_out": self.gates_size}
        return fc(model, joined, self._inner(name), axis=2, **widths)

    def _normalized(self, model: ModelHelper) -> Any:
        """The gates, over which the sum has been taken, after layer normalization."""
        source, target = self._inner("gates_t"), self._inner("gates_t_norm")
        return layer_norm(model, source, target, dim_in=self.gates_size, axis=-1)[0]

    def _unit(
        self, model: ModelHelper, inputs: list[Any], outputs: Sequence[str], **more: Any
    ) -> tuple[Any, Any]:
        arguments = {"forget_bias": self.forget_bias, "drop_states": self.drop_states, **more}
        hidden, cell = model.net.LSTMUnit(inputs, list(outputs), **arguments)
        if self.memory_optimization:
            self.recompute_blobs = [inputs[2]]
        return hidden, cell


class LSTMCell(_Gates):
    """An LSTM: gates = W h + b + W_x x + b_x.

    `forget_bias` is added to the forget gate. A sequence that has ended keeps its states, or with
    `drop_states` gets zeros. With `memory_optimization` the gates are computed again on the way
    back. The first states are parameters unless they are given or `initializer` makes others.
    """

    def apply_override(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Any = None,
    ) -> Any:
        """The gates, and the unit that makes the new states."""
        hidden, cell = states
        gates = self._project(model, hidden, extra_inputs, "gates_t")
        add(model, [gates, input_t], gates)
        ended = [] if seq_lengths is None else [seq_lengths]
        new = self._unit(
            model,
            [hidden, cell, gates, *ended, timestep],
            ["hidden_state", "cell_state"],
            sequence_lengths=bool(ended),
        )
        model.net.AddExternalOutputs(*new)
        return new

    def _inner(self, name: str) -> str:
        return name


class LayerNormLSTMCell(_Gates):
    """An LSTM whose gates are normalized: gates = LayerNorm(W h + b + W_x x + b_x).

    Arguments as LSTMCell; the sequences' lengths are needed.
    """

    def _apply(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Any = None,
    ) -> Any:
        hidden, cell = states
        total = self._project(model, hidden, extra_inputs, "gates_t")
        add(model, [total, input_t], total)
        inputs = [hidden, cell, self._normalized(model), seq_lengths, timestep]
        new = self._unit(model, inputs, self.get_state_names())
        model.net.AddExternalOutputs(*new)
        return new


#: The parameters of a multiplicative cell, and what they begin as.
_MI_PARAMETERS: Mapping[str, float] = {"alpha": 1.0, "beta1": 1.0, "beta2": 1.0, "b": 0.0}


class MILSTMCell(LSTMCell):
    """A multiplicative LSTM: gates = alpha x h + beta1 h + beta2 x + b, element by element.

    x and h stand for W_x x + b_x and W h + b. Arguments as LSTMCell; the sequences' lengths are
    needed.
    """

    def _apply(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Any = None,
    ) -> Any:
        hidden, cell = states
        gates = self._gates(model, input_t, hidden, extra_inputs)
        outputs = [self.scope(name) for name in ("hidden_t_intermediate", "cell_t")]
        new = self._unit(model, [hidden, cell, gates, seq_lengths, timestep], outputs)
        model.net.AddExternalOutputs(new[1], new[0])
        return new

    def _inner(self, name: str) -> str:
        return self.scope(name)

    def _gates(self, model: ModelHelper, input_t: Any, hidden: Any, extra: Any) -> Any:
        """(alpha x + beta1) h + (beta2 x + b)."""
        previous = self._project(model, hidden, extra, "prev_t")
        alpha, of_hidden, of_input, bias = (
            model.create_param(
                self.scope(name), [self.gates_size], Initializer("ConstantFill", value=first)
            )
            for name, first in _MI_PARAMETERS.items()
        )
        factor_name = self.scope("alpha_by_input_t_plus_beta_h")
        linear = model.net.ElementwiseLinear
        factor = linear([input_t, alpha, of_hidden], factor_name, axis=2)
        product = model.net.Mul([factor, previous], f"{factor_name}_by_prev_t")
        rest_name = self.scope("beta_i_by_input_t_plus_b")
        rest = linear([input_t, of_input, bias], rest_name, axis=2)
        return add(model, [product, rest], self.scope("gates_t"))


class LayerNormMILSTMCell(MILSTMCell):
    """A multiplicative LSTM whose gates are normalized; arguments as LSTMCell."""

    def _gates(self, model: ModelHelper, input_t: Any, hidden: Any, extra: Any) -> Any:
        super()._gates(model, input_t, hidden, extra)
        return self._normalized(model)
