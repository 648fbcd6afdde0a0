"""Checkpoints: the whole state of a training, in one file that is complete or not there.

A checkpoint is an .npz without pickles: an array for each tensor, a BlobProto for each string, and
`manifest.json`, which has the SHA-256 of each of them; the SHA-256 of the manifest is the archive's
comment. NumPy reads the weights of one like those of any .npz.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caffe2py.errors import Error, FileError, ModelFormatError
from caffe2py.proto.files import replace_file
from caffe2py.tensor.serialize import blob_from_proto, parse_blob, serialize_blob
from caffe2py.tensor.types import STRING
from caffe2py.training.workspace import RandomStates

__all__ = ["Checkpoint", "newest", "read_checkpoint", "saved", "write_checkpoint"]

_NAME = re.compile(r"checkpoint-(\d{10})\.npz")
_LITTER = re.compile(r"\.[0-9a-f]{16}\.tmp")
_MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A training after `iteration` iterations, which took `seconds`."""

    iteration: int
    seconds: float
    values: dict[str, Any] = field(default_factory=dict)
    random: RandomStates = field(default_factory=dict)


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first, whether they are sound or not."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(folder)) from None
    return [folder / name for name in sorted(filter(_NAME.fullmatch, names), reverse=True)]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint and then delete all but the last `keep`; FileError where it cannot be."""
    path = folder / f"checkpoint-{checkpoint.iteration:010d}.npz"
    replace_file(path, _packed(checkpoint))
    for old in saved(folder)[keep:]:
        old.unlink(missing_ok=True)
    return path


def remove_litter(folder: Path) -> None:
    """Delete what a killed process was writing."""
    for path in [p for p in folder.iterdir() if _LITTER.fullmatch(p.name)]:
        path.unlink(missing_ok=True)


def newest(folder: Path) -> tuple[Path | None, Checkpoint | None, list[str]]:
    """The newest sound checkpoint, if there is one, and what is wrong with those after it.

    Raises ModelFormatError if there are some and none is sound.
    """
    wrong: list[str] = []
    for path in saved(folder):
        try:
            return path, read_checkpoint(path), wrong
        except Error as error:
            wrong.append(str(error))
    if wrong:
        raise ModelFormatError(
            f"none of {len(wrong)} checkpoint(s) is sound; {wrong[0]}", where=str(folder)
        )
    return None, None, []


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint whose every byte is what was written.

    Raises FileError for a file that cannot be opened, ModelFormatError for a damaged one.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            return _unpacked(archive)
    except Error as error:
        raise error.with_where(str(path)) from None
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except Exception as error:  # a damaged archive makes zipfile and json raise nearly anything
        raise ModelFormatError(f"is no sound checkpoint: {error}", where=str(path)) from None


# ---------------------------------------------------------------- the archive


def _packed(checkpoint: Checkpoint) -> bytes:
    buffer = io.BytesIO()
    members: dict[str, dict[str, str]] = {}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, member, data in _members(checkpoint.values):
            members[name] = {"member": member, "sha256": hashlib.sha256(data).hexdigest()}
            archive.writestr(zipfile.ZipInfo(member), data)
        manifest = {
            "format": _FORMAT,
            "iteration": checkpoint.iteration,
            "seconds": checkpoint.seconds,
            "random": [[*key, *state] for key, state in checkpoint.random.items()],
            "blobs": members,
        }
        text = json.dumps(manifest, indent=1).encode()
        archive.writestr(zipfile.ZipInfo(_MANIFEST), text)
        archive.comment = hashlib.sha256(text).hexdigest().encode()
    return buffer.getvalue()


def _members(values: dict[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    for number, (name, value) in enumerate(values.items()):
        stem = name if name.isprintable() else f"blob {number}"
        if isinstance(value, bytes) or value.dtype == STRING:
            yield name, f"{stem}.blob", serialize_blob(name, value)
            continue
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, value, allow_pickle=False)
        yield name, f"{stem}.npy", buffer.getvalue()


def _unpacked(archive: zipfile.ZipFile) -> Checkpoint:
    text = archive.read(_MANIFEST)
    if hashlib.sha256(text).hexdigest().encode() != archive.comment:
        raise ModelFormatError("its manifest is not what was written")
    manifest = json.loads(text)
    if manifest["format"] != _FORMAT:
        raise ModelFormatError(
            f"has the format {manifest['format']}, known is {_FORMAT}",
            hint="the version of caffe2py that wrote it",
        )
    values = {}
    for name, entry in manifest["blobs"].items():
        data = archive.read(entry["member"])
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ModelFormatError(f"blob '{name}' is not what was written")
        values[name] = _value(entry["member"], data)
    random = {(str(n), int(k), int(i)): (int(a), int(b)) for n, k, i, a, b in manifest["random"]}
    return Checkpoint(int(manifest["iteration"]), float(manifest["seconds"]), values, random)


def _value(member: str, data: bytes) -> Any:
    if member.endswith(".blob"):
        return blob_from_proto(parse_blob(data), opens=False)
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
