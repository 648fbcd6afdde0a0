"""Names that are free: of nets in this process, and of blobs in a net."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from contextvars import ContextVar

from caffe2py.graph.reference import ScopedName
from caffe2py.proto.caffe2_pb2 import NetDef

#: The name of the builder of nets that is open now.
builder_prefix: ContextVar[str] = ContextVar("caffe2py_builder_prefix", default="")

_used_net_names: set[str] = set()
_lock = threading.Lock()


def unique_net_name(base: str) -> str:
    """`base`, or base_1, base_2, ... if a net of this process has that name already.

    While a builder of nets is open its name goes before.
    """
    base = "/".join(filter(None, [builder_prefix.get(), base]))
    with _lock:
        name, count = base, 0
        while name in _used_net_names:
            count += 1
            name = f"{base}_{count}"
        _used_net_names.add(name)
    return name


class BlobNames:
    """Which blobs a NetDef defines, kept up to date, and names that it does not use yet.

    The NetDef is open to everybody, so the tables are made anew whenever its size is not the one
    that they know.
    """

    def __init__(self, net: NetDef) -> None:
        self.net = net
        self._read: set[str] = set()
        self._written: set[str] = set()
        self._external: set[str] = set()
        self._reserved: set[str] = set()
        self._taken: defaultdict[str, int] = defaultdict(lambda: 1)
        self._size = (0, 0)
        pattern = re.compile(re.escape(net.name) + r"_blob_(\d+)")
        self._refresh()
        matches = filter(None, map(pattern.fullmatch, self._read | self._written))
        self._next = max((int(match[1]) + 1 for match in matches), default=0)

    def _refresh(self) -> None:
        size = (len(self.net.op), len(self.net.external_input))
        if size == self._size:
            return
        ops, externals = self._size
        if size[0] < ops or size[1] < externals:  # something was taken away
            self._read.clear()
            self._written.clear()
            self._external.clear()
            ops = externals = 0
        for op in self.net.op[ops:]:
            self._read.update(op.input)
            self._written.update(op.output)
        self._external.update(self.net.external_input[externals:])
        self._size = size

    def forget(self) -> None:
        """Make the tables anew at the next question."""
        self._read.clear()
        self._written.clear()
        self._external.clear()
        self._size = (0, 0)

    def is_external(self, name: str) -> bool:
        """Whether the net declares the blob as an external input."""
        self._refresh()
        return name in self._external

    def is_written(self, name: str) -> bool:
        """Whether an operator of the net writes the blob."""
        self._refresh()
        return name in self._written

    def is_defined(self, name: str) -> bool:
        """Whether the blob exists by the end of the net."""
        return self.is_written(name) or name in self._external

    def is_read(self, name: str) -> bool:
        """Whether an operator of the net reads the blob."""
        self._refresh()
        return name in self._read

    def next_name(self, prefix: str | None, output: int | None) -> str:
        """A free name, "net/prefix" or "net/prefix_2", with ":output"; "net_blob_0" without prefix.

        Whether it is taken depends on the current name scope; the numbers count in all scopes. It
        is not reserved: other calls return it too until an operator writes it.
        """
        if not prefix:
            self._next += 1
            return f"{self.net.name}_blob_{self._next - 1}"
        suffix = "" if output is None else f":{output}"
        base = f"{self.net.name}/{prefix}"
        name = base + suffix
        while self.is_defined(ScopedName(name)):
            self._taken[base + suffix] += 1
            name = f"{base}_{self._taken[base + suffix]}{suffix}"
        return name

    def reserve(self, prefix: str) -> str:
        """`prefix`, or prefix_auto_0, ...: a name that is neither defined nor reserved before."""
        name, count = prefix, 0
        while name in self._reserved or self.is_defined(name):
            name = f"{prefix}_auto_{count}"
            count += 1
        self._reserved.add(name)
        return name
