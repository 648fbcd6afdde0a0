"""Floating-point exceptions: with a flag of GlobalInit an operator that divides by 0 is an error.

The processor keeps a note of every exception; it is wiped before an operator runs, and read after.
Then nets run one operator after another, through Python.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from caffe2py.errors import UnsupportedError, ValueRangeError
from caffe2py.executor.bind import BoundOperator

#: The flag of GlobalInit -> what it makes an error.
FLAGS = {
    "caffe2_operator_throw_if_fp_exceptions": ("division by zero", "invalid operation"),
    "caffe2_operator_throw_if_fp_overflow_exceptions": ("overflow",),
}

#: The bits of the processor's notes.
_BITS = {
    "x86_64": {"invalid operation": 1, "division by zero": 4, "overflow": 8},
    "aarch64": {"invalid operation": 1, "division by zero": 2, "overflow": 4},
}

_watched: set[str] = set()


def watch(flags: Iterable[str]) -> None:
    """Note which of the flags "--name=1", "--name=0" or "--name" are among these.

    Raises UnsupportedError if one is switched on where the processor's notes are unknown.
    """
    for text in flags:
        name, _, value = text.lstrip("-").partition("=")
        if name not in FLAGS:
            continue
        _watched.difference_update(FLAGS[name])
        if value.lower() not in ("0", "false", "no"):
            _notes()
            _watched.update(FLAGS[name])


def watched() -> Collection[str]:
    """What is an error at the moment."""
    return _watched


@functools.cache
def _notes() -> tuple[Any, dict[str, int]]:
    from ctypes.util import find_library  # takes long to import, and few nets are watched

    bits = _BITS.get(platform.machine())
    name = find_library("m")
    if bits is None or name is None:
        raise UnsupportedError(f"floating-point exceptions cannot be read on {platform.machine()}")
    return ctypes.CDLL(name), bits


def run(operators: Sequence[BoundOperator]) -> None:
    """Run operators in order; ValueRangeError, with the place, after one with an exception."""
    library, bits = _notes()
    for operator in operators:
        if operator.stale and not operator.dynamic:
            operator.plan()  # what is compiled and laid out may leave notes of its own
        library.feclearexcept(sum(bits.values()))
        operator.run()
        raised = [name for name in sorted(_watched) if library.fetestexcept(bits[name])]
        if raised:
            place = operator.origin.where(operator.index, operator.op)
            raise ValueRangeError(f"floating-point exception: {', '.join(raised)}", where=place)
