"""One OperatorDef, resolved once: blobs, arguments, kernel; then planned into launches."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np

from caffe2py.errors import (
    BlobTypeError,
    DeviceError,
    Error,
    MemoryBudgetError,
    MissingBlobError,
    ShapeError,
)
from caffe2py.executor.by_host import ByHost
from caffe2py.executor.queued import queued
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Launch, Scope
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import lookup, service
from caffe2py.registry.place import located, note_place, operator_place
from caffe2py.registry.schema import Args
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.late import late
from caffe2py.tensor.place import copy_into, copy_of, device_of, empty_on, on_host, overlap
from caffe2py.tensor.tensor import Array, Blob, passed_on
from caffe2py.tensor.types import STRING, UNKNOWN, DType, Shape, TensorType


class Blobs(Scope, Protocol):
    """What binding needs of a workspace."""

    root_folder: str

    def explain_missing(self, name: str) -> str:
        """Why there may be no such blob, and what to try."""

    def seed_for(self, name: str) -> int:
        """A seed for the random operators of a net of this name."""


class PassingStorage(Protocol):
    """Storage that an operator's outputs and scratch share with those of others."""

    owner: object

    def place(self, blob: Blob, shape: Shape, dtype: DType, device: Device) -> None:
        """Let an output live there, if it may."""

    def scratch(self, shape: Shape, dtype: DType, device: Device) -> Array | None:
        """An array for the operator that is being planned; None if it is planned by itself."""


@dataclass(eq=False)
class _Derived:
    """An array, and the launch that fills it."""

    array: Array
    launch: Launch


class Prepared:
    """Arrays that launches derive from inputs once for every run of joined nets."""

    def __init__(self, written: frozenset[str]) -> None:
        """`written`: all blobs that are written during a run."""
        self.written = written
        self._derived: WeakValueDictionary[Hashable, _Derived] = WeakValueDictionary()

    def find(self, key: Hashable, make: Callable[[], _Derived]) -> _Derived:
        """What is in use under a key, made where there is none."""
        found = self._derived.get(key)
        if found is None:
            found = self._derived[key] = make()
            run_launch(found.launch)
        return found

    def run(self) -> None:
        """Derive everything anew from what the inputs are now."""
        for each in list(self._derived.values()):
            run_launch(each.launch)


def run_launch(launch: Launch) -> None:
    """Run a launch by itself; its error if it fails."""
    ((_, launch),) = queued([(None, launch)])
    status = service("callable_at")(launch.address)(launch.block.ctypes.data)
    if status:
        raise launch.explain(status)


class Origin:
    """Where operators come from: the net's name and seed, for messages and random numbers."""

    def __init__(
        self,
        net: str,
        seed: int = 0,
        device: Device | None = None,
        written: frozenset[str] | None = None,
    ) -> None:
        """`written`: all blobs that the net writes; None where that is not to be relied on."""
        self.net = net
        self.seed = seed
        self.device = device
        self.written = written

        #: What is derived anew for each run, where the net is joined with others.
        self.prepared: Prepared | None = None

    def where(self, index: int, op: OperatorDef) -> str:
        """The place of an operator, as it begins an error message."""
        return operator_place(self.net, index, op)


class BoundOperator:
    """An operator with its blobs and kernel. It is the `Call` that implementations see."""

    def __init__(self, op: OperatorDef, index: int, origin: Origin, workspace: Blobs) -> None:
        """Check `op` and find what it needs.

        Raises SchemaError, UnknownOperatorError, UnsupportedError or MissingBlobError, each with
        the operator's place.
        """
        self.op = op
        self.index = index
        self.origin = origin
        self._workspace = workspace
        with located(lambda: origin.where(index, op)):
            self.operator = lookup(op.type)
            self.schema = self.operator.schema
            self.args: Args = self.schema.verify(op)
            self.schema.require(workspace.trust, self.args)
            option = op.device_option if op.HasField("device_option") else None
            self.device = Device.from_option(option) if option else origin.device or CPU
            kernel = self.operator.kernel(self.device, op.engine)
            self._host_inputs, self.host_outputs = kernel.host_inputs, kernel.host_outputs
            self._anywhere = kernel.anywhere
            self.implementation = kernel.function
            self.dynamic = kernel.dynamic(op)
            self._takes_nothing = kernel.takes_nothing
            self._reads = None if kernel.reads is None else tuple(kernel.reads(op))
            self.input_blobs = tuple(self._input(workspace, k) for k in range(len(op.input)))
            self.output_blobs = tuple(workspace.create_blob(name) for name in op.output)
        self.kept: dict[str, Any] = {}
        self.launches: tuple[Launch, ...] = ()
        self._planned: tuple[tuple[Blob, int], ...] = ()
        self._contents: tuple[bytes, ...] | None = None
        self._calls: list[tuple[Callable[[int], int], int, Any, Launch]] | None = None
        self._scratch: list[Array] = []
        self._derived: list[_Derived] = []
        #: Where blobs and scratch may live that are overwritten after their last use.
        self.storage: PassingStorage | None = None
        #: The bytes of scratch there, and whether an output depends on what it held before.
        self.brief_bytes = 0
        self.carries = False
        #: Where in output 0 the inputs lie, as bytes, if that is all there is to it.
        self.joined: tuple[int, ...] = ()
        self._random: Array | None = None
        self._inputs: tuple[Array | None, ...] = ()
        self.input_types: tuple[TensorType, ...] = ()
        self._held: tuple[str, ...] = ()
        self._looked = False
        self._by_host = ByHost(self, workspace, self._bind_other) if kernel.by_host else None
        self._new: tuple[bool, ...] = ()
        self.shares = False

    def _bind_other(self, op: OperatorDef, workspace: Blobs) -> BoundOperator:
        """Another operator at the place of this one."""
        return BoundOperator(op, self.index, self.origin, workspace)

    def _input(self, workspace: Blobs, index: int) -> Blob:
        name = self.op.input[index]
        blob = workspace.find(name)
        if blob is None:
            raise MissingBlobError(
                f"input '{name}' ({self.schema.input_name(index)}) does not exist: "
                f"Encountered a non-existing input blob: {name}. {workspace.explain_missing(name)}"
            )
        return blob

    # ---- what an implementation sees

    @property
    def input_count(self) -> int:
        """How many inputs there are."""
        return len(self.input_blobs)

    @property
    def output_count(self) -> int:
        """How many outputs there are."""
        return len(self.output_blobs)

    @property
    def inputs(self) -> tuple[Array, ...]:
        """The input tensors; BlobTypeError where a blob holds none.

        They are those from before the outputs were sized, which matters where a blob is both.
        """
        self._looked = True
        found = []
        for index, array in enumerate(self._inputs):
            if array is None:
                raise self._no_tensor(index)
            found.append(array)
        return tuple(found)

    def _no_tensor(self, index: int) -> Error:
        blob = self.input_blobs[index]
        if blob.value is None:
            return MissingBlobError(
                f"input {index} '{blob.name}' holds no value yet",
                hint=f"feed it with FeedBlob('{blob.name}', array), or run what makes it; after "
                "RemoveBlob create the net again",
            )
        found = self._held[index] if self._held else type(blob.value).__name__
        return BlobTypeError(f"input {index} '{blob.name}': expected a tensor, found {found}")

    def _quantized(self, index: int) -> Error:
        return BlobTypeError(
            f"input {index} '{self.input_blobs[index].name}': expected a tensor, found a quantized "
            "one (Int8Tensor)",
            hint="Int8Dequantize",
        )

    @property
    def outputs(self) -> tuple[Array, ...]:
        """The output tensors, sized by inference."""
        return tuple(self._output_array(k) for k in range(len(self.output_blobs)))

    def _output_array(self, index: int) -> Array:
        array = self.output_blobs[index].array
        if array is None:
            raise BlobTypeError(f"output {index} '{self.output_blobs[index].name}' has no size yet")
        return array

    def output(self, index: int, shape: Shape, dtype: DType) -> Array:
        """Size one output."""
        with self._named(index):
            return self.output_blobs[index].resize(
                shape, np.dtype(dtype), device=self._output_device(index, dtype)
            )

    @contextlib.contextmanager
    def _named(self, index: int) -> Iterator[None]:
        """Let an error about memory name the output that it is about."""
        try:
            yield
        except MemoryBudgetError as error:
            blob = self.output_blobs[index]
            raise error.with_where(f"output {index} '{blob.name}'") from None

    def _output_device(self, index: int, dtype: DType) -> Device:
        """Where an output is; strings are on the host always."""
        host = self.host_outputs
        left = index in host or index - len(self.output_blobs) in host or dtype == STRING
        return CPU if left else self.device

    def is_new(self, index: int) -> bool:
        """Whether an output was not of this type and shape before this plan."""
        self.carries = True
        return self._new[index]

    def scratch(self, shape: Shape, dtype: Any, *, brief: bool = False) -> Array:
        """An array that lives as long as the plan; a `brief` one is shared with other operators."""
        if brief and self.storage is not None:
            array = self.storage.scratch(shape, np.dtype(dtype), self.device)
            if array is not None:
                self.brief_bytes += array.nbytes
                return array
        self._scratch.append(empty_on(self.device, shape, np.dtype(dtype)))
        return self._scratch[-1]

    def share(self, index: int, array: Array) -> None:
        """Make an output a view of `array`."""
        self.shares = True
        for blob, seen in zip(self.input_blobs, self._inputs, strict=True):
            if seen is None or blob.array is not seen or not overlap(seen, array):
                continue
            if seen is array:
                blob.tensor().lend_out()
            else:
                blob.expose()  # a part of it has another name now
            blob.written()
        self.output_blobs[index].share(array)

    def joins(self, starts: Sequence[int]) -> None:
        """Note where in output 0 the inputs lie."""
        self.joined = tuple(starts)

    def adopt(self, index: int, array: Array) -> None:
        """Make `array` the storage of an output."""
        self.output_blobs[index].lend(array)

    def steady(self, index: int) -> bool:
        """Whether an input stays as it is until there is another plan."""
        blob, written = self.input_blobs[index], self.origin.written
        if written is None or blob.name in written or blob.tensor().lent:
            return False
        blob.watch()
        return True

    def lasts(self, index: int) -> bool:
        """Whether an input stays as it is while joined nets run."""
        blob, prepared = self.input_blobs[index], self.origin.prepared
        return not (prepared is None or blob.name in prepared.written or blob.tensor().lent)

    def prepare(
        self, key: Hashable, size: int, dtype: Any, fill: Callable[[Array], Launch]
    ) -> Array:
        """An array that a launch fills: now, and in joined nets at the begin of every run."""
        prepared = self.origin.prepared
        if prepared is None:
            array = self.scratch((size,), dtype)
            self.run_now(fill(array))
            return array

        def make() -> _Derived:
            array = empty_on(self.device, (size,), np.dtype(dtype))
            return _Derived(array, fill(array))

        self._derived.append(prepared.find(key, make))
        return self._derived[-1].array

    def run_now(self, launch: Launch) -> None:
        """Run a launch at once."""
        run_launch(launch)

    def value(self, index: int) -> Any:
        """What an input blob holds."""
        blob = self.input_blobs[index]
        if blob.value is None:
            raise self._no_tensor(index)
        return blob.value

    def put(self, index: int, value: Any) -> None:
        """Make an output blob hold an object."""
        self.output_blobs[index].put(value)

    def input_blob(self, index: int) -> str:
        """The name of an input blob."""
        name: str = self.op.input[index]
        return name

    def output_blob(self, index: int) -> str:
        """The name of an output blob."""
        name: str = self.op.output[index]
        return name

    @property
    def scope(self) -> Scope:
        """The workspace that the operator was bound to."""
        return self._workspace

    @property
    def root_folder(self) -> str:
        """The folder of the workspace."""
        return self._workspace.root_folder

    def random_state(self) -> Array:
        """Key and counter of this operator's random numbers; net and position give the key."""
        if self._by_host is not None:
            states: Array = self._by_host.bound.random_state()
            return states
        if self._random is None:
            seed = self.op.device_option.random_seed
            place = zlib.crc32(f"{self.origin.net}/{self.index}/{self.op.type}".encode())
            key = seed if seed else (self.origin.seed << 32) ^ place
            self._random = copy_of(np.array([key, 0], np.uint64), self.device)
        return self._random

    def set_random_state(self, state: Array) -> None:
        """Continue from a key and a count."""
        copy_into(self.random_state(), state)

    @property
    def _owner(self) -> object | None:
        return None if self.storage is None else self.storage.owner

    @property
    def kept_bytes(self) -> int:
        """The bytes of scratch that is this operator's own."""
        return sum(array.nbytes for array in self._scratch)

    @property
    def draws(self) -> bool:
        """Whether it has asked for random numbers so far."""
        if self._by_host is not None:
            return bool(self._by_host.bound.draws)
        return self._random is not None

    # ---- what an executor does with it

    def blobs(self) -> Iterator[Blob]:
        """All blobs that a plan captures."""
        yield from self.input_blobs
        yield from self.output_blobs

    @property
    def stale(self) -> bool:
        """Whether a blob has changed since `plan`."""
        if not self._planned and (self.input_blobs or self.output_blobs):
            return True
        return any(b.generation != g for b, g in self._planned)

    def plan(self) -> Sequence[Launch]:
        """Infer, allocate and ask the implementation for its launches.

        Raises ShapeError, DTypeError, ValueRangeError, MissingBlobError... with the place.
        """
        kept = [(blob, blob.value, blob.storage()) for blob in self.output_blobs]
        try:
            with located(lambda: self.origin.where(self.index, self.op)):
                launches = self._ask()
        except BaseException:
            for blob, value, storage in kept:
                blob.restore(value, storage)
            raise
        self.launches = launches
        self._calls = None
        self._contents = self._read_contents() if self.dynamic else None
        # an input that got another shape in place makes the next run another one
        moved = any(b.array is not a for b, a in zip(self.input_blobs, self._inputs, strict=True))
        self._planned = () if moved else tuple((b, b.generation) for b in self.blobs())
        return launches

    def _ask(self) -> tuple[Launch, ...]:
        """The launches of the implementation, with the outputs sized for it."""
        self._scratch.clear()
        derived, self._derived = self._derived, []  # what is still of use is found again
        self.brief_bytes = 0
        self.joined = ()
        self._looked = False
        self._inputs = tuple(blob.array for blob in self.input_blobs)
        self._held = tuple(type(blob.value).__name__ for blob in self.input_blobs)
        if self._by_host is not None:
            self._by_host.run()
            return ()
        before = [blob.array for blob in self.output_blobs]
        self._allocate(self.operator.infer(self._query()))
        pairs = zip(self.output_blobs, before, strict=True)
        self._new = tuple(blob.array is not array for blob, array in pairs)
        answer = self.implementation(self)
        launches = (answer,) if isinstance(answer, Launch) else tuple(answer or ())
        if self._looked:
            self._refuse_growth()
        del derived
        return launches

    def _query(self) -> Query:
        types = tuple(
            UNKNOWN if b.array is None else TensorType.of(b.array, b.quantum)
            for b in self.input_blobs
        )
        for index, blob in enumerate(self.input_blobs):
            if blob.value is None and not self._takes_nothing:
                raise self._no_tensor(index)
            if blob.array is not None:
                self._require_place(index, blob.array)
            if blob.borrowed not in (None, self._owner):
                raise passed_on(blob.name)
            if blob.quantum is not None and not self.schema.quantized:
                raise self._quantized(index)
        self.input_types = types
        value: Callable[[int], Any] = self._contents_of if self.dynamic else (lambda index: None)
        return Query(self.schema, types, self.args, len(self.output_blobs), value)

    def _contents_of(self, index: int) -> Array | None:
        array = self.input_blobs[index].array
        return None if array is None else on_host(array)

    def place_of(self, index: int) -> Device | None:
        """Where the operator looks for an input; None: wherever it is."""
        if self._host_inputs is None or index in self._anywhere:
            return None
        return CPU if index in self._host_inputs else self.device

    def _require_place(self, index: int, array: Array) -> None:
        """An input has to be where the operator looks for it."""
        expected, found = self.place_of(index), device_of(array)
        if expected is not None and expected != found and array.dtype != STRING:
            if expected != CPU:
                late("tensor.cuda.devices", "cuda_device")(expected.index)  # is there one at all?
            raise DeviceError(
                f"input {index} '{self.input_blobs[index].name}' is on {found}, expected on "
                f"{expected}",
                hint="core.InjectCrossDeviceCopies, or a Copy operator before it",
            )

    def _allocate(self, types: Sequence[TensorType]) -> None:
        self._refuse_twice(types)
        for index, (blob, type_) in enumerate(zip(self.output_blobs, types, strict=True)):
            shape = type_.full_shape
            if type_.dtype is not None and shape is not None:
                device = self._output_device(index, type_.dtype)
                if blob.borrowed not in (None, self._owner):
                    blob.value = None  # another net's storage is not to be written to
                with self._named(index):
                    if self.storage is not None:
                        self.storage.place(blob, shape, type_.dtype, device)
                    blob.resize(shape, type_.dtype, type_.quantum, device)

    def _refuse_twice(self, types: Sequence[TensorType]) -> None:
        """One blob can take two outputs only if both have its size."""
        first: dict[int, int] = {}
        for index, blob in enumerate(self.output_blobs):
            other = first.setdefault(id(blob), index)
            if types[other] != types[index]:
                raise ShapeError(
                    f"outputs {other} and {index} are both '{blob.name}', but {types[other]} and "
                    f"{types[index]}"
                )

    def _refuse_growth(self) -> None:
        """In place, an output that outgrows the input would overwrite what is still to be read."""
        for index, blob in enumerate(self.input_blobs):
            before, after = self._inputs[index], blob.array
            if before is None or after is None or blob not in self.output_blobs:
                continue
            if before.nbytes < after.nbytes:
                raise ShapeError(
                    f"'{blob.name}' cannot be computed in place: as input {index} it is "
                    f"{TensorType.of(before)}, as output {TensorType.of(after)}"
                )

    def run(self) -> None:
        """Run by itself, through Python: the reference for every faster way."""
        if self.stale or (self.dynamic and not self._same_contents()):
            self.plan()
        if self._calls is None:
            at = service("callable_at")
            rows = queued([(self, x) for x in self.launches])
            self._calls = [(at(x.address), x.block.ctypes.data, o, x) for o, x in rows]
        for call, block, owner, launch in self._calls:
            status = call(block)
            if status:
                raise owner.failure(launch, status)

    def _read_contents(self) -> tuple[bytes, ...] | None:
        """The contents of the inputs that decide on the launches; None: others decide too."""
        if self._reads is None:
            return None
        return tuple(map(self._read, self._reads))

    def _read(self, entry: int | tuple[int, Callable[[Array], bool]]) -> bytes:
        """The contents of an input; none where it does not decide."""
        index, decides = entry if isinstance(entry, tuple) else (entry, None)
        if self.input_blobs[index].array is None:
            return b""
        array = on_host(self.input_blobs[index].array)
        return b"" if decides is not None and not decides(array) else array.tobytes()

    @property
    def operators(self) -> tuple[BoundOperator, ...]:
        """Itself: it can be a step of a net."""
        return (self,)

    @property
    def settled(self) -> bool:
        """Whether the next run would repeat the last one's launches, all of them compiled."""
        known = self._contents is not None or not self.dynamic
        return known and not self.stale and not any(launch.python for launch in self.launches)

    def read_arrays(self) -> list[Array]:
        """The inputs whose contents decide on the launches."""
        places = (entry[0] if isinstance(entry, tuple) else entry for entry in self._reads or ())
        arrays = (self.input_blobs[index].array for index in places)
        return [array for array in arrays if array is not None]

    def _same_contents(self) -> bool:
        return self._contents is not None and self._contents == self._read_contents()

    def cancel(self) -> None:
        """From another thread: let a run that waits (for a queue, a net of its own) end soon."""
        for value in list(self.kept.values()):
            stop = getattr(value, "cancel", None)
            if callable(stop):
                stop()

    def failure(self, launch: Launch, status: int) -> Error:
        """The error that a launch's status means, with the operator's place.

        What a user's function raised is raised as it is, with the place as a note.
        """
        where = self.origin.where(self.index, self.op)
        try:
            return launch.explain(status).with_where(where)
        except Exception as error:
            note_place(error, where)
            raise
