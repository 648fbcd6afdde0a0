"""NVIDIA's libraries as engines of operators: who computes, and their calls as work on a stream."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2py.adapters import cublas, cudnn
from caffe2py.adapters.nvidia import Handle
from caffe2py.errors import Error, KernelError, UnsupportedError
from caffe2py.kernels.cuda.tiles import End, add_shares
from caffe2py.kernels.cuda.work import NOT_HERE
from caffe2py.registry.context import Call, Launch
from caffe2py.tensor.cuda.array import DeviceArray
from caffe2py.tensor.cuda.devices import CudaDevice, cuda_device
from caffe2py.tensor.tensor import Array

if TYPE_CHECKING:
    from caffe2py.kernels.convolve import Correlation

#: The engines that an operator may name; NUMBA are our own kernels.
_ENGINES = ("CUBLAS", "CUDNN", "NUMBA")

#: Bytes that cuBLAS works with on newer devices, from this capability on, and on older ones.
_NEW, _SPACE_NEW, _SPACE_OLD = (9, 0), 32 << 20, 4 << 20

#: Where workspaces begin.
_ALIGNED = 256


def engine_of(call: Call) -> str:
    """The first engine that an operator names and that there is; "" if it leaves that to us."""
    names = (name.strip() for name in call.op.engine.split(","))
    return next((name for name in names if name in _ENGINES), "")


class Library:
    """A library's one handle on a device, which one thread at a time may use."""

    def __init__(self, handle: Handle, device: CudaDevice) -> None:
        self._handle, self._device = handle, device
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def here(self) -> Iterator[Any]:
        """The handle, open, with its device the current one."""
        with self._lock:
            self._device.driver.make_current(self._device.index)
            self._handle.open()
            yield self._handle

    @contextlib.contextmanager
    def on(self, stream: int, space: DeviceArray | None) -> Iterator[Any]:
        """The handle for calls on a stream, with room to work in."""
        with self.here() as handle:
            handle.set_stream(stream)
            if space is not None:
                handle.workspace(_aligned(space), space.nbytes - _ALIGNED)
            yield handle


def _aligned(space: DeviceArray) -> int:
    return -(-space.address // _ALIGNED) * _ALIGNED


def _space(call: Call, size: int) -> DeviceArray | None:
    """Room of so many bytes that other operators use as well; None for none."""
    if not size:
        return None
    space: Any = call.scratch((size + _ALIGNED,), np.dtype(np.uint8), brief=True)
    found: DeviceArray = space
    return found


_made: dict[tuple[str, int], Library] = {}
_making = threading.Lock()


def _library(name: str, make: Callable[[], Handle], device: CudaDevice) -> Library:
    """The library on a device; UnsupportedError if it is not installed, or cannot compute there."""
    if not device.driver.runs_libraries:
        raise UnsupportedError(f"{name} computes on real devices only")
    with _making:
        if (name, device.index) not in _made:
            _made[name, device.index] = Library(make(), device)
        return _made[name, device.index]


@functools.cache
def _missing(name: str) -> bool:
    """Whether a library cannot be loaded; looked for once."""
    try:
        {"cuBLAS": cublas.load, "cuDNN": cudnn.load}[name]()
    except UnsupportedError:
        return True
    return False


@dataclass(eq=False)
class LibraryWork:
    """A call of a library on one device, to be queued as often as its operator runs."""

    library: Library
    run: Callable[[Any], None]
    space: DeviceArray | None
    device: int
    status: int = 0
    fails: bool = False

    def prepare(self) -> None:
        """Open the handle, which cannot be done while work is noted as a graph."""
        with self.library.here():
            pass

    def queue(self, stream: int) -> None:
        """Queue the call."""
        with self.library.on(stream, self.space) as handle:
            self.run(handle)

    def error(self, word: int) -> Error:
        """It reports nothing."""
        return KernelError(f"a library's call stopped with status {word}")


def _launch(work: LibraryWork, *arrays: Array) -> Launch:
    return Launch(NOT_HERE, np.zeros(1, np.int64), (*arrays, work.space), work=work)


def _ended(end: End) -> list[Launch]:
    """What finishes results that lie there already."""
    if end.bias is None and end.added is None and end.low == -math.inf:
        return []
    flat = end.c.reshape(-1)
    features = 1 if end.bias is None else end.bias.size
    flags = end.bias is not None, end.added is not None
    return [add_shares(flat, *end.args(flat), 1, end.inner, features, *flags)]


# ---------------------------------------------------------------- products


def launch_cublas(
    call: Call,
    factors: tuple[Any, Any],
    size: tuple[int, int, int, int],
    turned: tuple[bool, bool],
    end: End,
    *,
    add: bool,
) -> list[Launch] | None:
    """A product by cuBLAS; None where it is not to be, or cannot.

    Factors and result have a batch axis, `size` is (batch, rows, columns, terms), `turned` says
    which factors are transposed; with `add` the result is added to. UnsupportedError where the
    operator names cuBLAS and there is none.
    """
    engine = engine_of(call)
    c: Any = end.c
    device = cuda_device(c.device)
    batch, m, n, k = size
    summed = batch > 1 and len(c) == 1
    if engine == "NUMBA" or not c.size or not k or summed:
        return None
    if engine != "CUBLAS" and (not device.driver.runs_libraries or _missing("cuBLAS")):
        return None
    library = _library("cuBLAS", cublas.Cublas, device)
    a, b = factors
    ld = (m if turned[0] else k), (k if turned[1] else n), n
    walks = [0 if len(x) == 1 else x.shape[1] * x.shape[2] for x in (a, b, c)]
    first = (c.dtype, *turned, m, n, k, 1.0)
    beta = float(add)

    def run(handle: cublas.Cublas) -> None:
        if batch == 1:
            handle.gemm(*first, a.address, ld[0], b.address, ld[1], beta, c.address, ld[2])
            return
        handle.gemm_strided_batched(
            *first,
            *(a.address, ld[0], walks[0], b.address, ld[1], walks[1]),
            *(beta, c.address, ld[2], walks[2], batch),
        )

    new = device.driver.facts(device.index).capability >= _NEW
    space = _space(call, _SPACE_NEW if new else _SPACE_OLD)
    return [_launch(LibraryWork(library, run, space, device.index), a, b, c), *_ended(end)]


# ---------------------------------------------------------------- convolutions


def launch_cudnn(
    call: Call, use: Correlation, step: cudnn.Step, arrays: tuple[Any, Any, Any], end: End
) -> list[Launch] | None:
    """A convolution of images, filters and results by cuDNN; None where it is not to be, or cannot.

    So it is even where the operator names cuDNN, as most nets do that were made for Caffe2.
    """
    x, w, y = arrays
    device = cuda_device(x.device)
    if engine_of(call) == "NUMBA" or not device.driver.runs_libraries or _missing("cuDNN"):
        return None
    sizes = _sizes(use, x, w, y)
    if sizes is None:
        return None
    library = _library("cuDNN", cudnn.Cudnn, device)
    try:
        with library.here() as handle:
            convolution = cudnn.Convolution(handle, sizes)
            size = convolution.workspace_bytes(step)
    except UnsupportedError:
        return None

    def run(handle: cudnn.Cudnn) -> None:
        if step == "forward":
            convolution.forward(x.address, w.address, y.address)
        elif step == "backward_data":
            convolution.backward_data(w.address, y.address, x.address)
        else:
            convolution.backward_filter(x.address, y.address, w.address)

    work = LibraryWork(library, run, _space(call, size), device.index)
    weakref.finalize(work, convolution.close).atexit = False
    return [_launch(work, x, w, y), *_ended(end)]


def _sizes(use: Correlation, x: Array, w: Array, y: Array) -> cudnn.Sizes | None:
    """The convolution as cuDNN has it; None where that has nothing like it."""
    window = use.window.on(use.image)
    begin = window.pads[: window.rank]
    # what is beyond the last window has no part in it
    even = [
        (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for size, pad, dilation, kernel, stride in zip(
            use.image, begin, window.dilation, window.kernel, window.stride, strict=True
        )
    ]
    places = y.shape[1:-1] if use.last else y.shape[2:]
    if min(begin) < 0 or tuple(even) != tuple(places):
        return None
    sizes = cudnn.Sizes(
        x.shape,
        w.shape,
        y.shape,
        window.stride,
        begin * 2,
        window.dilation,
        x.dtype,
        use.groups,
        "NHWC" if use.last else "NCHW",
    )
    return sizes if sizes.supported else None
