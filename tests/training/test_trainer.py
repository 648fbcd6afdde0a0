"""Trainers: what they feed, what they save, what they refuse."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py import optimizer
from caffe2py.errors import Error, ModelFormatError, UsageError, ValueRangeError
from caffe2py.predictor.load import load_model
from caffe2py.predictor.weights import weights_net
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.training.checkpoint import Checkpoint
from caffe2py.training.data import ArraySource
from caffe2py.training.trainer import Task, Trainer
from tests.learning import nets, rows
from tests.toy import fill, net, op


def task(build=None, **options):
    init, train, test = nets(build)
    source = options.pop("source", None) or ArraySource(rows(), "rows")
    models = {"train": load_model(train, init), "test": load_model(test, init)}
    return Task(**models, source=source, test_source=source, batch=8, **options)


def run(trainer, steps):
    return [trainer.step()["loss"] for _ in range(steps)]


def bits(trainer):
    found = trainer.checkpoint(0.0)
    return {n: np.asarray(v).tobytes() for n, v in found.values.items()}, found.random


def test_training_learns_and_tells_how():
    trainer = Trainer(task())
    records = [trainer.step() for _ in range(60)]
    assert [r["iteration"] for r in records] == list(range(1, 61))
    assert records[-1]["loss"] < records[0]["loss"] / 2
    assert records[0]["learning_rate"] == pytest.approx(0.05)
    assert 0 < trainer.test()["test_loss"] < records[0]["loss"]


def test_the_state_is_complete():
    """Weights, momentum, counter and the place of random numbers; no rows, no activations."""
    trainer = Trainer(task())
    run(trainer, 3)
    found = trainer.checkpoint(0.0)
    assert {"hidden_w", "found_b", "hidden_w_momentum", "optimizer_iteration"} <= set(found.values)
    assert not {"x", "wanted", "hidden", "loss", "hidden_w_grad"} & set(found.values)
    assert found.values["optimizer_iteration"].tolist() == [3]
    assert [(name, count) for (name, _, _), (_, count) in found.random.items()] == [("learn", 3)]
    assert trainer.not_saved() == []


@pytest.mark.parametrize(
    "build",
    [
        None,
        lambda m: optimizer.build_adam(m, 0.01),
        lambda m: optimizer.build_adagrad(m, 0.1, policy="exp", gamma=0.9),
        lambda m: optimizer.build_rms_prop(m, 0.01),
        lambda m: optimizer.build_sgd(m, 0.05, momentum=0.9, max_gradient_norm=1.0),
        lambda m: optimizer.build_sgd(m, 0.05),
        lambda m: optimizer.build_yellowfin(m),
        lambda m: optimizer.build_ftrl(m, engine="", alpha=0.5, beta=1.0),
    ],
    ids=["sgd", "adam", "adagrad", "rms_prop", "clipped", "plain", "yellowfin", "ftrl"],
)
@pytest.mark.parametrize("stop", [1, 7])
def test_what_goes_on_is_what_never_stopped(build, stop):
    whole = Trainer(task(build))
    expected = run(whole, 12)
    first, second = Trainer(task(build)), Trainer(task(build))
    assert run(first, stop) == expected[:stop]
    second.restore(first.checkpoint(0.0))
    assert run(second, 12 - stop) == expected[stop:]
    assert bits(second) == bits(whole)


def test_seeds():
    def losses(**options):
        return run(Trainer(task(**options)), 3)

    assert losses() == losses(seed=0)
    assert losses(seed=1) == losses(seed=1)
    assert losses(seed=1) != losses()


def test_checking_every_operator_changes_nothing():
    plain, checked = Trainer(task()), Trainer(task(check_finite=True))
    assert run(plain, 5) == run(checked, 5)
    assert bits(plain) == bits(checked)


def nested():
    """A net that draws in a nested net, in one branch and then in the other."""
    draw = {
        f"{branch}_net": net(op("UniformFill", "", "noise", shape=[4]), name=branch)
        for branch in ("then", "else")
    }
    return net(
        op("Iter", "count", "count"),
        op("ConstantFill", "", "three", shape=[1], dtype=10, value=3),
        op("LT", "count three", "early"),
        op("If", "early", "noise", **draw),
        op("ReduceFrontSum", "noise", "loss"),
        op("ConstantFill", "loss", "loss_autogen_grad", value=1.0),
        op("Add", "sum loss", "sum"),
        name="nested",
    )


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_random_numbers_of_nested_nets_go_on(stop):
    init = net(
        op("ConstantFill", "", "count", shape=[1], dtype=10),
        fill("sum", [0]),
        name="init",
    )

    def trainer():
        return Trainer(Task(load_model(nested(), init)))

    whole = trainer()
    expected = run(whole, 8)
    assert len(set(expected)) == 8
    first, second = trainer(), trainer()
    run(first, stop)
    second.restore(first.checkpoint(0.0))
    # a checkpoint of a run that has not come to a branch yet keeps what belongs to it
    third = trainer()
    third.restore(second.checkpoint(0.0))
    assert run(third, 8 - stop) == expected[stop:]


def test_a_checkpoint_of_another_training_is_refused():
    with pytest.raises(ModelFormatError, match="of another training: it holds 'strange'"):
        Trainer(task()).restore(Checkpoint(1, 0.0, {"strange": np.zeros(1)}))


def test_objects_that_cannot_be_saved_are_told():
    train = net(op("Relu", "x", "loss"), name="t")
    trainer = Trainer(Task(load_model(train, net(fill("x", [1]), name="i")), losses=["loss"]))
    trainer.workspace.create_blob("x").put(object())
    assert trainer.not_saved() == ["x"]


# ---------------------------------------------------------------- what goes wrong


def poisoned(row):
    values = rows()
    values["x"][row] = np.nan
    return ArraySource(values, "rows")


def test_the_loss_must_be_finite():
    trainer = Trainer(task())
    with pytest.raises(ValueRangeError, match=r"iteration 0: the loss 'loss' is nan .*--check-fin"):
        trainer.require_finite(float("nan"))


def test_rows_that_are_not_finite_are_named():
    trainer = Trainer(task(source=poisoned(slice(None)), check_finite=True))
    with pytest.raises(ValueRangeError, match="iteration 1: 'x' holds 48 NaN of 48 elements befo"):
        trainer.step()


def log_of(value):
    train = net(
        op("Scale", "w", "scaled", scale=-1.0),
        op("Log", "scaled", "logs"),
        op("Relu", "logs", "logs"),
        op("ReduceFrontSum", "logs", "loss"),
        name="train",
    )
    model = load_model(train, net(fill("w", [value, value, -2.0]), name="init"))
    return Trainer(Task(model, losses=["loss"], check_finite=True))


def test_the_operator_that_began_it_is_named():
    with pytest.raises(ValueRangeError) as caught:
        log_of(3.0).step()
    assert str(caught.value) == (
        "iteration 1: net 'train', op #1 Log: it is the first to make what is not finite: "
        "'logs' holds 2 NaN of 3 elements; it read 'scaled' from -3 to 2"
    )
    with pytest.raises(ValueRangeError, match=r"op #1 Log: .*'logs' holds 2 infinite of 3 elem"):
        log_of(0.0).step()
    log_of(-1.0).step()


def with_rate(build, rate):
    init, train, _ = nets(build)
    for each in train.op:
        for arg in each.arg:
            if arg.name == "base_lr":
                arg.f = rate(arg.f)
    return Task(load_model(train, init), ArraySource(rows(), "rows"), batch=8)


@pytest.mark.parametrize(
    "build",
    [
        lambda m: optimizer.build_sgd(m, 0.05, momentum=0.9),
        lambda m: optimizer.build_sgd(m, 0.05),
        lambda m: optimizer.build_adam(m, 0.05),
        lambda m: optimizer.build_adagrad(m, 0.05),
    ],
    ids=["momentum", "plain", "adam", "adagrad"],
)
def test_rates_that_lead_nowhere(build):
    with pytest.raises(ValueRangeError, match=r"op #\d+ LearningRate: base_lr is nan, and no lear"):
        Trainer(with_rate(build, lambda rate: float("nan")))
    with pytest.raises(ValueRangeError, match=r"the gradient: the loss would grow \(try: base_lr"):
        Trainer(with_rate(build, lambda rate: -rate))
    Trainer(with_rate(build, lambda rate: rate))


def test_an_update_without_gradient():
    init, train, _ = nets()
    (update,) = (o for o in train.op if o.type == "MomentumSGDUpdate" and "found_w" in o.input)
    update.input[0] = "fond_w_grad"
    message = (
        r"op #\d+ MomentumSGDUpdate: it reads 'fond_w_grad', which nothing makes: 'fond_w' has"
    )
    with pytest.raises(UsageError, match=message):
        Trainer(Task(load_model(train, init), ArraySource(rows(), "rows"), batch=8))


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (net(op("Relu", "w", "y")), {}, "the net has no backward pass.*caffe2py grad"),
        (net(op("Relu", "w", "y")), {"losses": ["z"]}, "--loss 'z': the net makes no such blob"),
        (net(op("Relu", "w", "y")), {"losses": ["y"]}, "the loss 'y' is not one number"),
        (net(op("Add", "w data", "y")), {}, "the net reads 'data', which nothing makes"),
    ],
)
def test_nets_that_cannot_be_trained(train, options, message):
    model = load_model(train, net(fill("w", [1, 2]), name="init"))
    with pytest.raises(Error, match=message):
        Trainer(Task(model, **options)).step()


# ---------------------------------------------------------------- weights as a net


def test_weights_become_the_very_same_bits():
    from caffe2py.executor.workspace import Workspace

    values = {
        "f": np.array([[0.1, np.inf], [-0.0, 1e-45]], np.float32),
        "d": np.array([0.5, np.nan]),
        "i": np.array([-(2**31)], np.int32),
        "l": np.array(2**62 + 1, np.int64),
        "b": np.array([True, False]),
        "s": np.array([b"a", b"\xff"], object),
        "e": np.zeros((0, 4), np.float32),
    }
    made = NetDef.FromString(weights_net("init", values).SerializeToString())
    workspace = Workspace()
    workspace.run_net_once(made)
    for name, value in values.items():
        found = workspace.fetch(name)
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.tolist() == value.tolist() or found.tobytes() == value.tobytes()
    with pytest.raises(Error, match="no filler makes 'h', which is float16"):
        weights_net("init", {"h": np.zeros(1, np.float16)})
    with pytest.raises(Error, match="'d': it has more digits than a float32"):
        weights_net("init", {"d": np.array([0.1])})
    with pytest.raises(Error, match="'t', which is a bytes"):
        weights_net("init", {"t": b"text"})
