"""Where in a net something happened, as error messages begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caffe2py.errors import Error, KernelError, MemoryBudgetError, ValueRangeError
from caffe2py.proto.caffe2_pb2 import OperatorDef

__all__ = ["located", "operator_place"]


def operator_place(net: str, index: int, op: OperatorDef) -> str:
    """The place of an operator: "net 'n', op #3 FC 'name' (built at train.py:12)"."""
    prefix = f"net '{net}', " if net else ""
    name = f" '{op.name}'" if op.name else ""
    built = f" (built at {op.debug_info})" if op.debug_info else ""
    return f"{prefix}op #{index} {op.type}{name}{built}"


@contextmanager
def located(place: Callable[[], str]) -> Iterator[None]:
    """Add a place to an error that has none; foreign errors of Python become ours."""
    try:
        yield
    except Error as error:
        if error.where is None:
            error.with_where(place())
        raise
    except MemoryError as error:
        raise MemoryBudgetError(f"out of memory: {error}", where=place()) from error
    except (OverflowError, RecursionError) as error:
        raise ValueRangeError(str(error), where=place()) from error
    except Exception as error:
        raise KernelError(f"{type(error).__name__}: {error}", where=place()) from error
