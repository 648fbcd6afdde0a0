"""Inputs that nobody gave, from what layers tell; timing figures; the sample nets."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import MissingBlobError
from caffe2py.predictor.guess import guess_inputs
from caffe2py.predictor.load import load_model
from caffe2py.predictor.samples import sample_models
from caffe2py.predictor.session import Session
from caffe2py.predictor.timing import OperatorTime, by_type, percentiles
from caffe2py.tensor.types import TensorType
from tests.toy import PREDICT, net, op


def weights(**shapes):
    fills = [op("ConstantFill", "", name, shape=list(s), value=0.5) for name, s in shapes.items()]
    return net(*fills, name="init")


def guessed(init, *ops, **given):
    model = load_model(net(*ops), init)
    types = {name: TensorType(np.dtype(np.float32), shape) for name, shape in given.items()}
    return {name: value.shape for name, value in guess_inputs(model, types).items()}


def test_columns_of_a_dense_layer():
    init = weights(w=(4, 6), b=(4,))
    assert guessed(init, op("Relu", "x", "y"), op("FC", "y w b", "z")) == {"x": (1, 6)}


def test_the_largest_common_image_that_goes_through():
    init = weights(w=(2, 3, 3, 3), v=(5, 2 * 26 * 26), b=(5,))
    convolution = op("Conv", "x w", "y", kernel=3)
    assert guessed(init, convolution) == {"x": (1, 3, 224, 224)}
    assert guessed(init, convolution, op("FC", "y v b", "z")) == {"x": (1, 3, 28, 28)}
    last = op("Conv", "x w", "y", kernel=3, order="NHWC")
    assert guessed(weights(w=(2, 3, 3, 4)), last) == {"x": (1, 224, 224, 4)}


def test_groups():
    init = weights(w=(6, 1, 3, 3))
    assert guessed(init, op("Conv", "x w", "y", kernel=3, group=6)) == {"x": (1, 6, 224, 224)}


def test_what_is_given_is_not_guessed():
    assert guessed(weights(w=(4, 6), b=(4,)), op("FC", "x w b", "z"), x=(2, 6)) == {}


def test_unknown():
    with pytest.raises(MissingBlobError, match="input 'x' is not given"):
        guess_inputs(load_model(PREDICT, weights(w=(3,))), {})


@pytest.mark.parametrize("name", sample_models())
def test_samples_run(name):
    model, values = sample_models()[name]
    session = Session(model)
    for blob, value in values.items():
        session.feed(blob, value.array(blob))
    session.run()
    result = session.fetch(["prob"])["prob"]
    assert np.allclose(result.sum(axis=1), 1, atol=1e-5)


def test_percentiles():
    found = percentiles([0.001 * k for k in range(1, 102)])
    assert found["median"] == pytest.approx(51)
    assert found["p90"] == pytest.approx(91)
    assert (found["min"], found["max"]) == (1, 101)


def test_by_type():
    times = [
        OperatorTime(0, op("Relu", "x", "y"), 1.0, 0.25, None, 10),
        OperatorTime(1, op("FC", "y w b", "z"), 2.5, 0.5, 5 * 10**9, None),
        OperatorTime(2, op("Relu", "z", "z"), 1.0, 0.25, 0, 20),
    ]
    fc, relu = by_type(times)
    assert (fc.type, fc.count, fc.gflops, fc.gigabytes) == ("FC", 1, 4.0, None)
    assert (relu.type, relu.count, relu.seconds, relu.share) == ("Relu", 2, 2.0, 0.5)
    assert relu.gigabytes == pytest.approx(30 / 2 / 1e9)
    assert relu.gflops is None
