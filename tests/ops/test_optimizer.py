"""What rows cannot show of optimizers: runs that follow each other, locks, values read late."""

import threading

import numpy as np
import pytest

from caffe2py.errors import BlobTypeError, ValueRangeError
from caffe2py.executor.workspace import Workspace
from caffe2py.ops.optimizer.iteration import Mutex
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.testing import Sample
from caffe2py.testing.checks import assert_close
from tests.ops.rows.optimizer import POLICIES, adam_reference


def op(type_, inputs, outputs, **args):
    arg = [make_argument(name, value) for name, value in args.items()]
    return OperatorDef(type=type_, input=inputs.split(), output=outputs.split(), arg=arg)


def net(workspace, *ops):
    workspace.create_net(NetDef(name="train", op=ops))
    return lambda: workspace.run_net("train")


@pytest.fixture
def workspace():
    return Workspace()


def test_a_counter_without_input_begins_at_one_and_goes_on(workspace):
    run = net(workspace, op("Iter", "", "t"))
    for expected in (1, 2, 3):
        run()
        assert workspace.fetch("t").tolist() == [expected]
    workspace.feed("t", np.array(10))
    run()
    assert workspace.fetch("t") == 11


def test_a_counter_without_input_takes_over_what_is_no_counter(workspace):
    workspace.feed("t", np.ones((2, 2), np.float32))
    run = net(workspace, op("Iter", "", "t"))
    run()
    run()
    assert workspace.fetch("t").tolist() == [2]


def test_a_full_counter_stays_as_it_is(workspace):
    workspace.feed("t", np.array([2**63 - 2]))
    run = net(workspace, op("Iter", "t", "t"))
    run()
    with pytest.raises(ValueRangeError, match="cannot grow"):
        run()
    assert workspace.fetch("t").tolist() == [2**63 - 1]


def test_an_atomic_counter_counts_while_it_holds_the_lock(workspace):
    workspace.feed("t", np.array([5]))
    workspace.run_net_once(NetDef(name="init", op=[op("CreateMutex", "", "mutex")]))
    assert isinstance(workspace.fetch("mutex"), Mutex)
    run = net(workspace, op("AtomicIter", "mutex t", "t"))
    run()
    assert workspace.fetch("t").tolist() == [6]
    worker = threading.Thread(target=run)
    with workspace.fetch("mutex"):
        worker.start()
        worker.join(0.05)
        assert worker.is_alive()
        assert workspace.fetch("t").tolist() == [6]
    worker.join()
    assert workspace.fetch("t").tolist() == [7]


def test_an_atomic_counter_refuses_what_a_plain_one_refuses(workspace):
    workspace.run_net_once(NetDef(name="init", op=[op("CreateMutex", "", "mutex")]))
    workspace.feed("t", np.array([-1]))
    run = net(workspace, op("AtomicIter", "mutex t", "t"))
    with pytest.raises(ValueRangeError, match=r"op #0 AtomicIter.*negative"):
        run()
    workspace.feed("t", np.array([2**63 - 1]))
    with pytest.raises(ValueRangeError, match="cannot grow"):
        run()
    workspace.feed("mutex", np.array([1]))
    with pytest.raises(BlobTypeError, match="expected what CreateMutex made, found Tensor"):
        run()


@pytest.mark.parametrize("which", range(len(POLICIES)))
def test_rates_follow_the_counter_in_one_net(workspace, which):
    args, factor = POLICIES[which]
    workspace.feed("t", np.array([0]))
    rate = op("LearningRate", "t", "rate", base_lr=0.5, **args)
    run = net(workspace, op("Iter", "t", "t"), rate)
    for t in range(1, 40):
        run()
        np.testing.assert_allclose(workspace.fetch("rate"), 0.5 * factor(t), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("base", [-1.0, 0.0, float("nan"), float("inf")])
def test_any_base_rate_is_taken_as_caffe2_does(workspace, base):
    workspace.feed("t", np.array([3]))
    args = {"base_lr": base, "policy": "fixed"}
    workspace.run_net_once(NetDef(name="n", op=[op("LearningRate", "t", "rate", **args)]))
    np.testing.assert_equal(workspace.fetch("rate"), np.float32(base))


def test_a_part_of_a_composite_is_not_taken_for_a_misspelling(workspace):
    workspace.feed("t", np.array([2]))
    args = {"sub_policy_0_policy": "constantWarmup", "sub_policy_0_num_iter": 5}
    args |= {"sub_policy_num_iters": [9], "sub_policy_0_multiplier": 0.25}
    rate = op("LearningRate", "t", "rate", base_lr=2.0, policy="composite", **args)
    workspace.run_net_once(NetDef(name="n", op=[rate]))
    assert workspace.fetch("rate") == 0.5


def test_rates_and_counters_are_read_in_every_run(workspace):
    rng = np.random.default_rng(0)
    w, m, v = rng.uniform(-1, 1, (3, 7)).astype(np.float32)
    v = abs(v)
    grad = rng.uniform(-1, 1, 7).astype(np.float32)
    for name, value in {"w": w, "m": m, "v": v, "g": grad, "t": np.array([0])}.items():
        workspace.feed(name, value)
    workspace.feed("lr", np.array([0], np.float32))
    run = net(workspace, op("Iter", "t", "t"), op("Adam", "w m v g lr t", "w m v"))
    for t in range(1, 30):
        lr = np.array([-0.01 * t], np.float32)
        workspace.feed("lr", lr)
        run()
        w, m, v, _ = adam_reference(w, m, v, grad, lr, np.array([t]))
        assert_close(workspace.fetch("w"), w, 2e-5, f"step {t}")


def test_an_additional_threshold_does_not_add_up(workspace):
    values = {"x": [6, 8], "norm": [10], "factor": [0.5]}
    for name, value in values.items():
        workspace.feed(name, np.array(value, np.float32))
    run = net(workspace, op("ClipTensorByScaling", "x norm factor", "y", threshold=10.0))
    for _ in range(3):
        run()
        assert workspace.fetch("y").tolist() == [3, 4]


def test_bad_indices_in_a_later_run_change_nothing(workspace):
    sample = Sample([np.ones((3, 2), np.float32)] * 2)
    workspace.feed("w", sample.inputs[0])
    workspace.feed("h", sample.inputs[1])
    workspace.feed("g", np.ones((2, 2), np.float32))
    workspace.feed("lr", np.array([-1], np.float32))
    workspace.feed("i", np.array([0, 2]))
    run = net(workspace, op("SparseAdagrad", "w h i g lr", "w h"))
    run()
    before = workspace.fetch("w"), workspace.fetch("h")
    workspace.feed("i", np.array([0, 3]))
    with pytest.raises(ValueRangeError, match=r"'i'\[1\] is 3, and there are 3 row\(s\)"):
        run()
    assert np.array_equal(workspace.fetch("w"), before[0])
    assert np.array_equal(workspace.fetch("h"), before[1])
