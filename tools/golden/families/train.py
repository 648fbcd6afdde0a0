"""Tables and matrices in tensor-train form."""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, Step, grid, wrong_arity

# rows, columns, ranks
TABLES: list[tuple[list[int], list[int], list[int]]] = [
    ([2, 3, 2], [2, 2, 1], [1, 3, 2, 1]),
    ([3, 2, 4], [2, 3, 2], [1, 2, 5, 1]),
    ([1, 1, 1], [1, 1, 1], [1, 1, 1, 1]),
    ([4, 5, 3], [2, 2, 2], [1, 4, 4, 1]),
]
LENGTHS = [[2, 0, 3], [0, 0], [4], [1, 1], [0, 3, 1], [2]]
OUTPUTS = ["Y", "A", "B", "D"]


def feeds(rng: np.random.Generator) -> Cases:
    for index in range(24):
        rows, columns, ranks = TABLES[index % 4]
        lengths = LENGTHS[index % 6]
        shapes = [(rows[k], ranks[k], columns[k], ranks[k + 1]) for k in range(3)]
        feed = {f"C{k}": grid(rng, shape) for k, shape in enumerate(shapes)}
        feed["I"] = rng.integers(0, np.prod(rows), sum(lengths))
        feed["L"] = np.array(lengths, "int32")
        args: dict[str, Any] = {"factor_i": rows, "factor_j": columns, "ranks": ranks}
        args["emb_size"] = int(np.prod(columns))
        yield Case("TTSparseLengthsSum", feed, OUTPUTS, args)


def sums(rng: np.random.Generator) -> Cases:
    yield from feeds(rng)
    case = next(feeds(rng))
    yield Case(case.op, {**case.feed, "I": case.feed["I"].astype("int32")}, OUTPUTS, case.args)
    yield Case(case.op, {**case.feed, "C0": grid(rng, (2, 6), "float64")}, OUTPUTS, case.args)
    yield from wrong_arity(case.op, case.feed, OUTPUTS, **case.args)


def sums_gradient(rng: np.random.Generator) -> Cases:
    for case in feeds(rng):
        yield Case(
            "TTSparseLengthsSumGradient",
            case.feed,
            ["dC0", "dC1", "dC2"],
            reads=["C0", "C1", "C2", "L", "A", "B", "D", "dY"],
            before=[Step(case.op, case.inputs, OUTPUTS, case.args)],
            like={"dY": "Y"},
        )


SIZES: list[tuple[list[int], list[int], list[int]]] = [
    ([2], [3], [1, 1]),
    ([2, 3], [3, 2], [1, 4, 1]),
    ([2, 2, 3], [3, 1, 2], [1, 2, 3, 1]),
    ([4, 1], [2, 2], [1, 2, 1]),
]


def tt(rng: np.random.Generator) -> Cases:
    for index in range(22):
        inputs, outputs, ranks = SIZES[index % 4]
        size = sum(
            a * b * p * q for a, b, p, q in zip(inputs, outputs, ranks[:-1], ranks[1:], strict=True)
        )
        feed = {"X": grid(rng, (1, int(np.prod(inputs))))}
        feed |= {"b": grid(rng, (int(np.prod(outputs)),)), "C": grid(rng, (size,))}
        args = {"inp_sizes": inputs, "out_sizes": outputs, "tt_ranks": ranks}
        yield Case("TT", feed, args=args)
    feed = {"X": grid(rng, (1, 2)), "b": grid(rng, (3,)), "C": grid(rng, (6,))}
    args = {"inp_sizes": [2], "out_sizes": [3], "tt_ranks": [1, 1]}
    yield Case("TT", {**feed, "X": grid(rng, (2,))}, args=args, refused=True)
    yield Case("TT", {**feed, "C": grid(rng, (5,))}, args=args, refused=True)
    yield Case("TT", {**feed, "b": grid(rng, (1, 3))}, args=args, refused=True)
    yield Case("TT", feed, args={**args, "out_sizes": [3, 1]}, refused=True)
    yield from wrong_arity("TT", feed, ["Y"], **args)


CASES = {
    "TTSparseLengthsSum": sums,
    "TTSparseLengthsSumGradient": sums_gradient,
    "TT": tt,
}
