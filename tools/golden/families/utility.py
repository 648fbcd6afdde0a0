"""Operators that pass values on: Copy, Alias, StopGradient, ZeroGradient."""

from functools import partial

import numpy as np

from tools.golden.case import ALL_TYPES, Case, Cases, grid, some_shape, wrong_arity


def pass_on(op: str, in_place: bool, rng: np.random.Generator) -> Cases:
    """Whatever the type and shape, Y is X."""
    for dtype in (*ALL_TYPES, "str"):
        yield Case(op, {"X": grid(rng, some_shape(rng), dtype)})
        if in_place:
            yield Case(op, {"X": grid(rng, some_shape(rng), dtype)}, ["X"])
    for shape in ((), (0,), (2, 0, 3), (1, 1, 1, 1, 1)):
        for dtype in ("float32", "int64", "str"):
            yield Case(op, {"X": grid(rng, shape, dtype)})
    X = np.array([np.nan, -0.0, np.inf, 1e-40], "float32")
    yield Case(op, {"X": X})
    if not in_place:
        yield Case(op, {"X": X}, ["X"], refused=True)
    yield from wrong_arity(op, {"X": X}, ["Y"])


def zero_gradient(rng: np.random.Generator) -> Cases:
    """It has no outputs: only the checks can differ."""
    for dtype in (*ALL_TYPES, "str"):
        yield Case("ZeroGradient", {"X": grid(rng, (2, 3), dtype)}, [])
    for _ in range(13):
        yield Case("ZeroGradient", {"X": grid(rng, some_shape(rng))}, [])
    X = grid(rng, (2,))
    yield Case("ZeroGradient", {"X": X}, ["Y"], refused=True)
    yield Case("ZeroGradient", {"X": X}, ["X"], refused=True)
    yield Case("ZeroGradient", {"X": X}, [], reads=[], refused=True)
    yield Case("ZeroGradient", {"X": X}, [], reads=["X", "X"], refused=True)
    yield Case("ZeroGradient", {}, [], reads=["missing"], refused=True)


CASES = {
    "Copy": partial(pass_on, "Copy", False),
    "Alias": partial(pass_on, "Alias", False),
    "StopGradient": partial(pass_on, "StopGradient", True),
    "ZeroGradient": zero_gradient,
}
