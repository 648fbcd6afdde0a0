"""cuBLAS as it is called: a library that counts by columns must give numpy's products."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe2py.adapters import cublas, nvidia
from caffe2py.errors import DTypeError, KernelError, UnsupportedError, ValueRangeError
from tests.adapters.fake_library import FakeLibrary, array_at, get, put

#: cudaDataType -> its elements; cublasComputeType_t -> the scalars it wants.
ELEMENTS = {0: np.float32, 1: np.float64, 2: np.float16}
SCALARS = {68: ctypes.c_float, 77: ctypes.c_float, 70: ctypes.c_double}
NAMES = {1: b"CUBLAS_STATUS_NOT_INITIALIZED", 7: b"CUBLAS_STATUS_INVALID_VALUE"}


class FakeCublas(FakeLibrary):
    def __init__(self):
        super().__init__(cublas.FUNCTIONS, ["cublasGetStatusName"])

    def do_cublasGetStatusName(self, status):
        return NAMES.get(status, b"CUBLAS_STATUS_INTERNAL_ERROR")

    def do_cublasGetProperty(self, part, where):
        put(where, ctypes.c_int, (13, 1, 7)[part])

    def do_cublasCreate_v2(self, where):
        self.make(where, "handle")

    def do_cublasDestroy_v2(self, handle):
        del self.live[handle]

    def do_cublasSetStream_v2(self, handle, stream):
        assert handle in self.live

    def do_cublasSetMathMode(self, handle, mode):
        assert handle in self.live

    def do_cublasSetWorkspace_v2(self, handle, address, size):
        assert handle in self.live

    def do_cublasGemmEx_64(
        self, handle, ta, tb, m, n, k, alpha, a, ea, lda, b, eb, ldb, beta, c, ec, ldc, compute, _
    ):
        assert handle in self.live
        scalar = SCALARS[compute]
        factor = self._matrix(a, ea, m, k, lda, ta) @ self._matrix(b, eb, k, n, ldb, tb)
        found = array_at(c, ELEMENTS[ec], (m, n), (1, self._long_enough(ldc, m)))
        kept = get(beta, scalar) * found if get(beta, scalar) else 0
        found[...] = get(alpha, scalar) * factor + kept

    def do_cublasGemmStridedBatchedEx_64(self, *arguments):
        (handle, ta, tb, m, n, k, alpha, a, ea, lda, sa, b, eb, ldb, sb) = arguments[:15]
        (beta, c, ec, ldc, sc, batch, compute, algorithm) = arguments[15:]
        for i in range(batch):
            at = [
                address + i * step * np.dtype(ELEMENTS[kind]).itemsize
                for address, step, kind in ((a, sa, ea), (b, sb, eb), (c, sc, ec))
            ]
            self.do_cublasGemmEx_64(
                *(handle, ta, tb, m, n, k, alpha, at[0], ea, lda, at[1], eb, ldb),
                *(beta, at[2], ec, ldc, compute, algorithm),
            )

    def _matrix(self, address, kind, rows, columns, ld, transposed):
        """op(A), (rows, columns), of a matrix stored by columns."""
        if transposed:
            rows, columns = columns, rows
        found = array_at(address, ELEMENTS[kind], (rows, columns), (1, self._long_enough(ld, rows)))
        return (found.T if transposed else found).astype(np.float64)

    def _long_enough(self, ld, rows):
        assert ld >= max(1, rows), f"a column of {rows} elements in {ld}"
        return ld


@pytest.fixture
def library():
    fake = FakeCublas()
    yield fake
    assert not fake.broken


def stored(rng, dtype, rows, columns, transposed, padding):
    """What op() makes a (rows, columns) matrix of: the buffer, the view that op(A) is, lda."""
    if transposed:
        rows, columns = columns, rows
    buffer = rng.integers(-4, 5, (rows, columns + padding)).astype(dtype)
    view = buffer[:, :columns]
    return buffer, view.T if transposed else view, columns + padding


TYPES = [np.float32, np.float64, np.float16]
SIZE = st.integers(1, 5)


@given(
    st.sampled_from(TYPES),
    st.tuples(st.booleans(), st.booleans()),
    st.tuples(SIZE, SIZE, SIZE),
    st.tuples(*[st.integers(0, 3)] * 3),
    st.sampled_from([(1.0, 0.0), (2.0, 1.0), (-0.5, 0.5)]),
)
def test_products_of_rows(dtype, transposed, sizes, paddings, scales):
    m, n, k = sizes
    alpha, beta = scales
    rng = np.random.default_rng(0)
    a, op_a, lda = stored(rng, dtype, m, k, transposed[0], paddings[0])
    b, op_b, ldb = stored(rng, dtype, k, n, transposed[1], paddings[1])
    c, _, ldc = stored(rng, dtype, m, n, False, paddings[2])
    if not beta:
        c[...] = np.nan  # it may not be read
    expected = c.copy()
    kept = beta * c[:, :n] if beta else 0
    expected[:, :n] = alpha * (op_a.astype(np.float64) @ op_b) + kept
    fake = FakeCublas()
    with cublas.Cublas(fake) as blas:
        blas.gemm(
            *(np.dtype(dtype), *transposed, m, n, k, alpha, a.ctypes.data, lda),
            *(b.ctypes.data, ldb, beta, c.ctypes.data, ldc),
        )
    np.testing.assert_array_equal(c, expected)
    assert not fake.broken
    assert not fake.live


@given(
    st.sampled_from(TYPES),
    st.tuples(st.booleans(), st.booleans()),
    st.tuples(SIZE, SIZE, SIZE, SIZE),
    st.tuples(st.booleans(), st.booleans()),
)
def test_many_products(dtype, transposed, sizes, shared):
    batch, m, n, k = sizes
    rng = np.random.default_rng(1)
    a = rng.integers(-4, 5, (1 if shared[0] else batch, m, k)).astype(dtype)
    b = rng.integers(-4, 5, (1 if shared[1] else batch, k, n)).astype(dtype)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    if shared == (True, True):
        expected = np.repeat(expected, batch, 0)
    a, b = (
        np.ascontiguousarray(np.swapaxes(v, 1, 2) if t else v)
        for v, t in zip((a, b), transposed, strict=True)
    )
    c = np.full((batch, m, n), np.nan, dtype)
    fake = FakeCublas()
    with cublas.Cublas(fake) as blas:
        blas.gemm_strided_batched(
            *(np.dtype(dtype), *transposed, m, n, k, 1.0),
            *(a.ctypes.data, a.shape[2], 0 if shared[0] else m * k),
            *(b.ctypes.data, b.shape[2], 0 if shared[1] else k * n),
            *(0.0, c.ctypes.data, n, m * n, batch),
        )
    np.testing.assert_array_equal(c, expected)
    assert not fake.broken


def multiply(blas, dtype=np.float32, m=1, n=1, k=1):
    a, b, c = (np.ones(16, dtype) for _ in range(3))
    blas.gemm(
        *(np.dtype(dtype), False, False, m, n, k, 1.0, a.ctypes.data, max(k, 1)),
        *(b.ctypes.data, max(n, 1), 0.0, c.ctypes.data, max(n, 1)),
    )
    return c


@pytest.mark.parametrize(
    ("dtype", "tf32", "element", "compute"),
    [
        (np.float32, False, 0, 68),
        (np.float32, True, 0, 77),
        (np.float64, True, 1, 70),
        (np.float16, True, 2, 68),
    ],
)
def test_what_it_computes_in(library, dtype, tf32, element, compute):
    multiply(cublas.Cublas(library, tf32=tf32), dtype)
    arguments = dict(library.calls)["cublasGemmEx_64"]
    assert arguments[17:] == (compute, -1)
    assert (arguments[8], arguments[11], arguments[15]) == (element,) * 3
    assert dict(library.calls)["cublasSetMathMode"][1] == 16


def test_a_handle_is_made_when_it_is_used(library):
    blas = cublas.Cublas(library)
    blas.set_stream(0x77)
    blas.workspace(0x4000, 512)
    assert not library.calls
    multiply(blas)
    opening = [
        "cublasCreate_v2",
        "cublasSetMathMode",
        "cublasSetStream_v2",
        "cublasSetWorkspace_v2",
    ]
    assert library.calls[2][1][1] == 0x77
    assert library.calls[3][1][1:] == (0x4000, 512)
    assert library.names() == [*opening, "cublasGemmEx_64"]
    blas.set_stream(0x77)
    multiply(blas)
    assert library.names() == ["cublasGemmEx_64"]
    blas.close()
    blas.close()
    assert library.names() == ["cublasDestroy_v2"]
    blas.open()
    assert library.names() == opening
    blas.close()
    assert not library.live


def test_another_stream_keeps_the_workspace(library):
    with cublas.Cublas(library) as blas:
        blas.workspace(0x4000, 512)
        blas.open()
        library.names()
        blas.set_stream(0x99)
        assert library.names() == ["cublasSetStream_v2", "cublasSetWorkspace_v2"]
        blas.workspace(0, 0)  # setting the stream gives the library's own back
        assert library.names() == ["cublasSetStream_v2"]


def test_nothing_to_compute(library):
    blas = cublas.Cublas(library)
    multiply(blas, m=0)
    multiply(blas, n=0)
    blas.gemm_strided_batched(
        np.dtype(np.float32), False, False, 1, 1, 1, 1.0, 0, 1, 1, 0, 1, 1, 0.0, 0, 1, 1, 0
    )
    assert not library.calls
    with pytest.raises(ValueRangeError, match="over 0 elements"):
        multiply(blas, k=0)
    with pytest.raises(DTypeError, match="found int32"):
        multiply(blas, np.int32)


def test_errors_name_call_status_and_sizes(library):
    library.fails["cublasGemmEx_64"] = 7
    with cublas.Cublas(library) as blas, pytest.raises(KernelError) as failed:
        blas.gemm(np.dtype(np.float32), False, True, 2, 3, 4, 1.0, 1, 4, 2, 5, 0.0, 3, 6)
    assert str(failed.value) == (
        "cublasGemmEx_64: CUBLAS_STATUS_INVALID_VALUE (7); "
        "C[2, 3] = A[2, 4] @ B[3, 4].T of float32, rows (4, 5, 6) elements apart"
    )
    library.fails["cublasGemmStridedBatchedEx_64"] = 14
    with cublas.Cublas(library) as blas, pytest.raises(KernelError, match="5 products") as failed:
        blas.gemm_strided_batched(
            *(np.dtype(np.float16), True, False, 2, 3, 4, 1.0, 1, 2, 8, 2, 3, 12),
            *(0.0, 3, 3, 6, 5),
        )
    assert "CUBLAS_STATUS_INTERNAL_ERROR (14)" in str(failed.value)
    assert "A[4, 2].T @ B[4, 3] of float16" in str(failed.value)


def test_no_device(library):
    library.fails["cublasCreate_v2"] = 1
    with pytest.raises(KernelError, match=r"cublasCreate_v2: CUBLAS_STATUS_NOT_INIT.*doctor"):
        multiply(cublas.Cublas(library))


def test_a_handle_that_cannot_be_set_up_is_freed(library):
    library.fails["cublasSetWorkspace_v2"] = 7
    blas = cublas.Cublas(library)
    blas.workspace(0x4001, 512)
    with pytest.raises(KernelError, match="512 bytes at 0x4001"):
        blas.open()
    assert not library.live


def test_version(library):
    assert cublas.Cublas(library).version == "13.1.7"
    assert library.names() == ["cublasGetProperty"] * 3


def test_a_library_that_lacks_a_function(library):
    del library.cublasGemmEx_64
    with pytest.raises(UnsupportedError, match=r"no function cublasGemmEx_64.*caffe2py\[cuda13\]"):
        cublas.Cublas(library)


@pytest.fixture
def loader(monkeypatch, tmp_path):
    """Site-packages with wheels that `there` puts in; everything else the loader refuses."""
    tried = []

    def open_library(name):
        tried.append(name)
        if name.startswith(str(tmp_path)) and "broken" not in Path(name).read_text():
            return name
        raise OSError(f"{name}: cannot open")

    monkeypatch.setattr(nvidia.ctypes, "CDLL", open_library)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)

    def there(place, text=""):
        path = tmp_path / "nvidia" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    there.tried = tried
    return there


def test_wheels_of_both_kinds_are_found(loader):
    old = loader("cublas/lib/libcublas.so.12")
    assert cublas.load() == old
    new = loader("cu13/lib/libcublas.so.13")
    assert cublas.load() == new
    loader("cu13/lib/libcublas.so.13", "broken")
    assert cublas.load() == old


def test_no_wheel(loader):
    with pytest.raises(UnsupportedError, match="cuBLAS is not installed") as failed:
        cublas.load()
    assert failed.value.hint == "needs: pip install caffe2py[cuda13]"
    assert loader.tried == ["libcublas.so.13", "libcublas.so.12"]
    loader("other/lib/libother.so")  # another wheel of NVIDIA's
    with pytest.raises(UnsupportedError, match=r"libcublas\.so\.12: cannot open"):
        cublas.load()


def test_importing_loads_nothing():
    code = (
        "import ctypes, sys\n"
        "def refuse(*_, **__): raise SystemExit('a library was loaded')\n"
        "ctypes.CDLL.__init__ = refuse\n"
        "import caffe2py.adapters.cublas, caffe2py.adapters.cudnn\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
