"""cuDNN as it is called: one that convolves on the host must give what the operators give."""

from dataclasses import replace

import numpy as np
import pytest

import caffe2py.core  # noqa: F401  (registers the operators)
from caffe2py.adapters import cudnn, nvidia
from caffe2py.errors import KernelError, ShapeError, UnsupportedError, UsageError
from caffe2py.executor.workspace import Workspace
from tests.adapters.fake_cudnn import NOT_SUPPORTED, FakeCudnn, offer
from tests.toy import op


@pytest.fixture
def library():
    fake = FakeCudnn()
    yield fake
    assert not fake.broken


def sizes_of(axes=2, order="NCHW", transposed=False, groups=1, dtype=np.float32, dilation=1):
    """A convolution with three strides, pads and kernels that differ."""
    image = (7, 9, 6)[:axes]
    kernel, strides, pads = (3, 2, 4)[:axes], (2, 1, 3)[:axes], (1, 0, 2)[:axes]
    dilations = (dilation,) * axes
    maps = tuple(
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(image, pads, dilations, kernel, strides, strict=True)
    )
    m, c = 6, 4  # of the maps, of the image

    def shape(first, channels, spans):
        return (first, *spans, channels) if order == "NHWC" else (first, channels, *spans)

    x, y = shape(2, c, image), shape(2, m, maps)
    return cudnn.Sizes(
        x=y if transposed else x,
        w=shape(m, c // groups, kernel),
        y=x if transposed else y,
        strides=strides,
        pads=pads * 2,
        dilations=dilations,
        dtype=np.dtype(dtype),
        groups=groups,
        order=order,
        transposed=transposed,
    )


SMALL = sizes_of()


def arrays(sizes):
    """x, w, y, bias with small whole numbers: every sum of products is exact."""
    rng = np.random.default_rng(0)
    channels = sizes.y[1 if sizes.order == "NCHW" else -1]
    shapes = (sizes.x, sizes.w, sizes.y, (channels,))
    return [rng.integers(-2, 3, shape).astype(sizes.dtype) for shape in shapes]


def by_operator(sizes, x, w, dy, bias):
    """y, dw, db and dx of Conv or ConvTranspose."""
    kind = "ConvTranspose" if sizes.transposed else "Conv"
    spans = slice(2, None) if sizes.order == "NCHW" else slice(1, -1)
    args = {
        "kernels": list(sizes.w[spans]),
        "strides": list(sizes.strides),
        "pads": list(sizes.pads),
        "order": sizes.order,
        "group": sizes.groups,
    }
    if sizes.transposed:
        image, kernel, maps = sizes.logical
        args["adjs"] = [
            size + 2 * pad - k - stride * (span - 1)
            for size, pad, k, stride, span in zip(
                image[2:], sizes.pads, kernel[2:], sizes.strides, maps[2:], strict=False
            )
        ]
    else:
        args["dilations"] = list(sizes.dilations)
    workspace = Workspace()
    for name, value in (("x", x), ("w", w), ("b", bias), ("dy", dy)):
        workspace.feed(name, value.astype(np.float32))
    workspace.run_operator_once(op(kind, "x w b", "y", **args))
    workspace.run_operator_once(op(f"{kind}Gradient", "x w dy", "dw db dx", **args))
    return [workspace.fetch(name) for name in ("y", "dw", "db", "dx")]


CASES = [
    sizes_of(1),
    sizes_of(1, "NHWC", groups=2),
    sizes_of(1, transposed=True),
    sizes_of(2, dilation=2),
    sizes_of(2, "NHWC"),
    sizes_of(2, groups=2, dtype=np.float16),
    sizes_of(2, transposed=True, groups=2),
    sizes_of(2, "NHWC", transposed=True, dtype=np.float16),
    sizes_of(3),
    sizes_of(3, "NHWC", groups=2),
    sizes_of(3, transposed=True),
]


@pytest.mark.parametrize("sizes", CASES, ids=str)
def test_what_the_operators_compute(library, sizes):
    x, w, dy, bias = arrays(sizes)
    y, dw, db, dx = (np.full_like(v, np.nan) for v in (dy, w, bias, x))
    expected = by_operator(sizes, x, w, dy, bias)
    with cudnn.Cudnn(library) as handle, cudnn.Convolution(handle, sizes) as convolution:
        convolution.forward(x.ctypes.data, w.ctypes.data, y.ctypes.data, bias.ctypes.data)
        convolution.backward_filter(x.ctypes.data, dy.ctypes.data, dw.ctypes.data)
        convolution.backward_bias(dy.ctypes.data, db.ctypes.data)
        convolution.backward_data(w.ctypes.data, dy.ctypes.data, dx.ctypes.data)
    for found, wanted in zip((y, dw, db, dx), expected, strict=True):
        np.testing.assert_array_equal(found, wanted.astype(sizes.dtype))
    assert not library.live


def run(convolution, step="forward"):
    kept = arrays(convolution.sizes)
    x, w, y, _ = (v.ctypes.data for v in kept)
    getattr(convolution, step)(
        **{
            "forward": {"x": x, "w": w, "y": y},
            "backward_data": {"w": w, "dy": y, "dx": x},
            "backward_filter": {"x": x, "dy": y, "dw": w},
        }[step]
    )


def used(library, kind="Forward"):
    """The algorithm and the math of the last run."""
    arguments = next(a for name, a in reversed(library.calls) if name == f"cudnnConvolution{kind}")
    return arguments[7], library.live[arguments[6]]["math"]


STEPS = {
    "forward": ("Forward", "BackwardData"),
    "backward_data": ("BackwardData", "Forward"),
    "backward_filter": ("BackwardFilter", "BackwardFilter"),
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_the_first_algorithm_that_is_wanted(library, step, transposed):
    kind = STEPS[step][transposed]
    library.offers = [
        offer(5, status=NOT_SUPPORTED),
        offer(4, deterministic=False),
        offer(3, memory=1001),
        offer(2, math=2),  # would round float32 to half
        offer(6, memory=None),
        offer(1, memory=1000),
        offer(0),
    ]
    space = np.empty(1000, np.uint8)
    with cudnn.Cudnn(library) as handle:
        handle.workspace(space.ctypes.data, 1000)
        convolution = cudnn.Convolution(
            handle, sizes_of(transposed=transposed), workspace_limit=1000
        )
        assert convolution.workspace_bytes(step) == 1000
        run(convolution, step)
        assert used(library, kind)[0] == 1
        arguments = dict(library.calls)[f"cudnnConvolution{kind}"]
        assert arguments[8:10] == (space.ctypes.data, 1000)
        library.names()
        run(convolution, step)
        assert library.names() == [f"cudnnConvolution{kind}"]
        any_will_do = cudnn.Convolution(handle, convolution.sizes, deterministic=False)
        run(any_will_do, step)
        assert used(library, kind)[0] == 4
        convolution.close()
        any_will_do.close()
    assert not library.live


@pytest.mark.parametrize(
    ("dtype", "tf32", "asked", "offered", "taken"),
    [
        (np.float32, False, 3, 0, 3),  # FMA whatever cuDNN says
        (np.float32, False, 3, 3, 3),
        (np.float32, True, 0, 0, 0),
        (np.float32, True, 0, 1, 1),
        (np.float16, False, 1, 1, 1),
        (np.float16, True, 1, 0, 0),
    ],
)
def test_what_it_computes_in(library, dtype, tf32, asked, offered, taken):
    library.offers = [offer(1, math=offered)]
    sizes = sizes_of(dtype=dtype)
    with cudnn.Cudnn(library) as handle, cudnn.Convolution(handle, sizes, tf32=tf32) as convolution:
        run(convolution)
        math = [a[1] for name, a in library.calls if name == "cudnnSetConvolutionMathType"]
        assert math == [asked, taken]
        assert used(library) == (1, taken)


def test_each_step_has_its_own_math(library):
    library.offers = [offer(1, math=1)]
    with (
        cudnn.Cudnn(library) as handle,
        cudnn.Convolution(handle, sizes_of(dtype=np.float16)) as convolution,
    ):
        run(convolution)
        library.offers = [offer(1, math=0)]
        run(convolution, "backward_data")
        run(convolution)
        assert used(library) == (1, 1)
        assert used(library, "BackwardData") == (1, 0)


@pytest.mark.parametrize("step", STEPS)
def test_search_measures(library, step):
    library.offers = [offer(0)]
    kind = STEPS[step][0]
    x, w, y, _ = arrays(SMALL)
    space = np.empty(64, np.uint8)
    with cudnn.Cudnn(library) as handle, cudnn.Convolution(handle, SMALL) as convolution:
        handle.workspace(space.ctypes.data, 64)
        run(convolution, step)
        library.offers = [offer(7, deterministic=False), offer(1, memory=64), offer(0)]
        convolution.search(step, x.ctypes.data, w.ctypes.data, y.ctypes.data)
        result = {"forward": y, "backward_data": x, "backward_filter": w}[step]
        assert [bool(np.isnan(v).all()) for v in (x, w, y)] == [v is result for v in (x, w, y)]
        found = dict(library.calls)[f"cudnnFindConvolution{kind}AlgorithmEx"]
        assert found[11:] == (space.ctypes.data, 64)
        assert convolution.workspace_bytes(step) == 64
        run(convolution, step)
        assert used(library, kind)[0] == 1


def test_a_search_that_finds_nothing_is_forgotten(library):
    library.offers = [offer(1, math=1)]
    with (
        cudnn.Cudnn(library) as handle,
        cudnn.Convolution(handle, sizes_of(dtype=np.float16), workspace_limit=10) as convolution,
    ):
        run(convolution)
        library.offers = [offer(2, math=0, memory=11)]
        kept = arrays(convolution.sizes)
        with pytest.raises(UnsupportedError, match="within 10 bytes"):
            convolution.search("forward", *(v.ctypes.data for v in kept[:3]))
        library.offers = [offer(1, math=1)]
        run(convolution)
        assert used(library) == (1, 1)


def test_no_algorithm_is_no_failure(library):
    library.offers = [offer(0, deterministic=False)]
    with cudnn.Cudnn(library) as handle, cudnn.Convolution(handle, SMALL) as convolution:
        with pytest.raises(UnsupportedError) as failed:
            run(convolution)
        assert str(failed.value) == (
            "cuDNN has no deterministic algorithm within 67108864 bytes of workspace for Forward; "
            "x (2, 4, 7, 9), w (6, 4, 3, 2), y (2, 6, 4, 8), strides (2, 1), pads (1, 0, 1, 0), "
            "dilations (1, 1), groups 1, float32 NCHW"
        )
        library.fails["cudnnGetConvolutionBackwardDataAlgorithm_v7"] = 3000
        with pytest.raises(UnsupportedError, match=r"CUDNN_STATUS_NOT_SUPPORTED \(3000\); x \(2"):
            convolution.workspace_bytes("backward_data")
        library.fails["cudnnGetConvolutionBackwardFilterAlgorithm_v7"] = 2000
        with pytest.raises(KernelError, match="CUDNN_STATUS_BAD_PARAM"):
            convolution.workspace_bytes("backward_filter")


def test_errors_name_call_status_and_sizes(library):
    library.fails["cudnnConvolutionForward"] = 5000
    library.detail = b"launch failed"
    with cudnn.Cudnn(library) as handle, cudnn.Convolution(handle, SMALL) as convolution:
        with pytest.raises(KernelError) as failed:
            run(convolution)
        assert str(failed.value) == (
            "cudnnConvolutionForward: CUDNN_STATUS_EXECUTION_FAILED: launch failed (5000); "
            f"{SMALL}, algorithm 0, workspace 0 bytes"
        )
        library.offers = [offer(1, memory=10)]
        with pytest.raises(
            KernelError, match=r"BackwardData needs 10 bytes of workspace, has 0; x"
        ):
            run(convolution, "backward_data")


def test_no_device(library):
    library.fails["cudnnCreate"] = 1001
    convolution = cudnn.Convolution(cudnn.Cudnn(library), SMALL)  # descriptors need none
    with pytest.raises(KernelError, match=r"cudnnCreate: CUDNN_STATUS_NOT_INIT.*doctor"):
        run(convolution)
    convolution.close()
    assert not library.live


@pytest.mark.parametrize(
    "name",
    ["cudnnSetTensorNdDescriptor", "cudnnCreateFilterDescriptor", "cudnnSetFilterNdDescriptor"],
)
def test_descriptors_are_freed_when_making_them_fails(library, name):
    library.fails[name] = 2000
    with pytest.raises(KernelError, match=name):
        cudnn.Convolution(cudnn.Cudnn(library), SMALL)
    assert not library.live


def test_after_closing(library):
    handle = cudnn.Cudnn(library)
    convolution = cudnn.Convolution(handle, SMALL)
    run(convolution)
    convolution.close()
    convolution.close()
    handle.close()
    assert not library.live
    for use in (
        lambda: run(convolution),
        lambda: convolution.backward_bias(1, 2),
        lambda: convolution.search("backward_data", 1, 2, 3),
    ):
        with pytest.raises(UsageError, match="closed"):
            use()


def test_streams_and_version(library):
    handle = cudnn.Cudnn(library)
    assert handle.version == "9.28.0"
    handle.set_stream(0x55)
    assert not library.calls
    handle.open()
    assert library.calls[-1][1][1] == 0x55
    assert library.names() == ["cudnnCreate", "cudnnSetStream"]
    handle.set_stream(0x55)
    handle.workspace(0x100, 8)
    handle.close()
    assert library.names()[-1] == "cudnnDestroy"


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ({"pads": (1, 0, 2, 0), "y": (2, 6, 4, 8)}, "the same at both ends"),
        ({"dtype": np.dtype(np.float64)}, "the type float64"),
        ({"x": (0, 4, 7, 9), "y": (0, 6, 4, 8)}, "elements in x, w and y"),
        ({"x": (1 << 24, 4, 7, 9), "y": (1 << 24, 6, 4, 8)}, "elements in x, w and y"),
    ],
)
def test_what_is_not_for_cudnn(library, change, obstacle):
    assert SMALL.supported
    sizes = replace(SMALL, **change)
    assert not sizes.supported
    with pytest.raises(UnsupportedError, match=obstacle):
        cudnn.Convolution(cudnn.Cudnn(library), sizes)
    assert not library.calls


def test_four_axes_are_too_many():
    ones = (1,) * 4
    shape = (1, 1, *ones)
    sizes = cudnn.Sizes(shape, shape, shape, ones, (0,) * 8, ones, np.dtype(np.float32))
    assert "4 axes" in sizes.obstacle


@pytest.mark.parametrize(
    "change",
    [
        {"w": (6, 4, 3)},
        {"pads": (1, 0)},
        {"strides": (2, 0)},
        {"groups": 0},
        {"groups": 2},
        {"y": (3, 6, 4, 8)},
        {"y": (2, 5, 4, 8)},
        {"y": (2, 6, 4, 9)},
        {"x": (2, 6), "w": (6, 6), "y": (2, 6), "strides": (), "pads": (), "dilations": ()},
    ],
)
def test_sizes_that_do_not_fit(change):
    with pytest.raises(ShapeError):
        replace(SMALL, **change)


def test_where_it_is_looked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(nvidia, "load", lambda title, places: asked.append((title, places)))
    cudnn.load()
    assert asked == [("cuDNN", (("cudnn/lib", "libcudnn.so.9"),))]
