"""The functions of a device that run kernels: simulated, from the cache, or compiled now."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caffe2py.kernels import cache
from caffe2py.kernels.cuda.code import Code
from caffe2py.kernels.cuda.entry import ENTRY, Compiled
from caffe2py.kernels.fingerprint import fingerprint
from caffe2py.tensor.late import late

if TYPE_CHECKING:
    from caffe2py.tensor.cuda.devices import CudaDevice


def text_of(code: Code) -> str:
    """All that machine code depends on but the device, as text."""
    params = " ".join(map(str, code.params))
    flags = f"{code.fastmath} {code.moving} {code.ones} {code.cooperative} {code.aligned}"
    return f"{fingerprint(code.function)} {params} {flags}"


#: What has a part in every kernel's code.
_MAKERS = ("entry.py", "machine.py", "plain.py", "threads.py")


@functools.cache
def _versions() -> str:
    packages = ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink", "caffe2py")
    found = []
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name}={importlib.metadata.version(name)}")
    here = Path(__file__).parent
    sources = (here.joinpath(name).read_bytes() for name in _MAKERS)
    return " ".join([*found, hashlib.sha256(b"".join(sources)).hexdigest()])


def cubin(code: Code, capability: tuple[int, int]) -> bytes:
    """Machine code for a kind of device, from the cache or compiled now."""
    text = f"cuda {capability} {_versions()} {text_of(code)}"
    key = hashlib.sha256(text.encode()).hexdigest()[:40]
    content = cache.read(key)
    if content is None:
        content = compile_code(code, capability).cubin
        cache.write(key, content)
    return content


def compile_code(code: Code, capability: tuple[int, int]) -> Compiled:
    """Compile for a kind of device, which need not be there."""
    made: Compiled = late("kernels.cuda.machine", "compile_code")(code, capability)
    return made


_functions: dict[tuple[Code, int], Any] = {}


def function(code: Code, device: CudaDevice) -> Any:
    """The function of a device that runs some code."""
    found = _functions.get((code, device.index))
    if found is None:
        if device.driver.simulated:
            made: Any = late("kernels.cuda.simulated", "simulated")(code)
        else:
            made = cubin(code, device.driver.facts(device.index).capability)
        found = device.driver.load(device.index, made, ENTRY)
        _functions[code, device.index] = found
    return found


def codes() -> Iterator[Code]:
    """What has been asked for in this process, in that order."""
    yield from dict.fromkeys(code for code, _ in _functions)
