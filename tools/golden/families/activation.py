"""Activations and their gradients."""

from functools import partial

import numpy as np

from tools.golden.case import Case, Cases, grid, positive
from tools.golden.families.functions import NONE, ROUNDS, Args, Draw, apart, function

Rng = np.random.Generator

ALPHAS: Args = ({}, {"alpha": 0.5}, {"alpha": 2.0})
SELUS: Args = ({}, {"alpha": 1.0, "scale": 2.0})
HARD: Args = ({}, {"alpha": 0.1, "beta": 0.3})
LIMITS: Args = ({}, {"n": 1.5})
FAST: Args = ({}, {"fast_gelu": 1})

#: operator -> what its inputs are drawn from, arguments, the input that may be the output
TABLE: dict[str, tuple[tuple[Draw, ...], Args, int | None]] = {
    "Gelu": ((grid,), FAST, None),
    "GeluGradient": ((grid, grid), FAST, None),
    "HardSigmoid": ((grid,), HARD, 0),
    "HardSigmoidGradient": ((grid, grid), HARD, 1),
    "Mish": ((apart,), NONE, None),
    "MishGradient": ((apart, grid, grid), NONE, None),
    "ReluN": ((grid,), LIMITS, 0),
    "ReluNGradient": ((grid, grid), LIMITS, 1),
    "Selu": ((grid,), SELUS, 0),
    "SeluGradient": ((grid, grid), SELUS, 1),
    "Softplus": ((grid,), NONE, 0),
    "SoftplusGradient": ((positive, grid), NONE, 1),
    "Softsign": ((grid,), NONE, 0),
    "SoftsignGradient": ((grid, grid), NONE, 1),
    "Swish": ((grid,), NONE, None),
    "SwishGradient": ((grid, grid, grid), NONE, 2),
    "ThresholdedRelu": ((grid,), ALPHAS, 0),
    "ThresholdedReluGradient": ((grid, grid), ALPHAS, 1),
}


def glu(rng: Rng) -> Cases:
    for index in range(ROUNDS):
        shape = [(4,), (2, 6), (0, 4), (2, 4, 3), (2, 3, 2), (4, 2)][index % 6]
        axis = [{}, {}, {}, {"dim": 1}, {"dim": -1}, {"dim": 0}][index % 6]
        yield Case("Glu", {"X": grid(rng, shape)}, args=axis)
    yield Case("Glu", {"X": grid(rng, (2, 3))}, refused=True)


CASES = {
    **{op: partial(function, op, *row) for op, row in TABLE.items()},
    "Glu": glu,
}
