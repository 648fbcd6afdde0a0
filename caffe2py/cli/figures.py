"""Tables and JSON of operators that were timed, for `bench` and `profile`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.cli.common import plain, table
from caffe2py.executor.ceilings import Ceilings
from caffe2py.predictor.timing import OperatorTime, TypeTime
from caffe2py.proto.caffe2_pb2 import OperatorDef


def operator_table(times: Sequence[OperatorTime], ceilings: Ceilings) -> str:
    """A line an operator: milliseconds, share of all, rates and their shares of the ceilings."""
    rows = [
        [
            str(one.index),
            plain(one.op.type),
            _label(one.op),
            *_figures(one, ceilings),
        ]
        for one in times
    ]
    return table(["#", "type", "operator", *_RATES], rows, right=(0, *range(3, 9)))


def type_table(times: Sequence[TypeTime], ceilings: Ceilings) -> str:
    """The same, a line a type of operator."""
    rows = [[plain(one.type), str(one.count), *_figures(one, ceilings)] for one in times]
    return table(["type", "count", *_RATES], rows, right=range(1, 8))


_RATES = ("ms", "share", "GFLOP/s", "of peak", "GB/s", "of copy")


def _figures(one: OperatorTime | TypeTime, ceilings: Ceilings) -> list[str]:
    pairs = ((one.gflops, ceilings.gflops), (one.gigabytes, ceilings.gigabytes))
    rates = [
        text
        for rate, most in pairs
        for text in (("", "") if rate is None else (f"{rate:.1f}", f"{rate / most:.0%}"))
    ]
    return [f"{one.seconds * 1000:.4f}", f"{one.share:.1%}", *rates]


def _label(op: OperatorDef) -> str:
    """What an operator makes, and its name if it has one."""
    text = plain("  ".join(part for part in (*op.output[:1], op.name) if part))
    return text if len(text) <= 40 else f"{text[:37]}..."


def ceilings_text(ceilings: Ceilings) -> str:
    """What the shares are shares of."""
    return (
        f"this machine now: {ceilings.gflops:.1f} GFLOP/s in a matrix product of float32 (peak), "
        f"{ceilings.gigabytes:.1f} GB/s in a copy of 128 MiB\n"
        "more than 100 %: an algorithm with fewer multiplications, or blobs that a cache holds"
    )


def time_json(one: OperatorTime | TypeTime) -> dict[str, Any]:
    """The figures of an operator or of a type, for JSON."""
    own: dict[str, Any] = {}
    if isinstance(one, OperatorTime):
        op = one.op
        own = {"index": one.index, "type": op.type, "name": op.name, "outputs": list(op.output)}
    else:
        own = {"type": one.type, "count": one.count}
    return {
        **own,
        "milliseconds": one.seconds * 1000,
        "share": one.share,
        "multiply_adds": one.multiply_adds,
        "bytes_moved": one.bytes_moved,
        "gflops": one.gflops,
        "gigabytes_per_second": one.gigabytes,
    }
