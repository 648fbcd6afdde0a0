"""RecurrentNetworkBlobFetcher: what the steps of a network hold, for all to see."""

from __future__ import annotations

from caffe2py.ops.recurrent_network.steps import steps_of
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import fixed
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import copy_into, device_of
from caffe2py.tensor.tensor import Array, Blob
from caffe2py.tensor.types import STRING

_fetcher = operator(
    "RecurrentNetworkBlobFetcher",
    "ScratchWorkspaceBlob -> blob_names",
    infer=fixed(STRING, (None,)),
    gradient=NotDifferentiable("it only shows what there is"),
    prefix=Arg(str, "rnn", "what the copies' names begin with"),
    doc="""
    Copies every tensor that the steps of a RecurrentNetwork hold, from its last output, to a blob
    "<prefix>_<name>_<step>". blob_names are these blobs' names, step by step.
    """,
    example="""
    ScratchWorkspaceBlob = the steps of a network that makes h, two of them
    blob_names = ["rnn_h_0", "rnn_timestep_0", "rnn_h_1", "rnn_timestep_1"]
    """,
)


def _copy(array: Array, blob: Blob) -> None:
    """Let a blob hold a copy, where the array is."""
    copy_into(blob.resize(array.shape, array.dtype, device=device_of(array)), array)
    blob.written()


def _fetch_blobs(call: Call) -> None:
    names = []
    for number, scope in enumerate(steps_of(call, 0).scopes):
        for name in scope.local_blobs():
            blob = scope.find(name)
            if blob is not None and blob.array is not None:
                names.append(f"{call.args.prefix}_{name}_{number}")
                _copy(blob.array, call.scope.create_blob(names[-1]))
    call.output(0, (len(names),), STRING)[...] = [name.encode() for name in names]


_fetcher.cpu_dynamic()(_fetch_blobs)
_fetcher.cuda_dynamic(_fetch_blobs)
