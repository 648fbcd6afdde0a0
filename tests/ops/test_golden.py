"""Every case that the real Caffe2 answered, replayed: same values, types, shapes, refusals."""

import json
import re

import numpy as np
import pytest

from caffe2py.errors import Error
from caffe2py.executor.workspace import Workspace
from caffe2py.registry.operator import registered
from tests.ops.golden import FAMILIES, load
from tests.ops.table import CASES

#: Refusals of Caffe2 that need not be ours: its types are narrower.
NARROW = re.compile(
    r"[Uu]nsupported (input )?type|Cannot cast|float16|not of the expected type|tensor: |"
    "caller expects elements to be"
)

#: (operator, part of Caffe2's message) -> why we accept what it refuses.
WIDER: dict[tuple[str, str], str] = {
    ("LogitGradient", "tensor has no dimensions"): "a scalar is a tensor like others",
    **{
        (f"SparseLengths{name}", "RunNetOnce"): "a row of no elements is one, too"
        for name in ("Sum", "Mean", "WeightedSum", "PositionalWeightedSum")
    },
    ("BatchGatherGradient", "DATA should be at least 2-D"): "along axis 0 data may be a vector",
    ("ScatterAssign", "it != runners_.end()"): "rows of any type can be copied",
    ("SparseToDense", "is not implemented on tensor of type double"): "float64 adds like float32",
    ("Slice", "only possible to slice in 1 dimension"): "any number of axes may be cut",
    ("DenseVectorToIdList", "only supports 32-bit float"): "float64 is compared alike",
    ("DiagonalFill", "'dtype' argument value: 3"): "bytes are uint8",
    ("TopK", "axis_ >= 0"): "a negative axis counts from the end",
    ("EnsureDense", "Input has to be at least a vector"): "a scalar is dense, too",
    ("ConvTranspose", "must be 4D tensor"): "one and three spatial axes work as in Conv",
    ("Cast", "Casting to and from at::Half"): "float16 is a type like others",
    ("Expand", "X_dims[i - d] == 1"): "a dimension of size 0 is one like others",
    ("Reshape", "shape.numel() > 0"): "an empty shape is that of a scalar",
    ("SpatialBNGradient", "ndim >= 3"): "the forward operator takes a batch without pixels, too",
    ("Flatten", "(unsigned)k <= dims.size()"): "a negative axis counts from the end",
    ("ArgMax", "axis_ >= 0. -2"): "a negative axis counts from the end",
    ("ArgMin", "axis_ >= 0. -2"): "a negative axis counts from the end",
    ("PRelu", "Dimension out of range"): "one slope does for any shape",
    ("PRelu", "tensor has no dimensions"): "one slope does for any shape",
    ("Tile", "`tiles` is missing"): "a declared default is one",
    ("Tile", "`axis` is missing"): "a declared default is one",
    ("Tile", "should be a vector of size 1"): "a scalar is a number, too",
    ("TileGradient", "is missing"): "a declared default is one",
    ("WeightedSum", "numel() > 0"): "empty tensors are ones like others",
    ("ConstantFill", "has_f()"): "an int serves as a float",
    ("ConstantFill", "'dtype' argument value: 12"): "float16 is a type like others",
    ("GivenTensorFill", "'dtype' argument value: 12"): "float16 is a type like others",
    ("GivenTensorFill", "2 vs 0"): "ints serve as floats",
    ("GivenTensorDoubleFill", "2 vs 0"): "ints serve as floats",
    **{
        (fill, "input.numel() > 0"): "an empty shape is that of a scalar"
        for fill in registered()
        if fill.endswith("Fill")
    },
}


def _alpha(case):
    return next((a.f for a in case.net.op[0].arg if a.name == "alpha"), None)


#: (operator, which cases): where Caffe2's answer is plainly wrong; the doc says what ours is.
BROKEN = [
    ("MulGradient", lambda case: "dC" in case.net.op[0].output),
    ("Cast", lambda case: case.texts.get("note", "").startswith("undefined in C++")),
    (
        "Range",
        lambda case: any(x.dtype.kind == "i" and x.tolist() == [-3] for x in case.inputs.values()),
    ),
    (
        "GivenTensorByteStringToUInt8Fill",  # leaves out what the shape does not take
        lambda case: case.texts.get("note") == "no shape at all",
    ),
    # negates dY where Y < 0
    ("ThresholdedReluGradient", lambda case: (case.inputs.get("X0", np.ones(1)) < 0).any()),
    ("EluGradient", lambda case: _alpha(case) == 0),  # passes dY on where X <= 0
    (
        "LeakyReluGradient",  # passes dY on where X <= 0; makes an infinite dY NaN
        lambda case: _alpha(case) == 0 or np.isinf(case.inputs["dY"]).any(),
    ),
    *(
        (  # a length of 0 takes one element in
            f"Reduce{end}",
            lambda case: "L" in case.inputs and case.inputs["X"].size and 0 in case.inputs["L"],
        )
        for end in ("BackSum", "BackMean", "FrontSum", "FrontMean")
    ),
    (
        "SpatialBNGradient",  # takes the variance for an inverse deviation
        lambda case: any(a.name == "is_test" and a.i for a in case.net.op[0].arg),
    ),
    ("SpatialSoftmaxWithLoss", lambda case: any(a.name == "scale" for a in case.net.op[0].arg)),
    *(
        (
            f"Conv{name}Gradient",
            lambda case: (
                "dX" in case.outputs
                and case.inputs["X"].ndim == 5
                and any(a.s == b"NHWC" for a in case.net.op[0].arg)
            ),
        )
        for name in ("", "1D", "2D", "3D")
    ),
]


def replay(case):
    workspace = Workspace()
    for name, value in case.inputs.items():
        workspace.feed(name, value)
    workspace.run_net_once(case.net)
    return workspace


def check(case):
    if "lax" in case.texts or any(op == case.op and test(case) for op, test in BROKEN):
        return
    refusal = case.texts.get("error")
    if refusal is None:
        compare(case, replay(case))
        return
    try:
        replay(case)
    except Error:
        return
    if not refusal.startswith("crash") and not NARROW.search(refusal):
        assert any(op == case.op and part in refusal for op, part in WIDER), f"accepted: {refusal}"


def compare(case, workspace):
    row = CASES[case.op]
    for blob, quantum in case.texts.get("quantum", {}).items():
        found = workspace.blob(blob).quantum
        assert found == tuple(quantum), f"{blob}: {found}, Caffe2 {quantum}"
    for blob, expected in case.outputs.items():
        found = workspace.fetch_array(blob)
        assert found.dtype == expected.dtype, f"{blob}: {found.dtype}, Caffe2 {expected.dtype}"
        if expected.dtype.kind == "O" and expected.size == 0:
            assert found.size == 0, blob  # the file does not tell empty shapes apart
            continue
        assert found.shape == expected.shape, f"{blob}: {found.shape}, Caffe2 {expected.shape}"
        if expected.dtype.kind != "f":
            assert np.array_equal(found, expected), f"{blob}: {found}, Caffe2 {expected}"
            continue
        scale = np.max(np.abs(expected[np.isfinite(expected)]), initial=1.0)
        np.testing.assert_allclose(
            found.astype(np.float64),
            expected.astype(np.float64),
            rtol=1e-5,
            atol=max(row.allowed(expected.dtype), 2e-6) * float(scale),
            err_msg=blob,
        )
    for blob, statistics in case.texts.get("random", {}).items():
        found = workspace.fetch(blob)
        assert list(found.shape) == statistics["shape"]
        assert found.dtype.name == statistics["dtype"]


@pytest.mark.parametrize("family", FAMILIES)
def test_golden(family):
    wrong = []
    count = 0
    for case in load(family):
        count += 1
        try:
            check(case)
        except (AssertionError, Error) as error:
            wrong.append(f"{case.name} {str(case.net.op[0])!r}: {error}")
    assert count > 0
    assert not wrong, f"{len(wrong)} of {count} disagree:\n" + "\n\n".join(wrong[:10])


def test_every_operator_with_golden_answers_has_enough():
    counts = {}
    for family in FAMILIES:
        for case in load(family):
            counts[case.op] = counts.get(case.op, 0) + ("error" not in case.texts)
    assert min(counts.values()) >= 20, json.dumps(counts)
