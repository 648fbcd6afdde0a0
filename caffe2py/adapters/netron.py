"""Netron, a viewer of nets in the browser. Needs netron (`pip install caffe2py[netron]`)."""

from __future__ import annotations

import os
from typing import Any

from caffe2py.errors import FileError, UnsupportedError

__all__ = ["serve", "stop", "wait"]

#: Nobody but this machine may look.
_HOST = "127.0.0.1"


def serve(path: str | os.PathLike[str], port: int = 0, *, browse: bool) -> str:
    """Show the net in a file; the address. With `browse` a browser opens it.

    UnsupportedError where Netron is not installed, FileError for a port that is taken.
    """
    netron = _netron()
    try:
        host, chosen = netron.start(os.fspath(path), address=(_HOST, port), browse=browse)
    except OSError as error:
        raise FileError(f"port {port} cannot be used: {error.strerror}", hint="--port 0") from None
    return f"http://{host}:{chosen}"


def wait() -> None:
    """Wait until somebody interrupts."""
    _netron().wait()


def stop() -> None:
    """Show nothing any more."""
    _netron().stop()


def _netron() -> Any:
    try:
        import netron
    except ImportError:
        raise UnsupportedError(
            "showing nets in a browser needs Netron; needs: pip install caffe2py[netron]",
            hint="caffe2py draw writes an .svg without it",
        ) from None
    return netron
