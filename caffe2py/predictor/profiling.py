"""The time that each operator of a net takes, for people at a notebook.

workspace.CreateNet(net)
profile(net)                       # in Jupyter: a table with bars; else print(profile(net))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from caffe2py.executor.benchmark import time_operators
from caffe2py.executor.inputs import net_name
from caffe2py.executor.net import CreatedNet
from caffe2py.executor.session import current
from caffe2py.predictor.timing import OperatorTime, TypeTime, by_type, operator_times

__all__ = ["Profile", "profile"]

#: Rows of a table; the rest is one row.
_SHOWN = 60

_CELL = 'style="text-align:{side};padding:1px 8px"'
_BAR = '<div style="background:#4c8eda;height:9px;width:{width:.1f}px"></div>'
_BAR_WIDTH = 160


@dataclass(frozen=True)
class Profile:
    """The operators of a net with their times, each by itself."""

    name: str
    iterations: int
    operators: Sequence[OperatorTime]

    @property
    def types(self) -> list[TypeTime]:
        """The same by type, the one that takes the most time first."""
        return by_type(self.operators)

    @property
    def seconds(self) -> float:
        """All operators of one run together."""
        return sum(one.seconds for one in self.operators)

    def __str__(self) -> str:
        rows = [
            f"{one.index:5}  {one.seconds * 1000:10.4f} ms  {one.share:6.1%}  {one.op.type}"
            f"  {_output(one)}"
            for one in self.operators
        ]
        return "\n".join([self._title(), *rows])

    def _title(self) -> str:
        total = f"{self.seconds * 1000:.4f} ms"
        return f"{self.name}: {len(self.operators)} operators, {total}, {self.iterations} runs"

    def _repr_html_(self) -> str:
        """What Jupyter shows: the types, and the operators behind a fold."""
        types = [(one.type, str(one.count), one.seconds, one.share) for one in self.types]
        each = [
            (f"#{one.index} {one.op.type}", _output(one), one.seconds, one.share)
            for one in self.operators
        ]
        return (
            f"<div><b>{escape(self._title())}</b>{_table(('type', 'count'), types)}"
            f"<details><summary>operators</summary>{_table(('operator', 'output'), each)}"
            "</details></div>"
        )


def profile(net: Any, iterations: int = 10, warmup: int = 1) -> Profile:
    """Run a created net of the current workspace so often, and time its operators.

    `net` is a Net, its name, or what Workspace.net gives. Each operator goes through Python here,
    which a run of the whole net avoids. Raises NetError for a net that was not created.
    """
    created = net if isinstance(net, CreatedNet) else current().net(net_name(net))
    created.run(warmup)
    records = time_operators(created, iterations)
    return Profile(created.name, iterations, operator_times(records))


def _output(one: OperatorTime) -> str:
    return str(next(iter(one.op.output), ""))


def _table(titles: tuple[str, str], rows: Sequence[tuple[str, str, float, float]]) -> str:
    shown = [*rows[:_SHOWN]]
    rest = rows[_SHOWN:]
    if rest:
        more = sum(row[2] for row in rest), sum(row[3] for row in rest)
        shown.append((f"{len(rest)} more", "", *more))
    largest = max((row[3] for row in shown), default=0.0) or 1.0
    lines = [_row("th", *titles, "ms", "share", "")]
    for name, second, seconds, share in shown:
        bar = _BAR.format(width=_BAR_WIDTH * share / largest)
        figures = f"{seconds * 1000:.4f}", f"{share:.1%}"
        lines.append(_row("td", escape(name), escape(second), *figures, bar))
    return f"<table>{''.join(lines)}</table>"


def _row(tag: str, first: str, second: str, *rest: str) -> str:
    sides = ("left", "left", "right", "right", "left")
    cells = [
        f"<{tag} {_CELL.format(side=side)}>{text}</{tag}>"
        for text, side in zip((first, second, *rest), sides, strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"
