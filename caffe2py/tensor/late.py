"""Modules that are imported when something of theirs is used: CUDA's, which most machines lack."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["late"]


def late(module: str, name: str) -> Any:
    """Something of a module of this package, which is imported now if nobody has done so."""
    return getattr(importlib.import_module(f"caffe2py.{module}"), name)
