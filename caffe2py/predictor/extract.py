"""The weights of a model, as arrays and as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe2py.adapters.tensors_file import safetensors_content
from caffe2py.errors import ModelFormatError, UsageError
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.load import Model, only_fills
from caffe2py.predictor.save import write_arrays
from caffe2py.predictor.session import Session
from caffe2py.proto.analysis import produced
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import replace_file
from caffe2py.tensor.tensor import Array

__all__ = ["model_weights", "require_weights_file", "write_weights"]

_SUFFIXES = (".npz", ".safetensors")


def model_weights(model: Model) -> dict[str, Any]:
    """What the init net makes, or the database holds, and the predict net reads; not the inputs.

    Of a net of fills alone, an init net without its partner, all that it makes. Raises what the
    init net raises, ModelFormatError if there are no weights.
    """
    net = model.predict
    if model.init is None and isinstance(net, NetDef) and only_fills(net):
        workspace = Workspace(trust=model.trust)
        workspace.run_net_once(net)
        names = list(produced(net))
    else:
        workspace = Session(model).workspace
        found = dict.fromkeys([*model.blobs, *model.reads])
        names = [n for n in found if n not in model.inputs and n not in model.stand_ins]
    weights = {
        name: workspace.fetch(name)
        for name in names
        if (blob := workspace.find(name)) is not None and blob.value is not None
    }
    if not weights:
        why = model.notes[0] if model.notes else "there are no weights in it"
        raise ModelFormatError(why, where=model.predict_file or None)
    return weights


def require_weights_file(path: str) -> None:
    """Raise UsageError for a file whose ending is none that `write_weights` writes."""
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise UsageError(f"'{path}' ends in none of {', '.join(_SUFFIXES)}")


def write_weights(path: str, weights: Mapping[str, Array]) -> None:
    """Write arrays by name to an .npz or .safetensors, which appears in full or not at all.

    Raises UsageError for another ending, FileError where it cannot be written, UnsupportedError for
    .safetensors without the package and for texts in it.
    """
    require_weights_file(path)
    if Path(path).suffix.lower() == ".npz":
        write_arrays(path, weights)
    else:
        replace_file(path, safetensors_content(weights))
