"""References to blobs: a name, and perhaps the net that the blob belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from caffe2py.errors import UsageError
from caffe2py.graph.scope import SEPARATOR, CurrentNameScope


class Builder(Protocol):
    """What a reference needs of its net."""

    def operator_method(self, op_type: str) -> Callable[..., Any]:
        """What adds an operator of this type: `method(inputs, outputs, **arguments)`."""


class BlobReference:
    """The name of a blob, and the net to which `blob.Relu([], "y")` adds an operator.

    Equal to a string of the same name, with the same hash. `blob + "_w"` is a reference too.
    """

    def __init__(self, name: str | bytes | BlobReference, net: Any = None) -> None:
        self._name = _text(name)
        self._from_net: Any = net
        if net is None and isinstance(name, BlobReference):
            self._from_net = name.Net()

    def Net(self) -> Any:
        """The net it belongs to, or None."""
        return self._from_net

    def GetNameScope(self) -> str:
        """The scopes in the name, with the last "/"; "" if there are none."""
        head, separator, _ = self._name.rpartition(SEPARATOR)
        return head + separator

    def GetUnscopedName(self) -> str:
        """The name without its scopes."""
        return self._name.rpartition(SEPARATOR)[2]

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f'BlobReference("{self._name}")'

    def __hash__(self) -> int:
        return hash(self._name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str | BlobReference) and self._name == str(other)

    def __add__(self, other: str) -> BlobReference:
        return BlobReference(self._name + _addend(other), self._from_net)

    def __radd__(self, other: str) -> BlobReference:
        return BlobReference(_addend(other) + self._name, self._from_net)

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        """An operator with this blob as its first input, added to the blob's net."""
        if op_type.startswith("_"):
            raise AttributeError(f"Attribute {op_type} not found.")
        if self._from_net is None:
            raise AttributeError(
                "You cannot use a blob reference that does not have a net source to create "
                f"operators; use the net itself: net.{op_type}({self._name!r}, ...)"
            )
        net: Builder = self._from_net
        method = net.operator_method(op_type)

        def build(inputs: Any = None, outputs: Any = None, **kwargs: Any) -> Any:
            rest = [] if inputs is None else inputs
            rest = list(rest) if isinstance(rest, list | tuple) else [rest]
            return method([self, *rest], outputs, **kwargs)

        return build

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(dir(self._from_net) if self._from_net else ())})


def _text(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, str | BlobReference):
        return str(name)
    raise UsageError(f"the name of a blob is a string, found {name!r:.80}")


def _addend(value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"Cannot add BlobReference to a non-string: {value!r:.80}")
    return value


def ScopedName(name: Any) -> Any:
    """`name` inside the current name scope: a string, or a reference for a reference."""
    if isinstance(name, BlobReference):
        return CurrentNameScope() + name if CurrentNameScope() else name
    return CurrentNameScope() + _text(name)


def ScopedBlobReference(name: Any, net: Any = None) -> BlobReference:
    """A reference to the blob of this name inside the current name scope."""
    return BlobReference(ScopedName(name), net)


def blob_names(blobs: Any, what: str) -> list[str]:
    """The names that inputs or outputs mean: one blob or a list of them.

    Strings get the current name scope, references stay as they are. UsageError for anything else;
    `what` is what the blobs are called there.
    """
    if isinstance(blobs, str | bytes | BlobReference):
        blobs = [blobs]
    if not isinstance(blobs, list | tuple):
        raise UsageError(f"{what}: expected a blob or a list of blobs, found {blobs!r:.80}")
    return [_scoped(blob, f"{what} #{index}") for index, blob in enumerate(blobs)]


def _scoped(blob: object, what: str) -> str:
    if isinstance(blob, BlobReference):
        return str(blob)
    if isinstance(blob, str | bytes):
        return CurrentNameScope() + _text(blob)
    raise UsageError(f"{what}: expected the name of a blob, found {blob!r:.80}")
