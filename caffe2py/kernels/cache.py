"""A folder of files that only their owner may write, each named by a hash of what it depends on.

What is read here becomes machine code, so nothing is taken from a folder or a file that others
could have written: it is as if it were not there. A file is written whole or not at all, and begins
with a hash of its contents, so a damaged one is not there either. Nothing that goes wrong with
folder or disk is an error: without them, kernels are compiled in every process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from caffe2py.errors import UsageError

__all__ = ["cache_folder", "prune", "read", "refused", "write"]

_log = logging.getLogger(__name__)
_DIGEST = hashlib.sha256().digest_size
_BUDGET = 512 << 20
_DAY = 86400
#: A part of a name that no hash has: files being written, and the time of the last clearance.
_TEMPORARY, _CLEARED = ".tmp", "cleared.tmp"


def cache_folder() -> Path:
    """CAFFE2PY_CACHE_DIR, or caffe2py/objects in the user's cache folder."""
    own = os.environ.get("CAFFE2PY_CACHE_DIR")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "caffe2py" / "objects"


def refused() -> bool:
    """Whether the folder is there but not used, since others can write to it."""
    try:
        return not _ours(cache_folder().stat())
    except (OSError, RuntimeError):
        return False


def _budget() -> int:
    """Bytes that the folder may take: CAFFE2PY_CACHE_BYTES, or 512 MB."""
    own = os.environ.get("CAFFE2PY_CACHE_BYTES", "")
    if own and not own.isdecimal():
        raise UsageError(f"CAFFE2PY_CACHE_BYTES is {own!r}; expected a number of bytes")
    return int(own) if own else _BUDGET


def read(name: str) -> bytes | None:
    """The contents of a file; None if there is none that can be trusted."""
    try:
        with _opened() as folder:
            content = _content(name, folder)
    except (OSError, RuntimeError):  # RuntimeError: nobody knows the home folder
        return None
    if content is None or hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
        return content and content[_DIGEST:]
    _log.warning("%s in %s is damaged and will be made anew", name, cache_folder())
    return None


def _content(name: str, folder: int) -> bytes | None:
    # without waiting for a writer, should it be a pipe
    handle = os.open(
        name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder
    )
    with os.fdopen(handle, "rb") as file:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or not _ours(info):
            _warn(f"{name} in {cache_folder()} can be written by others and is not used")
            return None
        if time.time() - info.st_mtime > _DAY:
            with contextlib.suppress(OSError):
                os.utime(handle)  # still in use, so the last to be cleared away
        return file.read()


def write(name: str, content: bytes) -> None:
    """Keep a file, if that is possible, and now and then clear away what nobody has used.

    Raises UsageError for a CAFFE2PY_CACHE_BYTES that is no number.
    """
    temporary = f"{secrets.token_hex(8)}{_TEMPORARY}"
    budget = _budget()
    try:
        with _opened(create=True) as folder:
            _write_whole(name, temporary, hashlib.sha256(content).digest() + content, folder)
            if _time_to_clear(folder):
                prune(budget)
    except (OSError, RuntimeError) as error:
        _log.info("%s is not kept: %s", name, error)


def _write_whole(name: str, temporary: str, content: bytes, folder: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


# ---------------------------------------------------------------- whom to trust


@contextlib.contextmanager
def _opened(*, create: bool = False) -> Iterator[int]:
    """The folder, which stays the one that was looked at; OSError if others may write to it."""
    path = cache_folder()
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        if not create:
            raise
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, flags)
    try:
        if not _ours(os.fstat(handle)):
            message = f"{path} can be written by others: compiled kernels are not kept (chmod 700)"
            _warn(message)
            raise PermissionError(message)
        yield handle
    finally:
        os.close(handle)


def _ours(info: os.stat_result) -> bool:
    """Whether nobody but this user and the administrator can write to it."""
    return info.st_uid in (os.geteuid(), 0) and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _warn(message: str) -> None:
    """Say it once."""
    _log.warning("%s", message)


# ---------------------------------------------------------------- clearing away


def _time_to_clear(folder: int) -> bool:
    """Whether it was last done a day ago, by any process."""
    try:
        recent = time.time() - os.stat(_CLEARED, dir_fd=folder).st_mtime < _DAY
    except FileNotFoundError:
        recent = False
    if not recent:
        os.close(os.open(_CLEARED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder))
        os.utime(_CLEARED, dir_fd=folder)
    return not recent


def prune(budget: int) -> None:
    """Delete what was not used for longest, until the rest takes no more than `budget` bytes.

    A process that reads a file meanwhile reads it to the end; one that comes later compiles.
    """
    with _opened() as folder:
        files = []
        for entry in os.scandir(folder):
            if entry.is_file(follow_symlinks=False) and entry.name != _CLEARED:
                with contextlib.suppress(FileNotFoundError):
                    info = entry.stat(follow_symlinks=False)
                    files.append((info.st_mtime, info.st_size, entry.name))
        total = sum(size for _, size, _ in files)
        for used, size, name in sorted(files):
            left_over = name.endswith(_TEMPORARY) and time.time() - used > _DAY
            if total > budget or left_over:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                total -= size
