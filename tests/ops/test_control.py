"""Control flow as a whole: workspaces of Do, loops, and the gradients through them."""

import numpy as np
import pytest

from caffe2py import control_ops_util, core, workspace
from caffe2py.errors import (
    BlobTypeError,
    DTypeError,
    KernelError,
    MissingBlobError,
    NetError,
    ValueRangeError,
)


@pytest.fixture(autouse=True)
def _fresh():
    with workspace.WorkspaceGuard("control"):
        workspace.ResetWorkspace()
        yield
        workspace.ResetWorkspace()


def _feed(**arrays):
    for name, value in arrays.items():
        workspace.FeedBlob(name, np.asarray(value))


def _floats(*values):
    return np.array(values, np.float32)


def _inner(name, *ops):
    net = core.Net(name)
    for op_type, inputs, outputs, *args in ops:
        net.operator_method(op_type)(inputs.split(), outputs.split(), **(args[0] if args else {}))
    return net


# ---------------------------------------------------------------- Do


def _do(net, inner, inputs, outputs, names, places, **args):
    net.Do(
        [*inputs, "W"],
        [*outputs, "W"],
        net=inner.Proto(),
        inner_blobs=names,
        outer_blobs_idx=places,
        **args,
    )


def test_do_binds_blobs_and_hides_the_others():
    inner = _inner("inner", ("Add", "X Y", "sum"), ("Copy", "sum", "Z"))
    net = core.Net("outer")
    net.CreateScope([], "W")
    _do(net, inner, ["a", "b"], ["c"], ["X", "Y", "Z"], [0, 1, 2])
    net.HasScope("W", "left")
    _feed(a=_floats(1, 2), b=_floats(3, 4))
    workspace.CreateNet(net)
    for _ in range(3):
        workspace.RunNet(net)
        assert workspace.FetchBlob("c").tolist() == [4, 6]
        assert workspace.FetchBlob("left").tolist() == [True]
    assert not workspace.HasBlob("sum")


def test_do_sees_no_other_blob():
    inner = _inner("inner", ("Copy", "hidden", "Z"))
    net = core.Net("outer")
    net.CreateScope([], "W")
    _do(net, inner, [], ["c"], ["Z"], [0])
    _feed(hidden=_floats(1))
    with pytest.raises(MissingBlobError, match=r"Do.*net 'inner.*'hidden' .* does not exist"):
        workspace.RunNetOnce(net)


def test_do_can_go_on_in_the_workspace_of_another():
    first = _inner("first", ("ConstantFill", "", "X", {"shape": [2], "value": 3.0}))
    second = _inner("second", ("Negative", "X", "Z"))
    net = core.Net("outer")
    net.CreateScope([], "W")
    _do(net, first, [], [], [], [])
    _do(net, second, [], ["c"], ["Z"], [0], reuse_workspace=True)
    workspace.RunNetOnce(net)
    assert workspace.FetchBlob("c").tolist() == [-3, -3]


def test_a_gradient_needs_a_workspace():
    inner = _inner("inner", ("Negative", "X", "Z"))
    net = core.Net("outer")
    net.CreateScope([], "W")
    op = core.CreateOperator(
        "Do",
        ["a", "W"],
        ["c", "W"],
        net=inner.Proto(),
        inner_blobs=["X", "Z"],
        outer_blobs_idx=[0, 1],
    )
    op.is_gradient_op = True
    net.Proto().op.append(op)
    _feed(a=_floats(1))
    with pytest.raises(ValueRangeError, match="no workspace of a forward run is left"):
        workspace.RunNetOnce(net)


# ---------------------------------------------------------------- If and While with gradients


def _branches(condition):
    net = core.Net("branches")
    net.AddExternalInput("x", "w", "condition")
    net.ConstantFill([], "y", shape=[2], value=5.0)
    then_net = _inner("then", ("Mul", "x w", "t"), ("Add", "t x", "y"))
    else_net = _inner("else", ("Add", "w x", "y"))
    scope = {"x", "w", "y", "condition"}
    control_ops_util.add_if_op(net, core.BlobReference("condition"), scope, then_net, else_net)
    net.SumElements("y", "loss")
    gradients = net.AddGradientOperators(["loss"])
    _feed(x=_floats(2, 3), w=_floats(3, 4), condition=np.array([condition]))
    workspace.RunNetOnce(net)
    return [workspace.FetchBlob(str(gradients[name])).tolist() for name in ("x", "w")]


def test_gradients_of_either_branch():
    assert _branches(True) == [[4, 5], [2, 3]]
    assert _branches(False) == [[1, 1], [1, 1]]


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_that_does_not_run_has_zero_gradients(condition):
    net = core.Net("one")
    net.AddExternalInput("x", "condition")
    net.ConstantFill([], "y", shape=[2], value=5.0)
    then_net = _inner("then", ("Mul", "x x", "y"))
    scope = {"x", "y", "condition"}
    control_ops_util.add_if_op(net, core.BlobReference("condition"), scope, then_net)
    net.SumElements("y", "loss")
    gradients = net.AddGradientOperators(["loss"])
    _feed(x=_floats(2, 3), condition=np.array(condition))
    workspace.RunNetOnce(net)
    found = workspace.FetchBlob(str(gradients["x"])).tolist()
    assert found == ([4, 6] if condition else [0, 0])


def _loop(rounds):
    """x <- x + w, `rounds` times; loss = sum x^2."""
    net = core.Net("loop")
    net.AddExternalInput("x", "w", "i", "one", "limit")
    body = _inner("body", ("Add", "x w", "x"))
    condition = _inner("condition", ("Add", "i one", "i"), ("LE", "i limit", "going"))
    scope = {"x", "w", "i", "one", "limit"}
    control_ops_util.add_while_op(net, core.BlobReference("going"), scope, body, condition)
    net.Sqr("x", "squares")
    net.SumElements("squares", "loss")
    gradients = net.AddGradientOperators(["loss"])
    _feed(i=np.array(0), one=np.array(1), limit=np.array(rounds))
    _feed(x=_floats(2, 1), w=_floats(3, 5))
    workspace.RunNetOnce(net)
    return gradients


@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_gradients_through_a_loop(rounds):
    gradients = _loop(rounds)
    last = _floats(2, 1) + rounds * _floats(3, 5)
    assert workspace.FetchBlob("x").tolist() == last.tolist()
    assert workspace.FetchBlob(str(gradients["x"])).tolist() == (2 * last).tolist()
    assert workspace.FetchBlob(str(gradients["w"])).tolist() == (2 * rounds * last).tolist()


def test_a_loop_that_overwrites_what_its_gradient_reads_is_refused():
    net = core.Net("loop")
    net.AddExternalInput("x", "w", "going")
    body = _inner("body", ("Mul", "x w", "x"))
    going = core.BlobReference("going")
    control_ops_util.add_while_op(net, going, {"x", "w", "going"}, body)
    net.SumElements("x", "loss")
    with pytest.raises(NetError, match="overwrites 'x' in place"):
        net.AddGradientOperators(["loss"])


def test_the_condition_of_a_loop_must_stay_a_bool():
    net = core.Net("loop")
    net.While(["going", "x"], ["going"], loop_net=_inner("b", ("Copy", "x", "going")).Proto())
    _feed(going=np.array(True), x=_floats(1))
    with pytest.raises(DTypeError, match="condition 'going' is float32"):
        workspace.RunNetOnce(net)


def test_blobs_of_control_operators_are_checked_when_they_are_added():
    net, inner = core.Net("outer"), _inner("inner", ("Copy", "nobody", "y"))
    with pytest.raises(NetError, match="Input blob nobody is undefined"):
        control_ops_util.add_if_op(net, core.BlobReference("c"), {"y"}, inner)
    body, test = _inner("body", ("Copy", "y", "y2")), _inner("test", ("Copy", "y", "d"))
    with pytest.raises(NetError, match="does not write 'c'"):
        control_ops_util.add_while_op(net, core.BlobReference("c"), {"y"}, body, test)


# ---------------------------------------------------------------- the others


def test_what_is_freed_holds_nothing():
    net = core.Net("freeing")
    net.Copy("x", "y")
    net.Free(["x"], ["x"])
    _feed(x=_floats(1))
    workspace.RunNetOnce(net)
    assert workspace.HasBlob("x")
    assert b"uninitialized" in workspace.FetchBlob("x")
    assert workspace.FetchBlob("y").tolist() == [1]


def test_scopes_are_no_tensors():
    _feed(x=_floats(1))
    with pytest.raises(BlobTypeError, match="expected workspaces from CreateScope"):
        workspace.RunOperatorOnce(core.CreateOperator("HasScope", ["x"], ["y"]))


def test_fatal_errors_do_not_end_the_process():
    for op_type in ("LogFatal", "ThrowChildThreadException", "Fail"):
        with pytest.raises(KernelError):
            workspace.RunOperatorOnce(core.CreateOperator(op_type, [], []))
