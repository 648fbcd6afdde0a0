"""Matrix products by NVIDIA's cuBLAS (`pip install caffe2py[cuda13]`, or [cuda12]).

Importing this loads nothing; `load` does, on a machine without a GPU too.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    byref,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int64,
    c_longlong,
    c_size_t,
    c_void_p,
)
from typing import Any, NamedTuple

import numpy as np

from caffe2py.adapters import nvidia
from caffe2py.errors import DTypeError, ValueRangeError
from caffe2py.tensor.types import DType

#: Folder in the wheels and soname: CUDA 13, CUDA 12.
PLACES = (("cu13/lib", "libcublas.so.13"), ("cublas/lib", "libcublas.so.12"))

#: The functions used; the 64-bit ones, which no size overflows.
FUNCTIONS: dict[str, nvidia.Arguments] = {
    "cublasCreate_v2": (c_void_p,),
    "cublasDestroy_v2": (c_void_p,),
    "cublasGetProperty": (c_int, c_void_p),
    "cublasSetStream_v2": (c_void_p, c_void_p),
    "cublasSetWorkspace_v2": (c_void_p, c_void_p, c_size_t),
    "cublasSetMathMode": (c_void_p, c_int),
    "cublasGemmEx_64": (
        *(c_void_p, c_int, c_int, c_int64, c_int64, c_int64),
        *(c_void_p, c_void_p, c_int, c_int64),
        *(c_void_p, c_int, c_int64),
        *(c_void_p, c_void_p, c_int, c_int64),
        *(c_int, c_int),
    ),
    "cublasGemmStridedBatchedEx_64": (
        *(c_void_p, c_int, c_int, c_int64, c_int64, c_int64),
        *(c_void_p, c_void_p, c_int, c_int64, c_longlong),
        *(c_void_p, c_int, c_int64, c_longlong),
        *(c_void_p, c_void_p, c_int, c_int64, c_longlong),
        *(c_int64, c_int, c_int),
    ),
}

# cublas_api.h and library_types.h
_OPERATION = {False: 0, True: 1}  # CUBLAS_OP_N, CUBLAS_OP_T
_COMPUTE_32F, _COMPUTE_32F_TF32, _COMPUTE_64F = 68, 77, 70
_R_32F, _R_64F, _R_16F = 0, 1, 2
_GEMM_DEFAULT = -1
#: Default math; float16 products are added up in float32 to the end.
_MATH = 0 | 16


class _Type(NamedTuple):
    data: int
    compute: int
    scalar: type[c_float] | type[c_double]


_TYPES: dict[DType, _Type] = {
    np.dtype(np.float32): _Type(_R_32F, _COMPUTE_32F, c_float),
    np.dtype(np.float64): _Type(_R_64F, _COMPUTE_64F, c_double),
    np.dtype(np.float16): _Type(_R_16F, _COMPUTE_32F, c_float),
}


def load() -> ctypes.CDLL:
    """cuBLAS of CUDA 13 or else 12; UnsupportedError where neither is installed."""
    return nvidia.load("cuBLAS", PLACES)


class Cublas(nvidia.Handle):
    """cuBLAS on one device: products of row-major matrices at device addresses.

    `library` is what `load` returns. float32 products are float32 throughout unless `tf32` lets
    tensor cores round their factors to 11 bits; float16 ones are added up in float32. On the same
    kind of GPU with the same library the results repeat bit by bit, on one stream or with a
    workspace of its own for each (32 MiB suit newer GPUs, 4 MiB older ones; a multiple of 256
    bytes, at such an address). Calls return before the work is done.
    """

    _create = "cublasCreate_v2"
    _destroy = "cublasDestroy_v2"
    _set_stream = "cublasSetStream_v2"

    def __init__(self, library: Any = None, *, tf32: bool = False) -> None:
        library = load() if library is None else library
        name_of = nvidia.bind(library, "cublasGetStatusName", c_char_p, (c_int,))
        super().__init__(
            nvidia.Calls(library, FUNCTIONS, lambda status: str(name_of(status), "utf-8"))
        )
        self.tf32 = tf32

    @property
    def version(self) -> str:
        """The library's version, as 13.1.0; needs no device."""
        numbers = []
        for part in range(3):
            number = c_int()
            self._calls("cublasGetProperty", part, byref(number))
            numbers.append(str(number.value))
        return ".".join(numbers)

    def gemm(
        self,
        dtype: DType,
        trans_a: bool,
        trans_b: bool,
        m: int,
        n: int,
        k: int,
        alpha: float,
        a: int,
        lda: int,
        b: int,
        ldb: int,
        beta: float,
        c: int,
        ldc: int,
    ) -> None:
        """C = alpha * op(A) @ op(B) + beta * C, for row-major matrices of one type.

        op(A) is (m, k), op(B) (k, n) and C (m, n); A is stored as (k, m) if `trans_a`, B as
        (n, k) if `trans_b`. lda, ldb and ldc count the elements from one stored row to the next.
        C is not read if beta is 0. Nothing happens if m or n is 0; k may not be 0
        (ValueRangeError: the caller fills C). DTypeError for other types than float32, float64
        and float16, KernelError if cuBLAS refuses.

        cuBLAS counts by columns, and a row-major matrix is its own transpose counted by columns:
        it is asked for C.T = op(B).T @ op(A).T, which is the factors and m, n exchanged.
        """
        kind = _kind(dtype, k)
        if m == 0 or n == 0:
            return
        self._calls(
            "cublasGemmEx_64",
            *(self.open(), _OPERATION[trans_b], _OPERATION[trans_a], n, m, k),
            *(byref(kind.scalar(alpha)), b, kind.data, ldb, a, kind.data, lda),
            *(byref(kind.scalar(beta)), c, kind.data, ldc, self._compute(kind), _GEMM_DEFAULT),
            about=lambda: _sizes(dtype, trans_a, trans_b, m, n, k, (lda, ldb, ldc)),
        )

    def gemm_strided_batched(
        self,
        dtype: DType,
        trans_a: bool,
        trans_b: bool,
        m: int,
        n: int,
        k: int,
        alpha: float,
        a: int,
        lda: int,
        stride_a: int,
        b: int,
        ldb: int,
        stride_b: int,
        beta: float,
        c: int,
        ldc: int,
        stride_c: int,
        batch: int,
    ) -> None:
        """As gemm for `batch` products; strides count elements from one matrix to the next.

        A stride of 0 uses the same A or B in each product.
        """
        kind = _kind(dtype, k)
        if m == 0 or n == 0 or batch == 0:
            return
        strides = (stride_a, stride_b, stride_c)
        self._calls(
            "cublasGemmStridedBatchedEx_64",
            *(self.open(), _OPERATION[trans_b], _OPERATION[trans_a], n, m, k),
            *(byref(kind.scalar(alpha)), b, kind.data, ldb, stride_b),
            *(a, kind.data, lda, stride_a),
            *(byref(kind.scalar(beta)), c, kind.data, ldc, stride_c),
            *(batch, self._compute(kind), _GEMM_DEFAULT),
            about=lambda: (
                _sizes(dtype, trans_a, trans_b, m, n, k, (lda, ldb, ldc))
                + f", {batch} products, strides {strides}"
            ),
        )

    def _prepare(self, handle: int) -> None:
        self._calls("cublasSetMathMode", handle, _MATH)
        super()._prepare(handle)

    def _place(self, handle: int) -> None:
        super()._place(handle)
        # after the stream: setting that takes a workspace away
        address, size = self._workspace
        if size:
            self._calls(
                "cublasSetWorkspace_v2",
                *(handle, address, size),
                about=lambda: f"{size} bytes at {address:#x}",
            )

    def _compute(self, kind: _Type) -> int:
        return _COMPUTE_32F_TF32 if self.tf32 and kind.data == _R_32F else kind.compute


def _kind(dtype: DType, k: int) -> _Type:
    kind = _TYPES.get(np.dtype(dtype))
    if kind is None:
        raise DTypeError(f"cuBLAS products are float32, float64 or float16, found {dtype}")
    if k < 1:
        raise ValueRangeError(f"a product over {k} elements is not for cuBLAS")
    return kind


def _sizes(
    dtype: DType,
    trans_a: bool,
    trans_b: bool,
    m: int,
    n: int,
    k: int,
    rows: tuple[int, int, int],
) -> str:
    """What an error says about a product; `rows` are lda, ldb and ldc."""
    a = f"A[{k}, {m}].T" if trans_a else f"A[{m}, {k}]"
    b = f"B[{n}, {k}].T" if trans_b else f"B[{k}, {n}]"
    return f"C[{m}, {n}] = {a} @ {b} of {np.dtype(dtype)}, rows {rows} elements apart"
