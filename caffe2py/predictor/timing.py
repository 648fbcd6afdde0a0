"""Figures of a run: percentiles, and the operators of a net with their shares of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffe2py.executor.benchmark import OperatorRecord
from caffe2py.proto.caffe2_pb2 import OperatorDef

__all__ = ["OperatorTime", "TypeTime", "by_type", "operator_times", "percentiles"]


@dataclass(frozen=True)
class OperatorTime:
    """One operator: seconds of a run on average, its share of all, its work.

    `gflops` counts two operations for a multiply-add; None for operators that do none, or where
    the work is not known. `gigabytes` are those that are read and written in a second.
    """

    index: int
    op: OperatorDef
    seconds: float
    share: float
    multiply_adds: int | None
    bytes_moved: int | None

    @property
    def gflops(self) -> float | None:
        """10^9 floating-point operations a second."""
        return _rate(self.multiply_adds, 2, self.seconds)

    @property
    def gigabytes(self) -> float | None:
        """10^9 bytes a second."""
        return _rate(self.bytes_moved, 1, self.seconds)


@dataclass(frozen=True)
class TypeTime:
    """All operators of one type together: seconds of one run of the net."""

    type: str
    count: int
    seconds: float
    share: float
    multiply_adds: int
    bytes_moved: int

    @property
    def gflops(self) -> float | None:
        """10^9 floating-point operations a second."""
        return _rate(self.multiply_adds, 2, self.seconds)

    @property
    def gigabytes(self) -> float | None:
        """10^9 bytes a second."""
        return _rate(self.bytes_moved, 1, self.seconds)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: min, median, mean, p90, p95, p99 and max."""
    times = np.sort(np.asarray(seconds, np.float64)) * 1000
    found = {f"p{p}": float(np.percentile(times, p)) for p in (90, 95, 99)}
    return {
        "min": float(times[0]),
        "median": float(np.median(times)),
        "mean": float(times.mean()),
        **found,
        "max": float(times[-1]),
    }


def operator_times(records: Sequence[OperatorRecord]) -> list[OperatorTime]:
    """The operators of a net that has been timed, in its order."""
    total = sum(record.mean for record in records) or 1.0
    return [
        OperatorTime(
            index,
            record.operator.op,
            record.mean,
            record.mean / total,
            record.multiply_adds,
            record.bytes_moved,
        )
        for index, record in enumerate(records)
    ]


def by_type(times: Sequence[OperatorTime]) -> list[TypeTime]:
    """The same by type, the one that takes the most time first."""
    groups: dict[str, list[OperatorTime]] = {}
    for one in times:
        groups.setdefault(one.op.type, []).append(one)
    made = [
        TypeTime(
            type_,
            len(group),
            sum(one.seconds for one in group),
            sum(one.share for one in group),
            sum(one.multiply_adds or 0 for one in group),
            sum(one.bytes_moved or 0 for one in group),
        )
        for type_, group in groups.items()
    ]
    return sorted(made, key=lambda one: -one.seconds)


def _rate(amount: int | None, factor: int, seconds: float) -> float | None:
    return amount * factor / seconds / 1e9 if amount and seconds else None
