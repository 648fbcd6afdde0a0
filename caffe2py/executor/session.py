"""Caffe2's workspace functions: they work on one current workspace, which has a name."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from caffe2py.errors import BlobTypeError, Error, UsageError
from caffe2py.executor import floating
from caffe2py.executor.inputs import (
    as_net,
    as_operator,
    as_plan,
    as_stored_net,
    blob_name,
    net_name,
)
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import PROTO_CUDA, DeviceOption, TensorProto
from caffe2py.registry.infer_net import Walk
from caffe2py.registry.lazy import load_lazy
from caffe2py.registry.operator import registered
from caffe2py.registry.threads import set_thread_count
from caffe2py.tensor.device import Device
from caffe2py.tensor.late import late
from caffe2py.tensor.serialize import (
    blob_from_proto,
    parse_blob,
    serialize_blob,
    tensor_from_proto,
)
from caffe2py.tensor.tensor import Array, Int8Tensor
from caffe2py.tensor.types import TensorType, dtype_from_number, number_from_dtype

log = logging.getLogger(__name__)

#: Integer tensors of at most this many elements may be shapes; inference looks at their values.
_MAX_SHAPE = 64

_DEFAULT = "default"
_workspaces: dict[str, Workspace] = {_DEFAULT: Workspace()}
_current = _DEFAULT
#: What is current in place of the named one, where a program switched to one without a name.
_unnamed: Workspace | None = None
_global_init_args: list[str] = []

has_hip_support = False
is_asan = False

#: The kind of device that GPUs are.
GpuDeviceType = PROTO_CUDA

#: Kept for scripts that look in it; the errors themselves say where operators were created.
operator_tracebacks: dict[str, Any] = {}


def current() -> Workspace:
    """The workspace that the functions here work on."""
    return _workspaces[_current] if _unnamed is None else _unnamed


# ---------------------------------------------------------------- workspaces


def CurrentWorkspace() -> str:
    """The name of the current workspace; "default" at first."""
    return _current


def Workspaces() -> list[str]:
    """The names of all workspaces, sorted."""
    return sorted(_workspaces)


def SwitchWorkspace(name: Any, create_if_missing: bool | None = None) -> None:
    """Make another workspace the current one: by its name, or a `C.Workspace` itself.

    Raises UsageError if there is none of that name.
    """
    global _current, _unnamed
    if isinstance(getattr(name, "_workspace", None), Workspace):
        _unnamed = name._workspace
        return
    text = blob_name(name)
    if text not in _workspaces:
        if not create_if_missing:
            known = ", ".join(Workspaces())
            raise UsageError(f"workspace '{text}' does not exist; there is {known}")
        _workspaces[text] = Workspace()
    _current, _unnamed = text, None


@contextmanager
def WorkspaceGuard(workspace_name: Any) -> Iterator[None]:
    """Work on another workspace, made if necessary, and then on this one again."""
    global _current, _unnamed
    before = _current, _unnamed
    SwitchWorkspace(workspace_name, True)
    try:
        yield
    finally:
        _current, _unnamed = before


def ResetWorkspace(root_folder: str | None = None) -> bool:
    """Forget all blobs and nets of the current workspace. Returns True."""
    current().reset(root_folder)
    return True


def RootFolder() -> str:
    """The folder that file operators start from."""
    return current().root_folder


def GlobalInit(args: Iterable[str | bytes]) -> bool:
    """Accept Caffe2's command line flags and remember them; returns True.

    `--caffe2_operator_throw_if_fp_exceptions=1` makes nets raise after an operator that divided by
    zero or computed what is not defined, and `..._fp_overflow_exceptions=1` after an overflow.
    `--caffe2_omp_num_threads=N` lets nets use N threads. All others change nothing.
    """
    if isinstance(args, str | bytes):
        raise UsageError(f"GlobalInit takes a list of arguments, found {args!r:.80}")
    _global_init_args[:] = [blob_name(arg) for arg in args][1:]
    floating.watch(_global_init_args)
    for flag in _global_init_args:
        name, _, value = flag.lstrip("-").partition("=")
        if name == "caffe2_omp_num_threads" and value != "0":
            set_thread_count(value)
    return True


def GetGlobalInitArgs() -> list[str]:
    """The flags that GlobalInit was given, without the program's name."""
    return list(_global_init_args)


def RegisteredOperators() -> list[str]:
    """The types of all operators, sorted."""
    return sorted(registered())


def NumCudaDevices() -> int:
    """How many CUDA devices can be used; 0 without a driver."""
    count: int = late("tensor.cuda.presence", "cuda_device_count")()
    return count


NumGpuDevices = NumCudaDevices


def GetCUDAVersion() -> int:
    """The version of CUDA that the driver is for, as 13020 for 13.2; 0 without one."""
    version: int = late("tensor.cuda.presence", "cuda_version")()
    return version


def GetCuDNNVersion() -> int:
    """The version of cuDNN as a number; 0 without cuDNN."""
    return 0


def IsNUMAEnabled() -> bool:
    """Whether blobs are placed by NUMA node: never."""
    return False


# ---------------------------------------------------------------- blobs


def FeedBlob(name: Any, arr: Any, device_option: DeviceOption | None = None) -> bool:
    """Copy a value into a blob, which is made if necessary. Returns True.

    `arr` is an array, what becomes one (numbers, lists), a TensorProto, or str or bytes, which make
    a string blob; arrays of str or bytes make a string tensor, an Int8Tensor a quantized one.
    On a CUDA device an array of CuPy, PyTorch or Numba that is there already is shared, not copied.
    Raises DTypeError for an array that no tensor can hold, DeviceError where there is no such
    device.
    """
    device = Device() if device_option is None else Device.from_option(device_option)
    value = tensor_from_proto(arr) if isinstance(arr, TensorProto) else arr
    current().feed(blob_name(name), value, device)
    return True


def FetchBlob(name: Any) -> Any:
    """A copy of what a blob holds: an array, or bytes for a string blob.

    String tensors are arrays of bytes objects. For anything else it is a line of text (bytes) that
    names the kind of object. Raises MissingBlobError if there is no such blob, BlobTypeError for a
    quantized tensor.
    """
    text = blob_name(name)
    blob = current().blob(text)
    if blob.quantum is not None:
        raise BlobTypeError(f"Use FetchInt8Blob to fetch Int8 Blob {text}")
    if isinstance(blob.value, bytes) or blob.array is not None:
        return current().fetch(text)
    kind = "nullptr (uninitialized)" if blob.value is None else type(blob.value).__name__
    return f"{text}, a C++ native class of type {kind}.".encode()


def FetchInt8Blob(name: Any) -> Int8Tensor:
    """A copy of a quantized tensor; BlobTypeError for a blob that holds something else."""
    value = current().fetch(blob_name(name))
    if not isinstance(value, Int8Tensor):
        raise BlobTypeError(f"You are not fetching an Int8Blob {blob_name(name)}. Use FetchBlob")
    return value


def FetchInt8BlobRealVal(name: Any) -> Array:
    """The numbers that a quantized tensor stands for, float32; errors as FetchInt8Blob."""
    data, scale, zero_point = FetchInt8Blob(name)
    return (data.astype(np.int64) - zero_point).astype(np.float32) * np.float32(scale)


def FetchBlobs(names: Iterable[Any]) -> list[Any]:
    """As FetchBlob, for several blobs."""
    return [FetchBlob(name) for name in names]


def Blobs() -> list[str]:
    """The names of all blobs, sorted."""
    return current().blobs()


def HasBlob(name: Any) -> bool:
    """Whether there is a blob of this name."""
    return current().has_blob(blob_name(name))


def CreateBlob(name: Any) -> bool:
    """Make a blob with nothing in it, unless there is one. Returns True."""
    current().create_blob(blob_name(name))
    return True


def ResetBlob(name: Any) -> None:
    """Empty a blob; MissingBlobError if there is none."""
    current().blob(blob_name(name)).put(None)


def RemoveBlob(name: Any) -> bool:
    """Forget a blob; False if there was none."""
    return current().remove_blob(blob_name(name))


def GetBlobSizeBytes(name: Any) -> int:
    """How many bytes a tensor's elements take; BlobTypeError for a blob that holds no tensor."""
    return current().fetch_array(blob_name(name)).nbytes


def SerializeBlob(name: Any) -> bytes:
    """A blob as a serialized BlobProto; BlobTypeError unless it holds a tensor or a string."""
    text = blob_name(name)
    return serialize_blob(text, current().fetch(text))


def DeserializeBlob(name: Any, serialized: bytes) -> None:
    """Put the value of a serialized BlobProto into a blob, made if necessary.

    A chunk of a tensor is put in its place. Raises ModelFormatError for bytes that hold no blob.
    """
    blob = current().create_blob(blob_name(name))
    value = blob_from_proto(parse_blob(serialized), blob.array)
    if value is not blob.array and isinstance(value, np.ndarray | bytes):
        current().feed(blob.name, value)
    elif value is not blob.array:
        blob.put(value)
    else:
        blob.written()


class _Blobs(MutableMapping[Any, Any]):
    """The current workspace's blobs as a mapping: `blobs["x"] = array`."""

    def __getitem__(self, key: Any) -> Any:
        return FetchBlob(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        FeedBlob(key, value)

    def __delitem__(self, key: Any) -> None:
        current().blob(blob_name(key))
        RemoveBlob(key)

    def __contains__(self, key: object) -> bool:
        return HasBlob(key)

    def __iter__(self) -> Iterator[str]:
        return iter(Blobs())

    def __len__(self) -> int:
        return len(Blobs())


blobs = _Blobs()


# ---------------------------------------------------------------- nets


def CreateNet(net: Any, overwrite: bool = False, input_blobs: Iterable[Any] | None = None) -> bool:
    """Bind a net (a Net, a NetDef or its bytes) to the current workspace. Returns True.

    `input_blobs` are made, empty, if they do not exist. Raises NetError if a net of that name
    exists and not `overwrite`, and whatever is wrong with an operator, with its place.
    """
    load_lazy()
    for name in [input_blobs] if isinstance(input_blobs, str) else input_blobs or ():
        CreateBlob(name)
    current().create_net(as_net(net), overwrite=overwrite)
    return True


def Nets() -> list[str]:
    """The names of the created nets."""
    return current().nets()


def DeleteNet(name: Any) -> None:
    """Forget a created net."""
    current().delete_net(net_name(name))


def RunNet(name: Any, num_iter: int = 1, allow_fail: bool = False) -> bool:
    """Run a created net, given by name, Net or NetDef, `num_iter` times.

    Returns True; with `allow_fail` a failure is logged and returns False.
    """
    if not hasattr(type(num_iter), "__index__"):
        raise UsageError(f"num_iter must be an integer, found {num_iter!r:.80}")
    try:
        current().run_net(net_name(name), int(num_iter))
    except Error as error:
        if not allow_fail:
            raise
        log.error("%s", error)
        return False
    return True


def RunNetOnce(net: Any) -> bool:
    """Bind a net, run it once and forget it; its blobs stay. Returns True."""
    current().run_net_once(*as_stored_net(net))
    return True


def RunOperatorOnce(operator: Any) -> bool:
    """Run an OperatorDef (or its bytes). Returns True."""
    current().run_operator_once(as_operator(operator))
    return True


def RunOperatorsOnce(operators: Iterable[Any]) -> bool:
    """Run operators in order. Returns True."""
    current().run_operators_once([as_operator(op) for op in operators])
    return True


def RunOperatorMultiple(operator: Any, num_runs: int) -> bool:
    """Run one operator several times. Returns True."""
    for _ in range(num_runs):
        RunOperatorOnce(operator)
    return True


def RunPlan(plan_or_step: Any) -> bool:
    """Run a Plan, a PlanDef, its bytes, or an ExecutionStep. Returns True."""
    current().run_plan(as_plan(plan_or_step))
    return True


# ---------------------------------------------------------------- types before the run


#: Types that Caffe2 states of outputs (by operator and index), although the blobs have others;
#: schemas of layer models repeat them.
_STATED = {("TopK", 1): TensorProto.INT32, ("TopK", 2): TensorProto.INT32}


def InferShapesAndTypes(
    nets: Iterable[Any],
    blob_dimensions: Mapping[Any, Iterable[int]] | None = None,
    nets_proto: bool = False,
    blob_types: Mapping[Any, int] | None = None,
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """The shapes, and the types as DataType numbers, of all blobs that the nets lead to.

    Starts from `blob_dimensions` (float unless `blob_types` says otherwise) or, without them, from
    the tensors in the current workspace. What cannot be told before the run is left out.
    `nets_proto` is accepted: nets may always be Net, NetDef or bytes. The indices of TopK are said
    to be int32, as by Caffe2, and are int64. Raises the first contradiction with its place.
    """
    walk = _known_blobs() if blob_dimensions is None else Walk()
    numbers = {blob_name(name): number for name, number in (blob_types or {}).items()}
    for key, dims in (blob_dimensions or {}).items():
        name = blob_name(key)
        dtype = dtype_from_number(numbers.get(name, TensorProto.FLOAT))
        walk.types[name] = TensorType(dtype, tuple(int(dim) for dim in dims))
    stated: dict[str, int] = {}
    for net in nets:
        for step in walk.steps(as_net(net)):
            if step.error is not None:
                raise step.error
            for k, name in enumerate(step.op.output):
                stated.pop(name, None)
                if (step.op.type, k) in _STATED:
                    stated[name] = _STATED[step.op.type, k]
    known = sorted(walk.types.items())
    shapes = {name: list(t.full_shape) for name, t in known if t.full_shape is not None}
    types = {name: number_from_dtype(t.dtype) for name, t in known if t.dtype is not None}
    return shapes, {**types, **stated}


def _known_blobs() -> Walk:
    types: dict[str, TensorType] = {}
    values: dict[str, Array] = {}
    for name in Blobs():
        blob = current().blob(name)
        array = blob.array
        if array is None:
            continue
        types[name] = TensorType.of(array, blob.quantum)
        if array.dtype.kind in "iu" and array.size <= _MAX_SHAPE:
            values[name] = np.array(array)
    return Walk(types, values)
