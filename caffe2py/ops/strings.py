"""Strings: parts of them, questions about them, rows joined; FeedBlob."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError, DTypeError, ShapeError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import STRING, UNKNOWN, DType, TensorType, dtype_name, shape_text

_NONE = NotDifferentiable("strings have no derivative")
_BOOL = np.dtype(np.bool_)


def _bytes(value: str | bytes) -> bytes:
    """An argument as bytes; defaults are text."""
    return value.encode() if isinstance(value, str) else value


def _each(
    name: str,
    signature: str,
    out: DType,
    function: Callable[[bytes, Any], Any],
    argument: tuple[str, Arg],
    doc: str,
    example: str,
) -> None:
    """Declare an operator that looks at one string after another."""
    key, declared = argument

    def infer(query: Query) -> Sequence[TensorType]:
        require_dtype(query, 0, STRING)
        value = getattr(query.args, key)
        if declared.type is int and value < 0:
            raise ArgumentError(f"argument '{key}' must be at least 0, found {value}")
        return [TensorType(out, query.inputs[0].shape)]

    made = operator(
        name,
        signature,
        infer=infer,
        gradient=_NONE,
        arguments={key: declared},
        doc=doc,
        example=example,
    )

    @made.cpu_dynamic()
    def apply(call: Call) -> None:
        value = getattr(call.args, key)
        target = call.outputs[0].reshape(-1)
        target[:] = [function(text, value) for text in call.inputs[0].reshape(-1)]


_each(
    "StringPrefix",
    "strings -> prefixes",
    STRING,
    lambda text, length: text[:length],
    ("length", Arg(int, 3, "how many bytes")),
    "prefixes = the first `length` bytes of each string, or all of a shorter one.",
    """
    strings = ["apple", "a"], length = 2
    prefixes = ["ap", "a"]
    """,
)
_each(
    "StringSuffix",
    "strings -> suffixes",
    STRING,
    lambda text, length: text[max(len(text) - length, 0) :],
    ("length", Arg(int, 3, "how many bytes")),
    "suffixes = the last `length` bytes of each string, or all of a shorter one.",
    """
    strings = ["apple", "a"], length = 2
    suffixes = ["le", "a"]
    """,
)
_each(
    "StringStartsWith",
    "strings -> bools",
    _BOOL,
    lambda text, prefix: text.startswith(_bytes(prefix)),
    ("prefix", Arg(bytes, "", "how they are to begin")),
    "bools = whether each string begins with `prefix`.",
    """
    strings = ["apple", "pear"], prefix = "ap"
    bools = [true, false]
    """,
)
_each(
    "StringEndsWith",
    "strings -> bools",
    _BOOL,
    lambda text, suffix: text.endswith(_bytes(suffix)),
    ("suffix", Arg(bytes, "", "how they are to end")),
    "bools = whether each string ends with `suffix`.",
    """
    strings = ["apple", "pear"], suffix = "ar"
    bools = [false, true]
    """,
)
_each(
    "StringEquals",
    "strings -> bools",
    _BOOL,
    lambda text, other: text == (other or b""),
    ("text", Arg(bytes, None, "what they are to be; default: empty")),
    "bools = whether each string is `text`.",
    """
    strings = ["apple", "pear"], text = "pear"
    bools = [false, true]
    """,
)


# ---------------------------------------------------------------- join


def _infer_join(query: Query) -> Sequence[TensorType]:
    axis = query.args.axis
    if axis not in (0, 1):
        raise ArgumentError(f"argument 'axis' must be 0 or 1, found {axis}")
    dtype, shape = query.inputs[0].dtype, query.inputs[0].shape
    if dtype is not None and dtype == np.float16:
        raise DTypeError(f"input 0 'input' is {dtype_name(dtype)}; supported: other types")
    if shape is None:
        return [TensorType(STRING, (None,))]
    if len(shape) not in (1, 2) or len(shape) <= axis:
        raise ShapeError(
            f"Only 1-D and 2-D tensors are supported, with an axis {axis}: input 0 'input' is "
            f"{shape_text(shape)}"
        )
    if product(shape) == 0:
        raise ShapeError(f"input 0 'input' must have elements, found {shape_text(shape)}")
    return [TensorType(STRING, (shape[axis],))]


join = operator(
    "StringJoin",
    "input -> strings",
    infer=_infer_join,
    gradient=_NONE,
    delimiter=Arg(bytes, ",", "goes behind every element"),
    axis=Arg(int, 0, "0: a string for each row; 1: one for each column"),
    doc="""
    strings[i] = the elements of row i (or column i), each followed by the delimiter: the last one,
    too. Numbers are written with six digits, bools as 0 and 1; 8-bit integers are the character of
    that number, as in Caffe2. A vector has rows of one element.
    """,
    example="""
    input = [[1, 2], [3, 4]]
    strings = ["1,2,", "3,4,"]
    """,
)


def _text(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.floating):
        return f"{value:g}".encode()
    if isinstance(value, np.int8 | np.uint8):
        return bytes([int(value) & 0xFF])
    return str(int(value)).encode()


@join.cpu_dynamic()
def join_elements(call: Call) -> None:
    """Join them."""
    x = call.inputs[0]
    rows = x.reshape(len(x), -1)
    if call.args.axis == 1:
        rows = rows.T
    delimiter = _bytes(call.args.delimiter)
    for i, row in enumerate(rows):
        call.outputs[0][i] = b"".join(_text(value) + delimiter for value in row)


# ---------------------------------------------------------------- a string from the net


def _infer_feed(query: Query) -> Sequence[TensorType]:
    if "value" not in query.args.given:
        raise ArgumentError("value argument must exist and be passed as a string")
    return [UNKNOWN]


feed = operator(
    "FeedBlob",
    " -> output",
    infer=_infer_feed,
    gradient=NotDifferentiable("it has no inputs"),
    value=Arg(bytes, "", "the string"),
    doc="output = the string `value`, which must be given.",
    example="""
    value = "hello"
    output = "hello"
    """,
)


@feed.everywhere_dynamic()
def put_string(call: Call) -> None:
    """Put it into the blob."""
    call.put(0, _bytes(call.args.value))
