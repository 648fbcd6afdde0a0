"""What training changes in every iteration: counters, learning rates, parameters."""

from caffe2py.ops.optimizer import (
    adagrad,
    adam,
    adaptive,
    decayed,
    fused,
    iteration,
    learning_rate,
    momentum,
    row_counter,
    scaling,
    whole,
    yellowfin,
)

__all__ = [
    "adagrad",
    "adam",
    "adaptive",
    "decayed",
    "fused",
    "iteration",
    "learning_rate",
    "momentum",
    "row_counter",
    "scaling",
    "whole",
    "yellowfin",
]
