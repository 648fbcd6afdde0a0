"""Arrays of other libraries come in, and ours go out, without a copy."""

import ctypes
import gc
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py import workspace
from caffe2py.errors import DeviceError, DTypeError
from caffe2py.executor.workspace import Workspace
from caffe2py.tensor.cuda.array import DeviceArray
from caffe2py.tensor.cuda.devices import cuda_device, from_outside
from caffe2py.tensor.place import copy_of, on_host
from tests.cuda.kit import CUDA, moved
from tests.toy import net, op

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


class Foreign:
    """An array of another library, by `__cuda_array_interface__`."""

    def __init__(self, values=VALUES, *, device=0, **more):
        self.ours = copy_of(values, CUDA)
        self.device = SimpleNamespace(index=device)
        self.__cuda_array_interface__ = {**self.ours.__cuda_array_interface__, **more}


class Lender:
    """An array of another library, by DLPack alone."""

    def __init__(self, values=VALUES):
        self.ours = copy_of(values, CUDA)
        self.streams = []

    def __dlpack_device__(self):
        return self.ours.__dlpack_device__()

    def __dlpack__(self, *, stream=None):
        self.streams.append(stream)
        return self.ours.__dlpack__()


# ---------------------------------------------------------------- in


@pytest.mark.parametrize("kind", [Foreign, Lender])
def test_a_foreign_array_shares_its_memory(kind):
    foreign = kind()
    space = Workspace()
    space.feed("x", foreign, CUDA)
    assert space.blob("x").array.address == foreign.ours.address
    space.run_net_once(moved(net(op("Negative", "x", "x"), op("Relu", "x", "y"))))
    np.testing.assert_array_equal(on_host(foreign.ours), -VALUES)
    np.testing.assert_array_equal(space.fetch("x"), -VALUES)


@pytest.mark.parametrize("kind", [Foreign, Lender])
def test_a_foreign_array_lives_as_long_as_it_is_looked_at(kind):
    gc.collect()
    pool = cuda_device(0).pool
    before = pool.taken
    space = Workspace()
    space.feed("x", kind(), CUDA)
    gc.collect()
    assert pool.taken > before
    np.testing.assert_array_equal(space.fetch("x"), VALUES)
    space.feed("x", np.zeros(1, np.float32))
    gc.collect()
    assert pool.taken == before


def test_feed_blob_of_the_front_takes_it_too():
    foreign = Foreign()
    assert workspace.FeedBlob("shared", foreign, CUDA.to_option())
    assert workspace.current().blob("shared").array.address == foreign.ours.address
    workspace.RemoveBlob("shared")


def test_what_the_maker_has_queued_is_waited_for():
    device = cuda_device(0)
    stream = device.driver.stream(0)
    ours = copy_of(VALUES, CUDA)
    device.driver.upload(0, stream, ours.address, 2 * VALUES)
    foreign = Foreign()
    foreign.__cuda_array_interface__ = {**ours.__cuda_array_interface__, "stream": stream}
    np.testing.assert_array_equal(on_host(from_outside(foreign)), 2 * VALUES)
    legacy = Foreign(stream=1)
    np.testing.assert_array_equal(on_host(from_outside(legacy)), VALUES)
    lender = Lender()
    from_outside(lender)
    assert lender.streams == [device.stream]


def test_our_own_arrays_are_what_they_are():
    ours = copy_of(VALUES, CUDA)
    assert from_outside(ours) is ours
    assert from_outside(VALUES) is None
    assert from_outside([1, 2]) is None


def test_strides():
    assert from_outside(Foreign(strides=(12, 4))).shape == (2, 3)
    assert from_outside(Foreign(np.zeros((0, 3), np.float32), strides=(4, 99))).size == 0
    with pytest.raises(DeviceError, match="not C-contiguous cannot be shared: copy it first"):
        from_outside(Foreign(strides=(4, 8)))


@pytest.mark.parametrize("typestr", [">f4", "<c8", "|S4", "|O", "<M8[s]"])
def test_elements_that_no_tensor_has(typestr):
    with pytest.raises(DTypeError, match=r"no tensor holds|order of bytes"):
        from_outside(Foreign(typestr=typestr))


def test_masks_are_refused():
    with pytest.raises(DeviceError, match="mask"):
        from_outside(Foreign(mask=Foreign()))


def test_an_array_of_another_device_names_both():
    with pytest.raises(DeviceError, match="the array is on cuda:1, expected on cuda:0") as error:
        Workspace().feed("x", Foreign(device=1), CUDA)
    assert "FeedBlob('x')" in str(error.value)


@pytest.mark.parametrize(
    "device", [1, SimpleNamespace(id=1), SimpleNamespace(index=1), np.int64(1)], ids=repr
)
def test_how_libraries_name_devices(device):
    foreign = Foreign()
    foreign.device = device
    assert from_outside(foreign).device == 1
    del foreign.device
    assert from_outside(foreign).device == 0
    foreign.device = "cuda"
    assert from_outside(foreign).device == 0


# ---------------------------------------------------------------- out


def test_the_interface():
    ours = copy_of(VALUES, CUDA)
    assert ours.__cuda_array_interface__ == {
        "shape": (2, 3),
        "typestr": "<f4",
        "data": (ours.address, False),
        "strides": None,
        "version": 3,
        "stream": None,
    }
    assert copy_of(VALUES[:0], CUDA).__cuda_array_interface__["data"] == (0, False)


class _Tensor(ctypes.Structure):
    """DLManagedTensor of DLPack 0.8, flat, as a consumer in C has it."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]


def consume(capsule):
    """The structure behind a capsule, which is used up then; and what lets go of it."""
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
    place = api.PyCapsule_GetPointer(capsule, b"dltensor")
    name = b"used_dltensor"
    KEPT.append(name)
    api.PyCapsule_SetName(capsule, name)
    tensor = _Tensor.from_address(place)
    return tensor, lambda: tensor.deleter(place)


#: Names of capsules, which are not copied.
KEPT = []

CODES = {"i": 0, "u": 1, "f": 2, "b": 6}


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "float64", "int8", "uint8", "int64", "bool"]
)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0, 3)])
def test_a_consumer_sees_our_memory(dtype, shape):
    ours = copy_of(np.ones(shape, dtype), CUDA)
    tensor, let_go = consume(ours.__dlpack__())
    assert (tensor.device_type, tensor.device_id) == (2, 0)
    assert (tensor.data or 0) + tensor.byte_offset == ours.address or not ours.size
    assert tuple(tensor.shape[k] for k in range(tensor.ndim)) == shape
    assert (tensor.code, tensor.bits, tensor.lanes) == (
        CODES[ours.dtype.kind], 8 * ours.itemsize, 1
    )  # fmt: skip
    let_go()


@pytest.mark.parametrize("used", [False, True])
def test_the_memory_lives_until_the_consumer_lets_go(used):
    gc.collect()
    pool = cuda_device(0).pool
    before = pool.taken
    capsule = copy_of(VALUES, CUDA).__dlpack__(stream=2, max_version=(1, 0))
    gc.collect()
    assert pool.taken > before
    if used:
        _, let_go = consume(capsule)
        del capsule
        gc.collect()
        assert pool.taken > before
        let_go()
    capsule = None
    gc.collect()
    assert pool.taken == before


def test_a_second_device_is_named():
    ours = cuda_device(1).empty((2,), np.dtype(np.float32))
    tensor, let_go = consume(ours.__dlpack__(dl_device=(2, 1)))
    assert tensor.device_id == ours.__dlpack_device__()[1] == 1
    let_go()


@pytest.mark.parametrize("wish", [{"copy": True}, {"dl_device": (1, 0)}])
def test_copies_are_not_what_dlpack_is_for(wish):
    with pytest.raises(BufferError, match="FetchBlob"):
        copy_of(VALUES, CUDA).__dlpack__(**wish)


def test_a_capsule_may_end_while_an_exception_is_on_its_way(monkeypatch):
    """What lets go of the array runs with an exception set: it must not be Python."""
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    pool = cuda_device(0).pool
    gc.collect()
    before = pool.taken
    # int() of a capsule fails, and lets go of its argument on the way out
    for refuse in (int, memoryview, ord, len):
        with pytest.raises(TypeError):
            refuse(copy_of(VALUES, CUDA).__dlpack__())
    gc.collect()
    assert unraisable == []
    assert pool.taken == before


def test_numpy_refuses_what_is_on_a_device():
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(copy_of(VALUES, CUDA))


# ---------------------------------------------------------------- capsules of others


def pointer(numbers):
    return ctypes.cast(numbers, ctypes.POINTER(ctypes.c_int64))


def strange(**changes):
    """A lender whose tensor is not what we take."""
    lender = Lender()

    def make(*, stream=None):
        capsule = lender.ours.__dlpack__()
        api = ctypes.pythonapi
        api.PyCapsule_GetPointer.restype = ctypes.c_void_p
        api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        tensor = _Tensor.from_address(api.PyCapsule_GetPointer(capsule, b"dltensor"))
        for name, value in changes.items():
            setattr(tensor, name, value)
        return capsule

    return SimpleNamespace(__dlpack_device__=lender.__dlpack_device__, __dlpack__=make)


@pytest.mark.parametrize(
    "changes",
    [{"code": 4, "bits": 16}, {"bits": 4}, {"code": 2, "bits": 8}, {"lanes": 4}, {"code": 9}],
)
def test_types_that_no_tensor_has(changes):
    pool = cuda_device(0).pool
    gc.collect()
    before = pool.taken
    with pytest.raises(DTypeError, match="DLPack's type"):
        from_outside(strange(**changes))
    gc.collect()
    assert pool.taken == before, "it is let go of all the same"


def test_strides_of_others():
    steps = (ctypes.c_int64 * 2)(1, 2)
    with pytest.raises(DeviceError, match="not C-contiguous"):
        from_outside(strange(strides=pointer(steps)))
    steps = (ctypes.c_int64 * 2)(3, 1)
    taken = from_outside(strange(strides=pointer(steps)))
    np.testing.assert_array_equal(on_host(taken), VALUES)


def test_an_offset():
    shape, steps = (ctypes.c_int64 * 1)(5), (ctypes.c_int64 * 1)(1)
    lender = strange(byte_offset=4, ndim=1, shape=pointer(shape), strides=pointer(steps))
    np.testing.assert_array_equal(on_host(from_outside(lender)), VALUES.reshape(-1)[1:])


def test_a_capsule_is_taken_once():
    capsule = copy_of(VALUES, CUDA).__dlpack__()
    lender = SimpleNamespace(__dlpack_device__=lambda: (2, 0), __dlpack__=lambda stream: capsule)
    assert isinstance(from_outside(lender), DeviceArray)
    with pytest.raises(DeviceError, match="nobody has taken, found <capsule"):
        from_outside(lender)


def test_an_array_of_the_host_is_copied():
    lender = SimpleNamespace(__dlpack_device__=lambda: (1, 0))
    assert from_outside(lender) is None
