"""Python functions that operators call, known to nets by a token.

A token means something in the process that registered the function; no net brings code with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caffe2py.errors import NoGradientError, RegistrationError, UnknownOperatorError, UsageError

__all__ = ["Function", "functions", "lookup_function", "register_function", "register_gradient"]


@dataclass
class Function:
    """What a token stands for.

    `make` gives the function that an operator calls, `make_gradient` that of its gradient: both are
    asked once for every operator that is bound. With `pass_workspace` the function gets the
    workspace as its third argument; that of the gradient never does.
    """

    make: Callable[[], Callable[..., Any]]
    pass_workspace: bool = False
    make_gradient: Callable[[], Callable[..., Any]] | None = None


_functions: dict[str, Function] = {}


def register_function(
    function: Any, pass_workspace: bool = False, name: str = "", *, build: bool = False
) -> str:
    """Enter a function `f(inputs, outputs)` and return its token: its name, made unique.

    With `build` it is a tuple (builder, args, kwargs), and `builder(*args, **kwargs)` makes the
    function anew for every operator. Raises UsageError for what cannot be called.
    """
    make, label = _maker(function, build=build)
    wanted = f"{name}:{label}" if name else label
    token = wanted
    for number in itertools.count(1):
        if token not in _functions:
            break
        token = f"{wanted}:{number}"
    _functions[token] = Function(make, bool(pass_workspace))
    return token


def register_gradient(token: str, function: Any, *, build: bool = False) -> str:
    """Enter the function of the gradient: it gets inputs, outputs and output gradients.

    Raises RegistrationError if nothing was registered under the token. Returns the token.
    """
    if token not in _functions:
        raise RegistrationError(f"no Python function has the token '{token}'")
    _functions[token].make_gradient = _maker(function, build=build)[0]
    return token


def lookup_function(token: str, *, gradient: bool = False) -> Callable[..., Any]:
    """The function for one operator; UnknownOperatorError or NoGradientError if there is none."""
    found = functions(token)
    if not gradient:
        return found.make()
    if found.make_gradient is None:
        raise NoGradientError(
            f"the Python function '{token}' has no gradient", hint="grad_f=... where it is made"
        )
    return found.make_gradient()


def functions(token: str) -> Function:
    """What a token stands for; UnknownOperatorError says why it may be unknown."""
    found = _functions.get(token)
    if found is None:
        raise UnknownOperatorError(
            f"this process knows no Python function '{token}': a net from elsewhere does not bring "
            "its functions with it",
            hint="build the net here, with net.Python(f)(inputs, outputs)",
        )
    return found


def _maker(function: Any, *, build: bool) -> tuple[Callable[[], Callable[..., Any]], str]:
    if not build:
        if not callable(function):
            raise UsageError(f"expected a function of (inputs, outputs), found {function!r:.80}")
        return lambda: function, _label(function)
    try:
        builder, args, kwargs = function
    except (TypeError, ValueError):
        raise UsageError(
            f"expected a tuple (builder, args, kwargs), found {function!r:.80}"
        ) from None
    if not callable(builder):
        raise UsageError(f"the builder must be a function, found {builder!r:.80}")
    arguments, named = tuple(args), dict(kwargs)
    return lambda: builder(*arguments, **named), _label(builder)


def _label(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
