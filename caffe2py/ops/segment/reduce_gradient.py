"""The gradients of segment reductions: a row for each item, from the row of its segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffe2py.errors import ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.segment import (
    launch_segment_dots,
    launch_segment_spread,
    launch_segment_spread_equal,
)
from caffe2py.ops.segment.common import (
    LENGTHS,
    SORTED,
    UNSORTED,
    Dims,
    Kind,
    differ,
    known_sum,
    place,
    require_rows,
    require_size,
    require_vector,
    slot_of,
    walk,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.infer import (
    Query,
    require_dtype,
    require_same_dtype,
    require_same_shape,
)
from caffe2py.registry.operator import operator
from caffe2py.tensor.types import TensorType, shape_text


@dataclass(frozen=True)
class Form:
    """One gradient operator: its inputs tell what it reads, and where the number of rows is."""

    name: str
    kind: Kind
    slots: tuple[str, ...]
    mean: bool = False

    @property
    def both(self) -> bool:
        """Whether there is a gradient of the weights, too."""
        return "DATA" in self.slots and "SCALARS" in self.slots

    @property
    def by_sum(self) -> bool:
        """Whether the number of rows is the sum of the lengths, and nothing else tells it."""
        return self.kind is LENGTHS and not {"INDICES", "DATA"} & set(self.slots)


def _index(query: Query, slot: str) -> int:
    index = place(query.schema, slot)
    assert index is not None  # forms name it
    return index


def _shape_of(query: Query, slot: str) -> Dims | None:
    return query.inputs[_index(query, slot)].shape


def _items(query: Query, form: Form) -> int | None:
    """How many rows the result has."""
    if form.by_sum:
        return known_sum(query, _index(query, "LENGTHS"))
    for slot in ("INDICES", "DATA"):
        if slot in form.slots:
            shape = require_rows(query, _index(query, slot))
            return None if shape is None else shape[0]
    return require_vector(query, _index(query, form.kind.slot))


def _require_segments(query: Query, form: Form, dy: Dims | None) -> None:
    """Raise ShapeError unless dOUTPUT has a row for each length."""
    told = require_vector(query, _index(query, form.kind.slot))
    if form.kind is LENGTHS and dy is not None and differ(told, dy[0]):
        raise ShapeError(f"'dOUTPUT' is {shape_text(dy)}, needs {told} row(s), one for each length")


def _infer(query: Query, form: Form) -> Sequence[TensorType]:
    at = _index(query, "dOUTPUT")
    floats = [_index(query, s) for s in ("dOUTPUT", "SCALARS", "OUTPUT") if s in form.slots]
    if "DATA" in form.slots and "INDICES" not in form.slots and form.slots[0] != "dOUTPUT":
        floats.append(_index(query, "DATA"))
    for index in floats:
        require_dtype(query, index, *FLOATS)
    dtype = require_same_dtype(query, *floats)
    dy = require_rows(query, at)
    _require_segments(query, form, dy)
    items = _items(query, form)
    if "SCALARS" in form.slots:
        require_size(query, _index(query, "SCALARS"), items, "row")
    if "OUTPUT" in form.slots:
        dy = require_same_shape(query, at, _index(query, "OUTPUT"))
    _require_same_rows(query, form, dy)
    types = [TensorType(dtype, None if dy is None else (items, *dy[1:]))]
    if form.both:
        types.append(TensorType(dtype, _shape_of(query, "SCALARS")))
    return types[: query.outputs]


def _require_same_rows(query: Query, form: Form, dy: Dims | None) -> None:
    """Raise ShapeError where rows of the data are read and are not like those of dOUTPUT."""
    if "DATA" not in form.slots or form.slots[0] == "dOUTPUT" or dy is None:
        return
    data = require_rows(query, _index(query, "DATA"))
    if data is not None and (len(data) != len(dy) or any(map(differ, data[1:], dy[1:]))):
        raise ShapeError(f"rows of 'DATA' {shape_text(data)} and 'dOUTPUT' {shape_text(dy)} differ")


def _launch(call: Call, form: Form) -> list[Launch]:
    dy, dx = slot_of(call, "dOUTPUT"), call.outputs[0]
    assert dy is not None  # every form has it
    way = walk(call, form.kind, dx.shape[0], dy.shape[0])
    y, data = slot_of(call, "OUTPUT"), slot_of(call, "DATA")
    if y is not None and data is not None:
        return launch_segment_spread_equal(way, data, y, dy, dx)
    weights = slot_of(call, "SCALARS")
    launches = launch_segment_spread(call, way, dy, dx, weights=weights, mean=form.mean)
    if form.both and data is not None and len(call.outputs) > 1:
        indices = slot_of(call, "INDICES")
        launches += launch_segment_dots(call, way, data, dy, call.outputs[1], indices)
    return launches


_READS = {
    "Sum": "dDATA[i] = dOUTPUT[s]",
    "Mean": "dDATA[i] = dOUTPUT[s] / the number of rows of s",
    "WeightedSum": "dDATA[i] = SCALARS[i] * dOUTPUT[s]",
    "Max": "dDATA[i] = dOUTPUT[s] where DATA[i] = OUTPUT[s], 0 elsewhere",
}


def _declare(form: Form, reducer: str) -> None:
    extra = ""
    if form.both:
        row = "DATA[INDICES[i]]" if "INDICES" in form.slots else "DATA[i]"
        extra = f" dSCALARS[i] = the dot product of {row} and dOUTPUT[s]."
    count = next((s for s in ("INDICES", "DATA") if s in form.slots), form.kind.slot)
    rows = "the sum of LENGTHS" if form.by_sum else f"that of {count}"
    loose = (form.both and "IndicesIn" not in form.name) or reducer == "Max"
    outputs = "dDATA, dSCALARS?" if form.both else "dDATA"
    if form.both and not loose:
        outputs = "dDATA, dSCALARS"
    most = 2 if form.both else 1
    made = operator(
        form.name,
        f"{', '.join(form.slots)} -> {outputs}{', more*' if loose else ''}",
        infer=lambda query: _infer(query, form),
        output_counts=set(range(1, most + 1)) if loose else None,
        doc=f"""
        {_READS[reducer]} for the segment s of row i, where {form.kind.doc}.{extra} The number of
        rows is {rows}.
        """,
    )
    at = form.slots.index(form.kind.slot)
    made.everywhere_dynamic(
        when=lambda op: form.by_sum, reads=lambda op: [at] if form.by_sum else []
    )(lambda call: _launch(call, form))


def _forms(reducer: str) -> list[Form]:
    weights = ("SCALARS",) if reducer == "WeightedSum" else ()
    mean = reducer == "Mean"
    forms = [
        Form(f"{sparse}{kind.name}{reducer}Gradient", kind, (*weights, "dOUTPUT", kind.slot), mean)
        for sparse in ("", "Sparse")
        for kind in (LENGTHS, SORTED, UNSORTED)
    ]
    for sparse in ("", "Sparse"):
        if reducer == "WeightedSum" and not sparse:
            continue
        last = "INDICES" if sparse else "DATA"
        name = f"{sparse}LengthsIndicesInGradient{reducer}Gradient"
        forms.append(Form(name, LENGTHS, (*weights, "dOUTPUT", "LENGTHS", last), mean))
    return forms


for _reducer in ("Sum", "Mean", "WeightedSum"):
    for _form in _forms(_reducer):
        _declare(_form, _reducer)

_MAIN = ("SCALARS", "dOUTPUT", "LENGTHS", "DATA")
for _name, _slots in (
    ("LengthsWeightedSumWithMainInputGradient", _MAIN),
    ("SparseLengthsWeightedSumWithMainInputGradient", (*_MAIN, "INDICES")),
    ("SparseLengthsIndicesInGradientWeightedSumWithMainInputGradient", (*_MAIN, "INDICES")),
):
    _declare(Form(_name, LENGTHS, _slots), "WeightedSum")
_declare(
    Form(
        "LengthsMaxWithMainInputAndForwardOutputGradient",
        LENGTHS,
        ("OUTPUT", "dOUTPUT", "LENGTHS", "DATA"),
    ),
    "Max",
)
