"""A cuDNN that convolves on the host, and says of its algorithms what a test wants it to say."""

import ctypes
import itertools
from ctypes import c_char, c_float, c_int, c_size_t

import numpy as np

from caffe2py.adapters import cudnn
from tests.adapters.fake_library import FakeLibrary, array_at, get, put

TYPES = {0: np.float32, 2: np.float16}
NAMES = {
    1001: b"CUDNN_STATUS_NOT_INITIALIZED",
    2000: b"CUDNN_STATUS_BAD_PARAM",
    3000: b"CUDNN_STATUS_NOT_SUPPORTED",
    5000: b"CUDNN_STATUS_EXECUTION_FAILED",
}
TEXTS = ("cudnnGetVersion", "cudnnGetErrorString", "cudnnGetLastErrorString")
NOT_SUPPORTED = 3000


def offer(algorithm, *, memory=0, deterministic=True, status=0, math=0):
    """An algorithm in cuDNN's list."""
    return {
        "algorithm": algorithm,
        "memory": memory,
        "determinism": int(deterministic),
        "status": status,
        "math": math,
    }


class FakeCudnn(FakeLibrary):
    """`offers` is its list; the workspace of each is its memory, of unknown ones unsupported."""

    def __init__(self):
        self.offers = [offer(0)]
        self.detail = b""
        for kind, run in (
            ("Forward", self._forward),
            ("BackwardData", self._backward_data),
            ("BackwardFilter", self._backward_filter),
        ):
            setattr(self, f"do_cudnnGetConvolution{kind}AlgorithmMaxCount", self._most)
            setattr(self, f"do_cudnnGetConvolution{kind}Algorithm_v7", self._get)
            setattr(self, f"do_cudnnFindConvolution{kind}AlgorithmEx", self._find)
            setattr(self, f"do_cudnnGetConvolution{kind}WorkspaceSize", self._size)
            setattr(self, f"do_cudnnConvolution{kind}", run)
        super().__init__(cudnn.FUNCTIONS, TEXTS)

    def do_cudnnGetVersion(self):
        return 92800

    def do_cudnnGetErrorString(self, status):
        return NAMES.get(status, b"CUDNN_UNKNOWN_STATUS")

    def do_cudnnGetLastErrorString(self, text, size):
        ctypes.memmove(text, self.detail + b"\0", min(size, len(self.detail) + 1))

    def do_cudnnCreate(self, where):
        self.make(where, "handle")

    def do_cudnnSetStream(self, handle, stream):
        assert self.live[handle] == "handle"

    def do_cudnnCreateTensorDescriptor(self, where):
        self.make(where, {"what": "tensor"})

    def do_cudnnCreateFilterDescriptor(self, where):
        self.make(where, {"what": "filter"})

    def do_cudnnCreateConvolutionDescriptor(self, where):
        self.make(where, {"what": "convolution"})

    def do_cudnnDestroy(self, handle):
        assert self.live.pop(handle) == "handle"

    def do_cudnnDestroyTensorDescriptor(self, handle):
        assert self.live.pop(handle)["what"] == "tensor"

    def do_cudnnDestroyFilterDescriptor(self, handle):
        assert self.live.pop(handle)["what"] == "filter"

    def do_cudnnDestroyConvolutionDescriptor(self, handle):
        assert self.live.pop(handle)["what"] == "convolution"

    def do_cudnnSetTensorNdDescriptor(self, handle, dtype, rank, sizes, strides):
        assert rank >= 4
        self.live[handle] |= {
            "dtype": TYPES[dtype],
            "sizes": ints(sizes, rank),
            "strides": ints(strides, rank),
        }

    def do_cudnnSetFilterNdDescriptor(self, handle, dtype, order, rank, sizes):
        sizes = ints(sizes, rank)
        stored = [*range(rank)] if order == 0 else [0, *range(2, rank), 1]
        packed = np.empty([sizes[axis] for axis in stored], np.int8)
        strides = packed.transpose(np.argsort(stored)).strides
        self.live[handle] |= {"dtype": TYPES[dtype], "sizes": sizes, "strides": strides}

    def do_cudnnSetConvolutionNdDescriptor(self, handle, rank, pads, strides, dilations, *rest):
        assert rank >= 2
        assert rest == (1, 0)  # as networks mean it, in float32
        self.live[handle] |= {
            "pads": ints(pads, rank),
            "strides": ints(strides, rank),
            "dilations": ints(dilations, rank),
        }

    def do_cudnnSetConvolutionGroupCount(self, handle, groups):
        self.live[handle]["groups"] = groups

    def do_cudnnSetConvolutionMathType(self, handle, math):
        self.live[handle]["math"] = math

    def do_cudnnAddTensor(self, handle, alpha, a_type, a, beta, c_type, c):
        found = self._array(c_type, c)
        found[...] = get(alpha, c_float) * self._array(a_type, a) + get(beta, c_float) * found

    def do_cudnnConvolutionBackwardBias(self, handle, alpha, y_type, y, beta, b_type, b):
        assert (get(alpha, c_float), get(beta, c_float)) == (1, 0)
        dy = self._array(y_type, y).astype(np.float64)
        axes = (0, *range(2, dy.ndim))
        self._array(b_type, b)[...] = dy.sum(axes, keepdims=True)

    def _most(self, handle, where):
        put(where, c_int, len(self.offers) + 2)

    def _get(self, handle, first, second, convolution, result, most, count, found):
        self._offer(most, count, found)

    def _find(
        self, handle, first, a, second, b, convolution, result, c, most, count, found, *space
    ):
        self._array(result, c)[...] = np.nan
        assert space[1] == 0 or (c_char * space[1]).from_address(space[0])
        self._offer(most, count, found)

    def _offer(self, most, count, found):
        assert len(self.offers) <= most
        put(count, c_int, len(self.offers))
        table = (cudnn.Performance * most).from_address(found)
        for row, one in zip(table, self.offers, strict=False):
            for name, value in one.items():
                setattr(row, name, value or 0)

    def _size(self, handle, first, second, convolution, result, algorithm, where):
        for one in self.offers:
            if one["algorithm"] == algorithm and one["memory"] is not None:
                put(where, c_size_t, one["memory"])
                return 0
        return NOT_SUPPORTED

    def _array(self, handle, address):
        kind = self.live[handle]
        return array_at(address, kind["dtype"], kind["sizes"], kind["strides"])

    def _parts(
        self, handle, alpha, a, a_at, b, b_at, convolution, algorithm, space, size, beta, c, c_at
    ):
        """Both operands in float64, the convolution, and the result."""
        assert self.live[handle] == "handle"
        assert (get(alpha, c_float), get(beta, c_float)) == (1, 0)
        needed = next(o["memory"] for o in self.offers if o["algorithm"] == algorithm)
        assert size >= needed
        first, second = (
            self._array(kind, at).astype(np.float64) for kind, at in ((a, a_at), (b, b_at))
        )
        return first, second, self.live[convolution], self._array(c, c_at)

    def _forward(self, *arguments):
        image, kernel, convolution, found = self._parts(*arguments)
        groups = convolution["groups"]
        maps = np.zeros((found.shape[0], groups, found.shape[1] // groups, *found.shape[2:]))
        for offset, window in windows(convolution, kernel.shape, found.shape):
            part = grouped(padded(image, convolution)[window], groups)
            weights = kernel[(..., *offset)].reshape(groups, -1, part.shape[2])
            maps += np.einsum("ngc...,gmc->ngm...", part, weights)
        found[...] = maps.reshape(found.shape)

    def _backward_data(self, *arguments):
        kernel, maps, convolution, found = self._parts(*arguments)
        groups = convolution["groups"]
        wide = padded(np.zeros(found.shape), convolution)
        for offset, window in windows(convolution, kernel.shape, maps.shape):
            weights = kernel[(..., *offset)].reshape(groups, -1, kernel.shape[1])
            part = np.einsum("ngm...,gmc->ngc...", grouped(maps, groups), weights)
            wide[window] += part.reshape(wide[window].shape)
        inner = tuple(
            slice(pad, pad + size)
            for pad, size in zip(convolution["pads"], found.shape[2:], strict=True)
        )
        found[...] = wide[(slice(None), slice(None), *inner)]

    def _backward_filter(self, *arguments):
        image, maps, convolution, found = self._parts(*arguments)
        groups = convolution["groups"]
        for offset, window in windows(convolution, found.shape, maps.shape):
            part = grouped(padded(image, convolution)[window], groups)
            both = (v.reshape(*v.shape[:3], -1) for v in (part, grouped(maps, groups)))
            weights = np.einsum("ngcp,ngmp->gmc", *both)
            found[(..., *offset)] = weights.reshape(found.shape[:2])


def ints(address, count):
    return list((c_int * count).from_address(address))


def grouped(array, groups):
    return array.reshape(array.shape[0], groups, -1, *array.shape[2:])


def padded(image, convolution):
    return np.pad(image, [(0, 0), (0, 0), *((pad, pad) for pad in convolution["pads"])])


def windows(convolution, kernel, maps):
    """For each place in the filter, what of the padded image it meets."""
    for offset in itertools.product(*(range(size) for size in kernel[2:])):
        starts = [o * d for o, d in zip(offset, convolution["dilations"], strict=True)]
        slices = [
            slice(start, start + stride * (size - 1) + 1, stride)
            for start, stride, size in zip(starts, convolution["strides"], maps[2:], strict=True)
        ]
        yield offset, (slice(None), slice(None), *slices)
