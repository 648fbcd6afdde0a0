"""The entry of a kernel on a device: Python that makes arrays of what it is given, and calls.

It takes its arguments as the CPU's does, addresses and sizes in slots of eight bytes, as parameters
of its own; before them stand the number of parts and the place of the status word, after them the
steps of what changes from part to part.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import RegistrationError
from caffe2py.kernels.cuda.code import Code

#: What to do where packages are missing.
NEEDS = "needs: pip install caffe2py[cuda13]"

#: The name of every kernel's entry in its module.
ENTRY = "caffe2py_kernel"


@dataclass(frozen=True)
class Compiled:
    """A module of machine code, and what the assembler says of it."""

    cubin: bytes
    report: str


def _entry_lines(code: Code) -> list[str]:
    """The entry's text: arrays from slots, then the kernel."""
    arrays, names, at = [], [], 0
    for k, param in enumerate(code.params):
        if param.ndim is None:
            moves = f" + part * d{at}" if at in code.moving else ""
            arrays.append(f"a{k} = t{k}(s{at}{moves})")
        else:
            start = f"s{at} + part * d{at}" if at in code.moving else f"s{at}"
            start += " & -16" if code.aligned else ""
            sizes = (_size(code, at + 1 + axis) for axis in range(param.ndim))
            arrays.append(f"a{k} = array_at({start}, ({''.join(f'{s}, ' for s in sizes)}), t{k})")
        names.append(f"a{k}")
        at += 1 if param.ndim is None else 1 + param.ndim
    slots = [*(f"s{k}" for k in range(at)), *(f"d{k}" for k in code.moving)]
    call = f"kernel({', '.join(names)})"
    body = [*arrays, f"status_ = {call}" if code.fails else call]
    if code.fails:
        body += [
            "if status_ != 0:",
            "    word = array_at(status, (1, ), int64)",
            "    cuda.atomic.min(word, 0, (int64(part) << 32) + int64(status_))",
        ]
    head = f"def entry({', '.join(['count', 'status', *slots])}):"
    if code.cooperative:
        return [head, "    part = 0", *(f"    {line}" for line in body)]
    loop = "    for part in range(cuda.grid(1), count, cuda.gridsize(1)):"
    return [head, loop, *(f"        {line}" for line in body)]


def _size(code: Code, slot: int) -> str:
    if slot in code.ones:
        return "1"
    return f"s{slot} + part * d{slot}" if slot in code.moving else f"s{slot}"


def entry(code: Code, names: dict[str, Any]) -> Any:
    """The entry as a Python function; `names` are the kernel and what it is called through."""
    for k, param in enumerate(code.params):
        names[f"t{k}"] = np.dtype(param.dtype).type
    names["int64"] = np.int64
    text = "\n".join(_entry_lines(code))
    exec(compile(text, f"<entry of {code.function.__name__}>", "exec"), names)
    return names["entry"]


def globals_used(function: Callable[..., Any]) -> dict[str, Any]:
    """The globals that a function names."""
    names = set(function.__code__.co_names)
    return {name: value for name, value in function.__globals__.items() if name in names}


def refuse_closure(function: Callable[..., Any]) -> None:
    """RegistrationError for a function with variables of another one."""
    if function.__code__.co_freevars:
        raise RegistrationError(f"kernel '{function.__name__}' must not be a closure")


def of_this_package(value: Any) -> bool:
    """Whether it is a function that has to be compiled as well."""
    root = (getattr(value, "__module__", None) or "").partition(".")[0]
    return isinstance(value, types.FunctionType) and root not in ("numpy", "math", "numba")


def known(table: Mapping[Any, Any], key: Any, name: str, function: Callable[..., Any]) -> Any:
    """What devices have for something of the CPU's; RegistrationError if that is nothing."""
    if key not in table:
        raise RegistrationError(
            f"'{name}', which '{function.__name__}' calls, exists on the CPU only"
        )
    return table[key]


def slot_types(code: Code) -> list[Any]:
    """The types of the entry's parameters."""
    kinds: list[Any] = [np.dtype(np.int64)] * 2
    for param in code.params:
        if param.ndim is None:
            kinds.append(np.dtype(param.dtype))
        else:
            kinds += [np.dtype(np.int64)] * (1 + param.ndim)
    return kinds + [np.dtype(np.int64)] * len(code.moving)
