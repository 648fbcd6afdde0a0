"""What Python raises where a model is damaged, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caffe2py.errors import MemoryBudgetError, ModelFormatError

__all__ = ["damage_named"]


@contextmanager
def damage_named() -> Iterator[None]:
    """Errors of Python's that a damaged model causes, as ours."""
    try:
        yield
    except UnicodeError:
        raise ModelFormatError("a name or text in the model is not UTF-8") from None
    except (RecursionError, OverflowError) as error:
        raise ModelFormatError(f"the model asks for what cannot be: {error}") from None
    except MemoryError:
        raise MemoryBudgetError("not enough memory for the model") from None
