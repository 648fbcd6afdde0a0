"""What an optimizer can be told: options declared once, bound by one constructor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from caffe2py.errors import UsageError

__all__ = ["AGGREGATOR", "ENGINE", "LARS", "POLICY", "REQUIRED", "Option", "bind", "option"]

#: The default of an option that has to be given.
REQUIRED = Parameter.empty


@dataclass(frozen=True, eq=False)
class Option:
    """One option: its default, what it means, and what becomes of the value that is given."""

    default: Any
    meaning: str
    convert: Callable[[Any], Any] | None = None

    def value(self, given: Any) -> Any:
        """What the optimizer's attribute is to hold."""
        return given if self.convert is None else self.convert(given)


def option(default: Any, meaning: str, convert: Callable[[Any], Any] | None = None) -> Any:
    """What a class body assigns to make an attribute an option, positional in this order."""
    return Option(default, meaning, convert)


#: Options of several optimizers.
POLICY: Any = Option("fixed", "how the rate changes; its own arguments follow as keywords")
AGGREGATOR: Any = Option(None, 'what equal rows of a sparse gradient become: their "sum" or "mean"')
ENGINE: Any = Option("", "the engine of the operators")
LARS: Any = Option(None, "the offset of LARS, which then scales the rate of dense gradients")


def declared(owner: type, inherited: Mapping[str, Option]) -> dict[str, Option]:
    """A class's options in the order of its positional arguments: its own, then its base's."""
    own = {name: value for name, value in vars(owner).items() if isinstance(value, Option)}
    return {**own, **{name: inherited[name] for name in inherited if name not in own}}


def bind(
    owner: str, options: Mapping[str, Option], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The value of each option, and the arguments that are none.

    UsageError if there are more positional arguments than options, if an option is given twice or
    if one without a default is not given.
    """
    known = f"its options are {', '.join(options)}" if options else "it has no options"
    if len(args) > len(options):
        raise UsageError(f"{owner} got {len(args)} positional arguments; {known}")
    given = dict(zip(options, args, strict=False))
    for name in given.keys() & kwargs.keys():
        raise UsageError(f"{owner} got its option {name} twice; {known}")
    given.update(kwargs)
    values = {}
    for name, declaration in options.items():
        value = given.pop(name, declaration.default)
        if value is REQUIRED:
            raise UsageError(f"{owner} needs its option {name}; {known}")
        values[name] = declaration.value(value)
    return values, given


def signature(options: Mapping[str, Option], takes_more: bool) -> inspect.Signature:
    """What help() and editors show of the constructor."""

    def parameters() -> Iterator[Parameter]:
        for name, declaration in options.items():
            yield Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=declaration.default)
        if takes_more:
            yield Parameter("kwargs", Parameter.VAR_KEYWORD)

    return inspect.Signature(list(parameters()))


def documented(doc: str | None, options: Mapping[str, Option]) -> str | None:
    """A class's docstring with a line for each option."""
    if not options:
        return doc
    lines = []
    for name, one in options.items():
        default = "required" if one.default is REQUIRED else f"default {one.default!r}"
        lines.append(f"{name}: {one.meaning} ({default})")
    return inspect.cleandoc(doc or "") + "\n\nOptions:\n" + "\n".join(f"    {x}" for x in lines)
