"""Nets on a simulated device give what they give on the CPU, however they are run."""

import random
import threading

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import DeviceError, Error, ValueRangeError
from caffe2py.executor.predictor import Predictor
from caffe2py.executor.workspace import Workspace
from caffe2py.kernels.cuda.work import KernelWork
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.tensor import device_of
from tests.cuda.kit import CUDA, assert_same, at, moved, run
from tests.toy import fill, net, op

SECOND = Device("cuda", 1)
SHAPE = (3, 4)


def floats(*shape, seed=3):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def start():
    return {name: floats(*SHAPE, seed=k) for k, name in enumerate("xyz")}


SEVERAL = net(
    op("Relu", "x", "a"),
    op("Negative", "a", "b"),
    op("Sigmoid", "a", "c"),
    op("Softmax", "b", "d", axis=1),
    op("Add", "c d", "e"),
    op("ReduceSum", "e", "f", axes=[1]),
    name="several",
)
MADE = "abcdef"


@pytest.mark.parametrize("type_", ["simple", "dag", "async_scheduling", "reference"])
@pytest.mark.parametrize("blocking", [False, True])
def test_a_net_of_several_operators(type_, blocking, monkeypatch):
    if blocking:
        monkeypatch.setenv("CAFFE2PY_CUDA_BLOCKING", "1")
    made = net(*SEVERAL.op, name="several")
    made.type = type_
    expected, found = run(SEVERAL, start()), run(made, start(), CUDA, times=3)
    assert_same(found, expected, MADE)
    assert {str(device_of(found.blob(name).array)) for name in MADE} == {"cuda:0"}


def test_one_graph_for_operators_in_a_row():
    workspace = run(SEVERAL, start(), CUDA, times=2)
    (segment,) = workspace.net("several").runner.steps
    assert len(segment.launches) == 1
    noted = segment._owners[0]._graph
    workspace.run_net("several", 3)
    assert segment._owners[0]._graph is noted


def random_net(seed, type_):
    """Operators that read and write the same blobs, in place and not, in any order."""
    draw = random.Random(seed)
    blobs, ops = ["x", "y", "z"], []
    for k in range(24):
        kind = draw.choice(["Relu", "Sigmoid", "Negative", "Add", "Mul", "Sum", "Softmax", "Copy"])
        count = 2 if kind in ("Add", "Mul", "Sum") else 1
        inputs = [draw.choice(blobs) for _ in range(count)]
        output = draw.choice(blobs) if draw.random() < 0.4 else f"b{k}"
        if output in inputs[1:] or (kind in ("Softmax", "Copy") and output in inputs):
            continue
        ops.append(op(kind, " ".join(inputs), output))
        blobs.append(output)
    made = net(*ops, name="n")
    made.type = type_
    return made, sorted({*blobs})


@pytest.mark.parametrize("seed", range(30))
def test_random_dag_nets_on_streams(seed):
    made, names = random_net(seed, "dag")
    plain, _ = random_net(seed, "simple")
    expected = run(plain, start(), times=2)
    assert_same(run(made, start(), CUDA, times=2), expected, names)


def test_independent_operators_have_streams_of_their_own():
    ops = [op("Softmax", "x", f"a{k}") for k in range(12)]
    made = net(*ops, op("Sum", " ".join(f"a{k}" for k in range(12)), "s"), name="wide")
    made.type = "dag"
    workspace = run(made, start(), CUDA, times=2)
    assert_same(workspace, run(made, start()), ["s"])
    (segment,) = workspace.net("wide").runner.steps
    streams = segment._owners[0]._streams
    assert streams.lanes == 8, "so many and no more"
    assert streams.events <= 8 + 12


def test_an_operator_waits_once_for_those_that_waited():
    """A chain that all read the first blob of needs no second look at it."""
    ops = [op("Softmax", "x", "a")]
    ops += [op("SoftmaxGradient", f"a {'a' if k == 0 else f'b{k - 1}'}", f"b{k}") for k in range(9)]
    made = net(*ops, name="chain")
    made.type = "dag"
    (segment,) = run(made, {"x": floats(2, 2)}, CUDA).net("chain").runner.steps
    assert len(segment._owners[0]._works) > 9
    assert not any(segment._owners[0]._streams._waits)


# ---------------------------------------------------------------- shapes, storage, repetition


def test_a_graph_is_noted_again_when_a_shape_changes():
    workspace = run(SEVERAL, start(), CUDA, times=2)
    for rows in (5, 2, 3, 1):
        x = floats(rows, 4, seed=rows)
        workspace.feed("x", x, CUDA)
        workspace.run_net("several", 2)
        assert_same(workspace, run(SEVERAL, {"x": x}), MADE)


def test_new_contents_need_no_new_graph():
    workspace = run(SEVERAL, start(), CUDA)
    (segment,) = workspace.net("several").runner.steps
    graph = segment._owners[0]._graph
    for seed in (5, 6):
        workspace.feed("x", floats(*SHAPE, seed=seed), CUDA)
        workspace.run_net("several")
        assert_same(workspace, run(SEVERAL, {"x": floats(*SHAPE, seed=seed)}), MADE)
    assert segment._owners[0]._graph is graph


def test_in_place():
    made = net(
        op("Relu", "x", "x"),
        op("Sigmoid", "x", "x"),
        op("Add", "x y", "y"),
        op("Negative", "y", "y"),
    )
    assert_same(run(made, start(), CUDA, times=3), run(made, start(), times=3), "xy")


@pytest.mark.parametrize("type_", ["simple", "dag"])
@pytest.mark.parametrize("seed", range(6))
def test_shared_storage(seed, type_):
    """Blobs that nobody looks at take over each other's storage on the device."""
    made, names = random_net(seed, type_)
    made.external_input.extend("xyz")
    kept = [name for name in names if name.startswith("b")][-2:]
    expected = run(made, start())
    workspace = Workspace()
    for name, value in start().items():
        workspace.feed(name, value, CUDA)
    workspace.create_net(moved(made), keep=kept)
    workspace.run_net("n")
    assert_same(workspace, expected, kept)


def test_a_predictor_of_a_device():
    init = moved(net(fill("w", [1, 2, 3, 4]), name="init"))
    body = [
        op("Relu", "x", "a"),
        op("Mul", "a w", "b", broadcast=1),
        op("Sigmoid", "w", "folded"),
        op("Add", "b folded", "c", broadcast=1),
        op("Softmax", "c", "d"),
    ]
    plain = net(*body, name="body", reads="x w", gives="d")
    x = floats(*SHAPE)
    (expected,) = Predictor(net(fill("w", [1, 2, 3, 4]), name="init"), plain).run([x])
    on_device = moved(plain)
    on_device.op.insert(0, at(CUDA, op("CopyCPUToGPU", "x", "x_gpu")))
    on_device.op[1].input[0] = "x_gpu"
    for optimize in (False, True):
        predictor = Predictor(init, on_device, optimize=optimize)
        for _ in range(2):
            (found,) = predictor.run([x])
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_many_runs():
    made = net(op("Add", "x y", "x"))
    blobs = {"x": np.zeros(2, np.float32), "y": np.ones(2, np.float32)}
    workspace = run(made, blobs, CUDA)
    workspace.run_net("toy", 40)
    assert workspace.fetch("x").tolist() == [41, 41]


def test_threads_with_nets_of_their_own():
    """Nets of several threads run, and are noted, at the same time on one device."""
    nets = [random_net(seed, "dag" if seed % 2 else "simple") for seed in range(6)]
    expected = [run(made, start(), times=3) for made, _ in nets]
    found, failures = {}, []
    ready = threading.Barrier(len(nets))

    def work(k):
        try:
            ready.wait()
            found[k] = run(nets[k][0], start(), CUDA, times=3)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(nets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for k, (_, names) in enumerate(nets):
        assert_same(found[k], expected[k], names)


# ---------------------------------------------------------------- several places


def test_the_cpu_in_between():
    made = net(
        at(CUDA, op("Relu", "x", "a")),
        at(CUDA, op("CopyGPUToCPU", "a", "a_cpu")),
        at(CPU, op("Sigmoid", "a_cpu", "b_cpu")),
        at(CUDA, op("CopyCPUToGPU", "b_cpu", "b")),
        at(CUDA, op("Add", "a b", "c")),
        name="mixed",
    )
    plain = net(op("Relu", "x", "a"), op("Sigmoid", "a", "b_cpu"), op("Add", "a b_cpu", "c"))
    workspace = run(made, start(), CUDA, times=3)
    assert_same(workspace, run(plain, start()), ["a", "b_cpu", "c"])
    (segment,) = workspace.net("mixed").runner.steps
    workspace.feed("x", floats(6, 2), CUDA)
    workspace.run_net("mixed", 2)
    assert_same(workspace, run(plain, {"x": floats(6, 2)}), ["a", "b_cpu", "c"])
    assert segment is workspace.net("mixed").runner.steps[0]


def test_two_devices():
    made = net(
        at(CUDA, op("Relu", "x", "a")),
        at(SECOND, op("Copy", "a", "a1")),
        at(SECOND, op("Sigmoid", "a1", "b1")),
        at(CUDA, op("Copy", "b1", "b")),
        at(CUDA, op("Add", "a b", "c")),
        name="two",
    )
    plain = net(op("Relu", "x", "a"), op("Sigmoid", "a", "b1"), op("Add", "a b1", "c"))
    workspace = run(made, start(), CUDA, times=3)
    assert_same(workspace, run(plain, start()), ["a", "b1", "c"])
    assert device_of(workspace.blob("b1").array) == SECOND


def test_a_blob_moves_to_where_it_is_computed():
    workspace = run(net(op("Relu", "x", "y")), start())
    workspace.feed("x", floats(*SHAPE), CUDA)
    workspace.run_net_once(moved(net(op("Relu", "x", "y"), name="there")))
    assert device_of(workspace.blob("y").array) == CUDA
    workspace.feed("x", floats(*SHAPE))
    workspace.run_net("toy")
    assert device_of(workspace.blob("y").array) == CPU


# ---------------------------------------------------------------- nets in nets, random numbers


def test_if_and_while():
    made = net(
        op(
            "If", "yes", "", then_net=net(op("Add", "x y", "x")), else_net=net(op("Relu", "x", "x"))
        ),
        op(
            "If",
            "no",
            "",
            then_net=net(op("Add", "x y", "x")),
            else_net=net(op("Negative", "x", "x")),
        ),
        name="chooses",
    )
    blobs = {**start(), "yes": np.array([True]), "no": np.array([False])}
    on_device = net(*made.op, name="chooses")
    for each in on_device.op:
        for arg in each.arg:
            arg.n.CopyFrom(moved(arg.n))
    workspace = Workspace()
    for name, value in blobs.items():
        workspace.feed(name, value, CPU if name in ("yes", "no") else CUDA)
    workspace.create_net(on_device)
    workspace.run_net("chooses", 2)
    assert_same(workspace, run(made, blobs, times=2), "x")


def test_random_fills_draw_the_cpus_numbers():
    ops = [
        op("UniformFill", "", "u", shape=[7], min=-1.0, max=2.0),
        op("GaussianFill", "", "g", shape=[2, 3]),
        op("UniformIntFill", "", "i", shape=[5], min=0, max=9),
    ]
    made = net(*ops, name="draws")
    expected, found = run(made, {}), run(made, {}, CUDA)
    for _ in range(3):
        assert_same(found, expected, "ugi")
        for workspace in (expected, found):
            workspace.run_net("draws")
    states = found.net("draws").random_states()
    assert states == expected.net("draws").random_states()
    found.run_net("draws")
    again = found.fetch("u")
    found.net("draws").set_random_states(states)
    found.run_net("draws")
    np.testing.assert_array_equal(found.fetch("u"), again)
    expected.net("draws").set_random_states(states)
    expected.run_net("draws")
    np.testing.assert_allclose(expected.fetch("u"), again, rtol=1e-6)


# ---------------------------------------------------------------- what goes wrong


LOOKS = net(
    op("Relu", "x", "a"),
    op("Gather", "a i", "b"),
    op("Negative", "b", "c"),
    name="looks",
)


@pytest.mark.parametrize("type_", ["simple", "dag", "reference"])
@pytest.mark.parametrize("blocking", [False, True])
def test_an_error_inside_names_net_and_operator_and_the_net_runs_again(
    type_, blocking, monkeypatch
):
    if blocking:
        monkeypatch.setenv("CAFFE2PY_CUDA_BLOCKING", "1")
    made = net(*LOOKS.op, name="looks")
    made.type = type_
    blobs = {"x": floats(*SHAPE), "i": np.array([0, 2], np.int32)}
    workspace = run(made, blobs, CUDA)
    with pytest.raises(Error) as right:
        run(made, {**blobs, "i": np.array([0, 3, 9], np.int32)})
    for _ in range(2):
        workspace.feed("i", np.array([0, 3, 9], np.int32), CUDA)
        with pytest.raises(type(right.value)) as found:
            workspace.run_net("looks")
        assert str(found.value) == str(right.value)
        assert "looks" in str(found.value)
        assert "Gather" in str(found.value)
    workspace.feed("i", np.array([2, 1], np.int32), CUDA)
    workspace.run_net("looks")
    expected = run(made, {**blobs, "i": np.array([2, 1], np.int32)})
    assert_same(workspace, expected, "abc")


def test_the_first_of_two_failing_operators_is_named():
    made = net(op("Gather", "x i", "b"), op("Gather", "y j", "c"), name="both")
    blobs = {**start(), "i": np.array([0, 7], np.int32), "j": np.array([8], np.int32)}
    with pytest.raises(ValueRangeError, match=r"op #0 Gather.*7"):
        run(made, blobs, CUDA)


def test_a_blob_on_the_wrong_device_names_both():
    with pytest.raises(DeviceError, match=r"'x' is on cpu, expected on cuda:0") as found:
        run(SEVERAL, start(), CUDA, host="x")
    assert "op #0 Relu" in str(found.value)
    made = net(at(SECOND, op("Relu", "x", "a")))
    with pytest.raises(DeviceError, match="'x' is on cuda:0, expected on cuda:1"):
        run(made, start(), CUDA)
    with pytest.raises(DeviceError, match="'x' is on cuda:0, expected on cpu"):
        run(net(at(CPU, op("Relu", "x", "a"))), start(), CUDA)


def test_a_device_that_is_not_there():
    with pytest.raises(DeviceError, match="no device cuda:5; there are: cuda:0, cuda:1"):
        Workspace().feed("x", floats(2), Device("cuda", 5))
    made = net(op("ConstantFill", "", "x", shape=[2]))
    with pytest.raises(DeviceError, match=r"op #0 ConstantFill.*no device cuda:5"):
        run(made, {}, Device("cuda", 5))


def test_an_operator_that_cannot_be_noted(monkeypatch):
    """A launch that fails while a graph is noted leaves no half of it behind."""
    workspace = run(SEVERAL, start(), CUDA)
    workspace.feed("x", floats(6, 2), CUDA)
    queue, count = KernelWork.queue, []

    def failing(self, stream):
        count.append(1)
        if len(count) == 3:
            raise DeviceError("the launch is refused")
        queue(self, stream)

    monkeypatch.setattr(KernelWork, "queue", failing)
    with pytest.raises(DeviceError, match=r"'several', op #\d \w+: the launch is refused"):
        workspace.run_net("several")
    workspace.run_net("several")
    assert_same(workspace, run(SEVERAL, {"x": floats(6, 2)}), MADE)
