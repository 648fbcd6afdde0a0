"""Values that processes share through a folder: FileStoreHandlerCreate, StoreSet, StoreGet, ..."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.adapters.filestore import FileStore
from caffe2py.adapters.paths import permitted
from caffe2py.errors import ArgumentError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query, fixed, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.serialize import blob_from_proto, parse_blob, serialize_blob
from caffe2py.tensor.tensor import Tensor
from caffe2py.tensor.types import STRING, UNKNOWN, TensorType

_MAKER = "FileStoreHandlerCreate"
_NONE = NotDifferentiable("what is shared has no derivative")


def _store(call: Call) -> FileStore:
    store = held(call, 0, FileStore, _MAKER)
    call.kept["store"] = store
    return store


def _infer_create(query: Query) -> Sequence[TensorType]:
    if not query.args.path:
        raise ArgumentError("path is a required argument")
    return [UNKNOWN]


create = operator(
    "FileStoreHandlerCreate",
    " -> handler",
    infer=_infer_create,
    gradient=_NONE,
    needs="files",
    path=Arg(str, "", "a folder that all processes see; made if necessary"),
    prefix=Arg(str, "", "keeps the keys of one run apart from those of others"),
    doc="""
    handler = a store of values by key, in a folder. The names of its files are not those that
    Caffe2 gives them.
    """,
    example="""
    path = "/tmp/run"
    handler = a store in that folder
    """,
)


@create.everywhere_dynamic()
def make_store(call: Call) -> None:
    """Make it."""
    path = call.args.path
    path = permitted(call.scope.trust, path, trusted_path=path, writes=True)
    call.put(0, FileStore(path, call.args.prefix))


set_ = operator(
    "StoreSet",
    "handler, data -> ",
    gradient=_NONE,
    blob_name=Arg(str, None, "the key; default: the name of the blob"),
    doc="Puts a tensor or a string into the store.",
    example="""
    handler = a store; data = [1, 2], blob_name = "a"
    the store has [1, 2] under "a"
    """,
)


@set_.cpu_dynamic()
def set_value(call: Call) -> None:
    """Write it."""
    value = call.value(1)
    key = call.args.blob_name or call.input_blob(1)
    content = value.array if isinstance(value, Tensor) else value
    _store(call).set(key, serialize_blob(key, content))


get = operator(
    "StoreGet",
    "handler -> data",
    gradient=_NONE,
    blob_name=Arg(str, None, "the key; default: the name of the blob"),
    doc="""
    data = what is in the store under the key; waits up to 30 seconds until it is there, then raises
    KernelError.
    """,
    example="""
    handler = a store with [1, 2] under "a"; blob_name = "a"
    data = [1, 2]
    """,
)


@get.cpu_dynamic()
def get_value(call: Call) -> None:
    """Read it."""
    content = _store(call).get(call.args.blob_name or call.output_blob(0))
    value = blob_from_proto(parse_blob(content), opens=call.scope.trust.allows("files"))
    if isinstance(value, np.ndarray):
        call.output(0, value.shape, value.dtype)[...] = value
    else:
        call.put(0, value)


add = operator(
    "StoreAdd",
    "handler -> value",
    infer=fixed(np.int64, (1,)),
    gradient=_NONE,
    blob_name=Arg(str, None, "the key; default: the name of the blob"),
    add_value=Arg(int, 1, "what is added"),
    doc="""
    Adds to a number in the store, which begins at 0: value = the sum, int64[1]. Processes take
    turns. (Caffe2 has this for other stores only.)
    """,
    example="""
    handler = an empty store; add_value = 3
    value = [3]
    """,
)


@add.cpu_dynamic()
def add_value(call: Call) -> None:
    """Add."""
    key = call.args.blob_name or call.output_blob(0)
    call.outputs[0][...] = _store(call).add(key, call.args.add_value)


def _infer_wait(query: Query) -> Sequence[TensorType]:
    if len(query.inputs) > 1:
        require_dtype(query, 1, STRING)
    return []


wait = operator(
    "StoreWait",
    "handler, names? -> ",
    infer=_infer_wait,
    gradient=_NONE,
    blob_names=Arg(list[str], None, "the keys, if there is no input `names`"),
    doc="""
    Waits until all keys have a value: those of `names`, a tensor of strings, or of blob_names.
    Raises KernelError after 30 seconds.
    """,
    example="""
    handler = a store with [1, 2] under "a"; blob_names = ["a"]
    no waiting
    """,
)


@wait.everywhere_dynamic()
def wait_for_keys(call: Call) -> None:
    """Wait."""
    if call.input_count > 1:
        names = [text.decode() for text in tensor_of(call, 1).reshape(-1)]
    else:
        names = list(call.args.blob_names or ())
    if not names:
        raise ArgumentError("no keys are given: neither the input 'names' nor 'blob_names'")
    _store(call).wait(names)
