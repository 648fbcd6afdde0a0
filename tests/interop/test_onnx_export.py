"""Nets as ONNX models: every operator and every net agrees with onnxruntime."""

from pathlib import Path

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import NetError, UnsupportedError
from caffe2py.executor.workspace import Workspace
from caffe2py.interop.onnx.exporter import NEWEST, OLDEST, export_model, init_arrays
from caffe2py.interop.onnx.exports import EXPORTS
from caffe2py.interop.onnx.verify import differences, random_inputs, run_onnxruntime
from caffe2py.predictor.load import load_model
from caffe2py.tensor.types import TensorType
from tests.interop.models import export_difference, net

NETS = Path(__file__).parents[2] / "nets"
#: The bar of the project, and what float32 allows a single operator.
NET_TOLERANCE, TOLERANCE = 1e-4, 2e-5

SHAPES = {
    "mlp": (3, 784),
    "lenet": (2, 1, 28, 28),
    "alexnet": (1, 3, 227, 227),
    "squeezenet": (1, 3, 64, 64),
    "inception_v1": (1, 3, 64, 64),
    "resnet50": (1, 3, 64, 64),
    "digits": (2, 1, 8, 8),
}


def _model(name):
    model = load_model(NETS / name)
    weights = init_arrays(model.init)
    weights.pop("data", None)
    return model.predict, weights


def _compare(name, opset):
    predict, weights = _model(name)
    types = {"data": TensorType(np.dtype(np.float32), SHAPES[name])}
    exported = export_model(predict, weights, types, opset=opset)
    inputs = random_inputs(types)
    workspace = Workspace()
    for blob, array in {**weights, **inputs}.items():
        workspace.feed(blob, array)
    workspace.run_net_once(predict)
    ours = {v.name: workspace.fetch(v.name) for v in exported.graph.output}
    found = differences(ours, run_onnxruntime(exported, inputs, list(ours)))
    assert max(found.values()) < NET_TOLERANCE


@pytest.mark.parametrize("name", SHAPES)
def test_nets(name):
    _compare(name, 13)


@pytest.mark.parametrize("opset", range(OLDEST, NEWEST + 1))
@pytest.mark.parametrize("name", ["lenet", "squeezenet"])
def test_opsets(name, opset):
    _compare(name, opset)


X = (2, 4, 6, 5)
ONE_INPUT = [
    *((name, X, {}) for name in (
        "Abs", "Alias", "Atan", "Ceil", "Copy", "Cos", "Cosh", "Erf", "Exp", "Floor", "Negative",
        "NanCheck", "Relu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh",
        "Sqr", "Cube", "Swish", "Mish", "Cbrt", "Elu", "Selu", "LeakyRelu", "ThresholdedRelu",
        "HardSigmoid", "Gelu", "StopGradient", "EnsureCPUOutput", "SumElements", "SumSqrElements",
        "FlattenToVec", "MergeDim", "NCHW2NHWC", "NHWC2NCHW", "ReduceSum", "ReduceMean",
        "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "Normalize", "NormalizeL1", "Shape",
        "Size", "Transpose", "ArgMax", "ArgMin", "Flatten", "Softmax", "AveragedLoss",
    )),
    ("Gelu", X, {"fast_gelu": 1}),
    ("Scale", X, {"scale": 0.5}),
    ("Pow", X, {"exponent": 2.0}),
    ("Clip", X, {"min": -0.5, "max": 0.25}),
    ("ReluN", X, {"n": 0.5}),
    ("Logit", X, {}),
    ("Glu", X, {"dim": 1}),
    ("Cast", X, {"to": 2}),
    ("Dropout", X, {"is_test": 1}),
    ("IsNaN", X, {}),
    ("ReduceSum", X, {"axes": [1, 2], "keepdims": 0}),
    ("ReduceL2", X, {"axes": [-1]}),
    ("ReduceFrontSum", X, {"num_reduce_dim": 2}),
    ("ReduceBackMean", X, {"num_reduce_dim": 1}),
    ("ReduceBackMax", X, {"num_reduce_dim": 2}),
    ("ArgMax", X, {"axis": 1, "keepdims": 0}),
    ("Softmax", X, {"axis": 3}),
    ("Softmax", X, {"axis": 0}),
    ("Transpose", X, {"axes": [0, 2, 3, 1]}),
    ("Reshape", X, {"shape": [2, -1, 5]}),
    ("ExpandDims", X, {"dims": [0, 3]}),
    ("Squeeze", (2, 1, 3, 1), {"dims": [1, 3]}),
    ("Slice", X, {"starts": [0, 1, 0, 2], "ends": [-1, 3, -2, -1]}),
    ("Tile", X, {"tiles": 2, "axis": 1}),
    ("PrependDim", X, {"dim_size": 2}),
    ("ChannelShuffle", X, {"group": 2}),
    ("Shape", X, {"axes": [1, 3]}),
    ("PadImage", X, {"pad_t": 1, "pad_l": 2, "pad_b": 0, "pad_r": 1, "value": 1.5}),
    ("PadImage", X, {"pad": 2, "mode": "reflect"}),
    ("PadImage", X, {"pad": 2, "mode": "edge"}),
    ("LRN", X, {"size": 3, "alpha": 0.1, "beta": 0.75, "bias": 1.0}),
    ("LRN", X, {"size": 3, "alpha": 0.1, "beta": 0.75, "order": "NHWC"}),
    ("MaxPool", X, {"kernel": 3, "stride": 2, "pad": 1}),
    ("MaxPool", X, {"kernel": 3, "stride": 2, "legacy_pad": 3}),
    ("MaxPool", X, {"kernels": [3, 2], "strides": [2, 1], "legacy_pad": 2}),
    ("MaxPool", X, {"kernel": 2, "stride": 2, "order": "NHWC"}),
    ("MaxPool", X, {"global_pooling": 1}),
    ("AveragePool", X, {"kernel": 3, "stride": 2, "pad": 1}),
    ("AveragePool", X, {"kernel": 3, "stride": 2, "pad": 1, "count_include_pad": 1}),
    ("AveragePool", X, {"kernel": 3, "stride": 2, "legacy_pad": 3}),
    ("AveragePool", X, {"global_pooling": 1, "order": "NHWC"}),
    ("LpPool", X, {"kernel": 2, "p": 2.0}),
    ("ResizeNearest", X, {"width_scale": 2.0, "height_scale": 3.0}),
    ("UpsampleBilinear", X, {"width_scale": 2.0, "height_scale": 2.0}),
    ("UpsampleNearest", X, {"scale": 2}),
    ("ConstantFill", X, {"value": 2.5}),
]  # fmt: skip
POSITIVE = ("Log", "Sqrt", "Rsqrt", "Reciprocal", "Acos", "Asin")


def _data(shape, seed=3):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("type_", "shape", "args"), ONE_INPUT, ids=lambda v: v if isinstance(v, str) else ""
)
def test_operators_of_one_input(type_, shape, args):
    outputs = {"Reshape": "y old"}.get(type_, "y")
    difference, _ = export_difference(net((type_, "x", outputs, args)), {"x": _data(shape)})
    assert difference < TOLERANCE


@pytest.mark.parametrize("type_", POSITIVE)
def test_operators_of_positive_numbers(type_):
    data = np.abs(_data(X)) + 0.05
    assert export_difference(net((type_, "x", "y", {})), {"x": data})[0] < TOLERANCE


MORE_INPUTS = [
    *((name, [X, X], {}) for name in ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min")),
    *((name, [X, X], {}) for name in ("EQ", "NE", "GT", "GE", "LT", "LE")),
    ("Add", [X, (4, 1, 1)], {}),
    ("Mul", [X, (4,)], {"broadcast": 1, "axis": 1}),
    ("Add", [X, (6, 5)], {"broadcast": 1}),
    ("FC", [X, (7, 120), (7,)], {}),
    ("FC", [(2, 3, 4), (7, 4), (7,)], {"axis": 2}),
    ("FCTransposed", [(3, 4), (4, 7), (7,)], {}),
    ("MatMul", [(3, 4), (4, 5)], {}),
    ("MatMul", [(4, 3), (5, 4)], {"trans_a": 1, "trans_b": 1}),
    ("BatchMatMul", [(2, 3, 4), (2, 5, 4)], {"trans_b": 1}),
    ("BatchMatMul", [(2, 3, 4), (4, 5)], {"broadcast": 1}),
    ("DotProduct", [(3, 4), (3, 4)], {}),
    ("SquaredL2Distance", [(3, 4), (3, 4)], {}),
    ("L1Distance", [(3, 4), (3, 4)], {}),
    ("ElementwiseLinear", [(3, 4), (4,), (4,)], {}),
    ("Conv", [X, (3, 4, 3, 3), (3,)], {"kernel": 3, "pad": 1}),
    ("Conv", [X, (4, 2, 3, 2)], {"kernels": [3, 2], "group": 2, "strides": [2, 1]}),
    ("Conv", [X, (3, 4, 2, 2), (3,)], {"kernel": 2, "dilation": 2, "pad_t": 1, "pad_l": 0,
                                       "pad_b": 2, "pad_r": 1}),
    ("Conv", [(2, 6, 5, 4), (3, 3, 3, 4), (3,)], {"kernel": 3, "order": "NHWC"}),
    ("Conv", [(2, 4, 9), (3, 4, 3), (3,)], {"kernels": [3]}),
    ("ConvTranspose", [X, (4, 3, 3, 3), (3,)], {"kernel": 3, "stride": 2, "pad": 1, "adj": 1}),
    ("PRelu", [X, (4,)], {}),
    ("PRelu", [X, (1,)], {}),
    ("Concat", [X, X], {"axis": 1}),
    ("Concat", [X, X], {"axis": 2, "add_axis": 1}),
    ("InstanceNorm", [X, (4,), (4,)], {}),
    ("GroupNorm", [X, (4,), (4,)], {"group": 2}),
    ("AffineChannel", [X, (4,), (4,)], {}),
    ("LayerNorm", [X, (6, 5), (6, 5)], {"axis": 2, "elementwise_affine": 1}),
    ("ResizeLike", [X, (8, 30)], {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "shapes", "args"), MORE_INPUTS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_operators_of_several_inputs(type_, shapes, args):
    inputs = {f"x{k}": _data(shape, k) for k, shape in enumerate(shapes)}
    if type_ == "Div":
        inputs["x1"] = np.abs(inputs["x1"]) + 0.5
    outputs = {"Concat": "y widths", "GroupNorm": "y", "LayerNorm": "y mean deviation"}
    made = net((type_, " ".join(inputs), outputs.get(type_, "y"), args))
    assert export_difference(made, inputs)[0] < TOLERANCE


def test_batch_normalisation():
    weights = {n: np.abs(_data((4,), k)) + 0.1 for k, n in enumerate("sbmv")}
    made = net(("SpatialBN", "x s b m v", "y", {"is_test": 1}))
    assert export_difference(made, {"x": _data(X)}, weights)[0] < TOLERANCE


def test_splits_masks_and_places():
    made = net(
        ("Split", "x", "a b", {"axis": 1, "split": [1, 3]}),
        ("TopK", "b", "values places", {"k": 2, "axis": 1}),
        ("Cast", "a", "whole", {"to": 5}),
        ("Where", "whole c c", "w", {}),
        ("Gather", "x index", "rows", {}),
        ("NumpyTile", "rows repeats", "tiled", {}),
        ("Expand", "a shape", "wide", {}),
        ("And", "whole whole", "both", {}),
        ("Not", "both", "none", {}),
        ("Moments", "x", "mean variance", {"axes": [2, 3]}),
        ("Reshape", "x target", "flat old", {}),
        ("OneHot", "index depth", "hot", {}),
        ("Range", "stop", "numbers", {}),
    )
    inputs = {"x": _data(X), "c": _data((2, 1, 6, 5)), "index": np.array([1, 0, 1])}
    weights = {
        "repeats": np.array([1, 2, 1, 1]),
        "shape": np.array([2, 3, 6, 5]),
        "target": np.array([8, -1]),
        "depth": np.array([2]),
        "stop": np.array(5, np.int64),
    }
    assert export_difference(made, inputs, weights)[0] < TOLERANCE


def test_in_place_writes_get_names_of_their_own():
    made = net(("Relu", "x", "y", {}), ("Scale", "y", "y", {"scale": 2.0}), ("Add", "y x", "x", {}))
    made.external_output.append("x")
    difference, model = export_difference(made, {"x": _data(X)})
    assert difference < TOLERANCE
    names = [name for node in model.graph.node for name in node.output]
    assert len(set(names)) == len(names)


def test_all_that_cannot_be_written_is_listed_at_once():
    made = net(
        ("Relu", "x", "y", {}),
        ("Dropout", "y", "z mask", {"is_test": 0}),
        ("WallClockTime", "", "t", {}),
        ("LengthsSum", "z lengths", "s", {}),
        ("UnpackSegments", "lengths z", "u", {}),
    )
    types = {"x": TensorType(np.dtype(np.float32), (2, 3)), "lengths": TensorType(
        np.dtype(np.int32), (1,))}  # fmt: skip
    with pytest.raises(UnsupportedError) as error:
        export_model(made, {}, types)
    text = str(error.value)
    assert "3 operator(s) cannot be written" in text
    assert "#1 Dropout: dropout in training" in text
    assert "#3 LengthsSum" in text
    assert "#4 UnpackSegments" in text


def test_missing_blobs_are_named():
    with pytest.raises(NetError, match="nothing makes 'b'"):
        export_model(net(("Add", "a b", "c", {})), {"a": _data((2,))}, {})


def test_unknown_opsets_are_refused():
    with pytest.raises(UnsupportedError, match="opset 8 cannot be written"):
        export_model(net(("Relu", "x", "y", {})), {"x": _data((2,))}, {}, opset=8)


def test_the_table_names_operators_that_exist():
    from caffe2py.registry.operator import registered

    assert set(EXPORTS) <= set(registered())
