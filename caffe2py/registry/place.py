"""Where in a net something happened, as error messages begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caffe2py.errors import Error, KernelError, MemoryBudgetError, ValueRangeError
from caffe2py.proto.caffe2_pb2 import OperatorDef

__all__ = ["located", "note_place", "operator_place"]

#: How the note begins that an exception of a user's function gets.
_NOTE = "raised in "


def operator_place(net: str, index: int, op: OperatorDef) -> str:
    """The place of an operator: "net 'n', op #3 FC 'name' (built at train.py:12)"."""
    prefix = f"net '{net}', " if net else ""
    name = f" '{op.name}'" if op.name else ""
    built = f" (built at {op.debug_info})" if op.debug_info else ""
    return f"{prefix}op #{index} {op.type}{name}{built}"


def note_place(error: BaseException, place: str) -> None:
    """Say where the exception of a user's function was raised; it stays what it is otherwise."""
    if not _is_noted(error):
        error.add_note(f"{_NOTE}{place}")


def _is_noted(error: BaseException) -> bool:
    return any(note.startswith(_NOTE) for note in getattr(error, "__notes__", ()))


@contextmanager
def located(place: Callable[[], str]) -> Iterator[None]:
    """Add a place to an error that has none; foreign errors of Python become ours.

    An exception that a user's function raised, which note_place knows, passes as it is.
    """
    try:
        yield
    except Error as error:
        here = place()
        if error.where is None or not error.where.startswith(here):
            error.with_where(
                here
            )  # before the place in a net of the operator's own, if there is one
        raise
    except Exception as error:
        if _is_noted(error):
            raise
        if isinstance(error, MemoryError):
            raise MemoryBudgetError(f"out of memory: {error}", where=place()) from error
        if isinstance(error, OverflowError | RecursionError):
            raise ValueRangeError(str(error), where=place()) from error
        raise KernelError(f"{type(error).__name__}: {error}", where=place()) from error
