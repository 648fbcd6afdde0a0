"""Why some of Caffe2's operators are not here."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

__all__ = ["Reason", "absent_operators", "absent_reasons"]


@dataclass(frozen=True)
class Reason:
    """Why some operators of Caffe2 are not here: in a word or two, and in full."""

    label: str
    why: str
    operators: tuple[str, ...]


@functools.cache
def absent_reasons() -> tuple[Reason, ...]:
    """All reasons, in the order in which users should read them."""
    text = Path(__file__).with_name("absent_operators.toml").read_text("utf-8")
    rows = tomllib.loads(text)["reason"]
    return tuple(Reason(row["label"], row["why"], tuple(sorted(row["operators"]))) for row in rows)


@functools.cache
def absent_operators() -> Mapping[str, Reason]:
    """Operator -> the reason why it is not here."""
    found = {name: reason for reason in absent_reasons() for name in reason.operators}
    return MappingProxyType(found)
