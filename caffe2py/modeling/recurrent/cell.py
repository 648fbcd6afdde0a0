"""RNNCell: what one step of a recurrent network is, and how it gets over a sequence."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.reference import BlobReference, ScopedBlobReference
from caffe2py.graph.scope import SEPARATOR, NameScope
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.recurrent.network import recurrent_net

__all__ = ["RNNCell", "reference"]

#: A blob besides the input that a step reads, and its width.
Extra = tuple[Any, int]


def reference(blob: Any) -> BlobReference | None:
    """A blob as a reference: a string in the current name scope, None as None; or UsageError."""
    if blob is None or isinstance(blob, BlobReference):
        return blob
    if not isinstance(blob, str):
        raise UsageError(f"expected a blob, found {blob!r:.80}")
    return ScopedBlobReference(blob)


class RNNCell:
    """One step of a recurrent network, to be put over a sequence.

    A cell of one's own defines `apply_override`, which adds the operators of a step and returns
    the new states, and `get_state_names_override`. Work that needs no state belongs to
    `prepare_input`, which is done for the whole sequence at once. `name` is a name scope;
    `forward_only` leaves the way back out; `initializer.create_states(model)` makes first states
    where none are given. What is in `recompute_blobs` is not kept for the way back.
    """

    def __init__(
        self, name: str | None = None, forward_only: bool = False, initializer: Any = None
    ) -> None:
        self.name = name
        self.forward_only = forward_only
        self.initializer = initializer
        self.recompute_blobs: list[Any] = []

    def scope(self, name: str) -> str:
        """A name inside the cell's own."""
        return name if self.name is None else f"{self.name}{SEPARATOR}{name}"

    # ---- for a cell to define

    def apply_override(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Any = None,
    ) -> Any:
        """Add a step's operators, inside the cell's name scope; returns the new states.

        `input_t` is (1, N, D), `seq_lengths` int32 (N,) or None, `states` are the last step's,
        `timestep` holds the number of the step, and `extra_inputs` are pairs of a blob and its
        width that were not prepared.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define apply_override")

    def get_state_names_override(self) -> Sequence[str]:
        """The names of the states, without the cell's."""
        raise NotImplementedError(f"{type(self).__name__} does not define its states' names")

    def get_output_dim(self) -> int:
        """The width of the output of a step."""
        raise NotImplementedError(f"{type(self).__name__} does not define its output's width")

    def prepare_input(self, model: ModelHelper, input_blob: Any) -> Any:
        """What can be computed without states, for the sequence (T, N, D) or one step (1, N, D)."""
        return input_blob

    def get_output_state_index(self) -> int:
        """Which of the states is the output."""
        return 0

    def get_state_names(self) -> Sequence[str]:
        """The names of the states, inside the cell's."""
        return [self.scope(name) for name in self.get_state_names_override()]

    def _prepare_output(self, model: ModelHelper, states: Any) -> Any:
        """The output of one step, from its states."""
        return states[self.get_output_state_index()]

    def _prepare_output_sequence(self, model: ModelHelper, state_outputs: Any) -> Any:
        """The output of all steps; `state_outputs` are all values and the last one, by state."""
        return state_outputs[2 * self.get_output_state_index()]

    # ---- for those who use it

    def apply(
        self, model: ModelHelper, input_t: Any, seq_lengths: Any, states: Any, timestep: Any
    ) -> tuple[Any, Any]:
        """A single step inside `model`: its output, and the new states."""
        prepared = self.prepare_input(model, input_t)
        new = self._apply(model, prepared, seq_lengths, states, timestep)
        return self._prepare_output(model, new), new

    def apply_over_sequence(
        self,
        model: ModelHelper,
        inputs: Any,
        seq_lengths: Any = None,
        initial_states: Any = None,
        outputs_with_grads: Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """All steps of a sequence (T, N, D), as a RecurrentNetwork that is added to `model`.

        Returns the output (T, N, get_output_dim()), and a tuple that holds for each state all its
        values and the last one. `outputs_with_grads` numbers those of the tuple that get gradients,
        by default the output's values.
        """
        first = self._first_states(model) if initial_states is None else initial_states
        sequence = self.prepare_input(model, inputs)
        step, before, after, (input_t, timestep) = self._step(model, seq_lengths, len(first))
        if outputs_with_grads is None:
            outputs_with_grads = [2 * self.get_output_state_index()]
        found = recurrent_net(
            model.net,
            step.net,
            [(input_t, sequence)],
            list(zip(before, first, strict=True)),
            dict(zip(before, after, strict=True)),
            timestep,
            self.name,
            outputs_with_grads,
            self.recompute_blobs,
            self.forward_only,
        )
        return self._prepare_output_sequence(model, found), found

    def _first_states(self, model: ModelHelper) -> Any:
        if self.initializer is None:
            raise UsageError(f"cell '{self.name}' needs initial states, or an initializer")
        with NameScope(self.name):
            return self.initializer.create_states(model)

    def _step(
        self, model: ModelHelper, seq_lengths: Any, states: int
    ) -> tuple[ModelHelper, Any, Any, Any]:
        """The net of one step; the states it reads, those it makes, its input and the timestep."""
        step = ModelHelper(self.name, param_model=model)
        places = step.net.AddScopedExternalInputs("input_t", "timestep")
        names = self.get_state_names()
        if len(names) != states:
            raise UsageError(f"{states} initial states for the {len(names)} states {list(names)}")
        before = step.net.AddScopedExternalInputs(*(f"{name}_prev" for name in names))
        after = self._apply(step, places[0], seq_lengths, before, places[1])
        declared = set(step.net.Proto().external_output)
        for state in after:
            if str(state) not in declared:
                step.net.AddExternalOutput(state)
        return step, before, after, places

    def _apply(
        self,
        model: ModelHelper,
        input_t: Any,
        seq_lengths: Any,
        states: Any,
        timestep: Any,
        extra_inputs: Iterable[Extra] | None = None,
    ) -> Any:
        """A step's operators, named inside the cell's name scope."""
        outside = self._references(input_t, seq_lengths, states, timestep, extra_inputs)
        if "extra_inputs" not in inspect.signature(self.apply_override).parameters:
            outside = outside[:-1]
        with NameScope(self.name):
            return self.apply_override(model, *outside)

    @staticmethod
    def _references(
        input_t: Any, seq_lengths: Any, states: Any, timestep: Any, extra: Iterable[Extra] | None
    ) -> tuple[Any, ...]:
        """The inputs of a step as references, which name scopes do not change."""
        more = None if extra is None else [(reference(blob), width) for blob, width in extra]
        known = [reference(state) for state in states]
        return reference(input_t), reference(seq_lengths), known, reference(timestep), more
