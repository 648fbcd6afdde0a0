"""DropoutCell: another cell, whose output is dropped in part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from caffe2py.graph.scope import NameScope
from caffe2py.modeling.layers.plain import MissingArgumentError
from caffe2py.modeling.layers.plain import dropout as drop
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.cell import Extra, RNNCell

__all__ = ["DropoutCell"]


class DropoutCell(RNNCell):
    """Dropout on the output of `internal_cell`; its states go from step to step untouched.

    `is_test` must be given. A `dropout_ratio` of 0 or None, and `forward_only`, do nothing.
    """

    def __init__(
        self,
        internal_cell: RNNCell,
        dropout_ratio: float | None = None,
        use_cudnn: bool = False,
        **kwargs: Any,
    ) -> None:
        if "is_test" not in kwargs:
            raise MissingArgumentError("DropoutCell: argument 'is_test' is required")
        self.is_test = kwargs.pop("is_test")
        super().__init__(**kwargs)
        self.internal_cell, self.dropout_ratio = internal_cell, dropout_ratio
        self.use_cudnn = use_cudnn
        self.mask = 0  # how many masks have been made: each has a name of its own

    def prepare_input(self, model: ModelHelper, input_blob: Any) -> Any:
        """As the cell inside."""
        return self.internal_cell.prepare_input(model, input_blob)

    def get_output_state_index(self) -> int:
        """As the cell inside."""
        return self.internal_cell.get_output_state_index()

    def get_state_names(self) -> Sequence[str]:
        """As the cell inside."""
        return self.internal_cell.get_state_names()

    def get_output_dim(self) -> int:
        """As the cell inside."""
        return self.internal_cell.get_output_dim()

    def _apply(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Iterable[Extra] | None = None,
    ) -> Any:
        step = self.internal_cell._apply
        return step(model, input_t, seq_lengths, states, timestep, extra_inputs)

    def _prepare_output(self, model: ModelHelper, states: Any) -> Any:
        return self._dropped(model, self.internal_cell._prepare_output(model, states))

    def _prepare_output_sequence(self, model: ModelHelper, state_outputs: Any) -> Any:
        whole = self.internal_cell._prepare_output_sequence(model, state_outputs)
        return self._dropped(model, whole)

    def _dropped(self, model: ModelHelper, output: Any) -> Any:
        if not self.dropout_ratio or self.forward_only:
            return output
        name = f"{output}_with_dropout_mask{self.mask}"
        self.mask += 1
        options = {"is_test": self.is_test, "use_cudnn": self.use_cudnn}
        with NameScope(self.name):
            return drop(model, output, name, ratio=float(self.dropout_ratio), **options)
