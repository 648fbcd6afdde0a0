"""`workspace.C`: what scripts call behind the modules, where Caffe2 has its native library.

Only what programs were seen to use. Anything else raises UnsupportedError, which is also an
AttributeError.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar

from caffe2py.errors import UnsupportedError, UsageError
from caffe2py.executor import session
from caffe2py.executor.benchmark import BenchmarkNet
from caffe2py.executor.gradients import GradientWrapper, get_gradient_defs
from caffe2py.executor.inputs import as_net, as_operator, as_plan, blob_name, net_name
from caffe2py.executor.predictor import Predictor
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef, PlanDef
from caffe2py.registry.functions import register_function, register_gradient
from caffe2py.registry.operator import find, provide, registered, service
from caffe2py.registry.schema import Schema

__all__ = ["Blob", "C", "NativeWorkspace", "nearby_opnames"]

_NEAR = 5


class NotReachableError(UnsupportedError, AttributeError):
    """A name of Caffe2's native library that nothing here stands for."""


class Blob:
    """A blob of a NativeWorkspace."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._workspace = workspace
        self._name = name

    def feed(self, arr: Any, device_option: Any = None) -> bool:
        """Put a value into the blob. Returns True."""
        self._workspace.feed(self._name, arr)
        return True

    def fetch(self) -> Any:
        """A copy of what it holds."""
        return self._workspace.fetch(self._name)

    def is_tensor(self) -> bool:
        """Whether it holds a tensor."""
        return self._workspace.blob(self._name).array is not None


class Net:
    """A created net of a NativeWorkspace."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._workspace = workspace
        self.name = name

    def run(self) -> None:
        """Run it."""
        self._workspace.run_net(self.name)


class _Current(type):
    """Gives the class of workspaces the one that is current."""

    @property
    def current(cls) -> NativeWorkspace:
        """The current workspace."""
        return NativeWorkspace.of(session.current())


class NativeWorkspace(metaclass=_Current):
    """A workspace apart from those that have names; one below another sees the other's blobs."""

    def __init__(self, parent: NativeWorkspace | Workspace | None = None) -> None:
        outer = parent._workspace if isinstance(parent, NativeWorkspace) else parent
        self._workspace: Workspace = Workspace(outer)

    @classmethod
    def of(cls, workspace: Workspace) -> NativeWorkspace:
        """A view of a workspace that exists."""
        made = cls()
        made._workspace = workspace
        return made

    @property
    def blobs(self) -> dict[str, Blob]:
        """The blobs by name."""
        return {name: Blob(self._workspace, name) for name in self._workspace.blobs()}

    @property
    def nets(self) -> dict[str, Net]:
        """The created nets by name."""
        return {name: Net(self._workspace, name) for name in self._workspace.nets()}

    def create_blob(self, name: Any) -> Blob:
        """The blob of this name, made if necessary."""
        return Blob(self._workspace, self._workspace.create_blob(blob_name(name)).name)

    def has_blob(self, name: Any) -> bool:
        """Whether there is such a blob."""
        return self._workspace.has_blob(blob_name(name))

    def remove_blob(self, name: Any) -> bool:
        """Forget a blob; False if there was none."""
        return self._workspace.remove_blob(blob_name(name))

    def feed_blob(self, name: Any, arr: Any, device_option: Any = None) -> bool:
        """Put a value into a blob, made if necessary. Returns True."""
        return self.create_blob(name).feed(arr, device_option)

    def fetch_blob(self, name: Any) -> Any:
        """A copy of what a blob holds."""
        return self._workspace.fetch(blob_name(name))

    def create_net(self, net: Any, overwrite: bool = False) -> Net:
        """Bind a net to this workspace."""
        return Net(self._workspace, self._workspace.create_net(as_net(net), overwrite=overwrite))

    def run(self, obj: Any) -> bool:
        """Run a net, an operator or a plan, given as message or builder, once. Returns True."""
        proto = obj.Proto() if hasattr(type(obj), "Proto") else obj
        if isinstance(proto, NetDef):
            self._workspace.run_net_once(as_net(obj))
        elif isinstance(proto, OperatorDef):
            self._workspace.run_operator_once(as_operator(proto))
        elif isinstance(proto, PlanDef):
            self._workspace.run_plan(as_plan(obj))
        else:
            raise UsageError(f"a workspace runs nets, operators and plans, found {obj!r:.80}")
        return True


provide("workspace view", lambda: NativeWorkspace.of)


class OpSchema:
    """Declarations of operators, as scripts ask for them: `C.OpSchema.get("Relu")`."""

    @staticmethod
    def get(op_type: str) -> Schema | None:
        """The declaration of an operator; None if there is no such operator."""
        found = find(op_type)
        return found.schema if found else None


def nearby_opnames(name: str) -> list[str]:
    """Operators with names like this one."""
    lowered = {known.lower(): known for known in registered()}
    return [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, _NEAR)]


def _benchmark_net(
    name: Any, warmup_runs: int, main_runs: int, run_individual: bool
) -> list[float]:
    return BenchmarkNet(name, warmup_runs, main_runs, run_individual)


def _op_registry_key(op_type: str, engine: str) -> str:
    return f"{op_type}_ENGINE_{engine}" if engine else op_type


class _Native:
    """The namespace; its names are Caffe2's."""

    Blob = Blob
    GradientWrapper = GradientWrapper
    OpSchema = OpSchema
    Predictor = Predictor
    Workspace = NativeWorkspace

    has_mkldnn = use_mkldnn = use_rocm = use_trt = is_asan = False
    has_hip_support = False

    _FUNCTIONS: ClassVar[Mapping[str, Any]] = {
        "benchmark_net": _benchmark_net,
        "blobs": session.Blobs,
        "create_blob": session.CreateBlob,
        "create_net": session.CreateNet,
        "current_workspace": session.CurrentWorkspace,
        "delete_net": session.DeleteNet,
        "deserialize_blob": session.DeserializeBlob,
        "feed_blob": session.FeedBlob,
        "fetch_blob": session.FetchBlob,
        "get_gradient_defs": get_gradient_defs,
        "global_init": session.GlobalInit,
        "has_blob": session.HasBlob,
        "local_blobs": lambda: session.current().local_blobs(),
        "nearby_opnames": nearby_opnames,
        "nets": session.Nets,
        "num_cuda_devices": session.NumCudaDevices,
        "op_registry_key": _op_registry_key,
        "registered_operators": session.RegisteredOperators,
        "reset_blob": session.ResetBlob,
        "reset_workspace": session.ResetWorkspace,
        "root_folder": session.RootFolder,
        "run_net": lambda name, runs=1, allow_fail=False: session.RunNet(name, runs, allow_fail),
        "run_net_once": session.RunNetOnce,
        "run_operator_once": session.RunOperatorOnce,
        "run_operator_multiple": session.RunOperatorMultiple,
        "run_plan": session.RunPlan,
        "serialize_blob": session.SerializeBlob,
        "switch_workspace": session.SwitchWorkspace,
        "workspaces": session.Workspaces,
        "builtin_cpu_supports_avx2": lambda: True,
        "get_build_options": dict,
        "get_cuda_version": session.GetCUDAVersion,
        "get_cudnn_version": lambda: 0,
        "get_num_numa_nodes": lambda: -1,
        "is_numa_enabled": lambda: False,
        "register_python_op": register_function,
        "register_python_gradient_op": register_gradient,
        "registered_dbs": lambda: service("databases").known_types(),
        "create_db": lambda type_, path, mode: service("databases").open_database(
            type_, path, mode
        ),
        "define_caffe2_no_operator_schema": lambda *names: None,
        "support_onnx_export": lambda op_type: find(op_type) is not None,
        "net_name": net_name,
    }

    #: Classes that operators bring along.
    _DATABASES = ("Cursor", "Mode", "Transaction")
    #: The modes, which have names of their own too.
    _MODES = ("new", "read", "write")

    def __getattr__(self, name: str) -> Any:
        if name in self._FUNCTIONS:
            return self._FUNCTIONS[name]
        if name in self._DATABASES:
            return getattr(service("databases"), name)
        if name in self._MODES:
            return service("databases").Mode[name]
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotReachableError(f"Caffe2's native library has '{name}', perhaps; caffe2py has not")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._FUNCTIONS, *self._DATABASES, *self._MODES})


C = _Native()
