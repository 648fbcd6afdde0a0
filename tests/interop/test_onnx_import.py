"""ONNX models as nets: constants, older opsets, control flow, and weights of every type."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import caffe2py.core  # noqa: F401
from caffe2py.errors import NetError, UnsupportedError
from caffe2py.interop.onnx.emitter import VariesError
from caffe2py.interop.onnx.importer import import_model
from caffe2py.interop.weights import weights_net
from tests.interop.models import import_difference, model, run_nets, value

node = helper.make_node
TOLERANCE = 2e-5


def _data(*shape, seed=5):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def _ints(*values):
    return np.array(values, np.int64)


def test_a_chain_of_constants_is_an_argument():
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "axes"], ["batch1"]),
        node("Concat", ["batch1", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["flat"]),
        node("Relu", ["flat"], ["y"]),
    ]
    weights = {"zero": np.array(0), "axes": _ints(0), "rest": _ints(-1)}
    proto = model(nodes, {"x": (2, 3, 4)}, {"y": (2, 12)}, weights)
    assert import_difference(proto, {"x": _data(2, 3, 4)}) == 0
    made = import_model(proto)
    assert [op.type for op in made.predict.op] == ["Reshape", "Relu"]
    assert made.weights == {}


def test_a_shape_of_unknown_inputs_is_computed():
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Slice", ["shape", "begin", "end"], ["front"]),
        node("Concat", ["front", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {"begin": _ints(0), "end": _ints(1), "rest": _ints(-1)}
    proto = model(nodes, {"x": ("batch", 3, 4)}, {"y": ("batch", None)}, weights)
    made = import_model(proto)
    assert [str(t) for t in made.inputs.values()] == ["float32(?,3,4)"]
    for batch in (1, 3):
        data = _data(batch, 3, 4)
        found = run_nets(made.init, made.predict, {"x": data})
        np.testing.assert_array_equal(found["y"], data.reshape(batch, -1))


OLDER = {
    1: [node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)],
    6: [node("Mul", ["x", "b"], ["y"], broadcast=1, axis=1)],
    7: [node("Slice", ["x"], ["s"], starts=[1], ends=[-1], axes=[2]),
        node("Squeeze", ["one"], ["q"], axes=[0]), node("Mul", ["s", "q"], ["y"])],
    8: [node("Softmax", ["x"], ["y"], axis=1)],
    9: [node("Upsample", ["x", "scales"], ["y"], mode="nearest")],
    10: [node("Resize", ["x", "scales"], ["y"], mode="nearest")],
    11: [node("Clip", ["x", "low", "high"], ["y"])],
    12: [node("ReduceSum", ["x"], ["y"], axes=[1, -1], keepdims=0)],
}  # fmt: skip


@pytest.mark.parametrize("opset", OLDER)
def test_older_opsets(opset):
    data = _data(2, 3, 4, 5)
    weights = {
        "b": _data(3),
        "one": _data(1),
        "scales": np.array([1, 1, 2, 3], np.float32),
        "low": np.float32(-0.5),
        "high": np.float32(0.5),
    }
    expected = {
        1: lambda: data + weights["b"][:, None, None],
        6: lambda: data * weights["b"][:, None, None],
        7: lambda: data[:, :, 1:-1] * weights["one"],
        8: lambda: (e := np.exp(data)) / e.sum((1, 2, 3), keepdims=True),
        9: lambda: data.repeat(2, 2).repeat(3, 3),
        10: lambda: data.repeat(2, 2).repeat(3, 3),
        11: lambda: data.clip(-0.5, 0.5),
        12: lambda: data.sum((1, 3)),
    }
    made = import_model(model(OLDER[opset], {"x": data.shape}, {"y": None}, weights, opset=opset))
    found = run_nets(made.init, made.predict, {"x": data})["y"]
    np.testing.assert_allclose(found, expected[opset](), rtol=1e-5, atol=1e-6)


def _branch(name, type_, *weights):
    nodes = [node(type_, ["x", *weights], [f"{name}_y"])]
    return helper.make_graph(nodes, name, [], [value(f"{name}_y", (2, 3))])


@pytest.mark.parametrize("flag", [True, False])
def test_branches(flag):
    nodes = [
        node("If", ["flag"], ["y"], then_branch=_branch("then", "Mul", "w"),
             else_branch=_branch("else", "Sub", "w"))
    ]  # fmt: skip
    inputs = {"flag": value("flag", (), TensorProto.BOOL), "x": (2, 3)}
    proto = model(nodes, inputs, {"y": (2, 3)}, {"w": _data(2, 3)})
    assert import_difference(proto, {"flag": np.array(flag), "x": _data(2, 3)}) == 0


def test_a_loop():
    body = helper.make_graph(
        [
            node("Add", ["sum", "step"], ["next"]),
            node("Identity", ["next"], ["seen"]),
            node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [value("k", (), TensorProto.INT64), value("go", (), TensorProto.BOOL), value("sum", (2,))],
        [value("go_on", (), TensorProto.BOOL), value("next", (2,)), value("seen", (2,))],
    )
    nodes = [node("Loop", ["trips", "", "start"], ["last", "all"], body=body)]
    weights = {"trips": np.array(4), "step": _data(2)}
    proto = model(nodes, {"start": (2,)}, {"last": (2,), "all": (4, 2)}, weights)
    assert import_difference(proto, {"start": _data(2)}) < TOLERANCE


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers(kind):
    gates, states = {"RNN": (1, 1), "GRU": (3, 1), "LSTM": (4, 2)}[kind]
    weights = {
        "W": _data(2, gates * 5, 3, seed=1),
        "R": _data(2, gates * 5, 5, seed=2),
        "B": _data(2, gates * 10, seed=3),
    }
    outputs = {"Y": (4, 2, 2, 5), "Yh": (2, 2, 5)}
    nodes = [node(kind, ["x", *weights], list(outputs), hidden_size=5, direction="bidirectional")]
    assert len(outputs) <= states + 1
    proto = model(nodes, {"x": (4, 2, 3)}, outputs, weights)
    assert import_difference(proto, {"x": _data(4, 2, 3)}) < TOLERANCE


def test_functions_of_a_model_are_written_out():
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"],
        [node("Add", ["a", "a"], ["inner"]), node("Identity", ["inner"], ["b"])],
        [helper.make_opsetid("", 13)],
    )  # fmt: skip
    nodes = [node("Twice", ["x"], ["h"], domain="own"), node("Twice", ["h"], ["y"], domain="own")]
    proto = model(nodes, {"x": (3,)}, {"y": (3,)}, functions=[function])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    made = import_model(proto)
    data = _data(3)
    np.testing.assert_array_equal(run_nets(made.init, made.predict, {"x": data})["y"], 4 * data)


def test_functions_that_call_themselves_are_refused():
    function = helper.make_function(
        "own", "Self", ["a"], ["b"], [node("Self", ["a"], ["b"], domain="own")],
        [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)],
    )  # fmt: skip
    proto = model([node("Self", ["x"], ["y"], domain="own")], {"x": (3,)}, {"y": (3,)},
                  functions=[function])  # fmt: skip
    with pytest.raises(NetError, match="functions call each other"):
        import_model(proto)


def test_all_that_is_unsupported_is_listed_at_once():
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("NonMaxSuppression", ["a", "a"], ["b"], name="boxes"),
        node("Det", ["a"], ["c"]),
        node("Relu", ["c"], ["d"]),
        node("Invented", ["a"], ["e"], domain="somebody"),
    ]
    proto = model(nodes, {"x": (2, 2)}, {"d": None, "e": None})
    proto.opset_import.append(helper.make_opsetid("somebody", 1))
    with pytest.raises(UnsupportedError) as error:
        import_model(proto)
    text = str(error.value)
    assert "3 node(s) have no counterpart" in text
    assert "node #1 'boxes' (NonMaxSuppression)" in text
    assert "node #2 (Det)" in text
    assert "Invented of the domain 'somebody'" in text


def test_values_that_inputs_decide_are_named():
    nodes = [node("Neg", ["k"], ["n"]), node("ReduceSum", ["x", "n"], ["y"])]
    inputs = {"x": (2, 3), "k": value("k", (1,), TensorProto.INT64)}
    proto = model(nodes, inputs, {"y": None})
    with pytest.raises(VariesError, match="'k' decide") as error:
        import_model(proto)
    assert error.value.inputs == ("k",)
    made = import_model(proto, values={"k": _ints(1)})
    data = _data(2, 3)
    found = run_nets(made.init, made.predict, {"x": data})["y"]
    np.testing.assert_allclose(found, data.sum(1, keepdims=True), rtol=1e-6)


def test_shapes_that_contradict_the_model_are_refused():
    proto = model([node("Relu", ["x"], ["y"])], {"x": (2, None)}, {"y": None})
    assert str(import_model(proto, {"x": (2, 5)}).inputs["x"]) == "float32(2,5)"
    with pytest.raises(NetError, match="the shape given is"):
        import_model(proto, {"x": (3, 5)})
    with pytest.raises(NetError, match="no input 'z'"):
        import_model(proto, {"z": (3, 5)})


TYPES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16",
         "bool"]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2), (1,)])
def test_weights_come_back_bit_by_bit(dtype, shape):
    rng = np.random.default_rng(11)
    array = (rng.uniform(-300, 300, shape) * 1.000000001).astype(dtype)
    if array.dtype.kind == "f" and array.size > 3:
        array.flat[:3] = [np.inf, -0.0, 1e-7]
    found = run_nets(weights_net("w", {"a": array}), weights_net("none", {}), {})
    assert found == {}
    init = weights_net("w", {"a": array})
    back = run_nets(init, _only("a"), {})["a"]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def _only(name):
    made = weights_net("none", {})
    made.external_output.append(name)
    return made


def test_large_weights_are_quick_to_write():
    array = _data(1000, 1000)
    (op,) = weights_net("w", {"a": array}).op
    assert np.array_equal(np.array(op.arg[1].floats, np.float32), array.reshape(-1))


def test_the_checker_agrees_that_test_models_are_models():
    onnx.checker.check_model(model([node("Relu", ["x"], ["y"])], {"x": (2,)}, {"y": (2,)}))
