"""Classes whose objects are opened by `with` and then found without being passed around."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

from caffe2py.errors import UsageError

__all__ = ["DefaultManaged", "JobError", "Managed"]

P = ParamSpec("P")
R = TypeVar("R")


class JobError(UsageError, AssertionError):
    """A builder, task, group, session or checkpoint is used as it does not allow."""


class Managed:
    """Base of classes with a current object: the one whose `with` block was opened last.

    Each thread and each class has its own. An object is also current for the bases of its class.
    """

    _opened: ClassVar[ContextVar[tuple[Any, ...]]]
    _makes_default: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._opened = ContextVar(f"caffe2py_open_{cls.__qualname__}", default=())

    @classmethod
    def current(cls, value: Any = None, required: bool = True) -> Any:
        """`value` if it is given, or else the current object.

        Raises JobError for a value of another class, and where nothing is open; without `required`
        None is returned then.
        """
        if value is not None:
            if not isinstance(value, cls):
                raise JobError(f"expected a {cls.__name__}, found {value!r:.80}")
            return value
        opened = cls._opened.get()
        if not opened and cls._makes_default and required:
            opened = (cls(),)
            cls._opened.set(opened)
        if not opened and required:
            raise JobError(f"no {cls.__name__} is open", hint=f"with {cls.__name__}(): ...")
        return opened[-1] if opened else None

    def __enter__(self) -> Self:
        for stack in self._stacks():
            stack.set((*stack.get(), self))
        return self

    def __exit__(self, *error: Any) -> None:
        for stack in self._stacks():
            *outer, last = stack.get() or (None,)
            if last is not self:
                raise JobError(f"{type(self).__name__} is closed, but is not the one opened last")
            stack.set(tuple(outer))

    def __call__(self, func: Callable[P, R]) -> Callable[P, R]:
        """A function that runs `func` in this object's block."""

        @functools.wraps(func)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return func(*args, **kwargs)

        return inside

    def _stacks(self) -> list[ContextVar[tuple[Any, ...]]]:
        return [vars(cls)["_opened"] for cls in type(self).__mro__ if "_opened" in vars(cls)]


class DefaultManaged(Managed):
    """Managed, and where nothing is open a new object is made and stays open."""

    _makes_default = True
