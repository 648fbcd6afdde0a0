"""Photos with labels, from folders and lists, as the records that ImageInput reads."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from caffe2py.adapters.image import decode_image, read_image
from caffe2py.errors import FileError, UsageError
from caffe2py.proto.caffe2_pb2 import TensorProto, TensorProtos
from caffe2py.tensor.tensor import Array

__all__ = ["Photo", "Photos", "find_photos", "photo_key", "photo_record", "shuffled"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_LARGEST = 1 << 30  # bytes of a file
_INT32 = 2**31

#: Bytes of a key; an lmdb takes 511.
_LONGEST_KEY = 500


class Photo(NamedTuple):
    """A file, the name that it is known by, and its label."""

    path: Path
    name: str
    label: int


class Photos(NamedTuple):
    """Photos in order; the names of the labels, where they have some; files that are none."""

    photos: Sequence[Photo]
    names: Sequence[str]
    ignored: int


def find_photos(source: str, root: str | None) -> Photos:
    """The photos of a folder with one folder for each label, or of a list of files and labels.

    Paths in a list begin in `root`, by default in the folder of the list. Raises FileError for what
    is missing, UsageError where there are no photos, or lines that cannot be read.
    """
    path = Path(source)
    if not path.exists():
        raise FileError("no such file or folder", where=source, hint="check the path")
    found = _in_folder(path) if path.is_dir() else _in_list(path, Path(root or path.parent))
    if not found.photos:
        raise UsageError(f"'{source}' names no photos")
    return found


def shuffled(photos: Sequence[Photo], seed: int) -> list[Photo]:
    """The photos in another order, which the seed determines."""
    order = list(photos)
    random.Random(seed).shuffle(order)
    return order


def _in_folder(folder: Path) -> Photos:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise UsageError(f"'{folder}' has no folders in it, one for each label")
    photos, ignored = [], 0
    for label, name in enumerate(names):
        for path in sorted(p for p in (folder / name).rglob("*") if p.is_file()):
            if path.suffix.lower() in _SUFFIXES:
                photos.append(Photo(path, path.relative_to(folder).as_posix(), label))
            else:
                ignored += 1
    return Photos(photos, names, ignored)


def _in_list(path: Path, root: Path) -> Photos:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise UsageError(f"'{path}' is no list of files and labels: it is no text") from None
    photos = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, _, text = line.strip().replace("\t", " ").rpartition(" ")  # names hold blanks
            name = name.strip()
            photos.append(Photo(root / name, name, _label(text, name, path, number)))
    return Photos(photos, (), 0)


def _label(text: str, name: str, path: Path, number: int) -> int:
    try:
        label = int(text)
    except ValueError:
        label = _INT32
    if not name or not -_INT32 <= label < _INT32:
        raise UsageError(
            f"{path}, line {number}: expected the name of a file and a label, as in 'a.jpg 3'"
        )
    return label


def photo_key(number: int, photo: Photo) -> bytes:
    """The key of a record: such that the order of keys is that of the records."""
    return f"{number:08d}_{photo.name}".encode(errors="surrogateescape")[:_LONGEST_KEY]


def photo_record(photo: Photo, *, raw: bool, gray: bool, size: tuple[int, bool] | None) -> bytes:
    """A record: the file as it is, or `raw` pixels, and the label.

    `size` is that of the shorter side, or of both. Raises FileError for a file that is missing,
    damaged, no image, or too large.
    """
    if raw:
        image = _pixels(photo.path, gray, size)
        data = TensorProto(data_type=TensorProto.BYTE, dims=image.shape, byte_data=image.tobytes())
    else:
        content = _content(photo.path)
        decode_image(content, gray=gray, where=str(photo.path))
        data = TensorProto(data_type=TensorProto.STRING, dims=[1], string_data=[content])
    label = TensorProto(data_type=TensorProto.INT32, dims=[1], int32_data=[photo.label])
    record: bytes = TensorProtos(protos=[data, label]).SerializeToString()
    return record


def _pixels(path: Path, gray: bool, size: tuple[int, bool] | None) -> Array:
    image = decode_image(_content(path), gray=gray, where=str(path))
    if size is None:
        return image
    height, width = image.shape[:2]
    wanted, warp = size
    shorter = min(height, width)
    new = (wanted, wanted) if warp else (height * wanted // shorter, width * wanted // shorter)
    resized = read_image(path, new, gray=gray, filter_name="box")
    return resized if gray else resized[:, :, ::-1]


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise FileError("no such file", where=str(path), hint="check the path")
        if path.stat().st_size > _LARGEST:
            raise FileError(f"is refused: more than {_LARGEST} bytes", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(path)) from None
