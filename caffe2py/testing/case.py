"""The row of the operator table: what an operator must compute, on which inputs, how exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.errors import Error
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.tensor.tensor import Array

Rng = np.random.Generator

#: Largest error by output dtype, relative to max(1, |expected|); everything else must be equal.
TOLERANCE = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-12}

#: Shapes that every elementwise operator has to take.
SHAPES: tuple[tuple[int, ...], ...] = (
    (),
    (0,),
    (1,),
    (7,),
    (3, 0, 2),
    (1, 1),
    (2, 3, 4),
    (130, 33),
)


@dataclass(frozen=True)
class Made:
    """An input that other operators make, where no array can be it (a queue, a counter).

    They run first, on `blobs`; what they call "made" is the input.
    """

    ops: Sequence[OperatorDef]
    blobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One use of an operator: its inputs, arguments, and how many outputs are asked for.

    `inputs` may hold arrays, other objects that blobs can hold, or Made; `same` lists (input,
    output) pairs that are one blob, for operators that demand it. `gradient` is False where the
    backward operators need more than this sample has.
    """

    inputs: Sequence[Any]
    args: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    same: Sequence[tuple[int, int]] = ()
    gradient: bool = True

    def __post_init__(self) -> None:
        # numpy turns 0-d results into scalars, which are no arrays
        arrays = [np.asarray(x) if isinstance(x, np.generic) else x for x in self.inputs]
        object.__setattr__(self, "inputs", arrays)


@dataclass(frozen=True)
class Bad:
    """A use that must fail with this class of error and a message that matches."""

    inputs: Sequence[Any]
    error: type[Error]
    match: str
    args: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    same: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Case:
    """A row: an operator, its numpy reference, and the samples for every property.

    `ref(*inputs, **args)` returns the output or a tuple of outputs, with None for an output that is
    no tensor; for the gradient check it is
    also called with float64 inputs and must not round them. A reference of None means that results
    are random or have no value to compare; then `skip` says so under "forward".
    `samples(rng)` yields the uses. `gradient` lists the inputs whose gradient is checked on every
    sample whose input is floating; None means those of the rule. `gradient_outputs` lists the
    outputs whose gradient the rule takes; None means every floating one. `skip` maps a property to
    the reason why it does not apply.
    """

    op: str
    ref: Callable[..., Any] | None
    samples: Callable[[Rng], Iterable[Sample]]
    bad: Sequence[Bad] = ()
    tolerance: float | None = None
    tolerance_reason: str = ""
    gradient: Sequence[int] | None = None
    gradient_outputs: Sequence[int] | None = None
    gradient_tolerance: float = 2e-3
    skip: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tolerance is not None and not self.tolerance_reason:
            raise ValueError(f"{self.op}: a tolerance of its own needs a reason")

    def allowed(self, dtype: np.dtype[Any]) -> float:
        """The tolerance for outputs of this dtype; 0 for exact types."""
        if dtype.kind != "f":
            return 0.0
        return self.tolerance if self.tolerance is not None else TOLERANCE[dtype.name]


Domain = Callable[[Rng, tuple[int, ...], np.dtype[Any]], Array]


def uniform(low: float, high: float, *, away_from: float | None = None, gap: float = 0.1) -> Domain:
    """Values in [low, high), with a gap around a point where the function is not smooth."""

    def draw(rng: Rng, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        values = rng.uniform(low, high, shape)
        if away_from is not None:
            near = np.abs(values - away_from) < gap
            values = np.where(near, away_from + np.where(values < away_from, -gap, gap), values)
        if dtype.kind in "iu":
            values = np.rint(values)
        return np.asarray(values).astype(dtype)

    return draw


def ints(low: int, high: int) -> Domain:
    """Integers in [low, high)."""

    def draw(rng: Rng, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return np.asarray(rng.integers(low, high, shape)).astype(dtype)

    return draw


def elementwise_samples(
    *domains: Domain,
    dtypes: Sequence[str] = ("float32",),
    args: Sequence[Mapping[str, Any]] = ({},),
    shapes: Sequence[tuple[int, ...]] = SHAPES,
) -> Callable[[Rng], Iterable[Sample]]:
    """Samples of an operator whose inputs all have one shape: every shape, dtype and args set."""

    def samples(rng: Rng) -> Iterable[Sample]:
        for name in dtypes:
            dtype = np.dtype(name)
            for shape in shapes:
                for arg in args:
                    yield Sample([draw(rng, shape, dtype) for draw in domains], arg)

    return samples
