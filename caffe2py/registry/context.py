"""What an executor gives an operator, and what an operator gives back: the two ends of a launch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from caffe2py.errors import Error, KernelError
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.schema import Args, Schema
from caffe2py.registry.trust import Trust
from caffe2py.tensor.device import Device
from caffe2py.tensor.tensor import Array, Blob
from caffe2py.tensor.types import DType, Shape, TensorType


def _unexplained(status: int) -> Error:
    return KernelError(f"the kernel stopped with status {status}")


@dataclass(frozen=True, slots=True)
class Map:
    """output[i] = function(inputs[0][i], ..., *scalars), over arrays of one size, seen as flat.

    Neighbouring ones can be computed in one pass, and ranges of them at the same time.
    """

    function: Callable[..., Any]
    inputs: tuple[Array, ...]
    output: Array
    scalars: tuple[Any, ...]


class Work(Protocol):
    """What a CUDA device does: queued, and done some time later."""

    #: The address of a word for what goes wrong, if it `fails`.
    status: int

    @property
    def device(self) -> int:
        """The number of the device."""

    @property
    def fails(self) -> bool:
        """Whether it may report that something is wrong."""

    def prepare(self) -> None:
        """Make ready all that queueing needs."""

    def queue(self, stream: int) -> None:
        """Queue it on a stream of the device."""

    def error(self, word: int) -> Error:
        """What the word at `status` says."""


@dataclass(slots=True)
class Launch:
    """One call of a compiled kernel: `int32 kernel(int64* block)` with its arguments laid out.

    `block` holds addresses of arrays, their dimensions, and the bits of scalars; `keep` holds on to
    whatever those addresses point into. A status other than 0 is turned into an error by `explain`.
    `beside`: it may run at the same time as the launch before it. `map`: that is all it does.
    `parts`: makes launches that do the same, and may do it at the same time.
    `python`: it calls Python, which may do anything. `work`: what a device does instead.
    `stores`: what it writes besides the outputs of its operator, where it does others' work too.
    """

    address: int
    block: Array
    keep: tuple[Any, ...]
    explain: Callable[[int], Error] = _unexplained
    beside: bool = False
    map: Map | None = None
    parts: Callable[[], Sequence[Launch]] | None = None
    python: bool = False
    work: Work | None = None
    stores: tuple[Array, ...] = ()


class BoundNet(Protocol):
    """A net that an operator runs."""

    def run(self) -> None:
        """Run it once; errors name the net and the operator."""


class Scope(Protocol):
    """A workspace, as operators see it that run nets of their own."""

    #: What the nets that are bound to it are trusted with.
    trust: Trust

    def find(self, name: str) -> Blob | None:
        """The blob of this name, here or further out."""

    def create_blob(self, name: str) -> Blob:
        """The blob of this name, made here if there is none."""

    def create_local_blob(self, name: str) -> Blob:
        """The blob of this name in this very workspace, hiding one further out."""

    def blobs(self) -> list[str]:
        """The names of all blobs that it sees, sorted."""

    def local_blobs(self) -> list[str]:
        """The names of its own blobs, sorted."""

    def child(self) -> Scope:
        """A workspace that sees this one's blobs and keeps its own to itself."""

    def apart(self) -> Scope:
        """A workspace that sees none of this one's blobs but those that are lent to it."""

    def lend(self, name: str, blob: Blob) -> None:
        """Let another workspace's blob be this one's; nets that are bound already keep theirs."""

    def bind(self, net: NetDef) -> BoundNet:
        """Check a net and bind it to the blobs of this workspace."""

    def join(self, nets: Sequence[BoundNet], written: Collection[str]) -> BoundNet:
        """Bound nets as one, in this order.

        While it runs nobody writes but the nets themselves, and others to `written` blobs.
        """


class Call(Protocol):
    """One bound operator, seen by its implementation.

    Arrays are C-contiguous and stay where they are until shapes change, so launches may hold them.
    """

    schema: Schema
    args: Args
    #: The operator as its net has it.
    op: OperatorDef
    #: Where it computes.
    device: Device
    #: Whatever an implementation wants to find again in its next run. Objects with a method
    #: `cancel` are told by it, from another thread, when a blocked run has to end.
    kept: dict[str, Any]

    @property
    def input_count(self) -> int:
        """How many inputs there are, for those that do not read them."""

    #: The types of the inputs as inference saw them, with the quantum of quantized ones.
    input_types: tuple[TensorType, ...]

    @property
    def output_count(self) -> int:
        """How many outputs there are, whether they have a size yet or not."""

    @property
    def inputs(self) -> tuple[Array, ...]:
        """The input tensors; DTypeError if an input blob does not hold a tensor."""

    @property
    def outputs(self) -> tuple[Array, ...]:
        """The output tensors, as inference sized them."""

    def output(self, index: int, shape: Shape, dtype: DType) -> Array:
        """Size an output whose shape depends on data (only in `dynamic` implementations)."""

    def is_new(self, index: int) -> bool:
        """Whether an output did not have its type and shape before this plan: it holds nothing."""

    def scratch(self, shape: Shape, dtype: Any, *, brief: bool = False) -> Array:
        """An uninitialised array of this operator's own.

        If it is `brief`, other operators use it as well: what one run writes, and what is written
        while the operator is planned, is gone in the next.
        """

    def steady(self, index: int) -> bool:
        """Whether an input stays as it is until there is another plan: a weight, while inferring.

        Then what is derived from its contents can be computed once, by `run_now`.
        """

    def lasts(self, index: int) -> bool:
        """Whether an input stays as it is while all the nets run that are joined with this one.

        Then `prepare` computes once a run what is derived from its contents.
        """

    def prepare(
        self, key: Hashable, size: int, dtype: Any, fill: Callable[[Array], Launch]
    ) -> Array:
        """An array that `fill` makes of inputs that are steady, or last, by its launch.

        `key` says what is in it: operators of joined nets with the same key share one array.
        """

    def run_now(self, launch: Launch) -> None:
        """Run a launch once and at once, instead of in every run."""

    def share(self, index: int, array: Array) -> None:
        """Make an output a view of `array` instead of a copy."""

    def joins(self, starts: Sequence[int]) -> None:
        """Say that output 0 is the inputs one after the other, from these bytes on.

        Then they may be computed there at once; an input that lies there needs no copy.
        """

    def adopt(self, index: int, array: Array) -> None:
        """Make `array`, which nobody else holds on to, the storage of an output."""

    def value(self, index: int) -> Any:
        """Whatever an input blob holds, tensor or not."""

    def put(self, index: int, value: Any) -> None:
        """Make an output blob hold an object that is not a tensor."""

    def input_blob(self, index: int) -> str:
        """The blob name of an input."""

    def output_blob(self, index: int) -> str:
        """The blob name of an output."""

    @property
    def scope(self) -> Scope:
        """The workspace that the operator runs in, for operators that run nets."""

    @property
    def root_folder(self) -> str:
        """The folder of the workspace, for files with relative names."""

    def random_state(self) -> Array:
        """uint64[2]: the key of this operator and the count of its runs, which kernels advance."""


#: Sizes are final when it is called; it returns the launches that compute the outputs.
Implementation = Callable[[Call], Launch | Sequence[Launch] | None]
