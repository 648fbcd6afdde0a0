"""caffe2py.control: the steps run what their conditions say, as often as they say."""

import numpy as np
import pytest

from caffe2py import control, core, workspace
from caffe2py.errors import NetError, UsageError
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")
    for name in ("runs", "others"):
        workspace.FeedBlob(name, np.zeros(1, np.int64))
    for name, value in (("one", 1), ("limit", 3)):
        workspace.FeedBlob(name, np.array([value], np.int64))
    for name, value in (("yes", True), ("no", False)):
        workspace.FeedBlob(name, np.array(value))


def work(name="runs"):
    """A net that counts its runs."""
    net = core.Net(f"count_{name}")
    net.Add([name, "one"], [name])
    return net


def compared(smaller, larger):
    """A net whose condition is that one number is smaller than the other."""
    net = core.Net("compared")
    less = net.LT([smaller, larger])
    net.AddExternalOutput(net.Reshape([less], [f"{smaller}_first", "old_shape"], shape=[])[0])
    return net


def below():
    """There were fewer runs than the limit."""
    return compared("runs", "limit")


def above():
    """There were more runs than the limit."""
    return compared("limit", "runs")


def counts(step):
    workspace.RunPlan(core.Plan(step))
    return [int(workspace.FetchBlob(name)[0]) for name in ("runs", "others")]


def test_in_order_and_side_by_side():
    assert counts(control.Do("do", work(), work())) == [2, 0]
    assert counts(control.Do("do", [work(), control.Do("inner", work())])) == [4, 0]
    assert counts(control.DoParallel("both", work(), work("others"))) == [5, 1]
    step = control.Do("step", work())
    assert control.Do("same", step) is step
    with pytest.raises(UsageError, match="nothing to run"):
        control.Do("nothing")


def test_for():
    assert counts(control.For("loop", work(), 4)) == [4, 0]
    assert counts(control.For("steps", [control.Do("a", work()), work("others")], 2)) == [6, 2]
    assert counts(control.For("never", work(), 0)) == [6, 2]


@pytest.mark.parametrize("steps", [False, True])
def test_loops_look_at_conditions_before(steps):
    items = [control.Do("work", work())] if steps else work()
    assert counts(control.While("while", below(), items)) == [3, 0]
    assert counts(control.While("again", below(), items)) == [3, 0]
    assert counts(control.While("never", "no", items)) == [3, 0]
    assert counts(control.Until("until", above(), items)) == [4, 0]
    assert counts(control.Until("again", above(), items)) == [4, 0]


def test_loops_look_at_conditions_after():
    assert counts(control.DoWhile("while", below(), work())) == [3, 0]
    assert counts(control.DoWhile("again", below(), work())) == [4, 0]
    assert counts(control.DoUntil("until", above(), work())) == [5, 0]
    workspace.FeedBlob("runs", np.array([0]))
    assert counts(control.DoUntil("more", above(), work())) == [4, 0]


@pytest.mark.parametrize("condition", ["yes", "no"])
def test_branches(condition):
    taken = condition == "yes"
    assert counts(control.If("if", condition, work())) == [int(taken), 0]
    assert counts(control.IfNot("ifnot", condition, work())) == [1, 0]
    expected = [2, 0] if taken else [1, 1]
    assert counts(control.If("either", condition, work(), work("others"))) == expected
    # the other work where the condition is true, this one where it is not: once more in both
    assert counts(control.IfNot("other", condition, work(), work("others"))) == [2, 1]


def test_branches_on_nets():
    assert counts(control.If("if", below(), work(), work("others"))) == [1, 0]
    workspace.FeedBlob("runs", np.array([7]))
    assert counts(control.If("if", below(), work(), work("others"))) == [7, 1]
    assert counts(control.IfNot("ifnot", below(), work())) == [8, 1]


def test_switches():
    cases = [("yes", work()), ("no", work()), ("yes", work("others"))]
    assert counts(control.Switch("switch", *cases)) == [1, 1]
    assert counts(control.SwitchNot("not", cases)) == [2, 1]


def test_conditions():
    net, blob = control.NotNet("yes")
    workspace.RunNetOnce(net)
    assert not workspace.FetchBlob(blob)
    workspace.RunNetOnce(control.BoolNet(("p", True), ("q", False)))
    assert (bool(workspace.FetchBlob("p")), bool(workspace.FetchBlob("q"))) == (True, False)
    for relation, expected in (("And", False), ("Or", True)):
        nets = [control.BoolNet((name, name == "p")) for name in ("p", "q")]
        merged = control.MergeConditionNets("merged", nets, relation)
        workspace.RunNetOnce(merged)
        assert bool(workspace.FetchBlob(control.GetConditionBlobFromNet(merged))) is expected
        joined = control.CombineConditions("joined", nets, relation)
        workspace.RunNetOnce(joined)
        assert bool(workspace.FetchBlob(control.GetConditionBlobFromNet(joined))) is expected
    assert control.MergeConditionNets("one", nets[:1], "And") is nets[0]
    assert control.CombineConditions("none", [], "And") is None
    with pytest.raises(NetError, match="has no external output"):
        control.GetConditionBlobFromNet(work())
    with pytest.raises(UsageError, match="must be a list"):
        control.CombineConditions("x", nets[0], "And")
