"""Python functions as operators, with gradients that are Python functions too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, NoGradientError, UnsupportedError
from caffe2py.kernels.callback import launch_python
from caffe2py.proto.args import find, get_value
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.functions import functions, lookup_function
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NamesBlobs,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator, service
from caffe2py.registry.schema import Arg
from caffe2py.tensor.device import CPU, Device
from caffe2py.tensor.late import late
from caffe2py.tensor.place import copy_into, on_host
from caffe2py.tensor.tensor import Array, Blob, as_tensor_array
from caffe2py.tensor.types import DType, TensorType, dtype_from_number


class TensorView:
    """A tensor as a Python function sees it: `data` is the array itself, not a copy."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob

    @property
    def data(self) -> Any:
        """The elements: writing to them writes to the blob. Strings are bytes objects."""
        return self._blob.expose()

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return tuple(self._blob.tensor().array.shape)

    _shape = shape

    def reshape(self, dims: int | Iterable[int]) -> None:
        """Give the tensor these dimensions; what it holds then is undefined if its size changes."""
        array = self._blob.tensor().array
        sizes = dims if isinstance(dims, Iterable) else [dims]
        self._resize(tuple(int(d) for d in sizes), array.dtype)

    _reshape = reshape

    def init(self, dims: Iterable[int], caffe_type: int) -> None:
        """Give the tensor dimensions and a type (a number of DataType)."""
        self._resize(tuple(int(d) for d in dims), dtype_from_number(caffe_type))

    def _resize(self, shape: tuple[int, ...], dtype: DType) -> None:
        self._blob.resize(shape, dtype)

    def feed(self, array: Any, device_option: Any = None) -> bool:
        """Copy an array in, with its shape and type. Returns True."""
        self._blob.feed(as_tensor_array(array))
        return True

    def fetch(self) -> Array:
        """A copy of the elements."""
        return np.array(self.data)

    def __repr__(self) -> str:
        return f"TensorView({TensorType.of(self.data)})"


class PackedView(TensorView):
    """As TensorView; `data` is what other libraries take over through DLPack."""

    def __init__(self, blob: Blob, device: Device) -> None:
        """`device` is where the tensor gets its memory if its size changes."""
        super().__init__(blob)
        self._device = device

    def _resize(self, shape: tuple[int, ...], dtype: DType) -> None:
        self._blob.resize(shape, dtype, None, self._device)

    def feed(self, array: Any, device_option: Any = None) -> bool:
        """Copy an array in, of this device (by DLPack) or of the host. Returns True."""
        given = array
        if self._device != CPU:
            given = late("tensor.cuda.devices", "from_outside")(array)
        given = as_tensor_array(array) if given is None or self._device == CPU else given
        self._resize(tuple(given.shape), given.dtype)
        copy_into(self._blob.tensor().array, given)
        self._blob.written()
        return True

    @property
    def data(self) -> Any:
        """A DLPack capsule of the elements."""
        return super().data.__dlpack__()

    def fetch(self) -> Array:
        """A copy of the elements."""
        return np.array(on_host(super().data))

    def __repr__(self) -> str:
        return f"PackedView({TensorType.of(super().data)})"


#: Makes a view of a blob, for an operator on a device.
View = Callable[[Blob, Device], TensorView]


def _infer(query: Query) -> Sequence[TensorType]:
    return []


def _gradient_rule(type_: str) -> Callable[[OperatorDef, Sequence[GradientName]], Gradient]:
    def rule(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
        """All inputs, all outputs, and the output gradients that are wanted, to the function."""
        token = find(op, "token")
        if token is not None and functions(token.s.decode()).make_gradient is None:
            raise NoGradientError(
                f"the Python function '{token.s.decode()}' has no gradient",
                hint="grad_f=... where the operator is made",
            )
        wanted = _chosen(op, "grad_output_indices", len(op.output))
        made = _chosen(op, "grad_input_indices", len(op.input))
        missing = [op.output[k] for k in wanted if output_grads[k] is None]
        if missing:
            raise NoGradientError(
                f"the gradient function takes the gradient of '{missing[0]}', which there is not",
                hint="grad_output_indices=[...] names the outputs whose gradients it takes",
            )
        given = [str(output_grads[k]) for k in wanted]
        outputs = [gradient_name(op.input[k]) for k in made]
        backward = gradient_op(op, type_, [*op.input, *op.output, *given], outputs)
        grads = [gradient_name(n) if k in made else None for k, n in enumerate(op.input)]
        return Gradient((backward,), tuple(grads), frozenset((*op.input, *op.output)))

    return rule


def _chosen(op: OperatorDef, name: str, count: int) -> list[int]:
    """The positions in an argument, or all of them; ArgumentError for one that there is not."""
    argument = find(op, name)
    found = list(get_value(argument) or []) if argument is not None else []
    for position in found:
        if not 0 <= position < count:
            raise ArgumentError(f"argument '{name}': {position} is none of {count} positions")
    return found or list(range(count))


_ARGS = {
    "token": Arg(str, "", "which function: what registering it returned"),
    "pass_workspace": Arg(bool, False, "accepted; the function was registered with it or without"),
    "grad_output_indices": Arg(list[int], (), "outputs whose gradients it takes; none: all"),
    "grad_input_indices": Arg(list[int], (), "inputs whose gradients it makes; none: all"),
    "pickled_builder": Arg(bytes, None, "refused: nothing here unpickles"),
    "pickled_grad_builder": Arg(bytes, None, "refused: nothing here unpickles"),
}
_DOC = """
Calls a Python function f(inputs, outputs), which was registered in this process and is known by
its token; net.Python(f)(inputs, outputs) does both.

Inputs and outputs are lists of views of tensors: x.shape, x.data ({data}), y.reshape(shape),
y.feed(array); inputs that are no tensors are what the blob holds. With pass_workspace the workspace
is the third argument. What f raises is raised by the net as it is, with a note that names net and
operator. The gradient calls the function registered for it with all inputs, all outputs and the
gradients of the outputs (those that grad_output_indices name); it makes the inputs' gradients
(those that grad_input_indices name). Raises UnknownOperatorError for a token that this process does
not know, and UnsupportedError for a net with pickled functions: they would do what a file says.
"""


def _declare(name: str, view: View, data: str) -> None:
    forward = operator(
        name,
        "inputs* -> outputs*",
        infer=_infer,
        gradient=NamesBlobs(_gradient_rule(f"{name}Gradient")),
        inplace=lambda i, o: True,
        needs="python",
        doc=_DOC.format(data=data),
        example="""
        def f(inputs, outputs): outputs[0].feed(2 * inputs[0].data)
        inputs = [1, 2]
        outputs = [2, 4]
        """,
        arguments=_ARGS,
    )
    backward = operator(
        f"{name}Gradient",
        "inputs* -> outputs*",
        infer=_infer,
        inplace=lambda i, o: True,
        needs="python",
        doc=f"Calls the gradient function of a {name} operator: see there.",
        arguments=_ARGS,
    )
    for made, gradient in ((forward, False), (backward, True)):
        run = functools.partial(_launch, view=view, gradient=gradient)
        made.cpu_dynamic(takes_nothing=True)(run)
        if view is PackedView:
            made.cuda_dynamic(run, takes_nothing=True, host_inputs=None)
        else:
            made.cuda_by_host("Python functions get arrays of numpy")


def _launch(call: Call, *, view: View, gradient: bool) -> Launch:
    """The function runs as a launch: what it raises is not taken for an error of ours."""
    if call.args.pickled_builder is not None or call.args.pickled_grad_builder is not None:
        raise UnsupportedError(
            "the net brings a pickled Python function, and nothing here unpickles",
            hint="build the net here, with net.Python((builder, args, kwargs))(inputs, outputs)",
        )
    if "function" not in call.kept:
        call.kept["function"] = lookup_function(call.args.token, gradient=gradient)
        call.kept["blobs"] = (_blobs(call, call.op.input), _blobs(call, call.op.output))
    function = call.kept["function"]
    inputs, outputs = call.kept["blobs"]
    device = call.device
    with_workspace = not gradient and functions(call.args.token).pass_workspace

    def run() -> None:
        arguments: list[Any] = [
            [_seen(blob, view, device) for blob in inputs],
            [view(blob, device) for blob in outputs],
        ]
        if with_workspace:
            arguments.append(service("workspace view")(call.scope))
        function(*arguments)

    return launch_python(run)


def _blobs(call: Call, names: Iterable[str]) -> list[Blob]:
    return [call.scope.create_blob(name) for name in names]


def _seen(blob: Blob, view: View, device: Device) -> Any:
    """An input as the function gets it."""
    return view(blob, device) if blob.array is not None or blob.value is None else blob.value


_declare("Python", lambda blob, _: TensorView(blob), "the array itself")
_declare("PythonDLPack", PackedView, "a DLPack capsule of it")
