"""Curves as pictures. Needs Matplotlib (`pip install caffe2py[plot]`)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from caffe2py.errors import UnsupportedError, UsageError

#: Endings of files that can be drawn.
FORMATS = ("png", "svg", "pdf")

#: The points of a curve: where, and how high.
Curve = tuple[Sequence[float], Sequence[float]]


def draw_curves(
    left: Mapping[str, Curve],
    right: Mapping[str, Curve],
    *,
    below: str,
    kind: str,
    logarithmic: bool = False,
) -> bytes:
    """A picture of curves, those of `right` with an axis of their own; as png, svg or pdf.

    Raises UnsupportedError where Matplotlib is not installed, UsageError for another kind.
    """
    if kind not in FORMATS:
        raise UsageError(f"cannot draw a '{kind}'; known: {', '.join(FORMATS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnsupportedError(
            "drawing curves needs Matplotlib; needs: pip install caffe2py[plot]"
        ) from None
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    lines = [axes.plot(*curve, label=name, linewidth=1)[0] for name, curve in left.items()]
    axes.set_xlabel(below)
    axes.set_ylabel(", ".join(left))
    axes.set_yscale("log" if logarithmic else "linear")
    axes.grid(alpha=0.3)
    if right:
        other = axes.twinx()
        for number, (name, curve) in enumerate(right.items(), len(lines)):
            lines += other.plot(*curve, label=name, color=f"C{number}", marker=".", linewidth=1)
        other.set_ylabel(", ".join(right))
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()
