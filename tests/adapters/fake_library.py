"""Libraries of NVIDIA's kind that compute on the host, called through C as the binding says."""

import ctypes

import numpy as np


class FakeLibrary:
    """Its methods are its functions, called from C: what has a wrong type arrives wrong.

    `functions` is the binding's table; `texts` the names whose results are no status. `calls` are
    (name, arguments) in their order, `fails` is name -> status, `live` what was made and not freed.
    """

    def __init__(self, functions, texts=()):
        self.calls = []
        self.fails = {}
        self.live = {}
        self.broken = []
        self._next = 0x1000
        for name, types in functions.items():
            call = ctypes.CFUNCTYPE(ctypes.c_int, *types)(self._checked(name))
            setattr(self, name, call)
        for name in texts:
            method = getattr(self, f"do_{name}")
            setattr(self, name, lambda *arguments, method=method: method(*arguments))

    def _checked(self, name):
        method = getattr(self, f"do_{name}")

        def call(*arguments):
            arguments = tuple(0 if a is None else a for a in arguments)
            self.calls.append((name, arguments))
            if name in self.fails:
                return self.fails[name]
            try:
                status = method(*arguments)
            except Exception as error:  # it must not pass through C
                self.broken.append(f"{name}: {error!r}")
                return -1
            return status or 0

        return call

    def make(self, where, what):
        """Something new, its handle stored at an address."""
        self._next += 0x10
        self.live[self._next] = what
        ctypes.c_void_p.from_address(where).value = self._next

    def names(self):
        """The functions called since this was asked last."""
        names = [name for name, _ in self.calls]
        self.calls.clear()
        return names


def array_at(address, dtype, shape, strides):
    """The array at a host address; strides count elements."""
    dtype = np.dtype(dtype)
    if 0 in shape:
        return np.empty(shape, dtype)
    count = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    buffer = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    flat = np.frombuffer(buffer, dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, [s * dtype.itemsize for s in strides])


def put(address, ctype, value):
    """Store a number at an address."""
    ctype.from_address(address).value = value


def get(address, ctype):
    """The number at an address."""
    return ctype.from_address(address).value
