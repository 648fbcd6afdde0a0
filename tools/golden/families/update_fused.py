"""Adagrad on rows that were summed in segments."""

from collections.abc import Callable

import numpy as np

from tools.golden.case import Case, Cases, grid, positive, wrong_arity

# shape of the parameters, lengths
LAYOUTS: list[tuple[tuple[int, ...], list[int]]] = [
    ((4, 3), [2, 0, 1]),
    ((6,), [3, 1]),
    ((3, 1), [5, 2]),
    ((3, 2, 4), [2, 3]),
    ((5, 17), [1, 4]),
    ((4, 8), [0, 0]),
    ((4, 3), []),
    ((9, 16), [3, 3, 3]),
]
ARGS: list[dict[str, float]] = [{}, {"weight_decay": 0.25}, {"epsilon": 0.5}]


def feed(
    rng: np.random.Generator, number: int, row_wise: bool, weighted: bool
) -> dict[str, np.ndarray]:
    shape, lengths = LAYOUTS[number % len(LAYOUTS)]
    found = {"p": grid(rng, shape), "m": positive(rng, shape[:1] if row_wise else shape)}
    if weighted:
        found["w"] = grid(rng, (max([1, *lengths]),))
    kind = "int64" if number % 2 else "int32"
    return {
        **found,
        "i": rng.integers(0, shape[0], sum(lengths)).astype(kind),
        "g": grid(rng, (len(lengths), *shape[1:])),
        "lr": np.array([-0.125], "float32"),
        "l": np.array(lengths, "int32"),
    }


def update(op: str, row_wise: bool, weighted: bool) -> Callable[[np.random.Generator], Cases]:
    def table(rng: np.random.Generator) -> Cases:
        outputs = ["p", "m", "dw"] if weighted else ["p", "m"]
        for number in range(24):
            given = feed(rng, number, row_wise, weighted)
            yield Case(op, given, outputs, ARGS[number // len(LAYOUTS)])
        good = feed(rng, 0, row_wise, weighted)
        wrong = [
            {"i": good["i"] + 4},
            {"i": good["i"] - 9},
            {"l": good["l"].astype("int64")},
            {"l": np.array([1, 0, 1], "int32")},
            {"l": good["l"][None]},
            {"g": good["g"][:2]},
            {"g": good["g"].astype("float64")},
            {"m": good["m"][:2]},
            {"p": good["p"].astype("float16")},
        ]
        for change in wrong:
            yield Case(op, {**good, **change}, outputs, refused=True)
        yield Case(op, good, [f"{name}2" for name in outputs], refused=True)
        yield from wrong_arity(op, good, outputs)

    return table


CASES = {}
for _row_wise in (False, True):
    for _reducer in ("Sum", "Mean", "WeightedSum"):
        for _approx in ("", "Approx"):
            _kind = "RowWiseSparse" if _row_wise else "Sparse"
            _name = f"{_kind}AdagradFusedWithSparseLengths{_reducer}Gradient{_approx}"
            CASES[_name] = update(_name, _row_wise, _reducer == "WeightedSum")
