"""One value in, one value out: Negative, Reciprocal, Relu, Sigmoid and their gradients."""

from functools import partial

import numpy as np

from tools.golden.case import ALL_TYPES, MATH_TYPES, Case, Cases, grid, some_shape, wrong_arity

# Empty, scalar, single values, and lengths that leave a remainder in every vector width.
SHAPES = [(), (0,), (3, 0, 2), (1,), (7,), (33,), (1, 1, 1), (2, 3, 4), (2, 1, 3, 2)]
SPECIALS = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-40,
    -1e-40,
    3e38,
    -3e38,
    90.0,
    -90.0,
    20.0,
    -20.0,
]


def unary(op: str, types: tuple[str, ...], rng: np.random.Generator) -> Cases:
    """Every shape with the first type, some with the others, in place, and what is refused."""
    for shape in SHAPES:
        yield Case(op, {"X": grid(rng, shape, types[0])})
    for dtype in types:
        for _ in range(2 if len(types) > 1 else 8):
            yield Case(op, {"X": grid(rng, some_shape(rng), dtype)})
        for _ in range(3 if len(types) > 1 else 6):
            yield Case(op, {"X": grid(rng, some_shape(rng), dtype)}, ["X"])
    yield Case(op, {"X": np.array(SPECIALS, "float32")})
    yield Case(op, {"X": grid(rng, (2, 3), types[0])}, args={"unknown": 3})
    for dtype in ALL_TYPES:
        if dtype not in types:
            yield Case(op, {"X": grid(rng, (2, 3), dtype)}, refused=True)
    yield from wrong_arity(op, {"X": grid(rng, (2,), types[0])}, ["Y"])


def negative(rng: np.random.Generator) -> Cases:
    yield from unary("Negative", MATH_TYPES, rng)
    for dtype in ("int32", "int64"):  # the negative of the least integer does not exist
        limits = np.iinfo(dtype)
        yield Case("Negative", {"X": np.array([limits.min, limits.max, 0], dtype)})


def negate_gradient(rng: np.random.Generator) -> Cases:
    """Identity forward, whatever the type."""
    for shape in SHAPES:
        yield Case("NegateGradient", {"X": grid(rng, shape)})
    for dtype in (*ALL_TYPES, "str"):
        yield Case("NegateGradient", {"X": grid(rng, some_shape(rng), dtype)})
        yield Case("NegateGradient", {"X": grid(rng, some_shape(rng), dtype)}, ["X"])
    yield from wrong_arity("NegateGradient", {"X": grid(rng, (2,))}, ["Y"])


def reciprocal(rng: np.random.Generator) -> Cases:
    yield from unary("Reciprocal", ("float32",), rng)


def relu(rng: np.random.Generator) -> Cases:
    yield from unary("Relu", ("float32",), rng)


def sigmoid(rng: np.random.Generator) -> Cases:
    yield from unary("Sigmoid", ("float32",), rng)


def unary_gradient(op: str, rng: np.random.Generator) -> Cases:
    """Gradients that read the output: (Y, dY) -> dX, in place on dY allowed, on Y not."""

    def pair(shape: tuple[int, ...], dtype: str = "float32") -> dict[str, np.ndarray]:
        return {"Y": grid(rng, shape, dtype), "dY": grid(rng, shape, dtype)}

    for shape in SHAPES:
        yield Case(op, pair(shape), ["dX"])
    for _ in range(10):
        yield Case(op, pair(some_shape(rng)), ["dX"])
    for _ in range(5):
        yield Case(op, pair(some_shape(rng)), ["dY"])
    values = np.array(SPECIALS, "float32")
    yield Case(op, {"Y": values, "dY": np.ones_like(values)}, ["dX"])
    yield Case(op, {"Y": values[::-1].copy(), "dY": values}, ["dX"])
    yield Case(op, pair((2, 2)), ["Y"], refused=True)
    for dtype in ("float64", "int32", "int64", "float16"):
        yield Case(op, pair((2, 2), dtype), ["dX"], refused=True)
    yield Case(op, {"Y": grid(rng, (2, 3)), "dY": grid(rng, (2, 3), "int32")}, ["dX"], refused=True)
    yield Case(op, {"Y": grid(rng, (2, 3)), "dY": grid(rng, (3, 2))}, ["dX"], refused=True)
    yield Case(op, {"Y": grid(rng, (2, 3)), "dY": grid(rng, (3,))}, ["dX"], refused=True)
    yield Case(op, {"Y": grid(rng, (3,)), "dY": grid(rng, (2, 3))}, ["dX"], refused=True)
    yield from wrong_arity(op, pair((2,)), ["dX"])


CASES = {
    "Negative": negative,
    "NegateGradient": negate_gradient,
    "Reciprocal": reciprocal,
    "ReciprocalGradient": partial(unary_gradient, "ReciprocalGradient"),
    "Relu": relu,
    "ReluGradient": partial(unary_gradient, "ReluGradient"),
    "Sigmoid": sigmoid,
    "SigmoidGradient": partial(unary_gradient, "SigmoidGradient"),
}
