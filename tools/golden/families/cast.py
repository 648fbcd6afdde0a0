"""Cast: every pair of types, by number and by name."""

import numpy as np

from tools.golden.case import DATA_TYPE, Case, Cases, grid, pick, some_shape, wrong_arity

TARGETS = ("float32", "int32", "bool", "uint8", "int8", "uint16", "int16", "int64", "float64")
NAMES = ("FLOAT", "float", "Float", "INT32", "int32", "BOOL", "uint8", "INT8", "Uint16", "INT16")
UNDEFINED = "undefined in C++: the value does not fit the target type"


def in_range(rng: np.random.Generator, source: str, target: str) -> np.ndarray:
    """Values, fractions among them, whose integer part every target holds."""
    shape = (3, 5)
    if source == "bool":
        return grid(rng, shape, "bool")
    low = 0 if target.startswith("uint") or source.startswith("uint") else -100
    if np.dtype(source).kind == "f":
        return (rng.integers(low * 16, 100 * 16, shape) / 16).astype(source)
    return rng.integers(low, 100, shape).astype(source)


def cast(rng: np.random.Generator) -> Cases:
    for source in TARGETS:
        for target in TARGETS:
            yield Case("Cast", {"X": in_range(rng, source, target)}, args={"to": DATA_TYPE[target]})
    for name in (*NAMES, "INT64", "double", "DOUBLE"):
        yield Case("Cast", {"X": grid(rng, some_shape(rng))}, args={"to": name})
    for shape in ((), (0,), (2, 0, 3)):
        dtype = pick(rng, TARGETS)
        yield Case("Cast", {"X": grid(rng, shape)}, args={"to": DATA_TYPE[dtype]})
    for target in ("float32", "int64"):  # what the gradient maker needs does not disturb
        args = {"to": DATA_TYPE[target], "from_type": DATA_TYPE["int32"]}
        yield Case("Cast", {"X": grid(rng, (2, 3), "int32")}, args=args)
    for source in TARGETS:
        yield Case("Cast", {"X": in_range(rng, source, "int32")}, args={"to": DATA_TYPE["string"]})
    specials = np.array([np.nan, np.inf, -0.0, 1e20, 1e-7, 1 / 3], "float64")
    yield Case("Cast", {"X": specials}, args={"to": "STRING"})
    yield Case("Cast", {"X": grid(rng, (2, 3), "int32")}, note="without `to`")
    yield from cast_extremes()
    yield from cast_refusals(rng)


def cast_extremes() -> Cases:
    """Specials that have an answer, and overflow, which C++ leaves open for floats."""
    specials = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-40, 0.25, -0.25], "float32")
    for target in ("bool", "float64"):
        yield Case("Cast", {"X": specials}, args={"to": DATA_TYPE[target]})
    big = np.array([1e300, -1e300, 1e-300, 16777217.0, 0.1], "float64")
    yield Case("Cast", {"X": big}, args={"to": DATA_TYPE["float32"]})
    wide = np.array([2**40 + 5, -(2**33) - 1, 300, -129, 65535], "int64")
    for target in ("int32", "uint8", "int8", "uint16", "int16", "bool", "float32"):
        yield Case("Cast", {"X": wide}, args={"to": DATA_TYPE[target]})
    large = np.array([300.5, -1.5, -300.0, 70000.0, 3e9, -3e9, 1e30, np.nan, np.inf], "float32")
    for target in ("int32", "uint8", "int8", "uint16", "int16", "int64"):
        yield Case("Cast", {"X": large}, args={"to": DATA_TYPE[target]}, note=UNDEFINED)


def cast_refusals(rng: np.random.Generator) -> Cases:
    X = grid(rng, (2, 3))
    for to in ("byte", "float16"):
        yield Case("Cast", {"X": X}, args={"to": DATA_TYPE[to]}, refused=True)
    for to in (0, 99, "half", "nonsense", "UNDEFINED", "FLOAT16", "BYTE"):
        yield Case("Cast", {"X": X}, args={"to": to}, refused=True)
    for dtype in ("float16", "str"):
        yield Case("Cast", {"X": grid(rng, (2, 3), dtype)}, args={"to": 1}, refused=True)
    yield Case("Cast", {"X": X}, ["X"], {"to": 1}, refused=True)
    yield Case("Cast", {"X": X}, args={"to": 1.0}, refused=True)
    yield from wrong_arity("Cast", {"X": X}, ["Y"], to=1)


CASES = {"Cast": cast}
