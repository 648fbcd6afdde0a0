"""What makes a function a helper of brew: defaults from the model and from `arg_scope`."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from caffe2py.errors import RegistrationError, UsageError
from caffe2py.modeling.model import ModelHelper

__all__ = ["HelperExistsError", "arg_scope", "has_helper", "helper", "helpers"]

Helper = Callable[..., Any]
Scope = Mapping[str, Mapping[str, Any]]

_helpers: dict[str, Helper] = {}
_scope: ContextVar[Scope] = ContextVar("caffe2py_arg_scope", default=MappingProxyType({}))


class HelperExistsError(RegistrationError, AttributeError):
    """There is a helper of that name."""


def helpers() -> dict[str, Helper]:
    """All helpers by name."""
    return dict(_helpers)


def has_helper(helper_or_helper_name: Any) -> bool:
    """Whether there is a helper of this name, or of the function's name."""
    name = getattr(helper_or_helper_name, "__name__", helper_or_helper_name)
    return name in _helpers


def helper(function: Helper) -> Helper:
    """Make a helper of a function whose first argument is the model.

    Arguments come, in rising order, from the model's `arg_scope` (those that the function takes),
    from the `arg_scope` around the call, and from the call. HelperExistsError if there is one of
    this name.
    """
    name = function.__name__
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    taken = {p.name for p in parameters}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        model = args[0] if args else kwargs.get("model")
        if not isinstance(model, ModelHelper):
            raise UsageError(
                "The first input of helper function should be model. Or you can provide it in "
                f"kwargs as model=<your_model>. brew.{name} found {model!r:.80}"
            )
        defaults = copy.deepcopy(model.arg_scope)
        if not takes_all:
            defaults = {key: value for key, value in defaults.items() if key in taken}
        return function(*args, **{**defaults, **_scope.get().get(name, {}), **kwargs})

    if name in _helpers:
        raise HelperExistsError(f"Helper {name} already exists. Please change your helper name.")
    _helpers[name] = call
    return call


@contextmanager
def arg_scope(single_helper_or_list: Any, **kwargs: Any) -> Iterator[None]:
    """Give helpers these arguments by default, inside the block; blocks nest."""
    found = single_helper_or_list
    found = found if isinstance(found, list | tuple) else [found]
    scope = dict(_scope.get())
    for function in found:
        if not callable(function):
            raise UsageError(
                f"arg_scope is only supporting single or a list of helper functions, "
                f"found {function!r:.80}"
            )
        scope[function.__name__] = {**scope.get(function.__name__, {}), **kwargs}
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)
