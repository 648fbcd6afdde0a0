"""From a class for each step to a sequence of labels: CTC, where class 0 is "no label"."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ArgumentError, ShapeError, ValueRangeError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

_INT32 = np.dtype(np.int32)
_NO_GRADIENT = NotDifferentiable("labels are no smooth function of scores")
_INPUTS = """
INPUTS is (T, N, C); of sequence n the first SEQ_LEN[n] steps count, int32 (N,), or all.
OUTPUT_LEN is the number of labels of each answer, VALUES the labels of all answers in a row, both
int32.
"""

Prefix = tuple[int, ...]


def _check(query: Query) -> int | None:
    """The batch size."""
    require_dtype(query, 0, np.float32, np.float64)
    require_rank(query, 0, 3)
    scores = query.inputs[0].shape
    if scores is not None and scores[2] == 0:
        raise ShapeError(f"input 0 '{query.name(0)}' {shape_text(scores)} has no classes")
    batch = None if scores is None else scores[1]
    if len(query.inputs) > 1:
        require_dtype(query, 1, _INT32)
        require_rank(query, 1, 1)
        lengths = query.inputs[1].shape
        if lengths is not None and None not in (batch, lengths[0]) and lengths[0] != batch:
            raise ShapeError(
                f"input 1 '{query.name(1)}' must have the {batch} lengths of input 0 "
                f"'{query.name(0)}', found {shape_text(lengths)}"
            )
    return batch


def _lengths(call: Call) -> list[int]:
    """The number of steps of each sequence; ValueRangeError for more than there are."""
    steps, batch, _ = call.inputs[0].shape
    if len(call.inputs) == 1:
        return [steps] * batch
    for row, length in enumerate(call.inputs[1]):
        if not 0 <= length <= steps:
            raise ValueRangeError(
                f"'{call.input_blob(1)}'[{row}] is {length}, and there are {steps} steps"
            )
    return [int(length) for length in call.inputs[1]]


# ---------------------------------------------------------------- greedy


def _infer_greedy(query: Query) -> Sequence[TensorType]:
    return [TensorType(_INT32, (_check(query),)), TensorType(_INT32, (None,))]


greedy = operator(
    "CTCGreedyDecoder",
    "INPUTS, SEQ_LEN? -> OUTPUT_LEN, VALUES",
    infer=_infer_greedy,
    gradient=_NO_GRADIENT,
    onnx="CTCGreedyDecoder",
    merge_repeated=Arg(bool, True, "whether a class in successive steps is one label"),
    doc=f"""
    The labels of each sequence by the class with the largest score in each step: class 0 is no
    label, and with merge_repeated the same class in successive steps is one label.
    {_INPUTS.strip()}
    """,
    example="""
    INPUTS = [[[0, 1]], [[0, 1]], [[1, 0]], [[0, 1]]]
    OUTPUT_LEN = [2]; VALUES = [1, 1]
    """,
)


@greedy.cpu_dynamic()
def decode_greedily(call: Call) -> None:
    """All steps at once, then the labels that are kept."""
    lengths = _lengths(call)
    best = np.argmax(call.inputs[0], axis=2).T
    kept = best != 0
    if call.args.merge_repeated:
        kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    kept &= np.arange(best.shape[1]) < np.array(lengths, np.int64)[:, None]
    call.output(0, (len(lengths),), _INT32)[...] = kept.sum(1)
    labels = best[kept]
    call.output(1, labels.shape, _INT32)[...] = labels


# ---------------------------------------------------------------- beam search


def _infer_beam(query: Query) -> Sequence[TensorType]:
    args = query.args
    for name in ("beam_width", "num_candidates"):
        if getattr(args, name) < 1:
            raise ArgumentError(f"{name} must be at least 1, found {getattr(args, name)}")
    batch = _check(query)
    answers = None if batch is None else batch * args.num_candidates
    types = [TensorType(_INT32, (answers,)), TensorType(_INT32, (None,))]
    return [*types, TensorType(np.dtype(np.float32), (answers,))][: query.outputs]


beam = operator(
    "CTCBeamSearchDecoder",
    "INPUTS, SEQ_LEN? -> OUTPUT_LEN, VALUES, OUTPUT_PROB?",
    infer=_infer_beam,
    gradient=_NO_GRADIENT,
    onnx="CTCBeamSearchDecoder",
    beam_width=Arg(int, 10, "how many beginnings are followed at once"),
    prune_threshold=Arg(float, 0.001, "classes that are not more probable are passed over"),
    num_candidates=Arg(int, 1, "how many answers for each sequence"),
    doc=f"""
    The most probable sequences of labels, best first, when INPUTS are the probabilities of classes
    in each step; a sequence of labels comes about in many ways, by repeating and by class 0, "no
    label", between labels. Found by following the beam_width best beginnings. {_INPUTS.strip()}
    OUTPUT_PROB holds the probabilities, float32; an answer that is missing has no label and 0.
    """,
    example="""
    INPUTS = [[[0.25, 0.75]], [[0.5, 0.5]]]
    OUTPUT_LEN = [1]; VALUES = [1]; OUTPUT_PROB = [0.875]
    """,
)


class _Beginnings:
    """The probabilities of beginnings: those that end in no label, and those that do not."""

    def __init__(self) -> None:
        self.blank: defaultdict[Prefix, float] = defaultdict(float)
        self.label: defaultdict[Prefix, float] = defaultdict(float)

    def total(self, prefix: Prefix) -> float:
        return self.blank.get(prefix, 0.0) + self.label.get(prefix, 0.0)

    def best(self, count: int) -> list[Prefix]:
        """The most probable ones, best first."""
        known = dict.fromkeys([*self.blank, *self.label])
        return sorted(known, key=self.total, reverse=True)[:count]


def _step(
    before: _Beginnings, followed: list[Prefix], scores: Array, classes: list[int]
) -> _Beginnings:
    """What one step makes of the beginnings that are followed."""
    after = _Beginnings()
    known = set(followed)
    for prefix in followed:
        for c in classes:
            p = float(scores[c])
            if c == 0:
                after.blank[prefix] += p * before.total(prefix)
                continue
            longer = (*prefix, c)
            if prefix and c == prefix[-1]:  # a new label only after a blank
                after.label[longer] += p * before.blank.get(prefix, 0.0)
                after.label[prefix] += p * before.label.get(prefix, 0.0)
            else:
                after.label[longer] += p * before.total(prefix)
            if longer not in known:  # it was dropped, and what it had is not lost
                after.blank[longer] += float(scores[0]) * before.total(longer)
                after.label[longer] += p * before.label.get(longer, 0.0)
    return after


def _search(scores: Array, width: int, threshold: float) -> _Beginnings:
    """The probabilities of sequences of labels for one sequence of steps (T, C)."""
    state = _Beginnings()
    state.blank[()] = 1.0
    followed: list[Prefix] = [()]
    for row in scores:
        likely = [int(c) for c in np.flatnonzero(row > threshold)]
        state = _step(state, followed, row, likely or list(range(len(row))))
        followed = state.best(width)
    return state


@beam.cpu_dynamic()
def decode_beams(call: Call) -> None:
    """One sequence after the other."""
    args, scores = call.args, call.inputs[0]
    threshold = scores.dtype.type(args.prune_threshold)
    answers: list[tuple[Prefix, float]] = []
    for row, length in enumerate(_lengths(call)):
        state = _search(scores[:length, row], args.beam_width, threshold)
        found = [(prefix, state.total(prefix)) for prefix in state.best(args.num_candidates)]
        answers += found + [((), 0.0)] * (args.num_candidates - len(found))
    call.output(0, (len(answers),), _INT32)[...] = [len(labels) for labels, _ in answers]
    values = [label for labels, _ in answers for label in labels]
    call.output(1, (len(values),), _INT32)[...] = values
    if call.output_count > 2:
        call.output(2, (len(answers),), np.dtype(np.float32))[...] = [p for _, p in answers]
