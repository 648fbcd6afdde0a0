"""What nets that run side by side share: sums under a lock, and flags."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from caffe2py.errors import ShapeError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query, fixed, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.tensor.objects import Mutex
from caffe2py.tensor.types import TensorType, shape_text


def _fetch_add(name: str, type_name: str) -> None:
    dtype = np.dtype(type_name)

    def infer(query: Query) -> Sequence[TensorType]:
        for index in (1, 2):
            require_dtype(query, index, dtype)
            shape = query.inputs[index].shape
            if shape is not None and product(shape) == 0:
                raise ShapeError(f"input {index} '{query.name(index)}' has no element")
        return [TensorType(dtype, ())] * 2

    made = operator(
        name,
        "mutex_ptr, mut_value, increment -> mut_value, fetched_value",
        infer=infer,
        inplace={1: 0},
        gradient=NotDifferentiable("it counts"),
        doc=f"""
        While it holds the lock: fetched_value = mut_value; mut_value = mut_value + increment. Takes
        the first element of each input, {type_name}; outputs are scalars. Sums begin again at the
        other end of the type where they do not fit.
        """,
        example="""
        mutex_ptr = what CreateMutex makes; mut_value = 3; increment = 4
        mut_value = 7; fetched_value = 3
        """,
    )

    @made.cpu_dynamic()
    def add(call: Call) -> None:
        with held(call, 0, Mutex, "CreateMutex"), np.errstate(over="ignore"):
            before = tensor_of(call, 1).reshape(-1)[0]
            total = before + tensor_of(call, 2).reshape(-1)[0]
            call.output(0, (), dtype)[...] = total
            call.output(1, (), dtype)[...] = before


_fetch_add("AtomicFetchAdd", "int32")
_fetch_add("AtomicFetchAdd64", "int64")


# ---------------------------------------------------------------- flags


class AtomicBool:
    """A flag that can be set, once and for all."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Set it."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


_NONE = NotDifferentiable("a flag has no derivative")

create = operator(
    "CreateAtomicBool",
    " -> atomic_bool",
    gradient=_NONE,
    doc="Makes a flag that is false.",
    example="""
    atomic_bool = a flag, false
    """,
)


@create.everywhere_dynamic()
def make_flag(call: Call) -> None:
    """A new flag in every run."""
    call.put(0, AtomicBool())


def _infer_set(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, np.bool_)
    shape = query.inputs[1].shape
    if shape is not None and product(shape) == 0:
        raise ShapeError(f"input 1 'condition' must have an element, found {shape_text(shape)}")
    return []


set_if = operator(
    "ConditionalSetAtomicBool",
    "atomic_bool, condition -> ",
    infer=_infer_set,
    gradient=_NONE,
    doc="Sets the flag if the first element of condition is true; else it stays as it is.",
    example="""
    atomic_bool = a flag, false; condition = true
    atomic_bool = a flag, true
    """,
)


@set_if.cpu_dynamic()
def set_flag(call: Call) -> None:
    """Set it, or not."""
    flag = held(call, 0, AtomicBool, "CreateAtomicBool")
    if tensor_of(call, 1).reshape(-1)[0]:
        flag.set()


check = operator(
    "CheckAtomicBool",
    "atomic_bool -> value",
    infer=fixed(np.bool_, (1,)),
    gradient=_NONE,
    doc="value = the flag, bool[1].",
    example="""
    atomic_bool = a flag, true
    value = [true]
    """,
)


@check.cpu_dynamic()
def look(call: Call) -> None:
    """Look."""
    call.outputs[0][...] = bool(held(call, 0, AtomicBool, "CreateAtomicBool"))
