"""Operator families: declarations, formulas and kernels. Imported by `caffe2py.core` alone.

A family exists because its file does. `FAMILIES` says where each operator is declared, so that a
program imports no more families than it uses; an operator that it lacks is found all the same, by
importing them all.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

__all__ = ["families", "import_families", "read_families"]

#: One line for each family: its name, and its operators.
FAMILIES = Path(__file__).with_name("FAMILIES")


def families() -> list[str]:
    """The names of all modules and packages here."""
    files = sorted(FAMILIES.parent.iterdir())
    return [f.stem for f in files if f.suffix == ".py" or (f / "__init__.py").is_file()][1:]


@functools.cache
def import_families() -> None:
    """Declare all operators."""
    for family in families():
        importlib.import_module(f"{__name__}.{family}")


def read_families() -> dict[str, str]:
    """The module that declares each operator, as far as it is written down."""
    homes: dict[str, str] = {}
    for line in FAMILIES.read_text("utf-8").splitlines():
        family, _, operators = line.partition(": ")
        homes |= dict.fromkeys(operators.split(), f"{__name__}.{family}")
    return homes
