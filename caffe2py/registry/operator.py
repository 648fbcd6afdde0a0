"""Operators and their table: declared once, looked up by name, device and engine."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from caffe2py.errors import (
    NoGradientError,
    RegistrationError,
    UnknownOperatorError,
    UnsupportedError,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.absent import absent_operators
from caffe2py.registry.context import Implementation
from caffe2py.registry.gradient import (
    Gradient,
    GradientFunction,
    GradientRef,
    GradientRule,
    GradientSlice,
    NamesBlobs,
    NoGradient,
    NotDifferentiable,
    TakesSlices,
    TextRule,
)
from caffe2py.registry.infer import Query, Rule, unknown
from caffe2py.registry.schema import Arg, Args, InplaceRule, Schema
from caffe2py.registry.trust import Need
from caffe2py.tensor.device import Device
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType

DEFAULT_ENGINE = ""

#: The inputs whose contents decide: by index, or with a test of what they hold at the time.
Reads = Callable[[OperatorDef], Sequence[int | tuple[int, Callable[[Array], bool]]]]


@dataclass(frozen=True)
class Kernel:
    """An implementation for one device and engine.

    A `dynamic` one runs as Python every time: its output shapes depend on data, or it does
    something that is no computation. Others are asked once for launches, which are then repeated.
    So are those of a dynamic one that `reads` some inputs' contents only, until these change.
    One that `takes_nothing` may have inputs that hold nothing yet.

    Of a device other than the CPU, `host_inputs` are looked for on the host all the same (None: any
    input may be anywhere), inputs `anywhere` may be there or on the device, and `host_outputs` are
    left on the host (-1 is the last one). `by_host` is why the device's inputs are copied to the
    host, computed with by the CPU's implementation, and the outputs copied back.
    """

    function: Implementation
    dynamic: Callable[[OperatorDef], bool]
    reads: Reads | None = None
    takes_nothing: bool = False
    host_inputs: Collection[int] | None = ()
    host_outputs: Collection[int] = ()
    by_host: str = ""
    anywhere: Collection[int] = ()


class Operator:
    """A schema with inference, gradient rule and kernels. Use `operator(...)` to make one."""

    def __init__(
        self, schema: Schema, infer: Rule, gradient: GradientRule | None, where: str
    ) -> None:
        self.schema = schema
        self.where = where
        self._infer = infer
        self.gradient: GradientFunction | NamesBlobs | TakesSlices | NoGradient | NotDifferentiable
        if isinstance(gradient, str):
            self.gradient = TextRule(schema, gradient)
        else:
            self.gradient = gradient or NotDifferentiable("no gradient is defined for it")
        self.kernels: dict[tuple[str, str], Kernel] = {}

    @property
    def name(self) -> str:
        """The operator's type."""
        return self.schema.name

    def register(
        self,
        function: Implementation,
        device: str,
        engine: str = DEFAULT_ENGINE,
        *,
        dynamic: Callable[[OperatorDef], bool],
        reads: Reads | None = None,
        takes_nothing: bool = False,
        host_inputs: Collection[int] | None = (),
        host_outputs: Collection[int] = (),
        anywhere: Collection[int] = (),
    ) -> None:
        """Add an implementation; RegistrationError if there is one already."""
        kernel = Kernel(
            function,
            dynamic,
            reads,
            takes_nothing,
            host_inputs,
            host_outputs,
            anywhere=anywhere,
        )
        self._add(kernel, device, engine)

    def _add(self, kernel: Kernel, device: str, engine: str = DEFAULT_ENGINE) -> None:
        key = (device, engine)
        if key in self.kernels:
            raise RegistrationError(f"{self.name} has an implementation for {key} already")
        self.kernels[key] = kernel

    def cpu(self, function: Implementation) -> Implementation:
        """Decorator: the CPU implementation, asked once for its launches."""
        self.register(function, "cpu", dynamic=_never)
        return function

    def cpu_dynamic(
        self,
        when: Callable[[OperatorDef], bool] | None = None,
        reads: Reads | None = None,
        takes_nothing: bool = False,
    ) -> Callable[[Implementation], Implementation]:
        """Decorator: the CPU implementation, run as Python every time (or where `when` says so).

        If shapes and launches depend on the contents of some inputs and on nothing else, `reads`
        names these (small) inputs: while they and all shapes stay the same, so do the launches. One
        that decides only sometimes comes with a test of its array.
        With `takes_nothing` inputs may be blobs that hold nothing yet.
        """

        def add(function: Implementation) -> Implementation:
            self.register(
                function,
                "cpu",
                dynamic=when or _always,
                reads=reads,
                takes_nothing=takes_nothing,
            )
            return function

        return add

    def cuda(
        self,
        function: Implementation,
        *,
        engine: str = DEFAULT_ENGINE,
        host_inputs: Collection[int] | None = (),
        host_outputs: Collection[int] = (),
    ) -> Implementation:
        """Decorator: the implementation for CUDA devices, often the CPU's as well.

        It is asked once for its launches, and must look at the form of its arrays only. Of
        `host_inputs` and `host_outputs` see Kernel.
        """
        self.register(
            function,
            "cuda",
            engine,
            dynamic=_never,
            host_inputs=host_inputs,
            host_outputs=host_outputs,
        )
        return function

    def cuda_engines(self, function: Implementation, *engines: str) -> None:
        """The implementation for CUDA devices, which looks itself which of these engines it is for.

        It is the default one, too.
        """
        for engine in (DEFAULT_ENGINE, *engines):
            self.cuda(function, engine=engine)

    def cuda_dynamic(
        self,
        function: Implementation,
        *,
        when: Callable[[OperatorDef], bool] | None = None,
        reads: Reads | None = None,
        takes_nothing: bool = False,
        host_inputs: Collection[int] | None = (),
        host_outputs: Collection[int] = (),
        anywhere: Collection[int] = (),
    ) -> Implementation:
        """The same for one that is run as Python; the other parameters are those of cpu_dynamic.

        Of `host_inputs`, `host_outputs` and inputs `anywhere` see Kernel.
        """
        self.register(
            function,
            "cuda",
            dynamic=when or _always,
            reads=reads,
            takes_nothing=takes_nothing,
            host_inputs=host_inputs,
            host_outputs=host_outputs,
            anywhere=anywhere,
        )
        return function

    def everywhere(self, function: Implementation) -> Implementation:
        """Decorator: the implementation for the CPU and for CUDA devices; see `cpu` and `cuda`."""
        self.cpu(function)
        return self.cuda(function)

    def everywhere_dynamic(
        self,
        when: Callable[[OperatorDef], bool] | None = None,
        reads: Reads | None = None,
        takes_nothing: bool = False,
        anywhere: Collection[int] = (),
    ) -> Callable[[Implementation], Implementation]:
        """Decorator: as `cpu_dynamic`, for CUDA devices as well; see `cuda_dynamic`."""

        def add(function: Implementation) -> Implementation:
            self.cpu_dynamic(when, reads, takes_nothing)(function)
            return self.cuda_dynamic(
                function,
                when=when,
                reads=reads,
                takes_nothing=takes_nothing,
                anywhere=anywhere,
            )

        return add

    def cuda_by_host(self, why: str, *, host_outputs: Collection[int] = ()) -> None:
        """On CUDA devices copy the inputs to the host and the outputs back; `why` it is so."""
        kernel = self.kernels["cpu", DEFAULT_ENGINE]
        self._add(
            Kernel(
                kernel.function,
                _always,
                takes_nothing=kernel.takes_nothing,
                host_inputs=None,
                host_outputs=host_outputs,
                by_host=why,
            ),
            "cuda",
        )

    def kernel(self, device: Device, engines: str = DEFAULT_ENGINE) -> Kernel:
        """The implementation for a device and the first engine of a comma-separated list.

        An engine that we do not have falls back to the default one, as in Caffe2.
        """
        for engine in [*(e.strip() for e in engines.split(",")), DEFAULT_ENGINE]:
            found = self.kernels.get((device.kind, engine))
            if found is not None:
                return found
        have = ", ".join(sorted({d for d, _ in self.kernels})) or "no device"
        raise UnsupportedError(
            f"Cannot create operator of type '{self.name}' on the device '{device}': "
            f"it has kernels for {have}"
        )

    def infer(self, query: Query) -> tuple[TensorType, ...]:
        """The types of the outputs as far as the inputs allow."""
        types = tuple(self._infer(query))
        return types + (UNKNOWN,) * (query.outputs - len(types))

    def gradient_of(self, op: OperatorDef, output_grads: Sequence[GradientRef]) -> Gradient:
        """Backward operators of `op`; NoGradientError where it has none."""
        if isinstance(self.gradient, NoGradient):
            return Gradient((), (None,) * len(op.input))
        if isinstance(self.gradient, NotDifferentiable):
            raise NoGradientError(f"{self.name} has no gradient: {self.gradient.reason}")
        if isinstance(self.gradient, TakesSlices):
            return self.gradient.function(op, output_grads)
        dense: list[str | None] = []
        for name, grad in zip(op.output, output_grads, strict=True):
            if isinstance(grad, GradientSlice):
                raise NoGradientError(
                    f"the gradient of its output '{name}' is sparse (indices '{grad.indices}', "
                    f"values '{grad.values}'), and {self.name} takes a dense one only"
                )
            dense.append(grad)
        return self.gradient(op, dense)


def _never(op: OperatorDef) -> bool:
    return False


def _always(op: OperatorDef) -> bool:
    return True


_TABLE: dict[str, Operator] = {}


class _Later:
    """Operators whose modules are imported when somebody asks for them."""

    def __init__(self) -> None:
        self.homes: Mapping[str, str] = {}
        self.load_all: Callable[[], None] = lambda: None
        self._ready: set[str] = set()

    def load(self, name: str) -> None:
        """Import all of the module that is said to declare an operator, if there is one."""
        home = self.homes.get(name)
        if home is None or home in self._ready:
            return
        try:
            module = importlib.import_module(home)  # waits for another thread that is at it
        except ModuleNotFoundError as error:
            if error.name != home:
                raise
            return
        if not getattr(module.__spec__, "_initializing", False):
            self._ready.add(home)


_later = _Later()


def declare_later(homes: Mapping[str, str], load_all: Callable[[], None]) -> None:
    """Let operators be declared when they are first asked for: the name of each one's module.

    `load_all` declares all there are, also those that `homes` lacks; more calls of it do nothing.
    """
    _later.homes, _later.load_all = homes, load_all


def operator(
    name: str,
    signature: str,
    /,
    *,
    infer: Rule | None = None,
    gradient: GradientRule | None = None,
    inplace: InplaceRule | None = None,
    enforced: Mapping[int, int] | None = None,
    input_counts: Collection[int] | None = None,
    output_counts: Collection[int] | None = None,
    identical: bool = False,
    quantized: bool = False,
    onnx: str | None = None,
    needs: str = "",
    doc: str,
    example: str = "",
    arguments: Mapping[str, Arg] | None = None,
    where: CodeType | None = None,
    **args: Arg,
) -> Operator:
    """Declare an operator and enter it into the table.

    `signature` is "X, W, b? -> Y"; `args` (or `arguments`, for names that clash with a parameter
    here) its arguments. `doc` states the formula. `identical` says that the output has the type and
    shape of the first input, `quantized` that inputs may be quantized tensors. `needs` is what nets
    from disk must be trusted with: "python", "files", or "files if to_file" (an argument). `where`
    is the code of the function that the declaration stands on, if it is not the caller's own.
    Raises RegistrationError for a declaration that contradicts itself.
    """
    caller = sys._getframe(1)
    place = f"{where.co_filename}:{where.co_firstlineno}" if where else _place(caller)
    if identical and infer is None:
        infer = _identical
    schema = Schema(
        name=name,
        signature=signature,
        args={**(arguments or {}), **args},
        inplace=inplace or {},
        enforced=enforced or {},
        input_counts=input_counts,
        output_counts=output_counts,
        identical=identical,
        quantized=quantized,
        onnx=onnx,
        need=Need.parse(needs) if needs else None,
        doc=inspect.cleandoc(doc),
        example=inspect.cleandoc(example),
    )
    return register(Operator(schema, infer or unknown, gradient, place))


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _identical(query: Query) -> Sequence[TensorType]:
    return [query.inputs[0]] * query.outputs


def register(made: Operator) -> Operator:
    """Enter an operator; RegistrationError naming both places if the name is taken."""
    if made.name not in _TABLE and _later.homes.get(made.name) not in sys.modules:
        _later.load(made.name)  # the name may be taken by what is not declared yet
    if made.name in _TABLE:
        raise RegistrationError(
            f"operator '{made.name}' at {made.where} is registered already at "
            f"{_TABLE[made.name].where}"
        )
    _TABLE[made.name] = made
    return made


def registered() -> dict[str, Operator]:
    """All operators by name (a copy)."""
    _later.load_all()
    return dict(_TABLE)


def find(type_: str) -> Operator | None:
    """The operator of this type, if there is one."""
    _later.load(type_)
    if type_ not in _TABLE:
        _later.load_all()
    return _TABLE.get(type_)


def lookup(type_: str) -> Operator:
    """The operator of this type; UnknownOperatorError with near names otherwise."""
    found = find(type_)
    if found is not None:
        return found
    if not _TABLE:
        raise UnknownOperatorError(
            f"'{type_}': no operator is registered", hint="import caffe2py.core"
        )
    if type_ in known_caffe2_operators():
        raise UnknownOperatorError(
            f"'{type_}' is a Caffe2 operator that caffe2py lacks{_why_absent(type_)}",
            hint="caffe2py ops --missing",
        )
    names = {*_TABLE, *known_caffe2_operators()}
    near = difflib.get_close_matches(type_, names, 3, 0.7)
    guess = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UnknownOperatorError(f"'{type_}' is not a Caffe2 operator{guess}")


def _why_absent(type_: str) -> str:
    reason = absent_operators().get(type_)
    return f": {reason.why}" if reason else ""


@functools.cache
def known_caffe2_operators() -> frozenset[str]:
    """The names that the last Caffe2 release registered."""
    text = Path(__file__).with_name("caffe2_operators.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def takes_apart(type_: str, argument: str) -> bool:
    """Whether an operator takes the floats of this argument as an array (`Arg.apart`)."""
    found = find(type_)
    arg = found.schema.args.get(argument) if found else None
    return arg is not None and arg.apart


def verify(op: OperatorDef) -> Args:
    """Check an OperatorDef against its schema and return its arguments."""
    return lookup(op.type).schema.verify(op)


_services: dict[str, Callable[[], Any]] = {}


def provide(name: str, factory: Callable[[], Any]) -> None:
    """Offer something that lower layers make and executors need (the loop over launches)."""
    _services[name] = factory


@functools.cache
def service(name: str) -> Any:
    """What was provided under this name; made once."""
    if name not in _services:
        _later.load_all()
    if name not in _services:
        raise UnsupportedError(f"'{name}' is not available", hint="import caffe2py.core")
    return _services[name]()
