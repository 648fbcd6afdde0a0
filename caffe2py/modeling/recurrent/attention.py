"""Attention: a mean of the encoder's outputs, weighted by how well each matches a state.

The logits for T_e encoder outputs (T_e, N, E) and the decoder's state h are, with v, W learnt:

    Regular         v tanh(W_e e + W_h h)
    Recurrent       v tanh(W_e e + W_h h + W_c c), c the weighted mean of the step before
    Dot             e (W_h h), or e h where widths agree
    SoftCoverage    v tanh(W_e e + W_h h + W_s e * coverage), the weights so far added up

and the weights are their softmax over the encoder's outputs.
"""

from __future__ import annotations

from typing import Any

from caffe2py.modeling.layers.dense import fc
from caffe2py.modeling.layers.normalization import softmax
from caffe2py.modeling.layers.plain import batch_mat_mul, transpose
from caffe2py.modeling.model import ModelHelper

__all__ = [
    "AttentionType",
    "apply_dot_attention",
    "apply_recurrent_attention",
    "apply_regular_attention",
    "apply_soft_coverage_attention",
]


class AttentionType:
    """How logits are computed."""

    Regular = 0
    Recurrent = 1
    Dot = 2
    SoftCoverage = 3


class _Attention:
    """The parts that mechanisms share; all names begin with `scope`."""

    def __init__(self, model: ModelHelper, scope: Any, width: int, lengths: Any) -> None:
        self.model, self.net = model, model.net
        self.prefix = str(scope)
        self.width = width  # of the encoder's outputs
        self.lengths = lengths

    def name(self, blob: str) -> str:
        return f"{self.prefix}/{blob}"

    def projected(self, blob: Any, width: int, name: str) -> Any:
        """W x + b for x (1, N, width), as wide as the encoder's outputs."""
        widths = {"dim_in": width, "dim_out": self.width}
        return fc(self.model, blob, self.name(name), axis=2, **widths)

    def row(self, blob: Any, width: int, name: str) -> Any:
        """As `projected`, without the first axis: (N, E)."""
        found = self.projected(blob, width, name)
        return self.net.Squeeze(found, found, dims=[0])

    def logits(self, total: Any) -> Any:
        """V tanh(total): (T_e, N, E) to (N, T_e, 1)."""
        squashed = self.net.Tanh(total, total)
        options = {"dim_in": self.width, "dim_out": 1, "axis": 2, "freeze_bias": True}
        found = fc(self.model, squashed, self.name("attention_logits"), **options)
        turned = self.name("attention_logits_transposed")
        return transpose(self.model, found, turned, axes=[1, 0, 2])

    def weights(self, logits: Any) -> Any:
        """The softmax over the encoder's outputs, (N, T_e, 1); those beyond the end get 0."""
        if self.lengths is not None:
            masked = ["masked_attention_logits"]
            logits = self.net.SequenceMask([logits, self.lengths], masked, mode="sequence")
        name = self.name("attention_weights_3d")
        return softmax(self.model, logits, name, engine="CUDNN", axis=1)

    def context(self, encoder_outputs: Any, weights: Any) -> Any:
        """The weighted mean, (1, N, E), of the encoder's outputs (N, E, T_e)."""
        name = self.name("attention_weighted_encoder_context")
        found = batch_mat_mul(self.model, [encoder_outputs, weights], name)
        outputs = [found, self.name("attention_weighted_encoder_context_old_shape")]
        return self.net.Reshape(found, outputs, shape=[1, -1, self.width])[0]

    def finish(self, logits: Any, encoder_outputs: Any) -> tuple[Any, Any]:
        """The weighted mean and the weights."""
        weights = self.weights(logits)
        return self.context(encoder_outputs, weights), weights


#: The name of W_h h + b_h.
_HIDDEN = "weighted_decoder_hidden_state"
#: The name of what goes through tanh, which is large and can be computed again.
_SUM = "decoder_hidden_encoder_outputs_sum"


def apply_regular_attention(
    model: ModelHelper,
    encoder_output_dim: int,
    encoder_outputs_transposed: Any,
    weighted_encoder_outputs: Any,
    decoder_hidden_state_t: Any,
    decoder_hidden_state_dim: int,
    scope: Any,
    encoder_lengths: Any = None,
) -> tuple[Any, Any, list[Any]]:
    """AttentionType.Regular: returns (1, N, E), the weights (N, T_e, 1), and what is large.

    `encoder_outputs_transposed` is (N, E, T_e), `weighted_encoder_outputs` W_e e (T_e, N, E),
    `decoder_hidden_state_t` (1, N, decoder_hidden_state_dim), `encoder_lengths` (N,) or None.
    """
    part = _Attention(model, scope, encoder_output_dim, encoder_lengths)
    hidden = part.row(decoder_hidden_state_t, decoder_hidden_state_dim, _HIDDEN)
    both = [weighted_encoder_outputs, hidden]
    total = model.net.Add(both, part.name(_SUM), broadcast=1, use_grad_hack=1)
    return *part.finish(part.logits(total), encoder_outputs_transposed), [total]


def apply_recurrent_attention(
    model: ModelHelper,
    encoder_output_dim: int,
    encoder_outputs_transposed: Any,
    weighted_encoder_outputs: Any,
    decoder_hidden_state_t: Any,
    decoder_hidden_state_dim: int,
    attention_weighted_encoder_context_t_prev: Any,
    scope: Any,
    encoder_lengths: Any = None,
) -> tuple[Any, Any, list[Any]]:
    """AttentionType.Recurrent; as apply_regular_attention, with the context of the last step."""
    part = _Attention(model, scope, encoder_output_dim, encoder_lengths)
    before = attention_weighted_encoder_context_t_prev
    context = part.row(before, encoder_output_dim, "weighted_prev_attention_context")
    hidden = part.row(decoder_hidden_state_t, decoder_hidden_state_dim, _HIDDEN)
    state = model.net.Add([context, hidden], part.name(f"{_SUM}_tmp"))
    total = model.net.Add([weighted_encoder_outputs, state], part.name(_SUM), broadcast=1)
    return *part.finish(part.logits(total), encoder_outputs_transposed), [total]


def apply_dot_attention(
    model: ModelHelper,
    encoder_output_dim: int,
    encoder_outputs_transposed: Any,
    decoder_hidden_state_t: Any,
    decoder_hidden_state_dim: int,
    scope: Any,
    encoder_lengths: Any = None,
) -> tuple[Any, Any, list[Any]]:
    """AttentionType.Dot; as apply_regular_attention, and nothing of what it makes is large."""
    part = _Attention(model, scope, encoder_output_dim, encoder_lengths)
    hidden = decoder_hidden_state_t
    if decoder_hidden_state_dim != encoder_output_dim:
        hidden = part.projected(hidden, decoder_hidden_state_dim, _HIDDEN)
    flat = model.net.Squeeze(hidden, part.name(f"squeezed_{_HIDDEN}"), dims=[0])
    column = model.net.ExpandDims(flat, flat, dims=[2])
    name = part.name("attention_logits")
    logits = model.net.BatchMatMul([encoder_outputs_transposed, column], name, trans_a=1)
    return *part.finish(logits, encoder_outputs_transposed), []


def apply_soft_coverage_attention(
    model: ModelHelper,
    encoder_output_dim: int,
    encoder_outputs_transposed: Any,
    weighted_encoder_outputs: Any,
    decoder_hidden_state_t: Any,
    decoder_hidden_state_dim: int,
    scope: Any,
    encoder_lengths: Any,
    coverage_t_prev: Any,
    coverage_weights: Any,
) -> tuple[Any, Any, list[Any], Any]:
    """AttentionType.SoftCoverage; as apply_regular_attention, and the coverage (1, N, T_e).

    `coverage_weights` is W_s e (T_e, N, E).
    """
    part = _Attention(model, scope, encoder_output_dim, encoder_lengths)
    net, name = model.net, part.name
    hidden = part.row(decoder_hidden_state_t, decoder_hidden_state_dim, _HIDDEN)
    match = net.Add([weighted_encoder_outputs, hidden], name(f"{_SUM}_tmp"), broadcast=1)
    covered = net.Squeeze(coverage_t_prev, name("coverage_t_prev_2d"), dims=[0])
    covered = transpose(model, covered, name("coverage_t_prev_transposed"))
    scaled = net.Mul(
        [coverage_weights, covered], name("scaled_coverage_weights"), broadcast=1, axis=0
    )
    total = net.Add([match, scaled], name(_SUM))
    context, weights = part.finish(part.logits(total), encoder_outputs_transposed)
    more = net.Squeeze(weights, name("attention_weights_2d"), dims=[2])
    coverage = net.Add([coverage_t_prev, more], name("coverage_t"), broadcast=1)
    return context, weights, [total], coverage
