"""Other types for the same elements, and copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2py.errors import DTypeError, NoGradientError
from caffe2py.kernels.convert import launch_convert
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.elementwise import launch_map
from caffe2py.proto.caffe2_pb2 import OperatorDef, TensorProto
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NoGradient,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, require_dtype, same_as
from caffe2py.registry.operator import operator, verify
from caffe2py.registry.schema import Arg
from caffe2py.tensor.place import device_of, empty_on
from caffe2py.tensor.types import (
    STRING,
    DType,
    TensorType,
    dtype_from_number,
    dtype_from_text,
    dtype_name,
    number_from_dtype,
)

# ---------------------------------------------------------------- Cast


def _dtype(value: int | str) -> DType:
    """A type by number or by name; ArgumentError for an unknown one."""
    return dtype_from_text(value) if isinstance(value, str) else dtype_from_number(value)


def _infer_cast(query: Query) -> Sequence[TensorType]:
    dtype, source = _dtype(query.args.to), query.inputs[0].dtype
    if source == STRING and dtype != STRING:
        raise DTypeError(
            f"input 0 'X' is string, which cannot be cast to {dtype_name(dtype)}; "
            "supported: numbers and bool"
        )
    return [query.inputs[0].with_dtype(dtype)]


def _cast_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """Back to the type that `from_type` names: nothing else knows it when the net is built.

    Both types are numbers there, whatever they are in `op`.
    """
    if output_grads[0] is None:
        return Gradient((), (None,))
    args = verify(op)
    if args.from_type is None:
        raise NoGradientError(
            "Cast has no 'from_type': its gradient needs to know the type of X",
            hint="give from_type the type of X, by number or name",
        )
    number = {name: number_from_dtype(_dtype(getattr(args, name))) for name in ("to", "from_type")}
    back = {"to": number["from_type"], "from_type": number["to"]}
    made = gradient_name(op.input[0])
    grad = gradient_op(op, "Cast", [output_grads[0]], [made], back, copy_args=False)
    return Gradient((grad,), (made,))


cast = operator(
    "Cast",
    "X -> Y",
    infer=_infer_cast,
    gradient=_cast_gradient,
    onnx="Cast",
    to=Arg((int, str), TensorProto.FLOAT, "the type of Y, as a number or a name like 'float'"),
    from_type=Arg((int, str), None, "the type of X; only the gradient reads it, and needs it"),
    doc="""
    Y = X in another type. Floats are cut toward zero; out of the range of int32 (of int64, for
    int64) they become the nearest end of it, and NaN becomes 0; types narrower than int32 keep the
    low bits of that, as integers keep their low bits in a narrower integer type. Everything but 0
    is True, NaN too; True is 1. A string is the number in decimals, with 6 places for floats;
    strings cannot be read. All other pairs of types are supported.
    """,
    example="""
    X = [-1.5, 0, 2.7]; to = "int32"
    Y = [-1, 0, 2]
    """,
)


@cast.everywhere
def launch_cast(call: Call) -> list[Launch]:
    """Convert; the types decide how."""
    return launch_convert(call, call.inputs[0], call.outputs[0])


# ---------------------------------------------------------------- copies


def launch_copied(call: Call) -> Launch:
    """Output 0 = input 0."""
    return launch_copy(call.inputs[0], call.outputs[0])


copy = operator(
    "Copy",
    "input -> output",
    infer=same_as(0),
    identical=True,
    gradient="CopyOnDeviceLike(doutput, input) -> dinput",
    onnx="Identity",
    doc="output = input, in memory of its own. Any type.",
    example="""
    input = [1, 2]
    output = [1, 2]
    """,
)
copy.cpu(launch_copied)
copy.cuda(launch_copied, host_inputs=None)

copy_on_device_like = operator(
    "CopyOnDeviceLike",
    "input, dst -> output",
    infer=same_as(0),
    identical=True,
    doc="output = input, on the device of `dst`. Any type; the contents of `dst` do not matter.",
    example="""
    input = [1, 2]; dst = [0]
    output = [1, 2]
    """,
)
copy_on_device_like.cpu(launch_copied)


def launch_copied_like(call: Call) -> Launch:
    """Output 0 = input 0, where input 1 is."""
    x, like = call.inputs
    y = call.outputs[0]
    if device_of(like) != device_of(y) and x.dtype != STRING:
        y = empty_on(device_of(like), x.shape, x.dtype)
        call.adopt(0, y)
    return launch_copy(x, y)


copy_on_device_like.cuda(launch_copied_like, host_inputs=None)

ensure_cpu_output = operator(
    "EnsureCPUOutput",
    "input -> output",
    infer=same_as(0),
    identical=True,
    gradient=NoGradient("it serves to read results"),
    doc="output = input, in the memory of the CPU wherever `input` is. Any type.",
    example="""
    input = [1, 2]
    output = [1, 2]
    """,
)
ensure_cpu_output.cpu(launch_copied)
ensure_cpu_output.cuda(launch_copied, host_inputs=None, host_outputs=(0,))

copy_from_cpu_input = operator(
    "CopyFromCPUInput",
    "input -> output",
    infer=same_as(0),
    identical=True,
    doc="output = input, which is in the memory of the CPU, on the operator's device. Any type.",
    example="""
    input = [1, 2]
    output = [1, 2]
    """,
)
copy_from_cpu_input.cpu(launch_copied)
copy_from_cpu_input.cuda(launch_copied, host_inputs=(0,))

alias = operator(
    "Alias",
    "input -> output",
    infer=same_as(0),
    identical=True,
    gradient="dinput = doutput",
    doc="""
    output = input, in the same memory: a change of one changes the other, until either gets another
    shape or type. Any type.
    """,
    example="""
    input = [1, 2]
    output = [1, 2]
    """,
)


@alias.everywhere
def share_input(call: Call) -> None:
    """Nothing to compute."""
    call.share(0, call.inputs[0])


# ---------------------------------------------------------------- float16 and back

HALF = np.dtype(np.float16)
SINGLE = np.dtype(np.float32)


def _clipped(x):
    """Within float16's largest numbers; a NaN stays one."""
    return 65504 if x > 65504 else -65504 if x < -65504 else x


def _infer_to_half(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, SINGLE)
    return [query.inputs[0].with_dtype(HALF)]


_to_half = operator(
    "FloatToHalf",
    "X -> Y",
    infer=_infer_to_half,
    gradient="HalfToFloat(dY) -> dX",
    clip=Arg(bool, False, "whether too large numbers become 65504, the largest of float16"),
    doc="""
    Y = X, float32, as float16: the nearest number, ties to even; too large ones become infinite, or
    with `clip` the largest of their sign.
    """,
    example="""
    X = [1.5, 1e6]; clip = 1
    Y = [1.5, 65504]
    """,
)


@_to_half.everywhere
def _launch_to_half(call: Call) -> list[Launch]:
    x, y = call.inputs[0], call.outputs[0]
    if not call.args.clip:
        return launch_convert(call, x, y)
    clipped = call.scratch(x.shape, x.dtype)
    return [launch_map(_clipped, (x,), clipped), *launch_convert(call, clipped, y)]


def _infer_to_single(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, HALF)
    return [query.inputs[0].with_dtype(SINGLE)]


_to_single = operator(
    "HalfToFloat",
    "X -> Y",
    infer=_infer_to_single,
    gradient="FloatToHalf(dY) -> dX",
    doc="Y = X, float16, as float32; exact.",
    example="""
    X = [1.5, -2]
    Y = [1.5, -2]
    """,
)


@_to_single.everywhere
def _launch_to_single(call: Call) -> list[Launch]:
    return launch_convert(call, call.inputs[0], call.outputs[0])
