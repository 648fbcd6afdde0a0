"""A hash of a kernel: compiled code is kept under it, and made anew when it changes."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from caffe2py.kernels.params import ByType, Intrinsic, Scalar


def fingerprint(function: Callable[..., Any]) -> str:
    """A hash of everything that a function's compiled form depends on.

    That is its code, and every function and constant that it reaches through globals and closures.
    """
    digest = hashlib.sha256()
    for part in _reached(function, set()):
        digest.update(part.encode())
    return digest.hexdigest()


def _reached(function: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(function, Scalar):
        yield "scalar "
        function = function.function
    code = function.__code__
    if id(code) in seen:
        return
    seen.add(id(code))
    yield from _code_text(code)
    values = {name: function.__globals__.get(name) for name in sorted(_names(code))}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        values[name] = cell.cell_contents
    for name, value in values.items():
        if isinstance(value, types.FunctionType | Scalar):
            yield f"{name}:"
            yield from _reached(value, seen)
        elif isinstance(value, ByType):
            yield f"{name}: by type"
            yield from _reached(value.float32, seen)
            yield from _reached(value.float64, seen)
        elif isinstance(value, types.ModuleType):
            if value.__name__.partition(".")[0] not in ("numpy", "math"):
                for attribute in sorted(_names(code)):
                    yield f"{name}.{attribute}={getattr(value, attribute, None)!r}"
        elif isinstance(value, np.ndarray):
            yield f"{name}={value.dtype}{value.shape}{value.tobytes().hex()}"
        elif isinstance(value, Intrinsic):
            yield f"{name}={value.name} {_emitters(value.files)}"
        elif value is not None:
            yield f"{name}={value!r}".partition(" at 0x")[0]


@functools.cache
def _emitters(files: tuple[str, ...]) -> str:
    """A hash of code that emits code."""
    parts = (Path(__file__).with_name(name).read_bytes() for name in files)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _code_text(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code_text(constant)
        elif not isinstance(constant, str):  # docstrings do not change what is computed
            yield repr(constant)
