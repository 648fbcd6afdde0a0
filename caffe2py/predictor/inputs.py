"""Inputs as people write them: `name=x.npy`, `name=photo.jpg`, `name=1x3x8x8:f32:rand`, `x.npz`.

An image becomes float32 (1, 3, height, width): resized (bicubic unless told otherwise, which is
also Pillow's own default), its channels in the order blue, green, red as Caffe2's models expect,
then `(pixel - mean) * scale` with pixels from 0 to 255 and the means in the order of the channels.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe2py.adapters.image import read_image
from caffe2py.errors import Error, FileError, UsageError
from caffe2py.predictor.load import Model
from caffe2py.tensor.tensor import Array, empty
from caffe2py.tensor.types import DType, Shape, TensorType

__all__ = ["ImageOptions", "Invented", "parse_inputs", "read_arrays"]

EXAMPLES = "x.npy, photo.jpg, 1x3x224x224, 1x3x8x8:f32:rand or 10:i64:zeros"

_DTYPES = {
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "u8": np.uint8,
    "u16": np.uint16,
    "bool": np.bool_,
}
_KINDS = ("rand", "zeros", "ones")
_NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_SHOWN = 8


@dataclass(frozen=True)
class ImageOptions:
    """How a picture becomes a tensor. `size` is (height, width); None keeps the picture's own."""

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    scale: float = 1.0
    order: str = "bgr"
    filter_name: str = "bicubic"

    @classmethod
    def parse(
        cls,
        size: str | None = None,
        mean: str | None = None,
        scale: float = 1.0,
        order: str = "bgr",
        filter_name: str = "bicubic",
    ) -> ImageOptions:
        """From what people type: size "227" or "480x640", mean "128" or "104,117,123"."""
        return cls(_size(size), _mean(mean, order), scale, order, filter_name)


@dataclass(frozen=True)
class Invented:
    """An input that is described instead of given: shape, type, and what to fill it with."""

    shape: Shape
    dtype: DType
    kind: str = "rand"

    @property
    def type(self) -> TensorType:
        """Its type, which needs no memory."""
        return TensorType(self.dtype, self.shape)

    def array(self, name: str) -> Array:
        """The array. "rand" is the same in every run: floats in [0, 1), ints 0 to 9, u8 0 to 255.

        Raises MemoryBudgetError where it would not fit.
        """
        out = empty(self.shape, self.dtype)
        if self.kind == "rand":
            out[...] = self._random(np.random.default_rng(zlib.crc32(name.encode())))
        else:
            out[...] = self.kind == "ones"
        return out

    def _random(self, rng: np.random.Generator) -> Array:
        if self.dtype.kind == "f":
            return rng.random(self.shape, np.float32)
        limit = {"b": 2, "u": 256}.get(self.dtype.kind, 10)
        return rng.integers(0, limit, self.shape)


def parse_inputs(
    texts: Sequence[str], model: Model, image: ImageOptions | None = None
) -> dict[str, Array | Invented]:
    """What each `--input` means, by blob name.

    One without a name means the model's only input. Raises UsageError with an example for what
    cannot be understood or what the model does not take, FileError for files that are missing,
    damaged, or hold Python objects.
    """
    found: dict[str, Array | Invented] = {}
    for text in texts:
        name, value = _split(text, model.reads)
        if name:
            model.require_input(name)
        given = _values(name, value, model.data_inputs, image or ImageOptions())
        for blob, array in given.items():
            model.require_input(blob)
            if blob in found:
                raise UsageError(f"input '{blob}' is given twice")
            found[blob] = array
    return found


def read_arrays(path: str | Path) -> dict[str, Array]:
    """The arrays in a file: those of an .npz by name, that of an .npy under the name "".

    Raises FileError for a file that is missing, damaged or something else, and for arrays of
    Python objects, which are never loaded.
    """
    path = Path(path)
    try:
        beginning = _beginning(path)
        if not beginning.startswith((_NPY, _ZIP, _EMPTY_ZIP)):
            raise FileError("is neither .npy nor .npz")
        with path.open("rb") as file:  # numpy leaves files open that it cannot read
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            return {name: loaded[name] for name in loaded.files}
    except Error as error:
        raise error.with_where(str(path)) from None
    except Exception as error:  # a damaged file makes numpy and zipfile raise nearly anything
        raise _unreadable(error, path) from None


# ---------------------------------------------------------------- one --input


def _split(text: str, names: Sequence[str]) -> tuple[str, str]:
    """The name (or "") and the value; a name may contain "=", and so may a file name."""
    known = [n for n in names if text.startswith(f"{n}=")]
    if known:
        name = max(known, key=len)
        return name, text[len(name) + 1 :]
    if "=" in text and not Path(text).exists():
        name, _, value = text.partition("=")
        return name, value
    return "", text


def _values(
    name: str, value: str, names: Sequence[str], image: ImageOptions
) -> dict[str, Array | Invented]:
    spec = _invented(value)
    if spec is not None:
        return {name or _only(names): spec}
    if not value:
        raise UsageError(f"input '{name}' has no value; for example {name}=x.npy")
    path = Path(value)
    try:
        beginning = _beginning(path)
    except FileNotFoundError:
        raise _no_such(value) from None
    except (OSError, ValueError) as error:
        raise _unreadable(error, path) from None
    if beginning.startswith((_NPY, _ZIP, _EMPTY_ZIP)):
        return _arrays(name, path, names)
    return {name or _only(names): picture(path, image)}


def _arrays(name: str, path: Path, names: Sequence[str]) -> dict[str, Array | Invented]:
    arrays = read_arrays(path)
    if "" in arrays:
        return {name or _only(names): arrays[""]}
    if not name:
        return dict(arrays)
    if name not in arrays and len(arrays) != 1:
        raise UsageError(f"'{path}' holds no '{name}'; it holds {_listed(list(arrays))}")
    return {name: arrays[name] if name in arrays else next(iter(arrays.values()))}


def _no_such(value: str) -> Error:
    if re.fullmatch(r"[\d\sx:*,.\w-]*[x:][\w:]*", value) and not Path(value).suffix:
        return UsageError(f"'{value}' is neither a file nor a shape; for example {EXAMPLES}")
    return FileError("no such file", where=value, hint=f"an input is for example {EXAMPLES}")


def _only(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    what = _listed(list(names)) or "none"
    raise UsageError(
        f"the model has {len(names)} inputs ({what}): say which one is meant",
        hint=f"--input {names[0] if names else 'name'}=...",
    )


def _invented(text: str) -> Invented | None:
    match = re.fullmatch(r"(\d+(?:x\d+)*)?(?::(\w+))?(?::(\w+))?", text)
    if not match or not text or (match[1] is None and match[2] is None):
        return None
    dtype, kind = match[2] or "f32", match[3] or "rand"
    if match[2] in _KINDS and match[3] is None:
        dtype, kind = "f32", match[2]
    if dtype not in _DTYPES:
        raise UsageError(
            f"'{dtype}' in '{text}' is no type; known: {', '.join(_DTYPES)}; for example {EXAMPLES}"
        )
    if kind not in _KINDS:
        raise UsageError(
            f"'{kind}' in '{text}' is no filling; known: {', '.join(_KINDS)}; "
            f"for example {EXAMPLES}"
        )
    shape = tuple(int(d) for d in match[1].split("x")) if match[1] else ()
    return Invented(shape, np.dtype(_DTYPES[dtype]), kind)


# ---------------------------------------------------------------- files


def _beginning(path: Path) -> bytes:
    if path.is_dir():
        raise FileError("expected a file, found a folder", where=str(path))
    with path.open("rb") as file:
        return file.read(8)


def _unreadable(error: Exception, path: Path) -> FileError:
    if isinstance(error, FileNotFoundError):
        return FileError("no such file", where=str(path), hint="check the path")
    if "allow_pickle" in str(error):
        return FileError(
            "holds Python objects (a pickle), which are never loaded",
            where=str(path),
            hint="save it with a numeric dtype",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return FileError(f"cannot be read: {reason}", where=str(path))


def picture(path: Path, options: ImageOptions) -> Array:
    """An image file as float32 (1, channels, height, width), by the rule of this module."""
    gray = options.order == "gray"
    pixels = read_image(path, options.size, gray=gray, filter_name=options.filter_name)
    if options.order == "bgr":
        pixels = pixels[:, :, ::-1]
    mean = np.array(options.mean, np.float32)
    planes = (pixels.astype(np.float32) - mean) * np.float32(options.scale)
    return np.ascontiguousarray(planes.transpose(2, 0, 1)[np.newaxis])


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:[xX,](\d+))?", text.strip())
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(size) < 1 or max(size) > 2**16:
        raise UsageError(f"'{text}' is no size; for example 227, or 480x640 (height x width)")
    return size


def _mean(text: str | None, order: str) -> tuple[float, ...]:
    if text is None:
        return (0.0,)
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    channels = 1 if order == "gray" else 3
    if len(values) not in (1, channels) or not np.all(np.isfinite(values)):
        raise UsageError(f"'{text}' is no mean; for example 128, or 104,117,123 (one per channel)")
    return values


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, ... {len(names)} in all"


def types_of(inputs: Mapping[str, Array | Invented]) -> dict[str, TensorType]:
    """The types of parsed inputs, for inference."""
    return {
        name: given.type if isinstance(given, Invented) else TensorType.of(given)
        for name, given in inputs.items()
    }
