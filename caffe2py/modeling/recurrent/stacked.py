"""MultiRNNCell: cells on top of each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.scope import NameScope
from caffe2py.modeling.layers.plain import sum as add
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.cell import Extra, RNNCell, reference

__all__ = ["MultiRNNCell"]


class _FirstStates:
    """The first states of all layers, each made by its own cell."""

    def __init__(self, cells: Sequence[RNNCell]) -> None:
        self.cells = cells

    def create_states(self, model: ModelHelper) -> list[Any]:
        """UsageError if a cell cannot make its states."""
        states: list[Any] = []
        for number, cell in enumerate(self.cells):
            if cell.initializer is None:
                raise UsageError(f"layer {number} needs initial states, or an initializer")
            with NameScope(f"layer_{number}"), NameScope(cell.name):
                states += cell.initializer.create_states(model)
        return states


class MultiRNNCell(RNNCell):
    """Layers: the output of each cell is the input of the next, in one step.

    `cells` begin at the input. The layers in `residual_output_layers` add their input to their
    output; layer 0 cannot. The states are those of all cells in order, named
    "<name>/layer_<number>/<state>".
    """

    def __init__(
        self,
        cells: Sequence[RNNCell],
        residual_output_layers: Collection[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cells = cells
        self.residual_output_layers = residual_output_layers or []
        counts = [len(cell.get_state_names()) for cell in cells]
        self._begins = [sum(counts[:number]) for number in range(len(counts) + 1)]
        # the residual layers at the end: their outputs, and that below them, add up
        last = first = len(cells) - 1
        while first > 0 and first in self.residual_output_layers:
            first -= 1
        self.output_connected_layers = list(range(first, last + 1))
        self.output_indices = [self._output_index(k) for k in self.output_connected_layers]
        self.state_names = [
            self.layer_scoper(number)(name)
            for number, cell in enumerate(cells)
            for name in cell.get_state_names()
        ]
        self.initializer = _FirstStates(cells)

    def layer_scoper(self, layer_id: int) -> Callable[[str], str]:
        """What puts a name of a layer's cell into that layer."""
        return lambda name: f"{self.name}/layer_{layer_id}/{name}"

    def _output_index(self, layer: int) -> int:
        return self._begins[layer] + self.cells[layer].get_output_state_index()

    def _of_layer(self, layer: int, states: Any, each: int = 1) -> Any:
        """The states of one layer; there are `each` blobs for a state."""
        return states[each * self._begins[layer] : each * self._begins[layer + 1]]

    def prepare_input(self, model: ModelHelper, input_blob: Any) -> Any:
        """As the first layer."""
        outside = reference(input_blob)
        with NameScope(self.name):
            return self.cells[0].prepare_input(model, outside)

    def get_state_names(self) -> Sequence[str]:
        """The states of all layers."""
        return self.state_names

    def get_output_state_index(self) -> int:
        """The output of the last layer."""
        return self._output_index(len(self.cells) - 1)

    def get_output_dim(self) -> int:
        """As the last layer."""
        return self.cells[-1].get_output_dim()

    @contextmanager
    def _layer(self, number: int) -> Iterator[None]:
        with NameScope(self.name), NameScope(f"layer_{number}"):
            yield

    def _apply(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Iterable[Extra] | None = None,
    ) -> Any:
        given = self._references(input_t, seq_lengths, states, timestep, extra_inputs)
        layer_input, lengths, before, step, extra = given
        if len(before) != self._begins[-1]:
            raise UsageError(f"{len(before)} states for {self._begins[-1]} in all layers")
        after: list[Any] = []
        for number, cell in enumerate(self.cells):
            with self._layer(number):
                prepared = cell.prepare_input(model, layer_input) if number else layer_input
                mine = self._of_layer(number, before)
                new = cell._apply(
                    model, prepared, lengths, mine, step, extra_inputs=None if number else extra
                )
                if number + 1 < len(self.cells):
                    layer_input = self._next_input(model, number, new, layer_input)
            after += new
        return after

    def _next_input(self, model: ModelHelper, number: int, states: Any, before: Any) -> Any:
        output = self.cells[number]._prepare_output(model, states)
        if number == 0 or number not in self.residual_output_layers:
            return output
        return add(model, [output, before], self.scope(f"residual_output_{number}"))

    def _prepare_output(self, model: ModelHelper, states: Any) -> Any:
        parts = [
            self.cells[k]._prepare_output(model, self._of_layer(k, states))
            for k in self.output_connected_layers
        ]
        return self._total(model, parts, "residual_output")

    def _prepare_output_sequence(self, model: ModelHelper, state_outputs: Any) -> Any:
        parts = [
            self.cells[k]._prepare_output_sequence(model, self._of_layer(k, state_outputs, 2))
            for k in self.output_connected_layers
        ]
        return self._total(model, parts, "residual_output_sequence")

    def _total(self, model: ModelHelper, parts: list[Any], name: str) -> Any:
        return parts[0] if len(parts) == 1 else add(model, parts, self.scope(name))
