"""Libraries of operators that are loaded when somebody needs them."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["load_later", "load_lazy"]

_waiting: list[Callable[[], None]] = []


def load_later(load: Callable[[], None]) -> None:
    """Call `load` before the next net is created, or when operators are asked for anew."""
    _waiting.append(load)


def load_lazy() -> None:
    """Load what waits; each is asked once, even if it fails."""
    while _waiting:
        _waiting.pop(0)()
