"""A saved predictor, found in its database: two nets, and the parameters as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caffe2py.errors import Error, ModelFormatError
from caffe2py.executor.workspace import Workspace
from caffe2py.graph.operators import CreateOperator
from caffe2py.graph.reference import BlobReference
from caffe2py.predictor.contents import GetBlobs, get_comp_name
from caffe2py.predictor.metanet import read_meta, require_net, sole_name
from caffe2py.predictor_constants import predictor_constants as consts
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.trust import SAFE

__all__ = ["StoredPredictor", "database_type", "read_predictor"]

#: What the first bytes of a database file say, and where they say it.
_KEY_PLACE, _LMDB_PLACE = 8, 16
_LMDB_MAGIC = bytes.fromhex("dec0efbe")
_SUFFIXES = {".minidb": "minidb", ".mdb": "lmdb", ".lmdb": "lmdb"}
_SHOWN = 8


class StoredPredictor(NamedTuple):
    """The net that predicts, what prepares it, and the blobs that were saved.

    `filled` are the inputs that the init net gives a value of their own, `path` is the name under
    which the init net opens the database.
    """

    predict: NetDef
    init: NetDef
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    filled: tuple[str, ...]
    blobs: Mapping[str, Any]
    path: str


def database_type(path: str | os.PathLike[str]) -> str | None:
    """The type of database that a file or folder is by its first bytes or name; None for others."""
    place = Path(path)
    if place.is_dir():
        return "lmdb" if (place / "data.mdb").is_file() else None
    try:
        with place.open("rb") as file:
            start = file.read(_KEY_PLACE + len(consts.META_NET_DEF))
    except OSError:
        start = b""
    if start[_KEY_PLACE:] == consts.META_NET_DEF.encode():
        return "minidb"
    if start[_LMDB_PLACE:].startswith(_LMDB_MAGIC):
        return "lmdb"
    return _SUFFIXES.get(place.suffix.lower())


def read_predictor(path: str, type_: str) -> StoredPredictor:
    """What a database holds; all errors name the file, and the key if it is about one.

    Raises FileError for a missing file, ModelFormatError for a damaged one, for what is no saved
    predictor and where a net or a parameter is missing, UnsupportedError for lmdb without lmdb.
    """
    if Path(path).name == "data.mdb":
        path = os.path.dirname(path) or "."  # noqa: PTH120  (the name under which others open it)
    workspace = Workspace(trust=SAFE.reading(path))
    meta = read_meta(workspace, path, type_)
    name = sole_name(meta, path)
    predict, prepare, load = (
        require_net(meta, kind, name, path)
        for kind in (
            consts.PREDICT_NET_TYPE,
            consts.PREDICT_INIT_NET_TYPE,
            consts.GLOBAL_INIT_NET_TYPE,
        )
    )
    listed = (consts.PARAMETERS_BLOB_TYPE, consts.INPUTS_BLOB_TYPE, consts.OUTPUTS_BLOB_TYPE)
    lists = (GetBlobs(meta, get_comp_name(kind, name)) for kind in listed)
    parameters, inputs, outputs = (tuple(dict.fromkeys(blobs)) for blobs in lists)
    loaded = [blob for op in load.op if _only_loads(op) for blob in op.output]
    blobs = _load(workspace, list(dict.fromkeys([*loaded, *parameters])), path)
    init = _init_net(load, prepare, path, type_)
    filled = tuple(n for n in inputs if sum(n in op.output for op in init.op) > 1)
    return StoredPredictor(predict, init, inputs, outputs, filled, blobs, path)


def _only_loads(op: OperatorDef) -> bool:
    """Whether an operator loads blobs from the database under their own names."""
    return op.type == "Load" and list(op.input) == [consts.PREDICTOR_DBREADER] and not op.arg


def _load(workspace: Workspace, names: Sequence[str], path: str) -> dict[str, Any]:
    reader = BlobReference(consts.PREDICTOR_DBREADER)
    wanted = [BlobReference(name) for name in names]
    if not wanted:
        return {}
    load = CreateOperator("Load", [reader], wanted, allow_incomplete=True)
    try:
        workspace.run_operator_once(load)
    except Error as error:
        raise error if path in str(error.where) else error.with_where(path) from None
    values = {name: workspace.blob(name).value for name in names}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        shown = ", ".join(f"'{name}'" for name in missing[:_SHOWN])
        raise ModelFormatError(
            f"{len(missing)} of {len(names)} parameters are not in it: {shown}", where=path
        )
    return values


def _init_net(load: NetDef, prepare: NetDef, path: str, type_: str) -> NetDef:
    """What is left to do once the parameters are there."""
    ops = [op for op in load.op if not _only_loads(op)]
    if any(consts.PREDICTOR_DBREADER in op.input for op in ops):
        reader = BlobReference(consts.PREDICTOR_DBREADER)
        ops.insert(0, CreateOperator("CreateDB", [], [reader], db=path, db_type=type_))
    return NetDef(name=prepare.name, op=[*ops, *prepare.op])
