"""Calls of the backward pass: what they take, give and refuse, and where we know better."""

import sys
from pathlib import Path

import pytest

from caffe2py import core
from caffe2py.errors import (
    DTypeError,
    NetError,
    NoGradientError,
    UnknownOperatorError,
    UsageError,
)
from caffe2py.graph.rules import MAKERS
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.gradient import Gradient, gradient_name, gradient_op
from caffe2py.registry.operator import operator
from tests.graph import sparse  # noqa: F401
from tests.toy import op

Registry = core.GradientRegistry

operator(
    "TestChain",
    "X, W -> Y",
    gradient="Negative(dY) -> dX\nTestProduct(dX, X) -> dW",
    doc="its second backward operator reads what the first one makes",
)
operator("TestProduct", "A, B -> C", doc="C = A * B")
operator("TestPlain", "X -> Y", doc="it has no gradient")


def _filled(op, output_grads):
    """Makes dX in two steps, the second in place."""
    made = gradient_name(op.input[0])
    zeros = gradient_op(op, "ConstantFill", [op.input[0]], [made], {"value": 0.0})
    added = gradient_op(op, "Add", [made, output_grads[0]], [made])
    return Gradient((zeros, added), (made,))


operator("TestTwoSteps", "X -> Y", gradient=_filled, doc="Y = X")


def build(*rows):
    """A net of rows such as "Add x y -> z"."""
    net = core.Net("net")
    for row in rows:
        left, _, right = row.partition("->")
        op_type, *inputs = left.split()
        getattr(net, op_type)(inputs, right.split())
    return net


def backward(net, *args, **kwargs):
    """What AddGradientOperators adds, as "Type(inputs)->outputs"."""
    before = len(net.Proto().op)
    net.AddGradientOperators(*args, **kwargs)
    return lines(net.Proto().op[before:])


def lines(ops):
    return [f"{o.type}({','.join(o.input)})->{','.join(o.output)}" for o in ops]


def line_above():
    frame = sys._getframe(1)
    return f"{Path(frame.f_code.co_filename).relative_to(Path.cwd())}:{frame.f_lineno - 1}"


# ---------------------------------------------------------------- what a call takes and gives


def test_the_map_is_of_references():
    net = build("TestGather x i -> y", "Relu y -> l")
    found = net.AddGradientOperators(["l"])
    assert list(found) == ["l", "y", "x"]
    assert all(type(blob) is core.BlobReference and blob.Net() is None for blob in found)
    assert found["x"] == core.GradientSlice("i", "y_grad")
    assert type(found["x"].values) is core.BlobReference is type(found["l"])
    assert list(net.Proto().external_input) == ["x", "i"]


@pytest.mark.parametrize(
    "ys",
    [["l"], [b"l"], ["l", "l"], {"l": None}, {core.BlobReference("l"): None}, []],
)
def test_losses(ys):
    expected = ["ConstantFill(l)->l_autogen_grad", "ReluGradient(l,l_autogen_grad)->x_grad"]
    assert backward(build("Relu x -> l"), ys) == (expected if ys else [])


@pytest.mark.parametrize("ys", ["l", ("l",), None, [3], {"l": 3}, {"l": ("i", "v")}, [None]])
def test_no_losses(ys):
    with pytest.raises(UsageError):
        build("Relu x -> l").AddGradientOperators(ys)


@pytest.mark.parametrize("given", ["given", b"given", core.BlobReference("given")])
def test_given_gradients(given):
    net = build("Relu x -> l")
    assert backward(net, {"l": given}) == ["ReluGradient(l,given)->x_grad"]
    assert list(net.Proto().external_input) == ["x"]


def test_a_string_is_the_whole_name_in_a_scope():
    with core.NameScope("s"):
        net = build("Relu x -> l")
        found = backward(net, ["s/l"])
    assert found[0] == "ConstantFill(s/l)->s/s/l_autogen_grad"


def test_skip_leaves_the_first_operators_out():
    rows = "Relu x -> y", "Sigmoid y -> l"
    for skip in (1, -1):
        assert len(backward(build(*rows), ["l"], skip=skip)) == 2
    assert backward(build(*rows), ["l"], skip=2) == ["ConstantFill(l)->l_autogen_grad"]


def test_twice_on_one_net():
    net = build("Relu x -> l")
    assert backward(net, ["l"]) == backward(net, ["l"])


def test_backward_operators_have_the_lines_of_the_forward_ones():
    net = core.Net("lines")
    net.Mul(["x", "x"], "l")
    forward = line_above()
    net.AddGradientOperators(["l"])
    assert net.operator_lines() == [forward, line_above(), forward, forward]


# ---------------------------------------------------------------- the registry


def test_gradient_of_one_operator():
    forward = op("FC", "x w b", "y")
    ops, grads = Registry.GetGradientForOp(forward, ["y_grad"])
    assert lines(ops) == ["FCGradient(x,w,y_grad)->w_grad,b_grad,x_grad"]
    assert grads == ["x_grad", "w_grad", "b_grad"]
    reference = core.BlobReference("y_grad")
    assert Registry.GetGradientForOp(forward, [reference, "more"]) == (ops, grads)
    assert Registry.GetGradientForOp(op("TestGather", "x i", "y"), ["g"]) == (
        [],
        [core.GradientSlice("i", "g"), None],
    )
    with pytest.raises(UsageError, match="0 gradients for 1 outputs of FC"):
        Registry.GetGradientForOp(forward, [])
    with pytest.raises(NoGradientError, match="reads dY"):
        Registry.GetGradientForOp(forward, [None])


def test_backward_pass_of_a_list():
    forward = [op("FC", "x w b", "y")]
    ops, grads = Registry.GetBackwardPass(forward, ["y"])
    assert lines(ops)[0] == "ConstantFill(y)->y_autogen_grad"
    assert {str(k): str(v) for k, v in grads.items()} == {
        "y": "y_autogen_grad",
        "x": "x_grad",
        "w": "w_grad",
        "b": "b_grad",
    }
    given = Registry.GetBackwardPass(forward, {"y": "g"}, ys_generate_gradient=True)
    assert lines(given[0]) == ["FCGradient(x,w,g)->w_grad,b_grad,x_grad"]
    with pytest.raises(NetError, match="no operator makes the loss 'x'"):
        Registry.GetBackwardPass(forward, ["x"])


@pytest.fixture
def maker(monkeypatch):
    """Registers a gradient function for the time of a test."""

    def register(op_type, answer):
        monkeypatch.setitem(MAKERS, op_type, None)
        function = answer if callable(answer) else lambda op, grads: answer
        assert Registry.RegisterGradient(op_type)(function) is function

    return register


@pytest.mark.parametrize("op_type", ["TestPlain", "NobodyDeclaredThis"])
def test_a_function_of_the_user_gives_the_gradient(maker, op_type):
    def double(op, grads):
        assert grads == ["l_autogen_grad"]
        return core.CreateOperator("Add", [grads[0]] * 2, ["dx"]), [core.BlobReference("dx")]

    maker(op_type, double)
    ops, grads = Registry.GetBackwardPass([op(op_type, "x", "l")], ["l"])
    assert lines(ops)[1:] == ["Add(l_autogen_grad,l_autogen_grad)->dx"]
    assert not ops[1].is_gradient_op
    assert grads["x"] == "dx"


def test_a_declared_gradient_comes_first(maker):
    maker("Relu", (None, [None]))
    assert len(backward(build("Relu x -> l"), ["l"])) == 2


@pytest.mark.parametrize(
    ("answer", "grad"),
    [
        ((None, [None]), None),
        (([], []), None),
        (([], "other"), "other"),
        (([], core.BlobReference("other")), "other"),
        ((None, None), None),
        (([], ["ab"]), "ab"),
        (([], [core.GradientSlice("i", core.BlobReference("v"))]), ("i", "v")),
    ],
)
def test_answers_of_a_function(maker, answer, grad):
    maker("TestPlain", answer)
    _, grads = Registry.GetBackwardPass([op("TestPlain", "x", "l")], ["l"])
    assert grads.get("x") == grad


@pytest.mark.parametrize("answer", [None, 3, ([], ["a", "b"]), ([], [3])])
def test_wrong_answers_of_a_function(maker, answer):
    maker("TestPlain", answer)
    with pytest.raises(UsageError, match=r"^loss 'l' <- op #0 TestPlain: .*gradient"):
        Registry.GetBackwardPass([op("TestPlain", "x", "l")], ["l"])


def test_a_function_may_read_only_what_its_operator_knows(maker):
    maker("TestPlain", ([op("Negative", "elsewhere", "dx")], ["dx"]))
    with pytest.raises(NetError, match="Negative reads 'elsewhere', which is neither"):
        Registry.GetBackwardPass([op("TestPlain", "x", "l")], ["l"])


def test_operators_that_a_function_keeps_stay_as_they_are(maker):
    kept = op("Negative", "x", "dx")
    maker("TestPlain", ([kept], ["dx"]))
    forward = [op("TestPlain", "x", "a"), op("TestPlain", "x", "b"), op("Sum", "a b", "l")]
    ops, _ = Registry.GetBackwardPass(forward, ["l"])
    assert lines(ops)[1:] == [
        "Negative(x)->dx",
        "Negative(x)->_dx_autosplit_0",
        "Sum(dx,_dx_autosplit_0)->dx",
    ]
    assert list(kept.output) == ["dx"]


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("y", "there is no blob 'y', which is to be the loss"),
        ("x", "the loss 'x' comes from outside: no operator makes it"),
        ("los", "there is no blob 'los', .*; did you mean 'loss'"),
        (core.Net("other").Relu("x", "y"), ".*; the reference is to a blob of net 'other'"),
    ],
)
def test_a_loss_that_nothing_makes(loss, message):
    net = build("Relu x -> loss")
    with pytest.raises(NetError, match=rf"^net '{net}': {message}"):
        net.AddGradientOperators([loss])
    assert len(net.Proto().op) == 1


def test_a_reference_to_another_net_means_the_blob_of_this_name():
    other = core.Net("other").Relu("x", "l")
    assert len(backward(build("Relu x -> l"), [other])) == 2


def test_a_gradient_for_nothing():
    with pytest.raises(NetError, match="there is no blob 'y'"):
        build("Relu x -> l").AddGradientOperators({"y": "given"})


def test_a_loss_that_is_no_float():
    net = build("Relu x -> y", "Concat y y -> l info")
    with pytest.raises(DTypeError, match=r"^net 'net.*': the loss 'info' is int32"):
        net.AddGradientOperators(["info"])


def test_an_operator_without_gradient():
    net = core.Net("path")
    net.Relu("x", "y")
    net.Cast("y", "z", to="float", name="caster")
    place = line_above()
    net.Sigmoid("z", "l")
    message = (
        rf"^net '{net}', loss 'l' <- op #2 Sigmoid \(built at .*\) <- "
        rf"op #1 Cast 'caster' \(built at {place}\): Cast has no 'from_type'.*\(try: "
    )
    with pytest.raises(NoGradientError, match=message):
        net.AddGradientOperators(["l"])
    net = build("TestPlain x -> y", "Relu y -> l")
    with pytest.raises(NoGradientError, match=r"op #0 TestPlain .*: TestPlain has no gradient: no"):
        net.AddGradientOperators(["l"])
    with pytest.raises(UnknownOperatorError, match=r"^loss 'l' <- op #0 Ghost: 'Ghost' is not"):
        Registry.GetBackwardPass([OperatorDef(type="Ghost", output=["l"])], ["l"])


def test_long_paths_are_cut():
    net = build("TestPlain y -> x0", *(f"Negative x{k} -> x{k + 1}" for k in range(19)))
    with pytest.raises(NoGradientError) as caught:
        net.AddGradientOperators(["x19"])
    text = str(caught.value)
    assert "loss 'x19' <- op #19 Negative" in text
    assert " <- ... (13 more) ... <- " in text
    assert text.count("<-") == 8


def test_a_blob_that_is_overwritten_before_the_gradient_reads_it():
    net = core.Net("history")
    net.FC(["x", "w", "b"], "y")
    net.Relu("x", "x")
    place = line_above()
    net.Add(["y", "x"], "l")
    message = (
        r"op #0 FC \(.*\): its gradient FCGradient reads 'x' in version 0, which op #1 Relu "
        rf"\(built at {place}\) has overwritten; 'x' has version 0 from outside, read by op #0 FC "
        rf"\(.*\), op #1 Relu \(.*\); version 1 from op #1 Relu \(.*\), read by op #2 Add \(.*\) "
        r"\(try: another name for what op #1 Relu writes\)"
    )
    with pytest.raises(NetError, match=message):
        net.AddGradientOperators(["l"])
    assert len(net.Proto().op) == 3


def test_in_place_where_the_gradient_reads_what_was_there():
    for row in ("Mul x z -> x", "Mul z x -> x"):
        net = build(row, "Relu x -> l")
        with pytest.raises(
            NetError, match=r"op #0 Mul .* overwrites 'x' in place, but its gradient"
        ):
            net.AddGradientOperators(["l"])
    for row in ("Add x z -> x", "Sub z x -> x", "Div x z -> x", "Negative x -> x", "Sum x z -> x"):
        assert backward(build(row, "Relu x -> l"), ["l"])


def test_a_forward_blob_that_the_backward_pass_overwrites():
    net = build("Sigmoid w -> x_grad", "Mul x x_grad -> y", "Relu x -> z", "Add y z -> l")
    with pytest.raises(NetError, match="reads 'x_grad', which ReluGradient of the backward pass"):
        net.AddGradientOperators(["l"])


def test_gradients_that_are_dense_and_sparse():
    net = build("TestGather x i -> a", "Relu x -> b", "Sum a b -> l")
    message = (
        r"'x' has a sparse gradient from op #0 TestGather \(.*\) and a dense one from op #1 Re"
    )
    with pytest.raises(NetError, match=message):
        net.AddGradientOperators(["l"])


def test_indices_that_are_overwritten():
    net = build("TestGather x i -> y", "Negative i -> i", "Relu y -> l")
    message = "op #0 TestGather .*: its gradient slice reads 'i' in version 0, which op #1 Negative"
    with pytest.raises(NetError, match=message):
        net.AddGradientOperators(["l"])


@pytest.mark.parametrize("output", ["w", "x"])
def test_a_sparse_gradient_where_a_dense_one_is_needed(output):
    net = build(f"Relu x -> {output}", f"TestGather {output} i -> l")
    message = (
        f"op #0 Relu .*: the gradient of its output '{output}' is sparse .*Relu takes a dense one"
    )
    with pytest.raises(NoGradientError, match=message):
        net.AddGradientOperators(["l"])


def test_gradients_on_different_devices():
    net = core.Net("devices")
    with core.DeviceScope(core.DeviceOption(1, 1)):
        net.Relu("x", "a")
    net.Sigmoid("x", "b")
    net.Add(["a", "b"], "l")
    message = r"'x' .* on different devices: no device option \(op #1 .*device_id: 1 \(op #0 Relu"
    with pytest.raises(NetError, match=message):
        net.AddGradientOperators(["l"])


def test_stop_gradient_that_nothing_reads():
    net = build("StopGradient x -> y", "Relu x -> l")
    with pytest.raises(NetError, match=r"op #0 StopGradient .*: nothing reads 'y', so StopGrad"):
        net.AddGradientOperators(["l"])


# ---------------------------------------------------------------- better than Caffe2


def test_a_name_of_two_characters_is_a_name():
    """Caffe2 takes it for the indices and values of a slice, and refuses the net."""
    net = build("Relu x -> y", "Sigmoid y -> l")
    assert backward(net, {"l": "dl"})[0] == "SigmoidGradient(l,dl)->y_grad"
    _, grads = Registry.GetGradientForOp(op("Sum", "a b", "l"), ["dl"])
    assert grads == ["dl", "dl"]


def test_given_gradients_of_blobs_that_are_read_are_added():
    """Caffe2 drops the gradient given for y."""
    net = build("Relu x -> y", "Sigmoid y -> l")
    assert backward(net, {"l": "given_l", "y": "given_y"}) == [
        "SigmoidGradient(l,given_l)->y_grad",
        "Sum(y_grad,given_y)->y_grad",
        "ReluGradient(y,y_grad)->x_grad",
    ]


def test_a_given_gradient_is_not_overwritten_by_the_sum():
    net = build("Relu x -> y", "Sigmoid y -> l")
    assert backward(net, {"l": "l_grad", "y": "y_grad"}) == [
        "SigmoidGradient(l,l_grad)->_y_grad_autosplit_0",
        "Sum(y_grad,_y_grad_autosplit_0)->y_grad_sum",
        "ReluGradient(y,y_grad_sum)->x_grad",
    ]


def test_a_given_gradient_with_the_name_of_another():
    """Caffe2 overwrites it before it is read."""
    net = build("Relu x -> y", "Sigmoid x -> z")
    assert backward(net, {"y": "x_grad", "z": "given"}) == [
        "SigmoidGradient(z,given)->_x_grad_apart_0",
        "ReluGradient(y,x_grad)->__x_grad_apart_0_autosplit_0",
        "Sum(_x_grad_apart_0,__x_grad_apart_0_autosplit_0)->_x_grad_apart_0",
    ]


def test_a_gradient_that_two_blobs_share_is_not_overwritten():
    """Sum in place: b has the gradient a_grad too, which Negative in place would write again."""
    net = build(
        "Negative x -> a", "FC x w v -> b", "Negative a -> a", "Sum a b -> a", "Relu a -> l"
    )
    assert backward(net, ["l"])[2:4] == [
        "Negative(a_grad)->_a_grad_apart_0",
        "FCGradient(x,w,a_grad)->w_grad,v_grad,x_grad",
    ]


@pytest.mark.parametrize("row", ["Sum a b -> y", "Relu a -> y", "TestGather a b -> y"])
def test_a_version_that_the_loss_does_not_need(row):
    """Caffe2 takes the gradient of the second y for the first, and notices in Relu only."""
    net = build(row, "Relu q -> y", "Relu y -> l")
    message = r"op #0 .*: 'y' in version 0 has no part in the loss.*; version 1 from op #1 Relu"
    with pytest.raises(NetError, match=message):
        net.AddGradientOperators(["l"])


@pytest.mark.parametrize("row", ["StopGradient a -> y", "TestPlain a -> y", "ConstantFill a -> y"])
def test_a_version_that_has_no_gradient(row):
    net = build(row, "Relu q -> y", "Relu y -> l")
    assert list(net.AddGradientOperators(["l"])) == ["l", "y", "q"]


def test_several_backward_operators_are_renamed_together():
    net = build("Relu x -> y", "TestChain x w -> z", "Sum y z -> l")
    assert backward(net, ["l"])[1:] == [
        "Negative(l_autogen_grad)->x_grad",
        "TestProduct(x_grad,x)->w_grad",
        "ReluGradient(y,l_autogen_grad)->_x_grad_autosplit_0",
        "Sum(x_grad,_x_grad_autosplit_0)->x_grad",
    ]
    net = build("TestChain x w -> z", "Relu x -> y", "Sum y z -> l")
    assert backward(net, ["l"])[2:4] == [
        "Negative(l_autogen_grad)->_x_grad_autosplit_0",
        "TestProduct(_x_grad_autosplit_0,x)->w_grad",
    ]
    net = build("TestTwoSteps x -> z", "Relu x -> y", "Sum y z -> l")
    assert backward(net, ["l"])[2:4] == [
        "ConstantFill(x)->_x_grad_autosplit_0",
        "Add(_x_grad_autosplit_0,l_autogen_grad)->_x_grad_autosplit_0",
    ]


def test_a_blob_that_an_operator_writes_twice():
    """The second part is what remains; the first has no gradient."""
    net = build("Split x -> y y", "Relu y -> l")
    assert backward(net, ["l"])[2:] == [
        "ConstantFill(y)->_y_grad_zeros",
        "Concat(_y_grad_zeros,y_grad)->x_grad,_x_grad_dims",
    ]


# ---------------------------------------------------------------- sparse


def test_slices_of_one_blob_are_joined():
    net = build(
        "TestGather x i -> a", "TestSparseSum x j n -> b", "TestPairs x -> c", "Sum a b c -> l"
    )
    before = len(net.Proto().op)
    found = net.AddGradientOperators(["l"])
    assert lines(net.Proto().op[before + 1 :]) == [
        "TestPairsGradient(l_autogen_grad)->_x_grad_indices_autosplit_0,_x_grad_values_autosplit_0",
        "TestSparseSumGradient(l_autogen_grad,n,j)->_x_grad_values_autosplit_1",
        "Concat(_x_grad_indices_autosplit_0,j,i)->x_grad_indices_concat,x_grad_indices_concat_split",
        "Concat(_x_grad_values_autosplit_0,_x_grad_values_autosplit_1,l_autogen_grad)"
        "->x_grad_values_concat,x_grad_values_concat_split",
    ]
    joined = net.Proto().op[-1]
    assert [(arg.name, arg.i) for arg in joined.arg] == [("axis", 0)]
    assert list(joined.device_option.extra_info) == ["is_auto_gen_sum_ops:1"]
    assert found["x"] == core.GradientSlice("x_grad_indices_concat", "x_grad_values_concat")


@pytest.mark.parametrize(
    ("made", "base"),
    [
        ({"a": ([], ("ia", "va")), "b": (["vb"], ("ib", "vb"))}, "vb"),
        ({"a": (["va"], ("ia", "va")), "b": ([], ("ib", "vb"))}, "va"),
        ({"a": (["va"], ("ia", "va")), "b": (["ib"], ("ib", "vb"))}, "ib"),
        ({"a": (["ia_indices"], ("ia_indices", "va")), "b": (["vb"], ("ib", "vb"))}, "vb"),
        ({"a": ([], ("ia", "va")), "b": ([], ("ib", "vb"))}, "x_grad"),
    ],
)
def test_names_of_joined_slices(maker, made, base):
    def answer(forward, grads):
        outputs, parts = made[forward.output[0]]
        return [op("Negative", forward.output[0], name) for name in outputs], [
            core.GradientSlice(*parts)
        ]

    maker("TestPlain", answer)
    forward = [op("TestPlain", "x", name) for name in made] + [op("Sum", "a b", "l")]
    _, grads = Registry.GetBackwardPass(forward, ["l"])
    assert grads["x"] == (f"{base}_indices_concat", f"{base}_values_concat")


def test_an_operator_that_takes_slices():
    net = build("TestDense x -> w", "TestGather w i -> l")
    assert backward(net, ["l"])[1:] == ["TestToDense(i,l_autogen_grad,x)->x_grad"]
    net = build("TestDense x -> l")
    given = core.GradientSlice("i", core.BlobReference("v"))
    assert backward(net, {"l": given}) == ["TestToDense(i,v,x)->x_grad"]
    assert backward(build("TestDense x -> l"), {"l": "dense"}) == []
