"""Preferences for engines. There is one engine on the CPU: they are checked, and change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from caffe2py.errors import UsageError


def SetGlobalEnginePref(global_engine_pref: Mapping[int, Iterable[str]]) -> None:
    """Engines to prefer for all operators, by kind of device."""
    for device, engines in global_engine_pref.items():
        _check(engines, f"device {device}")


def SetPerOpEnginePref(
    per_op_engine_pref: Mapping[str, Mapping[int, Iterable[str]]],
) -> None:
    """Engines to prefer for some operators, by operator and kind of device."""
    for op_type, devices in per_op_engine_pref.items():
        for engines in devices.values():
            _check(engines, f"operator {op_type}")


def SetEnginePref(
    per_op_engine_pref: Mapping[str, Any], global_engine_pref: Mapping[int, Any]
) -> None:
    """Both of the above."""
    SetPerOpEnginePref(per_op_engine_pref)
    SetGlobalEnginePref(global_engine_pref)


def SetOpEnginePref(op_type: str, op_pref: Mapping[int, Iterable[str]]) -> None:
    """Engines to prefer for one operator, by kind of device."""
    SetPerOpEnginePref({op_type: op_pref})


def _check(engines: Any, what: str) -> None:
    if isinstance(engines, str) or not all(isinstance(engine, str) for engine in engines):
        raise UsageError(f"engines for {what}: expected a list of names, found {engines!r:.80}")
