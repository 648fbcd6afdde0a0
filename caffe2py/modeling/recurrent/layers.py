"""Whole recurrent layers: LSTM, GRU and the others over a sequence, by one call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from caffe2py.errors import UnsupportedError, UsageError
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.attending import LSTMWithAttentionCell
from caffe2py.modeling.recurrent.attention import AttentionType
from caffe2py.modeling.recurrent.cell import RNNCell
from caffe2py.modeling.recurrent.gru import GRUCell
from caffe2py.modeling.recurrent.lstm import (
    LayerNormLSTMCell,
    LayerNormMILSTMCell,
    LSTMCell,
    MILSTMCell,
)
from caffe2py.modeling.recurrent.plain import BasicRNNCell
from caffe2py.modeling.recurrent.stacked import MultiRNNCell
from caffe2py.modeling.recurrent.unrolled import UnrolledCell

__all__ = [
    "GRU",
    "LSTM",
    "MILSTM",
    "BasicRNN",
    "LSTMWithAttention",
    "LayerNormLSTM",
    "LayerNormMILSTM",
    "cudnn_LSTM",
    "layered_LSTM",
    "over_sequence",
]


def over_sequence(
    cell_class: Callable[..., RNNCell],
    model: ModelHelper,
    input_blob: Any,
    seq_lengths: Any,
    initial_states: Any,
    dim_in: int,
    dim_out: int | Sequence[int],
    scope: str | None = None,
    outputs_with_grads: Sequence[int] = (0,),
    return_params: bool = False,
    memory_optimization: bool = False,
    forget_bias: float = 0.0,
    forward_only: bool = False,
    drop_states: bool = False,
    return_last_layer_only: bool = True,
    static_rnn_unroll_size: int | None = None,
    **cell_kwargs: Any,
) -> tuple[Any, ...]:
    """Put a cell over a sequence; returns for each state all its values and the last one.

    `input_blob` is (T, N, dim_in), `seq_lengths` int32 (N,) or None, `dim_out` the number of units
    or a list of them for several layers. `initial_states` are the states of all layers, (N, units)
    or (1, N, units); if None they are parameters. An LSTM returns h (T, N, units), the last h
    (1, N, units), c and the last c, of the last layer unless `return_last_layer_only` is False;
    `outputs_with_grads` numbers those of the last layer that will get gradients. With
    `return_params` the last of what is returned are the parameters' names. `static_rnn_unroll_size`
    unrolls that many steps into the net. Other arguments go to the cell.
    """
    units = dim_out if isinstance(dim_out, list | tuple) else [dim_out]
    make = functools.partial(
        cell_class,
        forget_bias=forget_bias,
        memory_optimization=memory_optimization,
        forward_only=forward_only,
        drop_states=drop_states,
        **cell_kwargs,
    )
    if len(units) == 1:
        cell: RNNCell = make(input_size=dim_in, hidden_size=units[0], name=scope)
        before = 0  # results of lower layers
    else:
        widths = zip([dim_in, *units[:-1]], units, strict=True)
        cells = [make(input_size=i, hidden_size=h, name=None) for i, h in widths]
        cell = MultiRNNCell(cells, name=scope, forward_only=forward_only)
        before = 2 * sum(len(layer.get_state_names()) for layer in cells[:-1])
    runner: RNNCell = cell
    if static_rnn_unroll_size is not None:
        runner = UnrolledCell(cell, static_rnn_unroll_size)
    _, found = runner.apply_over_sequence(
        model=model,
        initial_states=initial_states,
        inputs=input_blob,
        seq_lengths=seq_lengths,
        outputs_with_grads=[before + number for number in outputs_with_grads],
    )
    result = tuple(found[before:] if return_last_layer_only else found)
    return (*result, _parameters(cell)) if return_params else result


def _parameters(cell: Any) -> dict[str, dict[str, str]]:
    if not hasattr(cell, "get_input_params"):
        raise UsageError("return_params works for one layer of an LSTM")
    return {"input": cell.get_input_params(), "recurrent": cell.get_recurrent_params()}


def _layer(cell_class: Callable[..., RNNCell], name: str, what: str) -> Callable[..., Any]:
    """`over_sequence` for one kind of cell."""

    @functools.wraps(over_sequence)
    def build(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return over_sequence(cell_class, *args, **kwargs)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{what}\n\n{over_sequence.__doc__}"
    return build


BasicRNN = _layer(BasicRNNCell, "BasicRNN", "Plain recurrent layers; `activation` must be given.")
GRU = _layer(GRUCell, "GRU", "Layers of gated recurrent units.")
LSTM = _layer(LSTMCell, "LSTM", "LSTM layers.")
MILSTM = _layer(MILSTMCell, "MILSTM", "Layers of multiplicative LSTMs.")
LayerNormLSTM = _layer(LayerNormLSTMCell, "LayerNormLSTM", "LSTM layers with normalized gates.")
LayerNormMILSTM = _layer(
    LayerNormMILSTMCell, "LayerNormMILSTM", "Multiplicative LSTM layers with normalized gates."
)


def LSTMWithAttention(
    model: ModelHelper,
    decoder_inputs: Any,
    decoder_input_lengths: Any,
    initial_decoder_hidden_state: Any,
    initial_decoder_cell_state: Any,
    initial_attention_weighted_encoder_context: Any,
    encoder_output_dim: int,
    encoder_outputs: Any,
    encoder_lengths: Any,
    decoder_input_dim: int,
    decoder_state_dim: int,
    scope: str,
    attention_type: int = AttentionType.Regular,
    outputs_with_grads: Sequence[int] = (0, 4),
    weighted_encoder_outputs: Any = None,
    **options: Any,
) -> Any:
    """An LSTM decoder with attention over a sequence (T, N, decoder_input_dim).

    Arguments as AttentionCell. Returns h, its last value, c, its last value, the contexts
    (T, N, encoder_output_dim), the last one, and for SoftCoverage the coverages and the last one.
    Options: lstm_memory_optimization, attention_memory_optimization, forward_only (all False) and
    forget_bias (0).
    """
    defaults = {"lstm_memory_optimization": False, "attention_memory_optimization": False}
    cell = LSTMWithAttentionCell(
        encoder_output_dim,
        encoder_outputs,
        encoder_lengths,
        decoder_input_dim=decoder_input_dim,
        decoder_state_dim=decoder_state_dim,
        name=scope,
        attention_type=attention_type,
        weighted_encoder_outputs=weighted_encoder_outputs,
        **{"forget_bias": 0.0, **defaults, **options},
    )
    states = [initial_decoder_hidden_state, initial_decoder_cell_state]
    states.append(initial_attention_weighted_encoder_context)
    if attention_type == AttentionType.SoftCoverage:
        states.append(cell.build_initial_coverage(model))
    return cell.apply_over_sequence(
        model, decoder_inputs, decoder_input_lengths, states, outputs_with_grads
    )[1]


def layered_LSTM(
    model: ModelHelper,
    input_blob: Any,
    seq_lengths: Any,
    initial_states: Any,
    dim_in: int,
    dim_out: int | list[int],
    scope: str,
    *args: Any,
    create_lstm: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Any:
    """LSTM layers, each over the whole sequence before the next begins.

    The first states of a layer are the last ones of the layer below, so all have one width.
    `create_lstm` makes a layer, by default LSTM; other arguments go to it. Layers above the first
    have the scopes "<scope>_layer_1" and so on. Returns what the last layer does.
    """
    make = LSTM if create_lstm is None else create_lstm
    widths = dim_out if isinstance(dim_out, list) else [dim_out]
    if not widths:
        raise UsageError("layered_LSTM: dim_out is an empty list")
    if len(widths) > 1 and kwargs.get("return_params"):
        raise UsageError("layered_LSTM: return_params works for one layer")
    for number, width in enumerate(widths):
        name = f"{scope}_layer_{number}" if number else scope
        found = make(
            model, input_blob, seq_lengths, initial_states, dim_in, width, name, *args, **kwargs
        )
        input_blob, dim_in, initial_states = found[0], width, (found[1], found[3])
    return found


def cudnn_LSTM(*args: Any, **kwargs: Any) -> NoReturn:
    """Not provided: UnsupportedError. cuDNN's LSTM keeps its weights in a form of its own."""
    raise UnsupportedError(
        "cudnn_LSTM needs cuDNN's recurrent operators, which are not provided",
        hint="rnn_cell.LSTM computes the same",
    )
