"""Predictor: optimised or not, it follows its weights, however they change."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.predictor import Predictor
from tests.toy import fill, net, op

X = np.array([1, -2, 3], np.float32)
INIT = net(fill("w", [1, 2, 3]), name="init")
NET = net(op("Exp", "w", "e"), op("Mul", "x e", "y"), reads="x w", gives="y", name="p")


def feed(predictor):
    predictor.workspace.feed("w", np.zeros(3, np.float32))


def run_another_net(predictor):
    predictor.workspace.create_net(net(op("Negative", "w", "w"), name="other"), overwrite=True)
    predictor.workspace.run_net("other")


def run_an_operator(predictor):
    predictor.workspace.run_operator_once(op("Negative", "w", "w"))


def write_an_exposed_array(predictor):
    predictor.workspace.blob("w").expose()[:] = 0.5


@pytest.mark.parametrize("change", [feed, run_another_net, run_an_operator, write_an_exposed_array])
def test_weights_that_change_are_followed(change):
    found = []
    for optimize in (False, True):
        predictor = Predictor(INIT, NET, optimize=optimize)
        before = predictor.run([X])[0]
        change(predictor)
        after = predictor.run([X])[0]
        change(predictor)
        found.append((before, after, predictor.run([X])[0]))
        assert not np.array_equal(before, after)
    np.testing.assert_array_equal(*found)


def test_a_weight_with_another_name_is_followed():
    init = net(fill("w", [1, 2, 3]), op("Alias", "w", "v"), name="init")
    given = net(
        op("Exp", "w", "e"), op("Add", "x e", "t"), op("Mul", "t v", "y"),
        reads="x w v", gives="y", name="p",
    )  # fmt: skip
    found = []
    for optimize in (False, True):
        predictor = Predictor(init, given, optimize=optimize)
        predictor.run([X])
        found.append(predictor.run({"x": X, "v": np.ones(3, np.float32)})[0])
    np.testing.assert_array_equal(*found)
