"""NVIDIA's libraries: where the wheels put them, and calls whose status is looked at."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from caffe2py.errors import KernelError, UnsupportedError

#: The types of a function's arguments; pointers and handles are all c_void_p.
Arguments = tuple[type, ...]

#: The sizes in an error's text, put together only when there is an error.
About = Callable[[], str]

SUCCESS = 0


def load(title: str, places: Iterable[tuple[str, str]]) -> ctypes.CDLL:
    """The first library of `places` that there is: (folder under site-packages/nvidia, soname).

    NVIDIA's wheels go before what the system's loader finds by the soname. Needs no GPU and no
    driver. UnsupportedError where there is none.
    """
    places = list(places)
    failures = []
    for name in (*_in_wheels(places), *dict.fromkeys(soname for _, soname in places)):
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            failures.append(str(error))
    raise UnsupportedError(
        f"{title} is not installed, or cannot be loaded: {'; '.join(failures)}",
        hint="needs: pip install caffe2py[cuda13]",
    )


def _in_wheels(places: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Where the wheels have these libraries; `nvidia` is a folder that many wheels share."""
    found = importlib.util.find_spec("nvidia")
    roots = [] if found is None else list(found.submodule_search_locations or ())
    for folder, soname in places:
        for root in roots:
            path = Path(root, folder, soname)
            if path.is_file():
                yield str(path)


def bind(library: Any, name: str, result: type | None, arguments: Arguments) -> Any:
    """A function of a library with its types; UnsupportedError if the library has no such."""
    function = getattr(library, name, None)
    if function is None:
        raise UnsupportedError(
            f"the library has no function {name}: it is older or newer than what is known here",
            hint="needs: pip install caffe2py[cuda13]",
        )
    function.argtypes = arguments
    function.restype = result
    return function


class Calls:
    """Functions of a library that return a status, which is looked at after each call.

    `explain` gives the name of a status, and more where the library knows more.
    """

    def __init__(
        self, library: Any, functions: Mapping[str, Arguments], explain: Callable[[int], str]
    ) -> None:
        self._functions = {
            name: bind(library, name, ctypes.c_int, arguments)
            for name, arguments in functions.items()
        }
        self._explain = explain

    def __call__(self, name: str, *arguments: Any, about: About | None = None) -> None:
        """Call a function; KernelError with its name, the status and `about` if it fails."""
        status = self.status(name, *arguments)
        if status != SUCCESS:
            raise self.failure(name, status, about)

    def status(self, name: str, *arguments: Any) -> int:
        """Call a function and return its status, whatever it is."""
        status: int = self._functions[name](*arguments)
        return status

    def failure(self, name: str, status: int, about: About | None = None) -> KernelError:
        """The error for a status."""
        text = self._explain(status)
        hint = "see driver and devices with: caffe2py doctor" if "NOT_INIT" in text else None
        sizes = "" if about is None else f"; {about()}"
        return KernelError(f"{name}: {text} ({status}){sizes}", hint=hint)


class Handle:
    """A library's context on the device that is current when it is made: on its first use.

    It remembers stream and workspace, so that both may be given before. One thread at a time may
    use it. Making and destroying it is not allowed while a stream is captured.
    """

    _create: str
    _destroy: str
    _set_stream: str

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._handle: int | None = None
        self._stream = 0
        self._workspace = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def open(self) -> int:
        """The handle, made now if there is none; KernelError without a device."""
        if self._handle is None:
            handle = ctypes.c_void_p()
            self._calls(self._create, ctypes.byref(handle))
            self._handle = handle.value or 0
            try:
                self._prepare(self._handle)
            except KernelError:
                self.close()
                raise
        return self._handle

    def set_stream(self, stream: int) -> None:
        """Use this CUDA stream from now on; 0 is the default stream."""
        if stream != self._stream:
            self._stream = stream
            if self._handle is not None:
                self._place(self._handle)

    def workspace(self, address: int, size: int) -> None:
        """Use these bytes of device memory, which the caller keeps, from now on."""
        self._workspace = (address, size)
        if self._handle is not None:
            self._place(self._handle)

    def close(self) -> None:
        """Free the handle, after waiting for its device; the next use makes a new one."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._calls(self._destroy, handle)

    def _prepare(self, handle: int) -> None:
        """Set up a new handle."""
        self._place(handle)

    def _place(self, handle: int) -> None:
        """Tell the library about stream and workspace."""
        self._calls(self._set_stream, handle, self._stream)
