"""From a function of single elements to an operator: the loop, broadcasting, the declaration."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import RegistrationError, ShapeError
from caffe2py.kernels.jit import Kernel
from caffe2py.kernels.parallel import CHUNK, divisible, moving
from caffe2py.kernels.params import Scalar
from caffe2py.registry.broadcast import BROADCAST, aligned_shape, infer_binary
from caffe2py.registry.context import Call, Launch, Map
from caffe2py.registry.infer import Query, Rule, require_dtype, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.late import late
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import Shape, TensorType, shape_text

#: Element types of Caffe2's arithmetic.
NUMERIC = ("int32", "int64", "float32", "float64")
FLOATS = ("float32", "float64")

ScalarFunction = Callable[..., Any]


def _define(name: str, lines: Sequence[str], function: ScalarFunction) -> Kernel:
    """A loop from its text, calling `function` as `f`."""
    namespace: dict[str, Any] = {"f": Scalar(function)}
    exec("\n".join(lines), namespace)
    loop = namespace["loop"]
    loop.__name__ = loop.__qualname__ = f"{name}_{function.__name__}"
    loop.__module__ = function.__module__
    return Kernel(loop)


@functools.cache
def _flat_loop(function: ScalarFunction, sources: tuple[int | None, ...], scalars: int) -> Kernel:
    """y[i] = f(x0[i], x1[i], ..., s0, ...), where an input that is the output itself is read as y.

    Reading it under the same name tells the compiler that the two do not overlap by accident, so an
    operator in place is as fast as one that is not.
    """
    arrays = sorted({s for s in sources if s is not None})
    names = [*(f"x{k}" for k in arrays), "y", *(f"s{k}" for k in range(scalars))]
    reads = ["y[i]" if s is None else f"x{s}[i]" for s in sources]
    call = ", ".join([*reads, *(f"s{k}" for k in range(scalars))])
    lines = [
        f"def loop({', '.join(names)}):",
        "    for i in range(y.size):",
        f"        y[i] = f({call})",
    ]
    loop = _define("map", lines, function)
    loop.form_later(lambda: _flat_form(loop, names, call))
    return loop


def _flat_form(loop: Kernel, names: Sequence[str], call: str) -> Any:
    form = late("kernels.cuda.maps", "flat_form")(
        names,
        "y.size",
        lambda at, which: [f"t{which} = f({call.replace('[i]', f'[{at}]')})"],
        lambda at, which: [f"y[{at}] = t{which}"],
        loop.function.__globals__,
    )
    form.__name__ = loop.__name__
    return form, late("kernels.cuda.maps", "blocks_for")


def launch_map(
    function: ScalarFunction, inputs: Sequence[Array], output: Array, *scalars: Any
) -> Launch:
    """output[i] = function(inputs[0][i], ..., *scalars) over arrays of one shape."""
    for array in inputs:
        if array.size != output.size:
            shapes = ", ".join(shape_text(a.shape) for a in inputs)
            raise ShapeError(f"elementwise inputs {shapes} for output {shape_text(output.shape)}")
    flat = output.reshape(-1)
    sources: list[int | None] = []
    distinct: list[Array] = []
    for array in inputs:
        if array.ctypes.data == output.ctypes.data and array.dtype == output.dtype:
            sources.append(None)
            continue
        sources.append(len(distinct))
        distinct.append(array.reshape(-1))
    loop = _flat_loop(function, tuple(sources), len(scalars))
    element = inputs[0].dtype if inputs else output.dtype
    numbers = tuple(_as_element(s, element) for s in scalars)
    launch = loop(*distinct, flat, *numbers)
    launch.map = Map(function, tuple(inputs), output, numbers)
    return launch


def _as_element(value: Any, dtype: np.dtype[Any]) -> Any:
    """A float argument in the precision of the elements."""
    return dtype.type(value) if isinstance(value, float) and dtype.kind == "f" else value


@functools.cache
def _broadcast_loop(function: ScalarFunction) -> Kernel:
    """c = f(a, b), where a and b step by their own strides; the innermost steps are 0 or 1.

    c begins with the row `first`.
    """
    lines = [
        "def loop(a, b, c, shape, steps, first):",
        "    axes = shape.size",
        "    inner = shape[axes - 1]",
        "    if inner == 0:",
        "        return",
        "    for row in range(c.size // inner):",
        "        rest = first + row",
        "        at_a = 0",
        "        at_b = 0",
        "        for axis in range(axes - 2, -1, -1):",
        "            index = rest % shape[axis]",
        "            rest = rest // shape[axis]",
        "            at_a += index * steps[0, axis]",
        "            at_b += index * steps[1, axis]",
        "        out = c[row * inner : (row + 1) * inner]",
        "        if steps[0, axes - 1] == 0:",
        "            left = a[at_a]",
        "            right_row = b[at_b : at_b + inner]",
        "            for i in range(inner):",
        "                out[i] = f(left, right_row[i])",
        "        elif steps[1, axes - 1] == 0:",
        "            left_row = a[at_a : at_a + inner]",
        "            right = b[at_b]",
        "            for i in range(inner):",
        "                out[i] = f(left_row[i], right)",
        "        else:",
        "            left_row = a[at_a : at_a + inner]",
        "            right_row = b[at_b : at_b + inner]",
        "            for i in range(inner):",
        "                out[i] = f(left_row[i], right_row[i])",
    ]
    loop = _define("broadcast", lines, function)
    loop.form_later(
        lambda: late("kernels.cuda.copies", "broadcast_form")(
            loop.__name__, loop.function.__globals__
        )
    )
    return loop


def launch_broadcast(function: ScalarFunction, a: Array, b: Array, c: Array) -> Launch:
    """c = function(a, b) with numpy's broadcasting; `c` has the broadcast shape."""
    if a.shape == b.shape == c.shape:
        return launch_map(function, (a, b), c)
    shape, steps = collapse(c.shape, a.shape, b.shape)
    loop = _broadcast_loop(function)
    flat = (a.reshape(-1), b.reshape(-1))
    inner = int(shape[-1])
    rows = c.reshape(c.size // max(inner, 1), inner)

    def some_rows(first: int, end: int) -> Launch:
        return loop(*flat, rows[first:end].reshape(-1), shape, steps, first)

    def some_columns(first: int, end: int) -> Launch:
        ends = (x[first:end] if s else x for x, s in zip(flat, steps[:, 0], strict=True))
        return loop(*ends, c.reshape(-1)[first:end], np.array([end - first], np.int64), steps, 0)

    if len(shape) == 1:
        return divisible(inner, 2 * moving(c), some_columns, CHUNK)
    return divisible(len(rows), 2 * moving(c), some_rows)


def collapse(shape: Shape, *operands: Shape) -> tuple[Array, Array]:
    """The fewest axes that describe a broadcast: their sizes, and each operand's steps along them.

    Neighbouring axes are joined where every operand either walks or repeats both of them.
    """
    axes: list[tuple[int, tuple[bool, ...]]] = []
    padded = [(1,) * (len(shape) - len(o)) + o for o in operands]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        walks = tuple(o[axis] != 1 for o in padded)
        if axes and axes[-1][1] == walks:
            axes[-1] = (axes[-1][0] * size, walks)
        else:
            axes.append((size, walks))
    if not axes:
        axes.append((1, (True,) * len(operands)))
    steps = np.zeros((len(operands), len(axes)), np.int64)
    for k in range(len(operands)):
        step = 1
        for axis in reversed(range(len(axes))):
            if axes[axis][1][k]:
                steps[k, axis] = step
                step *= axes[axis][0]
    return np.array([size for size, _ in axes], np.int64), steps


def elementwise(
    name: str,
    signature: str,
    /,
    *,
    dtypes: Sequence[str] = ("float32",),
    result: str | None = None,
    reshapes: bool = False,
    arguments: dict[str, Arg] | None = None,
    **declaration: Any,
) -> Callable[[ScalarFunction], ScalarFunction]:
    """Declare an operator whose outputs are a function of the elements at one position.

    The function's parameters are the inputs, then the arguments; its docstring documents the
    operator. `result` is the output's dtype where it is not the inputs'. With `reshapes` inputs
    need one number of elements only, and the output is shaped like the first. Everything else is as
    in `registry.operator.operator`.
    """

    def declare(function: ScalarFunction) -> ScalarFunction:
        made = operator(
            name,
            signature,
            infer=_same_shape(dtypes, result, reshapes),
            identical=result is None,
            arguments=arguments,
            doc=function.__doc__ or "",
            where=function.__code__,
            **declaration,
        )
        order = list(itertools.islice(_parameters(function), len(made.schema.inputs), None))
        if sorted(order) != sorted(made.schema.args):
            raise RegistrationError(
                f"{name}: parameters {order} are not the arguments {list(made.schema.args)}"
            )

        def launch(call: Call) -> Launch:
            scalars = [getattr(call.args, parameter) for parameter in order]
            return launch_map(function, call.inputs, call.outputs[0], *scalars)

        made.everywhere(launch)
        return function

    return declare


def binary(
    name: str,
    function: ScalarFunction,
    *,
    dtypes: Sequence[str] = NUMERIC,
    result: str | None = None,
    whole: ScalarFunction | None = None,
    **declaration: Any,
) -> None:
    """Declare an operator C = function(A, B) with both broadcasting rules.

    `result` is the dtype of C where it is not the inputs', `whole` the function for integers where
    that is another one. Everything else is as in `registry.operator.operator`.
    """
    made = operator(
        name,
        "A, B -> C",
        infer=infer_binary(dtypes, result),
        arguments=BROADCAST,
        where=function.__code__,
        **declaration,
    )

    def launch(call: Call) -> Launch:
        a, b = call.inputs
        b = b.reshape(aligned_shape(a.shape, b.shape, call.args))
        formula = whole if whole and a.dtype.kind == "i" else function
        return launch_broadcast(formula, a, b, call.outputs[0])

    made.everywhere(launch)


def divide_whole(a, b):
    """Toward zero, as C divides.

    What C leaves to a signal: x / 0 is 0, and the smallest integer divided by -1 is itself.
    """
    if b == 0:
        return 0
    if b == -1:
        return -a
    quotient = a // b
    return quotient + 1 if quotient < 0 and quotient * b != a else quotient


def _parameters(function: ScalarFunction) -> Sequence[str]:
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def _same_shape(dtypes: Sequence[str], result: str | None, reshapes: bool) -> Rule:
    """Inputs of one of the dtypes, all of one type and shape; the output is like the first."""

    def rule(query: Query) -> Sequence[TensorType]:
        for index in range(len(query.inputs)):
            require_dtype(query, index, *dtypes)
        require_same_dtype(query, *range(len(query.inputs)))
        first = query.inputs[0]
        for index, other in enumerate(query.inputs[1:], 1):
            a, b = first.full_shape, other.full_shape
            if a is None or b is None or (reshapes and math.prod(a) == math.prod(b)):
                continue
            if a != b:
                raise ShapeError(
                    f"inputs must have one shape: input 0 '{query.name(0)}' is {shape_text(a)}, "
                    f"input {index} '{query.name(index)}' is {shape_text(b)}"
                )
        return [first if result is None else first.with_dtype(np.dtype(result))]

    return rule
