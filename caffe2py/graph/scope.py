"""Name scopes and device scopes. Each thread, and each asyncio task, has its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from caffe2py.errors import UsageError
from caffe2py.proto.caffe2_pb2 import DeviceOption

#: What stands between the scopes in a blob's name.
SEPARATOR = "/"
_NAMESCOPE_SEPARATOR = SEPARATOR  # by which name scripts know it

_names: ContextVar[str] = ContextVar("caffe2py_name_scope", default="")
_device: ContextVar[DeviceOption | None] = ContextVar("caffe2py_device_scope", default=None)


def CurrentNameScope() -> str:
    """The prefix of names created now: "" or "outer/inner/"."""
    return _names.get()


def CurrentDeviceScope() -> DeviceOption | None:
    """The device option that operators created now get; None outside of every scope."""
    return _device.get()


@contextmanager
def NameScope(prefix: str | None, reset: bool = False) -> Iterator[None]:
    """Put `prefix` and a "/" before the names created inside.

    Scopes nest; `reset` leaves the outer ones out. An empty prefix changes nothing.
    """
    if not isinstance(prefix, str | None):
        raise UsageError(f"NameScope takes in a string as its argument, found {prefix!r}")
    inner = f"{prefix}{SEPARATOR}" if prefix else ""
    token = _names.set(inner if reset else _names.get() + inner)
    try:
        yield
    finally:
        _names.reset(token)


@contextmanager
def EmptyNameScope() -> Iterator[None]:
    """Names created inside have no prefix."""
    with NameScope("", reset=True):
        yield


@contextmanager
def DeviceScope(scope: DeviceOption | int | None, node_name: str | None = None) -> Iterator[None]:
    """Give operators created inside this device option (or only this node name).

    From the scope around it comes the node name, if this one has none, and the extra infos of both
    are put together in alphabetical order; all other fields are this scope's alone.
    """
    scope = scope or None  # 0 and "" stand for no device option
    if not isinstance(scope, DeviceOption | None):
        raise UsageError(
            f"DeviceScope takes in a caffe2_pb2.DeviceOption as its argument, found {scope!r}"
        )
    if scope is None and node_name is None:
        raise UsageError("DeviceScope needs a device option or a node name")
    token = _device.set(_merged(scope or DeviceOption(), node_name, _device.get()))
    try:
        yield
    finally:
        _device.reset(token)


@contextmanager
def EmptyDeviceScope() -> Iterator[None]:
    """Operators created inside get no device option."""
    token = _device.set(None)
    try:
        yield
    finally:
        _device.reset(token)


def _merged(scope: DeviceOption, node_name: str | None, outer: DeviceOption | None) -> DeviceOption:
    option = DeviceOption()
    option.CopyFrom(scope)
    if node_name is not None:
        option.node_name = node_name
    extra = list(option.extra_info)
    if outer is not None:
        extra += outer.extra_info
        if outer.HasField("node_name") and not option.HasField("node_name"):
            option.node_name = outer.node_name
    option.extra_info[:] = sorted(extra)
    return option
