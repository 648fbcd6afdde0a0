"""AttentionCell: a decoder that looks at an encoder's outputs in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.device import IsGPUDeviceType
from caffe2py.graph.scope import CurrentDeviceScope, NameScope
from caffe2py.modeling.layers.dense import fc
from caffe2py.modeling.layers.plain import concat, transpose
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.attention import (
    AttentionType,
    apply_dot_attention,
    apply_recurrent_attention,
    apply_regular_attention,
    apply_soft_coverage_attention,
)
from caffe2py.modeling.recurrent.cell import Extra, RNNCell
from caffe2py.modeling.recurrent.lstm import LSTMCell, MILSTMCell

__all__ = ["AttentionCell", "LSTMWithAttentionCell", "MILSTMWithAttentionCell"]

_TYPES: Mapping[int, Callable[..., tuple[Any, ...]]] = {
    AttentionType.Regular: apply_regular_attention,
    AttentionType.Recurrent: apply_recurrent_attention,
    AttentionType.Dot: apply_dot_attention,
    AttentionType.SoftCoverage: apply_soft_coverage_attention,
}


class AttentionCell(RNNCell):
    """A decoder cell, which gets the context of the last step, and attention with its output.

    `encoder_outputs` is (T_e, N, encoder_output_dim), `encoder_lengths` (N,) or None. The states
    are the decoder's, the attention's context (1, N, encoder_output_dim) and, for SoftCoverage, the
    coverage (1, N, T_e). The output is the decoder's output and the context, side by side.
    `weighted_encoder_outputs`, (T_e, N, encoder_output_dim), are made here if not given; with
    `attention_memory_optimization` what is large is computed again on the way back.
    """

    def __init__(
        self,
        encoder_output_dim: int,
        encoder_outputs: Any,
        encoder_lengths: Any,
        decoder_cell: RNNCell,
        decoder_state_dim: int,
        attention_type: int,
        weighted_encoder_outputs: Any,
        attention_memory_optimization: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if attention_type not in _TYPES:
            raise UsageError(f"{attention_type!r} is none of AttentionType's")
        self.encoder_output_dim, self.encoder_outputs = encoder_output_dim, encoder_outputs
        self.encoder_lengths = encoder_lengths
        self.decoder_cell, self.decoder_state_dim = decoder_cell, decoder_state_dim
        self.attention_type = attention_type
        self.weighted_encoder_outputs = weighted_encoder_outputs
        self.attention_memory_optimization = attention_memory_optimization
        self.encoder_outputs_transposed: Any = None
        self.coverage_weights: Any = None
        self.hidden_t_intermediate: Any = None
        self.attention_weights_3d: Any = None

    @property
    def _covers(self) -> bool:
        return self.attention_type == AttentionType.SoftCoverage

    @property
    def _own_states(self) -> int:
        """How many states come behind the decoder's."""
        return 2 if self._covers else 1

    # ---- one step

    def _apply(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Iterable[Extra] | None = None,
    ) -> Any:
        if extra_inputs is not None:
            raise UsageError("an attention cell takes no inputs besides the sequence")
        context = states[-self._own_states]
        decoded = self.decoder_cell._apply(
            model,
            input_t,
            seq_lengths,
            states[: -self._own_states],
            timestep,
            extra_inputs=[(context, self.encoder_output_dim)],
        )
        self.hidden_t_intermediate = self.decoder_cell._prepare_output(model, decoded)
        found = self._attend(model, context, states[-1])
        self.attention_weights_3d = found[1]
        if self.attention_memory_optimization:
            self.recompute_blobs += found[2]
        new = [*decoded, found[0], *found[3:]]
        # the state for the next step is a blob of its own: the decoder's has two readers
        output = self.get_output_state_index()
        new[output] = model.net.Copy(new[output], self.scope("hidden_t_external"))
        model.net.AddExternalOutputs(*new)
        return new

    def _attend(self, model: ModelHelper, context: Any, coverage: Any) -> tuple[Any, ...]:
        more: dict[str, Any] = {}
        if self.attention_type != AttentionType.Dot:
            more["weighted_encoder_outputs"] = self.weighted_encoder_outputs
        if self.attention_type == AttentionType.Recurrent:
            more["attention_weighted_encoder_context_t_prev"] = context
        if self._covers:
            more |= {"coverage_t_prev": coverage, "coverage_weights": self.coverage_weights}
        return _TYPES[self.attention_type](
            model=model,
            scope=self.name,
            decoder_hidden_state_t=self.hidden_t_intermediate,
            decoder_hidden_state_dim=self.decoder_state_dim,
            encoder_output_dim=self.encoder_output_dim,
            encoder_lengths=self.encoder_lengths,
            encoder_outputs_transposed=self.encoder_outputs_transposed,
            **more,
        )

    def get_attention_weights(self) -> Any:
        """The weights of a step, (N, T_e, 1)."""
        return self.attention_weights_3d

    # ---- before the first step

    def _of_encoder(self, model: ModelHelper, name: str) -> Any:
        """W e + b for the encoder's outputs."""
        width = self.encoder_output_dim
        widths = {"dim_in": width, "dim_out": width}
        return fc(model, self.encoder_outputs, self.scope(name), axis=2, **widths)

    def prepare_input(self, model: ModelHelper, input_blob: Any) -> Any:
        """As the decoder; and what is done with the encoder's outputs once and for all."""
        if self.encoder_outputs_transposed is None:
            name = self.scope("encoder_outputs_transposed")
            turned = transpose(model, self.encoder_outputs, name, axes=[1, 2, 0])
            self.encoder_outputs_transposed = turned
        if self.weighted_encoder_outputs is None and self.attention_type != AttentionType.Dot:
            self.weighted_encoder_outputs = self._of_encoder(model, "weighted_encoder_outputs")
        return self.decoder_cell.prepare_input(model, input_blob)

    def build_initial_coverage(self, model: ModelHelper) -> Any:
        """The first coverage: a zero for each of the encoder's outputs; and W_s e."""
        if not self._covers:
            raise UsageError("only SoftCoverage has a coverage")
        self.coverage_weights = self._of_encoder(model, "coverage_weights")
        net = model.net
        length = net.Slice(net.Shape(self.encoder_outputs), starts=[0], ends=[1])
        device = CurrentDeviceScope()
        if device is not None and IsGPUDeviceType(device.device_type):
            length = net.CopyGPUToCPU(length, "encoder_length_cpu")
        name = self.scope("initial_coverage")
        return net.ConstantFill(length, name, value=0.0, input_as_shape=1)

    # ---- states and outputs

    def get_state_names(self) -> Sequence[str]:
        """The decoder's, with its output under another name, and the attention's."""
        names = list(self.decoder_cell.get_state_names())
        names[self.get_output_state_index()] = self.scope("hidden_t_external")
        names.append(self.scope("attention_weighted_encoder_context_t"))
        return [*names, self.scope("coverage_t")] if self._covers else names

    def get_output_dim(self) -> int:
        """The decoder's width and the encoder's."""
        return self.decoder_state_dim + self.encoder_output_dim

    def get_output_state_index(self) -> int:
        """As the decoder."""
        return self.decoder_cell.get_output_state_index()

    def _prepare_output(self, model: ModelHelper, states: Any) -> Any:
        return self._side_by_side(model, self.hidden_t_intermediate, states[-self._own_states])

    def _prepare_output_sequence(self, model: ModelHelper, state_outputs: Any) -> Any:
        begin = 2 * (len(self.get_state_names()) - self._own_states)
        decoded = state_outputs[: len(state_outputs) - 2 * self._own_states]
        output = self.decoder_cell._prepare_output_sequence(model, decoded)
        return self._side_by_side(model, output, state_outputs[begin])

    def _side_by_side(self, model: ModelHelper, output: Any, context: Any) -> Any:
        with NameScope(self.name):
            return concat(model, [output, context], "states_and_context_combination", axis=2)


class _Decoder(AttentionCell):
    """An attention cell that makes its decoder cell, of a class that it knows."""

    decoder_class: type[LSTMCell] = LSTMCell

    def __init__(
        self,
        encoder_output_dim: int,
        encoder_outputs: Any,
        encoder_lengths: Any = None,
        *,
        decoder_input_dim: int,
        decoder_state_dim: int,
        name: str,
        attention_type: int,
        weighted_encoder_outputs: Any,
        forget_bias: float,
        lstm_memory_optimization: bool,
        attention_memory_optimization: bool,
        forward_only: bool = False,
    ) -> None:
        decoder = self.decoder_class(
            decoder_input_dim,
            decoder_state_dim,
            forget_bias,
            lstm_memory_optimization,
            name=f"{name}/decoder",
        )
        super().__init__(
            encoder_output_dim,
            encoder_outputs,
            encoder_lengths,
            decoder,
            decoder_state_dim,
            attention_type,
            weighted_encoder_outputs,
            attention_memory_optimization,
            name=name,
            forward_only=forward_only,
        )


class LSTMWithAttentionCell(_Decoder):
    """An LSTM as decoder."""


class MILSTMWithAttentionCell(_Decoder):
    """A multiplicative LSTM as decoder."""

    decoder_class = MILSTMCell
