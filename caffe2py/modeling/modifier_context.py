"""Optimizers and regularizers that hold for the parameters made within a `with` block."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any, ClassVar, Self

from caffe2py.errors import UsageError

__all__ = [
    "DEFAULT_MODIFIER",
    "ModifierContext",
    "OptimizerContext",
    "RegularizerContext",
    "UseModifierBase",
    "UseOptimizer",
    "UseRegularizer",
]

#: The name of what holds for all parameters.
DEFAULT_MODIFIER = "DEFAULT"

Modifiers = Mapping[str, Any]
_NONE: Modifiers = MappingProxyType({})

_optimizers: ContextVar[Modifiers] = ContextVar("caffe2py_optimizers", default=_NONE)
_regularizers: ContextVar[Modifiers] = ContextVar("caffe2py_regularizers", default=_NONE)


class ModifierContext:
    """Objects by name: a ParameterTag, "DEFAULT", or any name of the user's."""

    what: ClassVar[str] = "modifier"
    variable: ClassVar[ContextVar[Modifiers]]

    def __init__(self, modifiers: Modifiers | None = None) -> None:
        self._modifiers = dict(modifiers or {})

    @classmethod
    def current(cls) -> Self:
        """What holds now."""
        return cls(cls.variable.get())

    def _has(self, name: str) -> bool:
        return name in self._modifiers

    def _get(self, name: str) -> Any:
        if name not in self._modifiers:
            raise UsageError(f"{name} {self.what} is not provided!")
        return self._modifiers[name]


class OptimizerContext(ModifierContext):
    """The optimizers that parameters made now will have."""

    what = "optimizer"
    variable = _optimizers

    def has_optimizer(self, name: str) -> bool:
        """Whether there is one of this name."""
        return self._has(name)

    def get_optimizer(self, name: str) -> Any:
        """The one of this name; UsageError if there is none."""
        return self._get(name)


class RegularizerContext(ModifierContext):
    """The regularizers that parameters made now will have."""

    what = "regularizer"
    variable = _regularizers

    def has_regularizer(self, name: str) -> bool:
        """Whether there is one of this name."""
        return self._has(name)

    def get_regularizer(self, name: str) -> Any:
        """The one of this name; UsageError if there is none."""
        return self._get(name)


class UseModifierBase:
    """`with Use...(object)` for all parameters, or `with Use...({"BIAS": object})`; they nest."""

    context: ClassVar[type[ModifierContext]]

    def __init__(self, modifier_or_dict: Any) -> None:
        plain = isinstance(modifier_or_dict, dict)
        self._modifiers = modifier_or_dict if plain else {DEFAULT_MODIFIER: modifier_or_dict}
        self._tokens: list[Token[Modifiers]] = []

    def __enter__(self) -> Self:
        variable = self.context.variable
        self._tokens.append(variable.set({**variable.get(), **self._modifiers}))
        return self

    def __exit__(self, *error: object) -> None:
        self.context.variable.reset(self._tokens.pop())


class UseOptimizer(UseModifierBase):
    """The optimizers of the parameters made inside, by tag."""

    context = OptimizerContext


class UseRegularizer(UseModifierBase):
    """The regularizers of the parameters made inside, by name."""

    context = RegularizerContext
