"""A kernel's launch on a device: its arguments, who runs which part, and what went wrong."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2py.errors import Error, RegistrationError
from caffe2py.kernels.cuda import functions
from caffe2py.kernels.cuda.code import Code
from caffe2py.kernels.cuda.threads import BLOCK
from caffe2py.kernels.params import PROTOTYPE, RAISED, Param
from caffe2py.registry.context import Launch
from caffe2py.tensor.cuda.array import DeviceArray
from caffe2py.tensor.cuda.devices import cuda_device
from caffe2py.tensor.tensor import Array

if TYPE_CHECKING:
    from caffe2py.kernels.jit import Kernel


def _refuse(_block: int) -> int:
    return RAISED


#: What runs if somebody takes a device's launch for one of the host's.
_refusal = PROTOTYPE(_refuse)
NOT_HERE = ctypes.cast(_refusal, ctypes.c_void_p).value or 0

#: Blocks for each of a device's processors, where threads go on to what others have not done.
_BLOCKS_EACH = 16

#: Threads and blocks of a simulated launch: enough to be wrong in, few enough to be quick.
_SIMULATED = 2


@dataclass(eq=False)
class KernelWork:
    """One launch on a device, to be queued as often as its operator runs."""

    kernel: Kernel
    params: tuple[Param, ...]
    args: tuple[Any, ...]
    explain: Callable[[int], Error]
    device: int
    slots: Array
    form: tuple[Callable[..., Any], Callable[..., int]] | None
    count: int = 1
    steps: Array | None = None
    make: Callable[[int, int], Launch] | None = None
    status: int = 0
    _tables: list[DeviceArray] = field(default_factory=list)
    _ready: tuple[Any, int, int, Array] | None = None

    @property
    def code(self) -> Code:
        """The code that it needs."""
        if self.form is not None:
            whole = not any(a.address % 16 for a in self.args if isinstance(a, DeviceArray))
            fastmath = self.kernel.fastmath
            return Code(self.form[0], self.params, fastmath, cooperative=True, aligned=whole)
        function = self.kernel.function
        if self.steps is None:
            return Code(function, self.params, self.kernel.fastmath)
        moving = tuple(int(k) for k in np.flatnonzero(self.steps))
        sizes = _size_slots(self.params)
        ones = tuple(k for k in sizes if self.slots[k] == 1 and not self.steps[k])
        return Code(function, self.params, self.kernel.fastmath, moving, ones)

    @property
    def fails(self) -> bool:
        """Whether it reports a status, into the word at `status`."""
        return self.code.fails

    @property
    def alone(self) -> bool:
        """Whether one thread does it all."""
        return self.form is None and self.steps is None

    def uses(self) -> list[tuple[int, int]]:
        """The memory that it may touch."""
        return [(a.address, a.nbytes) for a in self.args if isinstance(a, DeviceArray) and a.size]

    def prepare(self) -> None:
        """Compile, and bring tables of the host to the device. Nothing is queued."""
        device = cuda_device(self.device)
        slots = self.slots.copy()
        self._tables.clear()
        at = 0
        for value, param in zip(self.args, self.params, strict=True):
            if isinstance(value, np.ndarray):
                table = device.empty(value.shape, value.dtype)
                device.upload(value, table)
                self._tables.append(table)
                slots[at] = table.address
            at += 1 if param.ndim is None else 1 + param.ndim
        code = self.code
        function = functions.function(code, device)
        grid, block = self._geometry(device.driver.simulated, device)
        moving = [] if self.steps is None else [int(self.steps[k]) for k in code.moving]
        values = np.array([self.count, self.status, *slots, *moving], np.int64)
        self._ready = function, grid, block, values

    def _geometry(self, simulated: bool, device: Any) -> tuple[int, int]:
        if self.form is not None:
            blocks = max(1, int(self.form[1](*self.args)))
            return blocks, 2 * _SIMULATED if simulated else BLOCK
        if self.steps is None:
            return 1, 1
        if simulated:
            return (1, 1) if self.count == 1 else (_SIMULATED, _SIMULATED)
        processors = device.driver.facts(device.index).processors
        return min(-(-self.count // BLOCK), _BLOCKS_EACH * processors), BLOCK

    def queue(self, stream: int) -> None:
        """Queue it; `prepare` comes first."""
        if self._ready is None:
            raise RegistrationError(f"kernel '{self.kernel.__name__}' was not prepared")
        function, grid, block, values = self._ready
        cuda_device(self.device).driver.launch(
            self.device, stream, function, grid, block, values, self._uses_all()
        )

    def _uses_all(self) -> Sequence[tuple[int, int]]:
        return [*self.uses(), *((t.address, t.nbytes) for t in self._tables if t.size)]

    def error(self, word: int) -> Error:
        """What a status word says."""
        part, status = divmod(word, 1 << 32)
        if self.make is not None and self.steps is not None:
            return self.make(part, part + 1).explain(status)
        return self.explain(status)


def _size_slots(params: Sequence[Param]) -> list[int]:
    """The slots that hold sizes of arrays."""
    found: list[int] = []
    at = 0
    for param in params:
        axes = param.ndim or 0
        found += range(at + 1, at + 1 + axes)
        at += 1 + axes
    return found


def _bit_slots(params: Sequence[Param]) -> list[int]:
    """The slots of scalars whose bits do not grow as their value does."""
    found: list[int] = []
    at = 0
    for param in params:
        if param.ndim is None and param.dtype != "i8":
            found.append(at)
        at += 1 + (param.ndim or 0)
    return found


def device_launch(
    kernel: Kernel,
    params: tuple[Param, ...],
    args: tuple[Any, ...],
    block: Array,
    explain: Callable[[int], Error],
) -> Launch:
    """The launch of a kernel of which some arguments are arrays of a device.

    Arrays of the host among them are tables that nobody changes; they are copied to the device.
    Raises RegistrationError if arrays are of different devices.
    """
    devices = {a.device for a in args if isinstance(a, DeviceArray)}
    if len(devices) != 1:
        raise RegistrationError(f"kernel '{kernel.__name__}' was given arrays of several devices")
    at = 0
    for value, param in zip(args, params, strict=True):
        if isinstance(value, np.ndarray):
            block[at] = 0  # until it has a place on the device
        at += 1 if param.ndim is None else 1 + param.ndim
    work = KernelWork(kernel, params, args, explain, devices.pop(), block, kernel.form)
    return Launch(NOT_HERE, block, args, explain, work=work)


def spread(launch: Launch, count: int, make: Callable[[int, int], Launch]) -> Launch:
    """`launch`, which is make(0, count), with a thread for each of the parts make(k, k + 1).

    That needs parts that are alike: the same kernel, and arguments of which addresses and numbers
    grow evenly from part to part. Where they are not, one thread does it all.
    """
    work = launch.work
    if not isinstance(work, KernelWork) or not work.alone or count < 2:
        return launch
    works = [make(k, k + 1).work for k in (0, 1, count - 1)]
    parts = [w for w in works if isinstance(w, KernelWork) and _alike(w, works[0])]
    if len(parts) < len(works):
        return launch
    first, second, last = parts
    steps = second.slots - first.slots
    even = np.array_equal(first.slots + (count - 1) * steps, last.slots)
    if not even or any(steps[k] for k in _bit_slots(first.params)):
        return launch
    shared = KernelWork(
        first.kernel, first.params, work.args, first.explain, work.device, first.slots, None
    )
    shared.count, shared.steps, shared.make = count, steps, make
    shared.args = tuple(
        own if isinstance(own, np.ndarray) else whole
        for own, whole in zip(first.args, work.args, strict=True)
    )
    return Launch(NOT_HERE, shared.slots, (shared.args, first.args), first.explain, work=shared)


def _alike(work: Any, first: Any) -> bool:
    if work.kernel is not first.kernel or work.params != first.params or not work.alone:
        return False
    pairs = zip(work.args, first.args, strict=True)
    tables = ((a, b) for a, b in pairs if isinstance(a, np.ndarray))
    return all(a is b or (isinstance(b, np.ndarray) and np.array_equal(a, b)) for a, b in tables)
