"""Losses where numbers are not finite: nothing is hidden, nothing is read beyond its end."""

import numpy as np
import pytest

from caffe2py.errors import ValueRangeError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from tests.ops import table  # noqa: F401  (registers the operators)

NAN = np.float32(np.nan)


def _run(type_, inputs, outputs=1, **args):
    workspace = Workspace()
    names = [f"in{k}" for k in range(len(inputs))]
    for name, value in zip(names, inputs, strict=True):
        workspace.feed(name, value)
    results = [f"out{k}" for k in range(outputs)]
    arguments = [make_argument(name, value) for name, value in args.items()]
    workspace.run_operator_once(OperatorDef(type=type_, input=names, output=results, arg=arguments))
    return [workspace.fetch(name) for name in results]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_logit_makes_the_loss_nan(bad):
    x = np.array([[0, 1], [bad, 0]], np.float32)
    labels = np.array([0, 1], np.int32)
    soft = np.eye(2, dtype=np.float32)
    assert np.isnan(_run("SoftmaxWithLoss", [x, labels], 2)[1])
    assert np.isnan(_run("SoftmaxWithLoss", [x, soft], 2, label_prob=1)[1])
    pixels = x.reshape(2, 2, 1, 1)
    assert np.isnan(_run("SpatialSoftmaxWithLoss", [pixels, labels.reshape(2, 1, 1)], 2)[1])


def test_a_probability_that_is_nan_makes_its_loss_nan():
    x = np.array([[NAN, 1], [1, 1]], np.float32)
    (y,) = _run("LabelCrossEntropy", [x, np.array([0, 0], np.int32)])
    assert np.isnan(y[0])
    assert y[1] == 0
    (y,) = _run("CrossEntropy", [x, np.ones((2, 2), np.float32)])
    assert np.isnan(y[0])
    assert y[1] == 0


@pytest.mark.parametrize("type_", ["SoftmaxWithLoss", "CrossEntropy"])
def test_label_probabilities_must_be_numbers(type_):
    x = np.full((1, 2), 0.5, np.float32)
    soft = np.array([[NAN, 1]], np.float32)
    args = {"label_prob": 1} if type_ == "SoftmaxWithLoss" else {}
    with pytest.raises(ValueRangeError):
        _run(type_, [x, soft], 2 if args else 1, **args)


def test_a_prediction_that_is_nan_is_never_right():
    x = np.array([[NAN, 1, 2], [0, NAN, 1], [1, 0, 0]], np.float32)
    labels = np.array([0, 2, 0], np.int32)
    assert _run("Accuracy", [x, labels])[0] == np.float32(1 / 3)
    assert _run("Accuracy", [x, labels], top_k=2)[0] == np.float32(2 / 3)
    assert _run("Accuracy", [x, labels], top_k=3)[0] == np.float32(2 / 3)


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_extreme_labels_are_refused(kind):
    x = np.ones((2, 3), np.float32)
    for label in (np.iinfo(kind).min, np.iinfo(kind).max):
        labels = np.array([0, label], kind)
        for type_, outputs in (("SoftmaxWithLoss", 2), ("LabelCrossEntropy", 1), ("Accuracy", 1)):
            with pytest.raises(ValueRangeError, match=f"label {label} at position 1"):
                _run(type_, [x, labels], outputs)


def test_many_terms_keep_their_digits():
    x = np.full(1_000_000, 0.1, np.float32)
    assert abs(_run("AveragedLoss", [x])[0] - np.float32(0.1)) < 1e-8
