"""Write down which family declares which operator: caffe2py/ops/FAMILIES.

Run it after adding an operator: `python -m tools.gen_families`. Nothing breaks without, but then
whoever uses that operator imports all families.
"""

from __future__ import annotations

import importlib

import caffe2py.core  # noqa: F401  (what operators need of others)
from caffe2py import ops
from caffe2py.registry import operator


def text() -> str:
    """What the file ought to hold."""
    operator.declare_later({}, lambda: None)
    known: set[str] = set()
    lines = []
    for family in ops.families():
        importlib.import_module(f"{ops.__name__}.{family}")
        made = sorted(operator.registered().keys() - known)
        known.update(made)
        lines.append(f"{family}: {' '.join(made)}".strip())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    ops.FAMILIES.write_text(text(), "utf-8")
