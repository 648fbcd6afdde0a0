"""Adagrad on rows that were summed in segments: no gradient of single rows is ever made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.segment import by_row, walk_lengths
from caffe2py.kernels.update_fused import Manner, Weights, launch_segment_adagrad
from caffe2py.ops.optimizer.adagrad import EPSILON, WEIGHT_DECAY
from caffe2py.ops.optimizer.common import (
    NO_GRADIENT,
    RATE_DOC,
    require_floats,
    require_one,
    require_same_size,
    require_size,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import Query, product, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

ONE_DECAY = Arg(float, 1.0, "must be 1")
ROUND_OPTION = Arg(int, None, "how float16 parameters are rounded; there are none here")


@dataclass(frozen=True)
class Form:
    """One operator: a moment for each row or element, how rows were summed, when weights learn."""

    row_wise: bool
    reducer: str
    approx: bool

    @property
    def name(self) -> str:
        """The operator's name."""
        kind = f"{'RowWise' if self.row_wise else ''}SparseAdagradFusedWithSparseLengths"
        return f"{kind}{self.reducer}Gradient{'Approx' if self.approx else ''}"

    @property
    def weighted(self) -> bool:
        """Whether there are weights, which get a gradient."""
        return self.reducer == "WeightedSum"


def _check_segments(query: Query, indices: int) -> None:
    """Indices of rows; for each length a row of the gradient."""
    grad, lengths = indices + 1, indices + 3
    require_dtype(query, indices, "int32", "int64")
    require_dtype(query, lengths, "int32")
    require_rank(query, lengths, 1)
    param, given, told = (query.inputs[k].shape for k in (0, grad, lengths))
    for index, shape in ((0, param), (grad, given)):
        if shape == ():
            raise ShapeError(f"input {index} '{query.name(index)}' must have rows, found a scalar")
    if param is None or given is None:
        return
    widths = product(param[1:]), product(given[1:])
    rows = given[0], None if told is None else told[0]
    if any(None not in pair and pair[0] != pair[1] for pair in (widths, rows)):
        raise ShapeError(
            f"input {grad} '{query.name(grad)}' is {shape_text(given)}, needs a row like those of "
            f"{shape_text(param)} for each of the lengths {shape_text(told)}"
        )


def _infer(query: Query, form: Form) -> Sequence[TensorType]:
    if getattr(query.args, "decay", 1.0) != 1.0:
        raise ArgumentError(f"decay must be 1, found {query.args.decay}")
    indices = 3 if form.weighted else 2
    floats = (0, 1, 2) if form.weighted else (0, 1)
    require_floats(query, *floats, indices + 1)
    require_one(query, indices + 2)
    _check_segments(query, indices)
    param = query.inputs[0]
    if not form.row_wise:
        require_same_size(query, 0, 1)
    elif param.shape:
        require_size(query, 1, param.shape[0], "one for each row of input 0 'param'")
    slopes = TensorType(param.dtype, query.inputs[indices].shape)
    return [param, query.inputs[1], slopes][: query.outputs]


def _launch(call: Call, form: Form) -> list[Launch]:
    *_, indices, grad, lr, lengths = call.inputs
    param, moment, *slopes = call.outputs
    args = call.args
    manner = Manner(form.row_wise, form.reducer == "Mean", args.epsilon, args.weight_decay)
    weights = Weights(call.inputs[2], slopes[0], form.approx) if form.weighted else None
    way = walk_lengths(call, lengths, indices.size, "indices")
    tables = by_row(param), moment if form.row_wise else by_row(moment)
    return launch_segment_adagrad(way, tables, indices, by_row(grad), lr, manner, weights)


_FACTORS = {
    "Sum": "grad[s]",
    "Mean": "grad[s] / lengths[s]",
    "WeightedSum": "aux_param[k] * grad[s]",
}
_AUX = """
        aux_param are weights by place, at least as many as the longest segment has rows: the k-th
        row of each has aux_param[k]. aux_grad[i] is the dot product of grad[s] and row i of param,
        {when}.
"""
_EXAMPLES = {
    (False, "Sum"): "[[1, 1], [0.9, 0.9]]; output_moment = [[0, 0], [4, 16]]",
    (False, "Mean"): "[[1, 1], [0.9, 0.9]]; output_moment = [[0, 0], [4, 16]]",
    (False, "WeightedSum"): (
        "[[1, 1], [0.9, 0.9]]; output_moment = [[0, 0], [16, 64]]; aux_grad = [6]"
    ),
    (True, "Sum"): "[[1, 1], [0.94, 0.87]]; output_moment = [0, 10]",
    (True, "Mean"): "[[1, 1], [0.94, 0.87]]; output_moment = [0, 10]",
    (True, "WeightedSum"): "[[1, 1], [0.94, 0.87]]; output_moment = [0, 40]; aux_grad = [6]",
}


def _doc(form: Form) -> str:
    moment = "mean(g * g)" if form.row_wise else "g * g"
    when = "as it is when its turn comes" if form.approx else "as it was before the update"
    same = "" if form.weighted or not form.approx else " The same as the form without Approx."
    return f"""
        Adagrad on the rows indices[i] of `param`, where segment s is the next lengths[s] of them:
        g = {_FACTORS[form.reducer]} + weight_decay * param;
        moment = moment + {moment}; param = param + lr * g / (sqrt(moment) + epsilon), one row after
        the other; an index that comes twice is applied twice.{same}
        {_AUX.format(when=when) if form.weighted else ""}
        {RATE_DOC.strip()} Raises ValueRangeError for an index out of range, or unless the lengths
        add up to the indices, before anything is changed.
        """


def _example(form: Form) -> str:
    moment = "[0, 0]" if form.row_wise else "[[0, 0], [0, 0]]"
    weights = "aux_param = [2]; " if form.weighted else ""
    return f"""
        param = [[1, 1], [1, 1]]; moment = {moment}; {weights}indices = [1]; grad = [[2, 4]]
        lr = [-0.1]; lengths = [1]
        output_param = {_EXAMPLES[form.row_wise, form.reducer]}
        """


def _arguments(form: Form) -> dict[str, Arg]:
    args = {"epsilon": EPSILON, "weight_decay": WEIGHT_DECAY, "decay": ONE_DECAY}
    if form.row_wise and form.weighted and not form.approx:
        del args["decay"]
    if form.row_wise and not form.weighted and (form.approx or form.reducer == "Sum"):
        args["round_option"] = ROUND_OPTION
    return args


def _declare(form: Form) -> None:
    aux, slopes = ("aux_param, ", ", aux_grad") if form.weighted else ("", "")
    made = operator(
        form.name,
        f"param, moment, {aux}indices, grad, lr, lengths -> output_param, output_moment{slopes}",
        infer=lambda query: _infer(query, form),
        enforced={0: 0, 1: 1},
        gradient=NO_GRADIENT,
        doc=_doc(form),
        example=_example(form),
        arguments=_arguments(form),
    )
    made.everywhere(lambda call: _launch(call, form))


FORMS = [
    Form(row_wise, reducer, approx)
    for row_wise in (False, True)
    for reducer in ("Sum", "Mean", "WeightedSum")
    for approx in (False, True)
]
for _form in FORMS:
    _declare(_form)
