"""Caffe2's scope module: name scopes and device scopes."""

from __future__ import annotations

from caffe2py.graph.scope import (
    _NAMESCOPE_SEPARATOR,
    CurrentDeviceScope,
    CurrentNameScope,
    DeviceScope,
    EmptyDeviceScope,
    EmptyNameScope,
    NameScope,
)

__all__ = [
    "_NAMESCOPE_SEPARATOR",
    "CurrentDeviceScope",
    "CurrentNameScope",
    "DeviceScope",
    "EmptyDeviceScope",
    "EmptyNameScope",
    "NameScope",
]
