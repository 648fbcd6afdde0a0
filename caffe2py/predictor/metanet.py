"""The table of contents of a saved predictor, and the errors for what is none."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.errors import DTypeError, Error, ModelFormatError, ShapeError
from caffe2py.executor.workspace import Workspace
from caffe2py.graph.operators import CreateOperator
from caffe2py.graph.reference import BlobReference
from caffe2py.predictor.contents import GetNet, get_comp_name
from caffe2py.predictor.serde import deserialize_protobuf_struct
from caffe2py.predictor_constants import predictor_constants as consts
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.metanet_pb2 import MetaNetDef
from caffe2py.registry.infer_net import Walk
from caffe2py.registry.trust import SAFE
from caffe2py.tensor.types import TensorType

__all__ = ["read_meta", "require_fitting", "require_net", "sole_name"]

_SHOWN = 5


def read_meta(workspace: Workspace, path: str, type_: str) -> MetaNetDef:
    """The table of contents of a database; leaves the open reader and the table in blobs.

    FileError for a missing file, ModelFormatError for a damaged one and for no saved predictor.
    """
    reader, contents = (
        BlobReference(name) for name in (consts.PREDICTOR_DBREADER, consts.META_NET_DEF)
    )
    held = workspace.create_blob(consts.META_NET_DEF)
    opens = CreateOperator("CreateDB", [], [reader], db=path, db_type=type_)
    loads = CreateOperator("Load", [reader], [contents], allow_incomplete=True)
    with workspace.trusting(SAFE.reading(path)):
        workspace.run_operator_once(opens)
        held.put(None)
        workspace.run_operator_once(loads)
    if held.value is None:
        cursor = workspace.blob(consts.PREDICTOR_DBREADER).value.cursor()
        raise _no_predictor(path, list(itertools.islice(_keys(cursor), _SHOWN)))
    return _parsed(held.value, path)


def _keys(cursor: Any) -> Iterator[str]:
    while cursor.valid():
        yield cursor.key().decode(errors="backslashreplace")
        cursor.next()


def _parsed(content: Any, path: str) -> MetaNetDef:
    key = consts.META_NET_DEF
    if not isinstance(content, bytes):
        raise ModelFormatError(
            f"record '{key}' holds a {type(content).__name__}, not a MetaNetDef", where=path
        )
    try:
        return deserialize_protobuf_struct(content, MetaNetDef)
    except Error as error:
        raise error.with_where(f"{path}: record '{key}'") from None


def _no_predictor(path: str, keys: list[str]) -> ModelFormatError:
    """The error for a database that has other records than a saved predictor."""
    held = ", ".join(repr(key)[1:-1] for key in keys) or "no record"
    return ModelFormatError(
        f"is no saved predictor: no record '{consts.META_NET_DEF}' (it has {held})", where=path
    )


def sole_name(meta: MetaNetDef, path: str) -> str:
    """The name of the one predictor that is saved here, "" if it has none.

    ModelFormatError where there is none, or several of which none is without a name.
    """
    kind = consts.PREDICT_NET_TYPE
    keys = [entry.key for entry in meta.nets]
    names = [key[len(kind) + 1 :] for key in keys if key == kind or key.startswith(f"{kind}_")]
    if "" in names:
        return ""
    if len(names) == 1:
        return names[0]
    if names:
        raise ModelFormatError(f"has several predictors: {', '.join(names)}", where=path)
    raise _no_net(kind, keys, path)


def require_net(meta: MetaNetDef, kind: str, name: str, path: str) -> NetDef:
    """The net of a kind; ModelFormatError, naming file and key, if it is not there."""
    key = get_comp_name(kind, name)
    net = GetNet(meta, key)
    if net is None:
        raise _no_net(key, [entry.key for entry in meta.nets], path)
    return net


def _no_net(key: str, keys: list[str], path: str) -> ModelFormatError:
    known = ", ".join(keys) or "none"
    return ModelFormatError(f"has no net '{key}' (nets: {known})", where=path)


def require_fitting(
    net: NetDef, workspace: Workspace, parameters: Iterable[str], path: str
) -> None:
    """Raise ShapeError or DTypeError for parameters that no input could make right.

    It names the file, the parameters and the operator that reads them.
    """
    found = ((name, workspace.find(name)) for name in parameters)
    arrays = {name: blob.array for name, blob in found if blob is not None}
    types = {name: TensorType.of(array) for name, array in arrays.items() if array is not None}
    for step in Walk(types).steps(net):
        if isinstance(step.error, ShapeError | DTypeError):
            read = [f"'{name}' {types[name]}" for name in step.op.input if name in types]
            raise step.error.with_where(f"{path}: parameters {', '.join(read) or 'unknown'}")
