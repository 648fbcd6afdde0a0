"""Weights from files into a workspace, by name.

load_weights("weights.npz")                         # into the current workspace
load_weights("model/", workspace, names=["fc_w"])   # of a saved model, these only
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from caffe2py.adapters.tensors_file import safetensors_arrays
from caffe2py.errors import DTypeError, Error, MissingBlobError, ShapeError
from caffe2py.executor.session import current
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.extract import model_weights
from caffe2py.predictor.inputs import read_arrays
from caffe2py.predictor.load import load_model
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import dtype_name, shape_text

__all__ = ["load_weights", "read_weights"]

_SHOWN = 5


def read_weights(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays in an .npz or a .safetensors; else the weights of the model that is there.

    A model is what `caffe2py run` takes: an init net, a folder, a saved predictor. Raises FileError
    for a file that cannot be read, ModelFormatError for one that is no model.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        return read_arrays(Path(path))
    if suffix == ".safetensors":
        return safetensors_arrays(os.fspath(path))
    found = model_weights(load_model(path, apart=True))
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def load_weights(
    path: str | os.PathLike[str],
    workspace: Workspace | None = None,
    *,
    names: Iterable[str] | None = None,
) -> dict[str, Array]:
    """Feed the weights in a file to the blobs of their names, and return them.

    `names` are those to load, and must all be there; otherwise all are. A blob that holds a tensor
    keeps its type and shape. Nothing is fed before everything has been checked. Raises what
    read_weights raises, MissingBlobError for a name that is not in the file, ShapeError and
    DTypeError for weights that do not fit their blob.
    """
    target = workspace or current()
    found = read_weights(path)
    wanted = list(found) if names is None else [str(name) for name in names]
    try:
        _require(wanted, found)
        for name in wanted:
            _require_fitting(name, found[name], target)
    except Error as error:
        raise error.with_where(os.fspath(path)) from None
    for name in wanted:
        target.feed(name, found[name])
    return {name: found[name] for name in wanted}


def _require(wanted: Iterable[str], found: dict[str, Array]) -> None:
    missing = [name for name in wanted if name not in found]
    if not missing:
        return
    near = difflib.get_close_matches(missing[0], found, 2, 0.6)
    shown = ", ".join(f"'{name}'" for name in missing[:_SHOWN])
    more = f", ... {len(missing)} in all" if len(missing) > _SHOWN else ""
    guess = f"; did you mean {' or '.join(near)}?" if near else ""
    raise MissingBlobError(f"there are no weights {shown}{more}{guess}")


def _require_fitting(name: str, array: Array, workspace: Workspace) -> None:
    blob = workspace.find(name)
    held = None if blob is None else blob.array
    if held is None:
        return
    if held.shape != array.shape:
        raise ShapeError(
            f"'{name}' is {shape_text(array.shape)}, and the blob has {shape_text(held.shape)}"
        )
    if held.dtype != array.dtype:
        raise DTypeError(
            f"'{name}' is {dtype_name(array.dtype)}, and the blob has {dtype_name(held.dtype)}"
        )
