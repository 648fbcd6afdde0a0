"""Name scopes that use the parameters of other name scopes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from caffe2py.errors import UsageError
from caffe2py.graph.scope import SEPARATOR, CurrentNameScope

__all__ = ["ParameterSharing", "ParameterSharingContext", "parameter_sharing_context"]

_NONE: Mapping[str, str] = MappingProxyType({})
_shared: ContextVar[Mapping[str, str]] = ContextVar("caffe2py_shared_scopes", default=_NONE)


class ParameterSharingContext:
    """Where the parameters are that are created now."""

    def get_parameter_name(self, name: str) -> str:
        """The blob's name: `name` in the current name scope, or in the scope that this shares."""
        return _resolved(CurrentNameScope(), _shared.get()) + name


parameter_sharing_context = ParameterSharingContext()


@contextmanager
def ParameterSharing(shared_scopes: Mapping[str, str]) -> Iterator[None]:
    """Let the scopes that are keys use the parameters of the scopes that are values.

    Both are taken below the current name scope. `{"b": "a"}` makes 'b/w' mean 'a/w'; the overrides
    apply again to what they lead to, so `{"b": "a", "b/inner": "b"}` makes 'b/inner/w' mean 'a/w'.
    UsageError where a scope would be overridden with one below itself.
    """
    outer = CurrentNameScope()
    overrides = dict(_shared.get())
    for scope, target in shared_scopes.items():
        if target.startswith(scope):
            raise UsageError(
                f"Illegal override for parameter sharing. {scope} is prefix of {target}"
            )
        overrides[_closed(outer + scope)] = _closed(outer + target)
    token = _shared.set(overrides)
    try:
        yield
    finally:
        _shared.reset(token)


def _closed(scope: str) -> str:
    return scope if not scope or scope.endswith(SEPARATOR) else scope + SEPARATOR


def _resolved(scope: str, overrides: Mapping[str, str]) -> str:
    """The scope after all overrides, of which the longest one holds at each step."""
    for _ in range(len(overrides) + 1):
        matching = [known for known in overrides if known and scope.startswith(known)]
        longest = max(matching, key=len, default="")
        if not longest or overrides[longest] == longest:
            return scope
        scope = overrides[longest] + scope.removeprefix(longest)
    raise UsageError(f"shared scopes lead in a circle: {dict(overrides)}")
