"""How the memory of a net's arrays is told, by `summary`, `bench` and others."""

from __future__ import annotations

from caffe2py.cli.common import bytes_text
from caffe2py.executor.memory import MemoryReport

__all__ = ["memory_json", "memory_text"]


def memory_json(report: MemoryReport) -> dict[str, int]:
    """All figures, in bytes."""
    return {**vars(report), "total": report.total}


def memory_text(report: MemoryReport) -> str:
    """One line: the total, and what it is made of."""
    passing = f"{bytes_text(report.activations)} of activations"
    if report.scratch:
        passing += f" and {bytes_text(report.scratch)} of scratch"
    return (
        f"{bytes_text(report.total)} of arrays: weights {bytes_text(report.weights)}, packed "
        f"weights and tables {bytes_text(report.packed)}, {passing} in "
        f"{bytes_text(report.storage)}"
    )
