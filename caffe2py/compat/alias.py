"""Lets programs that were written for Caffe2 find this package under Caffe2's name.

    import caffe2py.compat
    caffe2py.compat.install()
    from caffe2.python import core, workspace     # caffe2py's own modules, the same objects

Only on request, because other packages change what they do when they can import `caffe2`. The
packages `caffe2`, `caffe2.python`, two below it and `caffe2.proto` are made here; each has a list
as its `__path__`, and what this package has no module for is looked up in the folders that somebody
appends to it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from caffe2py.errors import UsageError
from caffe2py.graph.early import check_early

__all__ = ["install", "installed", "names", "uninstall"]

#: Packages below caffe2.python; they look in its folders for what is lacking here.
_BELOW = ("caffe2.python.modeling", "caffe2.python.onnx", "caffe2.python.predictor")

#: Packages of Caffe2's that exist here only as places for modules.
_PACKAGES = ("caffe2", "caffe2.proto", "caffe2.python", *_BELOW)

_PYTHON = """
    attention brew checkpoint cnn context control control_ops_grad control_ops_util core dyndep
    experiment_util gradient_checker gru_cell lazy_dyndep memonger model_helper muji net_builder
    net_drawer net_printer optimizer optimizer_context predictor_constants recurrent regularizer
    regularizer_context rnn_cell schema scope session task timeout_guard utils visualize workspace
"""
_MODELING = "initializers parameter_info parameter_sharing"
_ONNX = "backend backend_rep frontend helper workspace"
_PREDICTOR = "mobile_exporter predictor_exporter predictor_py_utils serde"
_PROTO = "caffe2_pb2 caffe_pb2 hsm_pb2 metanet_pb2 predictor_consts_pb2 prof_dag_pb2"

#: Caffe2's names of its native library.
_NATIVE = ("caffe2.python._import_c_extension", "caffe2.python.caffe2_pybind11_state")

#: Caffe2's name of a module -> the module of this package.
_MODULES = {
    **{f"caffe2.python.{name}": f"caffe2py.{name}" for name in _PYTHON.split()},
    **{f"caffe2.python.modeling.{n}": f"caffe2py.modeling.{n}" for n in _MODELING.split()},
    **{f"caffe2.python.onnx.{n}": f"caffe2py.interop.onnx.{n}" for n in _ONNX.split()},
    "caffe2.python.caffe_translator": "caffe2py.interop.caffe1",
    **{f"caffe2.python.predictor.{n}": f"caffe2py.predictor.{n}" for n in _PREDICTOR.split()},
    **{f"caffe2.proto.{name}": f"caffe2py.proto.{name}" for name in _PROTO.split()},
}


class _SameModule(Loader):
    """Loads a module by giving out the one that exists under another name."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._target)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the alias's in its place


class _NewPackage(Loader):
    """Makes an empty package with a list of folders that others may extend."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = f"Caffe2's package {module.__name__}, provided by caffe2py."
        module.__path__ = []


class _NativeModule(Loader):
    """Makes the module of Caffe2's native library, whose names are those of `core.C`."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        native = importlib.import_module("caffe2py.core").C
        module.__doc__ = "What scripts call of Caffe2's native library, provided by caffe2py."
        module.__dict__["__getattr__"] = lambda name: getattr(native, name)
        module.__dict__["__dir__"] = native.__dir__


class _Finder(MetaPathFinder):
    """Finds Caffe2's modules in this package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in _PACKAGES:
            return ModuleSpec(fullname, _NewPackage(), is_package=True)
        if fullname in _NATIVE:
            return ModuleSpec(fullname, _NativeModule())
        if fullname in _MODULES:
            return ModuleSpec(fullname, _SameModule(_MODULES[fullname]))
        package, _, _ = fullname.rpartition(".")
        if package in _BELOW:  # below what was added to its parent
            folder = package.rpartition(".")[2]
            parent = sys.modules["caffe2.python"].__path__
            return PathFinder.find_spec(fullname, [str(Path(p, folder)) for p in parent])
        return None


_finder = _Finder()


def names() -> dict[str, str]:
    """Which of Caffe2's modules there are, and the modules of this package that they are."""
    return dict(_MODULES)


def installed() -> bool:
    """Whether `caffe2` means this package now."""
    return _finder in sys.meta_path


def install(force: bool = False) -> None:
    """Make `caffe2`, `caffe2.python.*` and `caffe2.proto.*` importable; more than once is no harm.

    Raises UsageError if a real Caffe2 could be imported, unless `force`; then it is hidden.
    """
    if installed():
        return
    real = _real_caffe2()
    if real is not None and not force:
        raise UsageError(f"there is a real Caffe2 in {real}", hint="install(force=True) hides it")
    _forget()
    sys.meta_path.insert(0, _finder)
    check_early(False)  # as in Caffe2: a net is checked when it is created


def uninstall() -> None:
    """Take back what `install` did: `caffe2` is not known any more."""
    if installed():
        sys.meta_path.remove(_finder)
        _forget()
        check_early(True)


def _forget() -> None:
    for name in [n for n in sys.modules if n == "caffe2" or n.startswith("caffe2.")]:
        del sys.modules[name]


def _real_caffe2() -> str | None:
    """The folder of a Caffe2 with its native module: a folder of that name is not enough."""
    try:
        spec = PathFinder.find_spec("caffe2")
    except (ImportError, ValueError):
        return None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        if any(Path(folder, "python").glob("caffe2_pybind11_state*.*")):
            return folder
    return None
