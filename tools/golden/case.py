"""One golden case, and the small arrays that cases are made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MATH_TYPES = ("float32", "float64", "int32", "int64")
ALL_TYPES = (*MATH_TYPES, "bool", "uint8", "int8", "uint16", "int16", "float16")

TAKES_MORE = ("Concat", "Sum", "SpatialBN", "SpatialBNGradient")

# Caffe2's TensorProto.DataType
DATA_TYPE = {
    "float32": 1,
    "int32": 2,
    "byte": 3,
    "string": 4,
    "bool": 5,
    "uint8": 6,
    "int8": 7,
    "uint16": 8,
    "int16": 9,
    "int64": 10,
    "float16": 12,
    "float64": 13,
}


class NetText(str):
    """The text of a NetDef, which is an argument as a message."""


@dataclass(frozen=True)
class Step:
    """An operator that runs before the case's own and makes some of its inputs."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One operator with its inputs; the oracle supplies the answer.

    `reads` lists the operator's inputs when they are not simply the fed blobs. A blob in `like`
    gets random values in the shape that another blob has after the `before` steps: gradients
    need an output's shape, which only the oracle knows. `refused` is what the table's author
    expects; the files hold what happened, and the command lists the differences. With `whole` the
    net holds the `before` steps as well, for what no array can hold.
    """

    op: str
    feed: dict[str, np.ndarray]
    outputs: Sequence[str] = ("Y",)
    args: dict[str, Any] = field(default_factory=dict)
    reads: Sequence[str] | None = None
    before: Sequence[Step] = ()
    like: dict[str, str] = field(default_factory=dict)
    refused: bool = False
    random: bool = False
    note: str = ""
    whole: bool = False

    @property
    def inputs(self) -> list[str]:
        return list(self.feed if self.reads is None else self.reads)

    def description(self) -> dict[str, Any]:
        """What the worker needs besides the arrays, ready for JSON."""
        return {
            "op": describe(Step(self.op, self.inputs, self.outputs, self.args)),
            "before": [describe(step) for step in self.before],
            "like": self.like,
            "feed": list(self.feed),
            "refused": self.refused,
            "random": self.random,
            "note": self.note,
            "whole": self.whole,
        }


def describe(step: Step) -> dict[str, Any]:
    return {
        "type": step.op,
        "inputs": list(step.inputs),
        "outputs": list(step.outputs),
        "args": [[name, *marked(value)] for name, value in step.args.items()],
    }


def marked(value: Any) -> tuple[str, Any]:
    """The field of Argument that Caffe2's Python would put a value in, and the value."""
    if isinstance(value, NetText):
        return "n", str(value)
    if isinstance(value, str):
        return "s", value
    if isinstance(value, bytes):
        return "bytes", value.decode("latin-1")
    if isinstance(value, float):
        return "f", value
    if isinstance(value, (bool, int, np.integer)):
        return "i", int(value)
    values = [marked(element) for element in value]
    if not values:
        return "empty", None
    return {"s": "strings", "f": "floats", "i": "ints"}[values[0][0]], [v for _, v in values]


def gradient(
    case: Case, op: str, reads: Sequence[str], outputs: Sequence[str], **args: Any
) -> Case:
    """A gradient operator's case from a forward one: dY is shaped like Y."""
    forward = Step(case.op, case.inputs, case.outputs, case.args)
    return Case(
        op,
        case.feed,
        outputs,
        {**case.args, **args},
        reads=reads,
        before=[*case.before, forward],
        like={"dY": "Y"},
    )


def grid(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """Random values that every float type holds exactly and that compress well."""
    if dtype == "str":
        letters = rng.integers(97, 123, (*shape, 3)).astype("uint32")
        return np.ascontiguousarray(letters).view("<U3").reshape(shape)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if kind == "u":
        return rng.integers(0, 19, shape).astype(dtype)
    if kind == "i":
        return rng.integers(-9, 10, shape).astype(dtype)
    return (rng.integers(-32, 33, shape) / 16).astype(dtype)


def positive(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """Like grid, and above zero."""
    if np.dtype(dtype).kind == "f":
        return (rng.integers(1, 49, shape) / 16).astype(dtype)
    return rng.integers(1, 10, shape).astype(dtype)


def some_shape(rng: np.random.Generator, low: int = 1, high: int = 4) -> tuple[int, ...]:
    """A random shape of low to high dimensions, each 1 to 5 long."""
    rank = int(rng.integers(low, high + 1))
    return tuple(int(d) for d in rng.integers(1, 6, rank))


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def wrong_arity(op: str, feed: dict[str, np.ndarray], outputs: Sequence[str], **args: Any):
    """Refusals of wrong counts and of a missing blob; some operators do take two inputs more."""
    names = list(feed)
    yield Case(op, feed, outputs, args, reads=[], refused=True)
    more = [*names, names[0], names[0]]
    yield Case(op, feed, outputs, args, reads=more, refused=op not in TAKES_MORE)
    yield Case(op, feed, [], args, refused=True)
    extra = [*outputs, *(f"extra{i}" for i in range(4))]
    yield Case(op, feed, extra, args, refused=True)
    yield Case(op, {}, outputs, args, reads=["missing", *names[1:]], refused=True)


Cases = Iterator[Case]
