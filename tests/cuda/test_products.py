"""Products and convolutions on a simulated device: tiles, shares of sums, and who computes them."""

import numpy as np
import pytest

from caffe2py.core import CreateOperator
from caffe2py.errors import UnsupportedError
from caffe2py.executor.workspace import Workspace
from caffe2py.kernels.cuda import engines, tiles
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.cuda.devices import cuda_device
from caffe2py.tensor.device import CPU, Device
from caffe2py.testing.parity import on_device
from tests.adapters.fake_cudnn import FakeCudnn, offer
from tests.adapters.test_cublas import FakeCublas

GPU = Device("cuda")


def run(type_, inputs, outputs, device, **args):
    """The outputs of one operator."""
    names = [f"x{k}" for k in range(len(inputs))]
    results = [f"y{k}" for k in range(outputs)]
    workspace = Workspace()
    for name, value in zip(names, inputs, strict=True):
        workspace.feed(name, value, device)
    op = on_device(CreateOperator(type_, names, results, **args), device)
    workspace.run_net_once(NetDef(name="one", op=[op]))
    return [workspace.fetch(name) for name in results]


def check(type_, inputs, outputs=1, *, atol=1e-5, **args):
    expected = run(type_, inputs, outputs, CPU, **args)
    for found, right in zip(run(type_, inputs, outputs, GPU, **args), expected, strict=True):
        assert found.dtype == right.dtype
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=atol)


def numbers(*shape, dtype=np.float32):
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("size", [(4, 4, 4), (9, 7, 5), (8, 12, 16), (1, 5, 9), (5, 1, 2)])
def test_products_of_whole_tiles_and_of_parts_of_them(turned, size):
    m, n, k = size
    a = numbers(*((k, m) if turned[0] else (m, k)))
    b = numbers(*((n, k) if turned[1] else (k, n)))
    check("MatMul", [a, b], trans_a=turned[0], trans_b=turned[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_sums_are_cut_into_shares_and_finished(dtype, monkeypatch):
    monkeypatch.setattr(tiles, "_STEPS", 1)
    assert tiles.splits_of(1, -(-40 // tiles.REAL_DEEP)) == 3
    x, w = numbers(3, 40, dtype=dtype), numbers(5, 40, dtype=dtype)
    check("FC", [x, w, numbers(5, dtype=dtype)])
    check("FusedFC", [x, w, numbers(5, dtype=dtype)])


def test_shares_depend_on_sizes_alone():
    assert tiles.splits_of(1000, 1000) == 1
    assert tiles.splits_of(1, 3) == 1
    assert tiles.splits_of(1, 10**6) == tiles._MOST


@pytest.mark.parametrize("m", [0, 3])
def test_products_of_nothing(m):
    check("MatMul", [numbers(m, 0), numbers(0, 4)])
    check("FC", [numbers(0, 3), numbers(2, 3), numbers(2)])


def test_a_product_that_is_not_a_number_stays_so():
    x = np.array([[np.nan, 1], [np.inf, 0]], np.float32)
    check("FusedFC", [x, numbers(3, 2), numbers(3)])


# ---------------------------------------------------------------- NVIDIA's libraries


@pytest.fixture
def libraries(monkeypatch):
    """cuBLAS and cuDNN that compute at once, on a device that is waited for after each launch."""
    fakes = {"cuBLAS": FakeCublas(), "cuDNN": FakeCudnn()}
    driver = cuda_device(0).driver
    monkeypatch.setenv("CAFFE2PY_CUDA_BLOCKING", "1")
    monkeypatch.setattr(driver, "runs_libraries", True, raising=False)
    monkeypatch.setattr(engines, "_made", {})
    monkeypatch.setattr(engines, "_SPACE_NEW", 1 << 16)
    monkeypatch.setattr(engines.cublas, "load", lambda: fakes["cuBLAS"])
    monkeypatch.setattr(engines.cudnn, "load", lambda: fakes["cuDNN"])
    engines._missing.cache_clear()
    yield fakes
    engines._missing.cache_clear()
    assert not fakes["cuBLAS"].broken
    assert not fakes["cuDNN"].broken


def called(library, part):
    return any(part in name for name in library.names())


@pytest.mark.parametrize("engine", ["", "CUBLAS", "CUDNN"])
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products_by_cublas(libraries, engine, turned):
    a = numbers(*((2, 6, 3) if turned[0] else (2, 3, 6)))
    b = numbers(*((2, 4, 6) if turned[1] else (2, 6, 4)))
    check("BatchMatMul", [a, b], trans_a=turned[0], trans_b=turned[1], engine=engine)
    assert called(libraries["cuBLAS"], "StridedBatched")


def test_a_layer_by_cublas_is_finished_by_a_kernel_of_ours(libraries):
    check("FusedFC", [numbers(4, 6), numbers(3, 6), numbers(3)])
    names = libraries["cuBLAS"].names()
    assert names.count("cublasCreate_v2") == 1
    assert "cublasSetWorkspace_v2" in names
    assert "cublasGemmEx_64" in names
    check("FCGradient", [numbers(4, 6), numbers(3, 6), numbers(4, 3)], 3)
    assert libraries["cuBLAS"].names().count("cublasGemmEx_64") == 2


def test_numbas_engine_is_asked_for_by_name(libraries):
    check("MatMul", [numbers(4, 6), numbers(6, 3)], engine="NUMBA")
    check("Conv", [numbers(1, 2, 5, 5), numbers(3, 2, 3, 3)], kernel=3, engine="NUMBA")
    assert not libraries["cuBLAS"].names()
    assert not libraries["cuDNN"].names()


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_convolutions_by_cudnn(libraries, order):
    libraries["cuDNN"].offers = [offer(1, memory=1 << 10)]
    args = {"kernel": 3, "stride": 2, "pad": 1, "group": 2, "order": order}
    last = order == "NHWC"
    x = numbers(2, 5, 5, 4) if last else numbers(2, 4, 5, 5)
    w = numbers(6, 3, 3, 2) if last else numbers(6, 2, 3, 3)
    dy = numbers(2, 3, 3, 6) if last else numbers(2, 6, 3, 3)
    check("Conv", [x, w, numbers(6)], engine="CUDNN", **args)
    assert called(libraries["cuDNN"], "cudnnConvolutionForward")
    check("ConvGradient", [x, w, dy], 3, **args)
    assert called(libraries["cuDNN"], "cudnnConvolutionBackwardFilter")
    check("FusedConv", [x, w, numbers(6), dy], bias=True, sum=True, relu=True, **args)
    assert called(libraries["cuDNN"], "cudnnConvolutionForward")


def test_what_cudnn_has_nothing_for_is_ours(libraries):
    x, w = numbers(1, 2, 5, 5), numbers(3, 2, 3, 3)
    check("Conv", [x.astype(np.float64), w.astype(np.float64)], kernel=3)
    check("Conv", [x, w], kernel=3, pads=[0, 0, 1, 1], engine="CUDNN")
    libraries["cuDNN"].offers = [offer(0, deterministic=False)]
    check("Conv", [x, w], kernel=3, engine="CUDNN")
    assert not called(libraries["cuDNN"], "cudnnConvolutionForward")


def test_without_libraries_only_cublas_by_name_is_an_error():
    x, w = numbers(1, 2, 5, 5), numbers(3, 2, 3, 3)
    check("Conv", [x, w], kernel=3, engine="CUDNN")
    with pytest.raises(UnsupportedError, match=r"MatMul.*cuBLAS"):
        run("MatMul", [numbers(2, 2), numbers(2, 2)], 1, GPU, engine="CUBLAS")
