"""Caffe2's lazy_dyndep module: libraries with more operators, looked at when operators are needed.

See dyndep for what can be loaded. They are loaded before the next net is created, and by
core.RefreshRegisteredOperators.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from caffe2py import dyndep
from caffe2py.registry.lazy import load_later, load_lazy

__all__ = ["GetImportedOpsLibraries", "RegisterOpsLibrary", "SetErrorHandler"]

log = logging.getLogger(__name__)

_handler: Callable[[BaseException], object] | None = None


def RegisterOpsLibrary(name: str) -> None:
    """Load a library when it is needed; one that does not exist is ignored."""
    if not Path(name).exists():
        log.info("Ignoring %s as it is not a valid file.", name)
        return
    load_later(lambda: _load(name))


def SetErrorHandler(handler: Callable[[BaseException], object] | None) -> None:
    """Call a function with what goes wrong when a library is loaded; None: it is logged."""
    global _handler
    _handler = handler


def GetImportedOpsLibraries() -> set[str]:
    """The libraries that were accepted, those that waited included."""
    load_lazy()
    return dyndep.GetImportedOpsLibraries()


def _load(name: str) -> None:
    try:
        dyndep.InitOpsLibrary(name, trigger_lazy=False)
    except Exception as error:
        if _handler is None:
            log.error("%s", error)
        else:
            _handler(error)
