"""Machine instructions with which threads agree: atomic loads, stores and exchanges."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from caffe2py.kernels.emit import data_address

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_ORDER = "seq_cst"


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """The address of element args[1] of array args[0]."""
    start = data_address(context, builder, signature.args[0], args[0])
    address = builder.add(start, builder.mul(args[1], _I64(8)))
    return builder.inttoptr(address, _I64.as_pointer())


@intrinsic
def _load(typing, array, index):
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, args), _ORDER, 8)

    return numba.types.int64(array, numba.types.int64), emit


@intrinsic
def _store(typing, array, index, value):
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        builder.store_atomic(args[2], place, _ORDER, 8)
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.int64, numba.types.int64), emit


@intrinsic
def _add(typing, array, index, value):
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        return builder.atomic_rmw("add", place, args[2], _ORDER)

    return numba.types.int64(array, numba.types.int64, numba.types.int64), emit


@intrinsic
def _exchange(typing, array, index, old, new):
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        pair = builder.cmpxchg(place, args[2], args[3], _ORDER, _ORDER)
        return builder.extract_value(pair, 1)

    whole = numba.types.int64
    return numba.types.boolean(array, whole, whole, whole), emit


@intrinsic
def _pause(typing):
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.FunctionType(ir.VoidType(), [])
        if "x86_64" in llvm.get_process_triple():
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), nothing), [])
        elif "aarch64" in llvm.get_process_triple():
            hint = ir.FunctionType(ir.VoidType(), [_I32])
            function = builder.module.declare_intrinsic("llvm.aarch64.hint", (), hint)
            builder.call(function, [_I32(1)])
        return context.get_dummy_value()

    return numba.types.void(), emit


@intrinsic
def _give_way(typing):
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if os.name == "posix":
            kind = ir.FunctionType(_I32, [])
            builder.call(get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return numba.types.void(), emit


EMITTED: dict[str, Callable[[], Any]] = {
    "atomic_load": lambda: _load,
    "atomic_store": lambda: _store,
    "atomic_add": lambda: _add,
    "atomic_exchange": lambda: _exchange,
    "pause": lambda: _pause,
    "give_way": lambda: _give_way,
}
