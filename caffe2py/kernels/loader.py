"""Compiled objects made ready to run without LLVM, which takes ten times as long to load as they.

An object is an ELF file with code, constants, and places ("relocations") that want the address of a
constant or of a function of libm. LLVM writes kernels for any distance, so that there are two kinds
of places: whole addresses, and whole distances. Whatever else a file holds is left to LLVM.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from typing import NamedTuple

__all__ = ["load"]

#: The layout of ELF: header, section, symbol, relocation.
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_MAGIC = b"\x7fELF\x02\x01\x01"
_RELOCATABLE, _X86_64 = 1, 62
_PROGBITS, _SYMTAB, _RELA, _NOBITS = 1, 2, 4, 8
_ALLOC = 2
_ADDRESS, _DISTANCE = 1, 24
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1
_READ_AND_EXECUTE = mmap.PROT_READ | mmap.PROT_EXEC

#: Memory that holds code: it stays as long as the process.
_loaded: list[mmap.mmap] = []


class _UnknownError(Exception):
    """The object has something that only LLVM knows."""


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry: int


def load(code: bytes, symbol: str) -> int | None:
    """The address of a function of an object file; None if this loader does not know all of it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        return _Image(code).address(symbol)
    except (_UnknownError, struct.error, ArithmeticError, LookupError, ValueError, OSError):
        return None


class _Image:
    """An object in memory."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        header = _HEADER.unpack_from(code)
        if not header[0].startswith(_MAGIC) or header[1:3] != (_RELOCATABLE, _X86_64):
            raise _UnknownError
        table, count = header[6], header[12]
        step = _SECTION.size
        self.sections = [
            _Section(*_SECTION.unpack_from(code, table + k * step)) for k in range(count)
        ]
        self.places: dict[int, int] = {}
        memory = mmap.mmap(-1, self._lay_out(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.names: dict[str, int] = {}
        self.symbols = self._read_symbols()
        self._copy(memory)
        self._relocate(memory)
        if _libc().mprotect(ctypes.c_void_p(self.start), len(memory), _READ_AND_EXECUTE):
            raise _UnknownError
        _loaded.append(memory)

    def address(self, symbol: str) -> int:
        """Where a symbol of the object is."""
        if symbol not in self.names:
            raise _UnknownError
        return self.names[symbol]

    def _lay_out(self) -> int:
        """Give every section that the code needs a place; how many bytes they take."""
        size = 0
        for index, section in enumerate(self.sections):
            # frames are for exceptions, of which kernels have none
            if section.flags & _ALLOC and section.type == _PROGBITS and section.size:
                self._check(section)
                size = -(-size // section.alignment) * section.alignment
                self.places[index] = size
                size += section.size
            elif section.flags & _ALLOC and section.type == _NOBITS and section.size:
                raise _UnknownError
        return max(size, 1)

    def _check(self, section: _Section) -> None:
        alignment = section.alignment
        if not 0 < alignment <= mmap.PAGESIZE or section.offset + section.size > len(self.code):
            raise _UnknownError

    def _copy(self, memory: mmap.mmap) -> None:
        for index, place in self.places.items():
            section = self.sections[index]
            memory[place : place + section.size] = self.code[
                section.offset : section.offset + section.size
            ]

    def _read_symbols(self) -> list[int | str]:
        """The address of each symbol, or the name of one from elsewhere."""
        found: list[int | str] = []
        for section in self.sections:
            if section.type != _SYMTAB:
                continue
            strings = self.sections[section.link].offset
            for at in range(section.offset, section.offset + section.size, _SYMBOL.size):
                name, _, _, home, value, _ = _SYMBOL.unpack_from(self.code, at)
                text = self.code[strings + name : self.code.index(b"\0", strings + name)].decode()
                if home in self.places:
                    found.append(self.start + self.places[home] + value)
                    self.names[text] = self.start + self.places[home] + value
                else:
                    found.append(text if home == _UNDEFINED else "")
        return found

    def _relocate(self, memory: mmap.mmap) -> None:
        for section in self.sections:
            if section.type != _RELA or section.info not in self.places:
                continue
            base, limit = self.places[section.info], self.sections[section.info].size
            for at in range(section.offset, section.offset + section.size, _RELOCATION.size):
                offset, info, addend = _RELOCATION.unpack_from(self.code, at)
                symbol, kind = self.symbols[info >> 32], info & 0xFFFFFFFF
                if kind not in (_ADDRESS, _DISTANCE) or offset + 8 > limit:
                    raise _UnknownError
                value = addend + (symbol if isinstance(symbol, int) else _elsewhere(symbol))
                if kind == _DISTANCE:
                    value -= self.start + base + offset
                struct.pack_into("<Q", memory, base + offset, value & (1 << 64) - 1)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@functools.cache
def _libm() -> ctypes.CDLL:
    return ctypes.CDLL("libm.so.6")


@functools.cache
def _elsewhere(name: str) -> int:
    """The address of a function of the C library or of libm."""
    for library in (_libm, _libc):
        try:
            return ctypes.cast(getattr(library(), name), ctypes.c_void_p).value or 0
        except AttributeError:
            continue
    raise _UnknownError
