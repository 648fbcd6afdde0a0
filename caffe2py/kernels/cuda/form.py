"""How kernels for devices are made: forms of the CPU's loops, templates, kernels of devices alone.

A template is a device function that calls others by names of its own: `made(template, term=f)` is
the function where `term` is f.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from caffe2py.kernels.jit import Kernel

#: A form: a function with the kernel's parameters, and from these how many blocks run it.
Form = tuple[Callable[..., Any], Callable[..., int]]


def form(blocks: Callable[..., int]) -> Callable[[Callable[..., Any]], Form]:
    """Decorator: a function as a form, to be found by `Kernel.form_from`."""
    return lambda function: (function, blocks)


def device_kernel(blocks: Callable[..., int]) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorator: a kernel that devices alone have."""

    def add(function: Callable[..., Any]) -> Kernel:
        kernel = Kernel(function)
        kernel.on_cuda(blocks)(function)
        return kernel

    return add


def made(template: Callable[..., Any], name: str, **named: Any) -> Callable[..., Any]:
    """The template as a function of its own, in which these names are these things."""
    names = {**template.__globals__, **named}
    function = types.FunctionType(template.__code__, names, name)
    function.__annotations__ = template.__annotations__
    return function
