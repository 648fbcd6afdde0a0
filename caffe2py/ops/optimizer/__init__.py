"""What training changes in every iteration: counters, learning rates, parameters."""

from caffe2py.ops.optimizer import (
    adagrad,
    adam,
    adaptive,
    iteration,
    learning_rate,
    momentum,
    scaling,
    yellowfin,
)

__all__ = [
    "adagrad",
    "adam",
    "adaptive",
    "iteration",
    "learning_rate",
    "momentum",
    "scaling",
    "yellowfin",
]
