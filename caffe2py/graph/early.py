"""Whether mistakes are reported where a net is built, or, as in Caffe2, where it is created."""

from __future__ import annotations

_early = True


def checks_early() -> bool:
    """Whether operators are checked against their declarations when they are made."""
    return _early


def check_early(on: bool) -> None:
    """Check when operators are made, or leave it to those who create nets.

    Old programs build nets that they never run, and that could not run.
    """
    global _early
    _early = on
