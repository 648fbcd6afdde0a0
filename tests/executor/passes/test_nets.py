"""The project's own nets, optimised: the same answers, in less memory."""

from pathlib import Path

import numpy as np
import pytest

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session

NETS = Path(__file__).parents[3] / "nets"

#: Net -> the shape of its input; large images where the net has as many weights as for small ones.
SHAPES = {
    "mlp": (3, 784),
    "lenet": (2, 1, 28, 28),
    "digits": (4, 1, 8, 8),
    "seed_operators": (2, 1, 3),
    "squeezenet": (1, 3, 99, 99),
    "inception_v1": (1, 3, 65, 65),
    "resnet50": (1, 3, 65, 65),
    "alexnet": (1, 3, 227, 227),
}


def run(name, optimize):
    session = Session(load_model(NETS / name), optimize=optimize)
    x = np.random.default_rng(1).uniform(0, 1, SHAPES[name]).astype(np.float32)
    session.feed("data", x)
    session.run()
    if name != "seed_operators":  # it has operators on blobs of a given size
        session.feed("data", x[:1])  # another batch, and back
        session.run()
        session.feed("data", x)
        session.run()
    return session.fetch(session.made_outputs()), session.created.memory()


@pytest.mark.parametrize("name", SHAPES)
def test_optimised(name):
    plain, before = run(name, optimize=False)
    optimised, after = run(name, optimize=True)
    assert plain.keys() == optimised.keys()
    for blob, value in plain.items():
        assert np.allclose(optimised[blob], value, rtol=1e-4, atol=1e-5), blob
    assert after.storage <= before.storage
    if name in ("squeezenet", "inception_v1", "resnet50"):
        assert after.storage < 0.7 * before.storage


def test_every_net_is_here():
    assert {path.parent.name for path in NETS.glob("*/predict_net.*")} == set(SHAPES)
