"""Files that nets name: anywhere for trusted nets, below allowed folders for all others.

Below a folder means: a relative name without `..`, no symbolic link on the way or at the end, and
at the end a file with one name (a hard link is a door to another place) or a folder. The way is
walked with open folders, so that what was checked is what is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any

from caffe2py.errors import FileError, TrustError
from caffe2py.registry.trust import NEEDS, Trust

__all__ = ["Inside", "child_of", "open_file", "permitted", "require_inside"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Python's modes -> how the file is opened. That it is emptied comes after the checks.
_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


class Inside(str):
    """A path that was found below an allowed folder; `open_file` looks again."""

    folder: str
    parts: tuple[str, ...]

    @classmethod
    def at(cls, folder: str, parts: Sequence[str]) -> Inside:
        """The path of these names below a folder."""
        made = cls(os.path.join(folder, *parts))  # noqa: PTH118  (it stays a string)
        made.folder, made.parts = folder, tuple(parts)
        return made


def permitted(trust: Trust, name: str, *, trusted_path: str, writes: bool) -> str:
    """The path of a file (or folder) that a net names.

    A net that is trusted with files gets `trusted_path`. For others it is an Inside: what is read
    is looked for in each allowed folder, what is written goes to the first one. Databases that the
    user named are read under that very name. Raises TrustError for everything else, and for names
    that lead out of the folder; FileError where nothing is found.
    """
    if trust.allows("files"):
        return trusted_path
    if name in trust.files and not writes:
        return name
    parts = _parts(name)
    if not trust.folders:
        raise _outside(name, "is not allowed", NEEDS["files"][1])
    for folder in trust.folders[:1] if writes else trust.folders:
        found = Inside.at(folder, parts)
        if _check(found) or writes:
            return found
    shown = ", ".join(trust.folders)
    raise FileError("no such file", where=name, hint=f"names in the net begin in {shown}")


def child_of(folder: str, name: str) -> str:
    """The path of a file in a folder, below an allowed one if that is."""
    if isinstance(folder, Inside):
        return Inside.at(folder.folder, (*folder.parts, name))
    return os.path.join(folder, name)  # noqa: PTH118


def open_file(path: str, mode: str, **options: Any) -> IO[Any]:
    """As open(); an Inside is walked to without following links.

    Raises OSError as open() does, TrustError for an Inside that leads out of its folder.
    """
    if not isinstance(path, Inside):
        return open(path, mode, **options)  # noqa: PTH123
    kind = mode.strip("bt")
    flags = _FLAGS[kind] | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with _walked(path) as (parent, last):
        if parent is None:
            raise FileNotFoundError(2, "no such folder", str(path))
        handle = os.open(last, flags, 0o666, dir_fd=parent)
    try:
        _require_plain(path, os.fstat(handle), only_files=True)
        if kind == "w":
            os.ftruncate(handle, 0)
        return open(handle, mode, **options)  # noqa: PTH123
    except BaseException:
        os.close(handle)
        raise


def require_inside(path: str) -> None:
    """Raise TrustError for an Inside that leads out of its folder; other paths are as they are."""
    if isinstance(path, Inside):
        _check(path)


def _outside(name: str, what: str, hint: str | None = None) -> TrustError:
    return TrustError(f"the net names the file {name!r:.200}, which {what}", hint=hint)


def _parts(name: str) -> tuple[str, ...]:
    """The names on the way; TrustError for a name that cannot stay below a folder."""
    path = PurePosixPath(name)
    if path.is_absolute():
        raise _outside(name, "is absolute; expected a name below an allowed folder")
    if ".." in path.parts:
        raise _outside(name, "leads upwards; expected a name below an allowed folder")
    if not path.parts or "\0" in name:
        raise _outside(name, "is no name of a file")
    return path.parts


@contextmanager
def _walked(path: Inside) -> Iterator[tuple[int | None, str]]:
    """The open folder that a path is in (None if there is none), and the last name."""
    handles: list[int] = []
    try:
        yield _walk(path, handles), path.parts[-1]
    finally:
        for handle in handles:
            os.close(handle)


def _walk(path: Inside, handles: list[int]) -> int | None:
    try:
        handles.append(os.open(path.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise FileError(f"is no folder: {error.strerror}", where=path.folder) from None
    for part in path.parts[:-1]:
        try:
            handles.append(os.open(part, _FOLDER, dir_fd=handles[-1]))
        except FileNotFoundError:
            return None
        except OSError as error:
            what = f"has '{part}' on its way, which is no folder of its own"
            raise _outside(path, f"{what}: {error.strerror}") from None
    return handles[-1]


def _check(path: Inside) -> bool:
    """Whether there is such a file or folder; TrustError for what is neither, or linked."""
    with _walked(path) as (parent, last):
        if parent is None:
            return False
        try:
            info = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise FileError(str(error), where=str(path)) from None
        _require_plain(path, info)
        if stat.S_ISDIR(info.st_mode):
            _require_plain_files(path, parent, last)
    return True


def _require_plain(path: str, info: os.stat_result, *, only_files: bool = False) -> None:
    if stat.S_ISLNK(info.st_mode):
        raise _outside(path, "is a symbolic link")
    if stat.S_ISDIR(info.st_mode) and not only_files:
        return
    if not stat.S_ISREG(info.st_mode):
        raise _outside(path, "is a folder, device, pipe or socket")
    if info.st_nlink > 1:
        raise _outside(path, "has a second name (a hard link)")


def _require_plain_files(path: Inside, parent: int, last: str) -> None:
    """The files in a folder are what an lmdb opens by their names."""
    handle = os.open(last, _FOLDER, dir_fd=parent)
    try:
        for name in ("data.mdb", "lock.mdb"):
            try:
                info = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue
            _require_plain(child_of(path, name), info, only_files=True)
    finally:
        os.close(handle)
