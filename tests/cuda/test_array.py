"""Arrays of a device have numpy's form, and say no where numpy would look inside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe2py.errors import DeviceError, ShapeError
from caffe2py.tensor.cuda.array import DeviceArray
from caffe2py.tensor.cuda.devices import cuda_device, to_host
from caffe2py.tensor.place import copy_into, copy_of, device_of, on_host, overlap
from tests.cuda.kit import CUDA

TYPES = ["float32", "float64", "int8", "uint16", "int64", "bool", "float16"]
SIZES = st.integers(0, 4)


def pair(shape, dtype="float32"):
    """An array of the host and one of the device with its form, at its address."""
    host = np.zeros(shape, dtype)
    return host, DeviceArray(host.ctypes.data, host.shape, host.dtype, 0, host)


def same(device, host):
    """Whether an array of a device is where and what the host's is."""
    place = device.address == host.ctypes.data or not host.size
    form = (device.shape, device.dtype, device.ndim, device.size, device.nbytes, device.itemsize)
    return place and form == (
        host.shape, host.dtype, host.ndim, host.size, host.nbytes, host.itemsize
    )  # fmt: skip


def outcome(function, array):
    """What comes of it: an array or, of whatever class, an error."""
    try:
        return function(array)
    except Exception:
        return None


ranges = st.tuples(
    st.none() | st.integers(-5, 5), st.none() | st.integers(-5, 5), st.sampled_from([None, 1])
).map(lambda t: slice(*t))
keys = st.integers(-5, 5) | ranges | st.just(...)
steps = st.one_of(
    st.lists(st.integers(-1, 6), max_size=4).map(lambda s: ("reshape", tuple(s))),
    st.just(("reshape", (-1,))),
    st.just(("ravel", None)),
    st.sampled_from(TYPES).map(lambda t: ("view", t)),
    keys.map(lambda k: ("[]", k)),
    st.lists(st.integers(-4, 4), max_size=3).map(lambda k: ("[]", tuple(k))),
)


def take(array, step):
    name, how = step
    if name == "reshape":
        return array.reshape(how)
    if name == "ravel":
        return array.reshape(-1) if isinstance(array, np.ndarray) else array.ravel()
    return array.view(how) if name == "view" else array[how]


@given(st.lists(SIZES, max_size=4), st.sampled_from(TYPES), st.lists(steps, max_size=5))
def test_views_are_numpys(shape, dtype, todo):
    host, device = pair(tuple(shape), dtype)
    for step in todo:
        if step[0] == "view" and (not host.size or not host.ndim):
            continue  # numpy's rules for views of nothing change with its version
        above = host
        host, there = outcome(lambda a, s=step: take(a, s), host), device
        device = outcome(lambda a, s=step: take(a, s), device)
        if host is None or not isinstance(host, np.ndarray):
            # numpy's numbers are arrays without axes here
            assert device is None or (device.shape == () and device.dtype == above.dtype), step
            return
        assert device is not None, f"{there!r} {step}"
        assert same(device, host), f"{there!r} {step}"
        assert device.owner is there.owner


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((6,), (-1, -1)), ((6,), (4,)), ((6,), (-2, -3)), ((0,), (-1, 0)), ((1,), (-1, -1))],
)
def test_shapes_that_do_not_fit(shape, wanted):
    with pytest.raises(ShapeError, match="cannot be"):
        pair(shape)[1].reshape(wanted)


REFUSED = [
    ("it as a numpy array", np.asarray),
    ("its elements one by one", list),
    ("whether it is true", bool),
    ("a part of it that is not in one piece", lambda a: a[:, 0]),
    ("a part of it that is not in one piece", lambda a: a[..., 0]),
    ("a part of it that is not in one piece", lambda a: a[::2]),
    ("a part of it chosen by a list", lambda a: a[[0, 1]]),
    ("a part of it chosen by a bool", lambda a: a[True]),
    ("a part of it chosen by a float", lambda a: a[1.0]),
]


@pytest.mark.parametrize(("message", "use"), REFUSED)
def test_contents_are_refused(message, use):
    with pytest.raises(DeviceError, match=f"found a use of {message}") as error:
        use(pair((3, 4))[1])
    assert str(error.value).startswith("DeviceArray(float32[3, 4] on cuda:0): ")
    assert "FetchBlob" in str(error.value)


def test_numpy_does_not_get_in_by_the_back_door():
    host, device = pair((2,))
    for attempt in (
        lambda: host + device,
        lambda: np.add(host, device),
        lambda: np.array(device),
        lambda: host.__setitem__(slice(None), device),
        lambda: np.concatenate([host, device]),
        lambda: sum(device),
        lambda: device + 1,
    ):
        with pytest.raises((DeviceError, TypeError)):
            attempt()


@pytest.mark.parametrize("key", [3, -4, (0, 9), (0, 0, 0)])
def test_places_that_are_not_there(key):
    with pytest.raises(IndexError):
        pair((3, 4))[1][key]


def test_no_axes():
    device = pair(())[1]
    assert device[()].shape == ()
    with pytest.raises(TypeError, match="no length"):
        len(device)
    with pytest.raises(IndexError):
        device[0]


# ---------------------------------------------------------------- copies


def test_copies_between_places():
    values = np.arange(6, dtype=np.int32).reshape(2, 3)
    there = copy_of(values, CUDA)
    assert device_of(there) == CUDA
    np.testing.assert_array_equal(on_host(there), values)
    other = cuda_device(1).empty((2, 3), np.dtype(np.int32))
    copy_into(other, there)
    np.testing.assert_array_equal(to_host(other), values)
    back = np.empty((2, 3), np.int32)
    copy_into(back, other)
    np.testing.assert_array_equal(back, values)
    assert on_host(values) is values


def test_copies_of_other_sizes_are_refused():
    there = copy_of(np.zeros(6, np.float32), CUDA)
    for target, source in [(there, np.zeros(7, np.float32)), (np.zeros(2, np.float32), there)]:
        with pytest.raises(ShapeError, match="bytes cannot be copied"):
            copy_into(target, source)


def test_overlap():
    there = copy_of(np.zeros((4, 8), np.float32), CUDA)
    other = copy_of(np.zeros((4, 8), np.float32), CUDA)
    assert overlap(there, there[2:3])
    assert overlap(there[1:3], there[2:4])
    assert not overlap(there[:2], there[2:])
    assert not overlap(there, other)
