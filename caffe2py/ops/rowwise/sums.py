"""Sums and means of chosen rows of small integers, and the rows themselves."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import ShapeError
from caffe2py.kernels.rowwise import Format, Rows, launch_sum_rows, launch_take_rows
from caffe2py.kernels.segment import by_row
from caffe2py.ops.rowwise.common import (
    FLOAT,
    NO_GRADIENT,
    UINT8,
    decoded,
    explain_place,
)
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient, NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype, require_rank
from caffe2py.registry.operator import operator
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, shape_text

#: The inputs by the first letters of their declared names.
_PLACES = ("DATA", "WEIGHTS", "SCALARS", "INDICES", "LENGTHS", "scale_bias", "COMPRESSED")


def _positions(names: str) -> dict[str, int]:
    """Where each of the inputs is."""
    order = [name.strip() for name in names.split(",")]
    found = {}
    for kind in _PLACES:
        for position, name in enumerate(order):
            if name.startswith(kind):
                found["WEIGHTS" if kind == "SCALARS" else kind] = position
    return found


def _same_length(query: Query, a: int, b: int) -> None:
    first, second = query.inputs[a].shape, query.inputs[b].shape
    if first and second and None not in (first[0], second[0]) and first[0] != second[0]:
        raise ShapeError(
            f"input {a} '{query.name(a)}' {shape_text(first)} and input {b} '{query.name(b)}' "
            f"{shape_text(second)} must be of one length"
        )


def _check(query: Query, places: dict[str, int]) -> None:
    require_dtype(query, places["DATA"], UINT8)
    require_dtype(query, places["INDICES"], "int32", "int64")
    require_dtype(query, places["LENGTHS"], "int32", "int64")
    for kind in ("INDICES", "LENGTHS"):
        require_rank(query, places[kind], 1)
    if "WEIGHTS" in places:
        _check_weights(query, places)
    if "COMPRESSED" in places:
        require_dtype(query, places["COMPRESSED"], "int32")
    if "scale_bias" in places:
        require_dtype(query, places["scale_bias"], "float32")
        require_rank(query, places["scale_bias"], 2)
        if query.inputs[places["DATA"]].shape == ():
            raise ShapeError("'DATA' must have at least 1 dimension, found ()")
        _same_length(query, places["DATA"], places["scale_bias"])
        shape = query.inputs[places["scale_bias"]].shape
        if shape is not None and shape[1] not in (2, None):
            raise ShapeError(f"'scale_bias' must have 2 columns, found {shape_text(shape)}")
    else:
        require_rank(query, places["DATA"], 2)


def _check_weights(query: Query, places: dict[str, int]) -> None:
    """One for each index; SCALARS may be more, and have any shape."""
    at, indices = places["WEIGHTS"], query.inputs[places["INDICES"]].shape
    require_dtype(query, at, "float32")
    if "scale_bias" not in places:
        require_rank(query, at, 1)
        _same_length(query, at, places["INDICES"])
        return
    shape = query.inputs[at].shape
    size = None if shape is None else product(shape)
    if indices and None not in (size, indices[0]) and (size or 0) < (indices[0] or 0):
        raise ShapeError(f"{size} SCALARS are too few for {indices[0]} INDICES")


def _declare(name: str, names: str, form: Format, mean: bool, doc: str) -> None:
    places = _positions(names)
    apart = "scale_bias" in places

    def infer(query: Query) -> Sequence[TensorType]:
        _check(query, places)
        data, lengths = (query.inputs[places[k]].shape for k in ("DATA", "LENGTHS"))
        segments = None if lengths is None else lengths[0]
        if apart:
            return [TensorType(FLOAT, None if data is None else (segments, *data[1:]))]
        return [TensorType(FLOAT, (segments, decoded(None if data is None else data[1], form)))]

    weighted = "WEIGHTS" in places
    made = operator(
        name,
        f"{names} -> output",
        infer=infer,
        gradient=NoGradient(NO_GRADIENT),
        onnx=name if "SparseLengthsSum" in name and not apart else None,
        doc=f"""
        output[n] = the {"mean" if mean else "sum"} of {"weighted " if weighted else ""}rows DATA[i]
        for the next LENGTHS[n] of INDICES{", each times its weight" if weighted else ""}; 0 where
        there are none. {doc}
        """,
        example=f"""
        DATA of shape (3, {2 if apart else 16 // form.per_byte + form.tail})
        INDICES = [0, 2], LENGTHS = [2, 0]
        output of shape (2, {2 if apart else 16}); output[1] = 0
        """,
    )

    @made.cpu
    def launch(call: Call) -> list[Launch]:
        inputs = {kind: call.inputs[at] for kind, at in places.items()}
        return _launch(call, inputs, form, mean)


def _launch(call: Call, inputs: dict[str, Array], form: Format, mean: bool) -> list[Launch]:
    data, indices, lengths = (inputs[k] for k in ("DATA", "INDICES", "LENGTHS"))
    mapping, weights = inputs.get("COMPRESSED"), inputs.get("WEIGHTS")
    mapping = None if mapping is None else mapping.reshape(-1)
    return launch_sum_rows(
        Rows(by_row(data), form, inputs.get("scale_bias")),
        (indices, lengths),
        None if weights is None else weights.reshape(-1),
        mapping,
        mean,
        by_row(call.outputs[0]),
        explain_place(indices, len(data), lengths, mapping),
    )


_FUSED = "Rows are those of FloatToFused{}BitRowwiseQuantized."
_SPARSE = """Rows are those of FloatToFused{}BitRowwiseQuantized; index i stands for row
COMPRESSED_INDICES_MAPPING[i], or for none where that is -1, but for row i if the mapping is only
a 0."""
_APART = "Rows are those of FloatToRowwiseQuantized8Bits, scale and bias in `scale_bias`."

for _bits in (2, 4, 8):
    _form = Format(_bits, half=_bits < 8)
    for _kind, _weights in (("Sum", ""), ("WeightedSum", "WEIGHTS, "), ("Mean", "")):
        _declare(
            f"SparseLengths{_kind}Fused{_bits}BitRowwise",
            f"DATA, {_weights}INDICES, LENGTHS",
            _form,
            _kind == "Mean",
            _FUSED.format(_bits),
        )
        _declare(
            f"SparseLengths{_kind}{_bits}BitRowwiseSparse",
            f"DATA, {_weights}INDICES, LENGTHS, COMPRESSED_INDICES_MAPPING",
            _form,
            _kind == "Mean",
            _SPARSE.format(_bits),
        )
for _kind in ("Sum", "Mean", "WeightedSum", "WeightedMean"):
    _scalars = "SCALARS, " if "Weighted" in _kind else ""
    _declare(
        f"SparseLengths{_kind}8BitsRowwise",
        f"DATA, {_scalars}INDICES, LENGTHS, scale_bias",
        Format(8, False),
        "Mean" in _kind,
        _APART,
    )


# ---------------------------------------------------------------- the rows themselves


def _infer_gather(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, UINT8)
    require_dtype(query, 1, "int32", "int64")
    require_rank(query, 0, 2)
    require_rank(query, 1, 1)
    data, indices = (t.shape for t in query.inputs)
    width = decoded(None if data is None else data[1], Format(8, False))
    return [TensorType(FLOAT, (None if indices is None else indices[0], width))]


gather = operator(
    "GatherFused8BitRowwise",
    "DATA, INDICES -> OUTPUT",
    infer=_infer_gather,
    gradient=NotDifferentiable(NO_GRADIENT),
    doc="OUTPUT[k] = the numbers of row INDICES[k] of DATA, as Fused8BitRowwiseQuantizedToFloat.",
    example="""
    DATA of shape (3, 24), INDICES = [2, 0]
    OUTPUT of shape (2, 16)
    """,
)


@gather.everywhere
def _launch_gather(call: Call) -> Launch:
    data, indices = call.inputs
    explain = explain_place(indices, len(data))
    return launch_take_rows(data, indices, Format(8, False), call.outputs[0], explain)
