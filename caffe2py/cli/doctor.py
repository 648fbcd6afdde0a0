"""`caffe2py doctor`: what a report about a problem should hold."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from caffe2py import __version__
from caffe2py.cli import common
from caffe2py.cli.common import bytes_text
from caffe2py.registry.threads import available, quota, thread_count

#: Features of processors that decide which code is generated, of all that LLVM lists.
_FEATURES = (
    "sse4.2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512vnni",
    "neon",
    "sve",
)
_PACKAGES = ("numpy", "numba", "llvmlite", "protobuf", "click", "threadpoolctl")
_OPTIONAL = {
    "image": ("pillow", "PIL"),
    "plot": ("matplotlib", "matplotlib"),
    "lmdb": ("lmdb", "lmdb"),
    "onnx": ("onnx", "onnx"),
    "cuda13": ("numba-cuda", "numba_cuda"),
}


@common.command("doctor")
@common.json_option
def doctor(json_: bool) -> None:
    """Show versions, processor, memory budget, kernel cache, extras and GPU."""
    found = {name: _attempt(section) for name, section in _SECTIONS.items()}
    if json_:
        common.print_json(found)
        return
    width = max(len(name) for name in found)
    for name, facts in found.items():
        items = facts.items() if isinstance(facts, dict) else [("", facts)]
        text = ", ".join(f"{key} {value}".strip() for key, value in items)
        click.echo(f"{name.ljust(width)}  {text}")


COMMANDS = {"doctor": doctor}


def _attempt(section: Callable[[], Any]) -> Any:
    """What a section finds; a broken installation must not keep the others from being shown."""
    try:
        return section()
    except Exception as error:
        return f"error: {type(error).__name__}: {error}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _python() -> dict[str, str]:
    return {"": f"{platform.python_version()} {sys.implementation.name}", "at": sys.executable}


def _packages() -> dict[str, str]:
    return {package: _version(package) for package in _PACKAGES}


def _protobuf() -> str:
    from google.protobuf.internal import api_implementation

    return f"{api_implementation.Type()} backend"


def _processor() -> dict[str, str]:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return {
        "": llvm.get_host_cpu_name(),
        "on": platform.machine(),
        "with": " ".join(f for f in _FEATURES if features.get(f)) or "none of the known features",
    }


def _cores() -> dict[str, Any]:
    limit = quota()
    return {
        "present": os.cpu_count(),
        "quota": "none" if limit is None else f"{limit:g}",
        "usable": available(),
        "threads": thread_count(),
    }


def _memory() -> str:
    from caffe2py.tensor.memory import memory_budget

    return f"{bytes_text(memory_budget())} for all arrays together (CAFFE2PY_MAX_MEMORY)"


_NOT_USED = "by others too (chmod 700): every run compiles anew"


def _kernel_cache() -> dict[str, Any]:
    from caffe2py.kernels.cache import cache_folder, refused

    folder = cache_folder()
    files = [p for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    return {
        "": str(folder),
        "writable": _NOT_USED if refused() else _writable(folder),
        "objects": len(files),
        "size": bytes_text(sum(p.stat().st_size for p in files)),
    }


def _writable(folder: Path) -> str:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return "yes"
    except OSError as error:
        return f"no ({error.strerror}): every run compiles anew"


def _operators() -> str:
    import caffe2py.core  # noqa: F401
    from caffe2py.registry.operator import known_caffe2_operators, registered

    ours, known = set(registered()), known_caffe2_operators()
    return f"{len(ours & known)} of Caffe2's {len(known)}, {len(ours - known)} more"


def _extras() -> dict[str, str]:
    found = {}
    for extra, (package, module) in _OPTIONAL.items():
        present = importlib.util.find_spec(module) is not None
        missing = f"missing (pip install caffe2py[{extra}])"
        found[extra] = f"{package} {_version(package)}" if present else missing
    return found


def _gpu() -> str | dict[str, str]:
    """Asks the driver itself, so that nothing large is imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "none (no NVIDIA driver)"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return "none (the NVIDIA driver finds none)"
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    gpus = {f"cuda:{index}": _gpu_facts(driver, index) for index in range(count.value)}
    newest = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    return {"driver": newest, **gpus, "numba-cuda": _version("numba-cuda")}


#: Of the driver's attributes, the two parts of what a GPU is capable of.
_MAJOR, _MINOR = 75, 76


def _gpu_facts(driver: ctypes.CDLL, index: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    memory, major, minor = ctypes.c_size_t(), ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    text = name.value.decode(errors="replace")
    return f"{text}, {bytes_text(memory.value)}, sm_{major.value}{minor.value}"


_SECTIONS: dict[str, Callable[[], Any]] = {
    "caffe2py": lambda: __version__,
    "python": _python,
    "system": platform.platform,
    "packages": _packages,
    "protobuf": _protobuf,
    "processor": _processor,
    "cores": _cores,
    "memory": _memory,
    "kernel cache": _kernel_cache,
    "operators": _operators,
    "extras": _extras,
    "gpu": _gpu,
}
