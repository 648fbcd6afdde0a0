"""Segments reduced to one row each: one declaration for every walk, reducer and look-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import ShapeError, ValueRangeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.segment import BY_ITEM, BY_PLACE, PLAIN, launch_segment_max
from caffe2py.kernels.segment import launch_segment_sum as launch_sum
from caffe2py.ops.segment.common import (
    FLOAT32,
    LENGTHS,
    SORTED,
    UNSORTED,
    Dims,
    Kind,
    differ,
    place,
    require_rows,
    require_size,
    require_vector,
    segments_of_ids,
    slot_of,
    walk,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientFunction,
    GradientName,
    GradientRule,
    NotDifferentiable,
    TextRule,
)
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import Operator, lookup, operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

GRAD_ON_WEIGHTS = Arg(bool, None, "whether SCALARS get a gradient, too")
NUM_SEGMENTS = Arg(int, -1, "the number of segments; by default the largest id + 1")


@dataclass(frozen=True)
class Reducer:
    """What becomes of the rows of a segment: the end of the operators' names, and the formula."""

    name: str
    formula: str
    weights: str = ""
    example: str = ""


SUM = Reducer("Sum", "the sum of {row} over the i in segment s", "", "[[4, 6], [5, 6]]")
MEAN = Reducer("Mean", "the mean of {row} over the i in segment s", "", "[[2, 3], [5, 6]]")
WEIGHTED = Reducer(
    "WeightedSum",
    "the sum of SCALARS[i] * {row} over the i in segment s",
    "SCALARS",
    "[[7, 10], [5, 6]]",
)
POSITIONAL = Reducer(
    "PositionalWeightedSum",
    "the sum of WEIGHT[k] * {row} over the i in segment s, where i is the k-th of them",
    "WEIGHT",
    "[[7, 10], [5, 6]]",
)
MAX = Reducer("Max", "the largest of {row} over the i in segment s", "", "[[3, 4], [5, 6]]")


@dataclass(frozen=True)
class Form:
    """One operator: which rows belong together, what they become, whether they are looked up."""

    kind: Kind
    reducer: Reducer
    sparse: bool

    @property
    def name(self) -> str:
        """The operator's name."""
        return f"{'Sparse' if self.sparse else ''}{self.kind.name}{self.reducer.name}"

    @property
    def slots(self) -> list[str]:
        """The names of its inputs."""
        middle = [self.reducer.weights, "INDICES" if self.sparse else ""]
        return ["DATA", *filter(None, middle), self.kind.slot]


# ---------------------------------------------------------------- inference


def _items(query: Query, data: Dims | None) -> int | None:
    """How many rows the segments hold in all."""
    indices = place(query.schema, "INDICES")
    if indices is not None:
        return require_vector(query, indices)
    return None if data is None else data[0]


def _segments(query: Query, form: Form, items: int | None) -> int | None:
    last = len(query.inputs) - 1
    told = require_vector(query, last)
    if form.kind is LENGTHS:
        return told
    if differ(told, items):
        raise ShapeError(f"there are {told} SEGMENT_IDS for {items} row(s)")
    if form.kind is SORTED:
        return segments_of_ids(query, last, gaps=False)
    wanted: int = query.args.num_segments
    return wanted if wanted >= 0 else segments_of_ids(query, last, gaps=True)


def _require_reach(query: Query, index: int) -> None:
    """Raise ValueRangeError where a segment is longer than there are weights by position."""
    lengths, weights = query.value(len(query.inputs) - 1), query.inputs[index].shape
    if lengths is None or weights is None or weights[0] is None:
        return
    most = int(lengths.max(initial=0))
    if most > weights[0]:
        raise ValueRangeError(f"a segment of {most} row(s) needs as many of {shape_text(weights)}")


def _infer(query: Query, form: Form) -> Sequence[TensorType]:
    narrow = ("float16",) if form.sparse and form.kind is LENGTHS else ()
    require_dtype(query, 0, *FLOATS, *narrow)
    data = require_rows(query, 0)
    dtype = query.inputs[0].dtype
    dtype = FLOAT32 if dtype == "float16" else dtype
    items = _items(query, data)
    if form.reducer.weights:
        require_dtype(query, 1, *(FLOATS if dtype is None else (dtype,)))
        if form.reducer is POSITIONAL:
            require_vector(query, 1, *FLOATS)
            _require_reach(query, 1)
        else:
            require_vector(query, 1, *FLOATS)
            require_size(query, 1, items, "row")
    segments = _segments(query, form, items)
    return [TensorType(dtype, None if data is None else (segments, *data[1:]))]


# ---------------------------------------------------------------- kernels


def _launch(call: Call, form: Form) -> list[Launch]:
    data, y = call.inputs[0], call.outputs[0]
    indices = slot_of(call, "INDICES")
    items = data.shape[0] if indices is None else indices.size
    way = walk(call, form.kind, items, y.shape[0])
    if form.reducer is MAX:
        return launch_segment_max(call, way, data, y, indices=indices)
    weighting = {WEIGHTED: BY_ITEM, POSITIONAL: BY_PLACE}.get(form.reducer, PLAIN)
    weights = call.inputs[1] if weighting else None
    return launch_sum(
        call,
        way,
        data,
        y,
        indices=indices,
        weights=weights,
        weighting=weighting,
        mean=form.reducer is MEAN,
    )


# ---------------------------------------------------------------- gradients


def _gradient(form: Form) -> GradientRule:
    """The rule: an operator makes a row for each item, which is sparse if rows were looked up."""
    if form.reducer is POSITIONAL or (form.reducer is MAX and form.sparse):
        return NotDifferentiable("Caffe2 has no gradient operator for it")
    if form.reducer is MAX:
        return (
            "LengthsMaxWithMainInputAndForwardOutputGradient(OUTPUT, dOUTPUT, LENGTHS, DATA)"
            " -> dDATA"
        )
    reads = ["SCALARS"] if form.reducer is WEIGHTED else []
    reads += ["dOUTPUT", form.kind.slot]
    name = f"{form.kind.name}{form.reducer.name}Gradient"
    if form.kind is LENGTHS and form.sparse:
        name = f"SparseLengthsIndicesInGradient{form.reducer.name}Gradient"
        reads.append("INDICES.shape")
    elif form.kind is LENGTHS and form.reducer is not WEIGHTED:
        name = f"LengthsIndicesInGradient{form.reducer.name}Gradient"
        reads.append("DATA.shape")
    result = "dDATA_values\ndDATA = slice(INDICES, dDATA_values)" if form.sparse else "dDATA"
    text = f"{name}({', '.join(reads)}) -> {result}"
    if form.kind is LENGTHS and form.reducer is WEIGHTED:
        return _by_weights(form, text)
    return text


def _by_weights(form: Form, plain: str) -> GradientFunction:
    """The rule that asks the argument grad_on_weights."""
    slots = ", ".join(["SCALARS", "dOUTPUT", "LENGTHS", "DATA", *form.slots[2:-1]])
    name = "LengthsWeightedSumWithMainInputGradient"
    both = f"{name}({slots}) -> dDATA, dSCALARS"
    if form.sparse:
        name = f"SparseLengthsIndicesInGradient{name.removeprefix('Lengths')}"
        both = f"{name}({slots}) -> dDATA_values, dSCALARS\ndDATA = slice(INDICES, dDATA_values)"

    def rule(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
        schema = lookup(op.type).schema
        text = both if schema.verify(op).grad_on_weights else plain
        return TextRule(schema, text)(op, output_grads)

    return rule


# ---------------------------------------------------------------- declarations


def _doc(form: Form) -> str:
    row = "DATA[INDICES[i]]" if form.sparse else "DATA[i]"
    types = "float32 or float64"
    if form.sparse and form.kind is LENGTHS:
        types = "float16, float32 or float64; float16 gives float32"
    looked = "; then an index out of range raises ValueRangeError" if form.sparse else ""
    back = " The gradient of DATA is sparse, INDICES with a row each." if form.sparse else ""
    if isinstance(_gradient(form), NotDifferentiable):
        back = ""
    more = (
        " WEIGHT must have as many elements as the longest segment; Caffe2 reads beyond it."
        if form.reducer is POSITIONAL
        else ""
    )
    return f"""
        OUTPUT[s] = {form.reducer.formula.format(row=row)}; {form.kind.doc}. An empty segment gives
        0. DATA is {types}; the rest are int32 or int64 vectors{looked}.{more}{back}
        """


def _example(form: Form) -> str:
    told = "[2, 1]" if form.kind is LENGTHS else "[0, 0, 1]"
    weights = "; SCALARS = [1, 2, 1]" if form.reducer is WEIGHTED else ""
    weights = "; WEIGHT = [1, 2]" if form.reducer is POSITIONAL else weights
    data = "[[5, 6], [1, 2], [3, 4]]" if form.sparse else "[[1, 2], [3, 4], [5, 6]]"
    indices = "; INDICES = [1, 2, 0]" if form.sparse else ""
    return f"""
        DATA = {data}{weights}{indices}; {form.kind.slot} = {told}
        OUTPUT = {form.reducer.example}
        """


def _arguments(form: Form) -> dict[str, Arg]:
    args = {"grad_on_weights": GRAD_ON_WEIGHTS} if form.reducer is WEIGHTED else {}
    if form.kind is UNSORTED:
        args["num_segments"] = NUM_SEGMENTS
    return args


def _dynamic(form: Form, op: OperatorDef) -> bool:
    """Whether the number of segments depends on the ids, or lengths must fit the weights."""
    if form.kind is LENGTHS:
        return form.reducer is POSITIONAL
    return not any(arg.name == "num_segments" and arg.i >= 0 for arg in op.arg)


def _declare(form: Form) -> Operator:
    exported = form.sparse and form.kind is LENGTHS and form.reducer in (SUM, WEIGHTED)
    made = operator(
        form.name,
        f"{', '.join(form.slots)} -> OUTPUT",
        infer=lambda query: _infer(query, form),
        gradient=_gradient(form),
        onnx=form.name if exported else None,
        doc=_doc(form),
        example=_example(form),
        arguments=_arguments(form),
    )
    made.everywhere_dynamic(
        when=lambda op: _dynamic(form, op),
        reads=lambda op: [len(form.slots) - 1] if _dynamic(form, op) else [],
    )(lambda call: _launch(call, form))
    return made


FORMS = [
    Form(kind, reducer, sparse)
    for kind in (LENGTHS, SORTED, UNSORTED)
    for sparse in (False, True)
    for reducer in (SUM, MEAN, WEIGHTED, MAX, POSITIONAL)
    if kind is LENGTHS or reducer in (SUM, MEAN, WEIGHTED)
    if sparse or reducer is not POSITIONAL
]

for _form in FORMS:
    _declare(_form)
