"""Tasks, groups and sessions: what runs when and where, and what comes back."""

import threading

import pytest

from caffe2py import core, workspace
from caffe2py.errors import Error, ShapeError
from caffe2py.net_builder import ops
from caffe2py.session import LocalSession, Session
from caffe2py.task import (
    Cluster,
    Node,
    SetupNets,
    Task,
    TaskGroup,
    TaskOutput,
    TaskOutputList,
    WorkspaceType,
    final_output,
)


def session():
    return LocalSession(workspace.C.Workspace())


def test_setup_runs_around_the_task():
    with Task() as task:
        with ops.task_init():
            one = ops.Const(1)
        total = ops.Add([one, one])
        with ops.task_exit():
            at_end = final_output(ops.Copy(total))
        ops.Add([total, one], [total])
        before = final_output(total)
    session().run(task)
    assert (before.fetch().item(), at_end.fetch().item()) == (3, 3)


def test_instances_have_workspaces_of_their_own():
    with Task(num_instances=6) as task:
        with ops.task_init():
            shared = ops.CreateCounter([], ["shared"])
            squares = ops.CreateCounter([], ["squares"])
        with ops.task_instance_init():
            own = ops.CreateCounter([], ["own"])
        with ops.loop(5):
            ops.CountUp(shared)
            ops.CountUp(own)
        with ops.task_instance_exit():
            count = ops.RetrieveCount(own)
            with ops.loop(ops.Mul([count, count])):
                ops.CountUp(squares)
        with ops.task_exit():
            results = [final_output(ops.RetrieveCount(c)) for c in (shared, squares)]
    session().run(task)
    assert [r.fetch().item() for r in results] == [6 * 5, 6 * 25]


def test_tasks_of_a_group_run_side_by_side():
    both = threading.Barrier(2, timeout=20)

    def meet(inputs, outputs):
        both.wait()

    with TaskGroup() as group:
        for name in ("one", "two"):
            with Task(name=name):
                ops.Python(meet)([], [])
    session().run(group)  # one after the other they would wait for ever
    assert not both.broken


def test_a_group_has_a_beginning_and_an_end():
    with TaskGroup(WorkspaceType.GLOBAL) as group:
        for _ in range(3):
            with Task():
                with ops.local_init():
                    ops.CreateCounter([], ["counter"])
                ops.CountUp("counter")
                with ops.local_exit():
                    ops.RetrieveCount("counter", "count")
    ws = workspace.C.Workspace()
    LocalSession(ws).run(group)
    assert ws.fetch_blob("count").item() == 3
    with pytest.raises(AssertionError, match="comes too late"):
        group.add(Task(core.Net("more")))


def test_reports_run_meanwhile_and_at_the_end():
    calls = []
    with Task() as task:
        with ops.task_reporter(interval_ms=5):
            ops.Python(lambda inputs, outputs: calls.append(1))([], [])
        ops.Const(1)
    session().run(task)
    assert calls


def test_a_private_workspace_is_gone_but_outputs_stay():
    ws = workspace.C.Workspace()
    with TaskGroup() as group, Task():
        hidden = ops.Const(3)
        shown = final_output(ops.Add([hidden, hidden]))
    LocalSession(ws).run(group)
    assert shown.fetch().item() == 6
    assert not ws.has_blob(str(hidden))


def test_a_failing_task_names_itself():
    with TaskGroup() as group:
        with Task(name="fine"):
            ops.Const(1)
        with Task(name="broken"), ops.loop(2):
            ops.Reshape(ops.Const([1.0, 2.0]), 2, shape=[3, 7])
    with pytest.raises(ShapeError, match=r"task 'local/broken': net '.*', op #1 Reshape"):
        session().run(group)


def test_a_failure_ends_the_tasks_that_wait():
    with TaskGroup() as group:
        with Task(name="broken"):
            ops.Reshape(ops.Const([1.0]), 2, shape=[5])
        with Task(name="waiting"), ops.loop():
            ops.stop_if(ops.Const(False))
    with pytest.raises(ShapeError):
        session().run(group)


def test_what_a_session_runs():
    net = core.Net("net")
    net.Const(1, blob_out="x")
    count = core.Net("count")
    count.Add(["x", "x"], ["x"])
    plan = core.Plan("plan")
    plan.AddStep(core.execution_step("first", [count]))
    plan.AddStep(core.execution_step("second", [count], num_iter=2))
    ws = workspace.C.Workspace()
    with LocalSession(ws) as opened:
        for thing in (net, core.execution_step("step", count), plan, Task(count), [count]):
            opened.run(thing)
        compiled = opened.compile(count)
        assert opened.compile(compiled) is compiled is LocalSession.compile(count)
        opened.run(compiled)
    assert ws.fetch_blob("x").item() == 2 ** (1 + 3 + 1 + 1 + 1)
    with pytest.raises(AssertionError, match="closed"):
        opened.run(net)


def test_a_session_of_another_class():
    class Other(Session):
        pass

    net = core.Net("net")
    compiled = LocalSession.compile(net)
    assert isinstance(Other.compile(net).obj, TaskGroup)
    with pytest.raises(AssertionError, match="compiled for a LocalSession"):
        Other().run(compiled)
    with pytest.raises(NotImplementedError):
        Other().run(net)


def test_outputs_have_the_form_that_was_asked_for():
    with Task() as task:
        x, y = ops.Const(1), ops.Const(2)
        one, two = task.add_output(x), task.add_output([x, y])
    with pytest.raises(AssertionError, match="before a session ran it"):
        one.fetch()
    with pytest.raises(AssertionError, match="no value"):
        two.get()
    session().run(task)
    assert one.fetch().item() == 1
    assert [v.item() for v in two.fetch()] == [1, 2]
    assert [str(v) for v in two.get()] == [str(x), str(y)]
    both = TaskOutputList([TaskOutput("a"), TaskOutput(["b", "c"])])
    assert both.names() == ["a", "b", "c"]
    with pytest.raises(AssertionError, match="3 values expected, found 2"):
        both.set_values([1, 2])


def test_nodes_names_and_groups():
    with Cluster() as cluster, TaskGroup() as group:
        with Node("a", threads=2):
            first, second = Task(core.Net("n")), Task(core.Net("n"))
        third = Task(core.execution_step("named", core.Net("n")), node="b")
    assert [t.name for t in (first, second, third)] == ["a/task", "a/task:1", "b/named"]
    assert cluster.nodes() == group.used_nodes() == ["a", "b"]
    assert cluster.node_kwargs() == {"a": {"threads": 2}, "b": {}}
    by_node = group.tasks_by_node().tasks()
    assert [task.node for task in by_node] == ["a", "b"]
    with pytest.raises(AssertionError, match="among other nodes"):
        group.to_task("c")


def test_what_tasks_refuse():
    task = Task(core.Net("n"))
    with pytest.raises(AssertionError, match="has a step already"), task:
        pass
    session().run(task)
    with pytest.raises(AssertionError, match="in use"):
        task.add_output("x")
    group = TaskGroup(WorkspaceType.GLOBAL)
    with pytest.raises(AssertionError, match="global, not private"):
        group.add(Task(core.Net("n"), workspace_type=WorkspaceType.PRIVATE))
    with TaskGroup() as lonely:
        lonely.report_step(core.Net("n"), node="nobody")
    with pytest.raises(Error, match="'nobody' has reports, but no task"):
        lonely.to_task()


def test_setup_nets_run_once_for_many_nets():
    ws = workspace.C.Workspace()
    start, end = core.Net("start"), core.Net("end")
    start.CreateCounter([], ["c"], init_count=0)
    end.RetrieveCount(["c"], ["count"])
    setup = SetupNets([start], [end])
    nets = [core.Net("one"), core.Net("two")]
    for net in nets:
        net.CountUp(["c"])
        net.add_attribute(Task.TASK_SETUP, setup)
    LocalSession(ws).run(Task(core.execution_step("both", nets, num_iter=3)))
    assert ws.fetch_blob("count").item() == 6


def test_a_setup_that_gives_something_else():
    class Wrong:
        def setup(self, net):
            return 3

    net = core.Net("n")
    net.add_attribute(Task.TASK_SETUP, Wrong())
    with pytest.raises(TypeError, match="nets or steps, found 3"):
        session().run(net)


def test_sessions_in_many_threads():
    results = {}

    def work(number):
        with Task() as task:
            total = ops.Const(0)
            with ops.loop(20):
                ops.Add([total, ops.Const(number)], [total])
            output = final_output(total)
        session().run(task)
        results[number] = output.fetch().item()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: 20 * n for n in range(4)}
