"""Convolutions by NVIDIA's cuDNN 9 (`pip install caffe2py[cuda13]`, or [cuda12]).

Importing this loads nothing; `load` does, on a machine without a GPU too. Descriptors are made
without one; the choice of an algorithm needs the device.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from caffe2py.adapters import nvidia
from caffe2py.errors import KernelError, ShapeError, UnsupportedError, UsageError
from caffe2py.tensor.types import DType, Shape

#: Folder in the wheels and soname, the same for CUDA 12 and 13.
PLACES = (("cudnn/lib", "libcudnn.so.9"),)

#: What Caffe2 lets a convolution take as workspace if it is not told.
WORKSPACE_LIMIT = 64 << 20

#: What a convolution computes: y; dx from w and dy; dw from x and dy.
Step = Literal["forward", "backward_data", "backward_filter"]

# cudnn_graph_v9.h and cudnn_ops_v9.h
_TYPES: dict[DType, int] = {np.dtype(np.float32): 0, np.dtype(np.float16): 2}
_FLOAT = 0
_FORMATS = {"NCHW": 0, "NHWC": 1}
_CROSS_CORRELATION = 1
_DETERMINISTIC = 1
_DEFAULT_MATH, _TENSOR_OP_MATH, _ALLOW_CONVERSION, _FMA_MATH = 0, 1, 2, 3
_NOT_SUPPORTED = range(3000, 4000)

#: A tensor has fewer elements than this, and an axis too.
_MOST_ELEMENTS = 1 << 31

_ONE, _ZERO = c_float(1), c_float(0)


class _Kind(NamedTuple):
    """One of cuDNN's computations: its name in those of functions, two operands, the result.

    The three tensors are the image (the side that is padded), the filter, and the maps that the
    filter makes of the image; a transposed convolution has the maps as x and the image as y.
    """

    name: str
    first: str
    second: str
    result: str


_FORWARD = _Kind("Forward", "image", "filter", "maps")
_DATA = _Kind("BackwardData", "filter", "maps", "image")
_FILTER = _Kind("BackwardFilter", "image", "maps", "filter")

#: Step -> what cuDNN computes for it, and for that of a transposed convolution.
_KINDS: dict[Step, tuple[_Kind, _Kind]] = {
    "forward": (_FORWARD, _DATA),
    "backward_data": (_DATA, _FORWARD),
    "backward_filter": (_FILTER, _FILTER),
}


def _functions_of(kind: _Kind) -> dict[str, nvidia.Arguments]:
    p, i, s = c_void_p, c_int, c_size_t
    return {
        f"cudnnGetConvolution{kind.name}AlgorithmMaxCount": (p, p),
        f"cudnnGetConvolution{kind.name}Algorithm_v7": (p, p, p, p, p, i, p, p),
        f"cudnnFindConvolution{kind.name}AlgorithmEx": (p, p, p, p, p, p, p, p, i, p, p, p, s),
        f"cudnnGetConvolution{kind.name}WorkspaceSize": (p, p, p, p, p, i, p),
        f"cudnnConvolution{kind.name}": (p, p, p, p, p, p, p, i, p, s, p, p, p),
    }


#: The functions used.
FUNCTIONS: dict[str, nvidia.Arguments] = {
    "cudnnCreate": (c_void_p,),
    "cudnnDestroy": (c_void_p,),
    "cudnnSetStream": (c_void_p, c_void_p),
    "cudnnCreateTensorDescriptor": (c_void_p,),
    "cudnnDestroyTensorDescriptor": (c_void_p,),
    "cudnnSetTensorNdDescriptor": (c_void_p, c_int, c_int, c_void_p, c_void_p),
    "cudnnCreateFilterDescriptor": (c_void_p,),
    "cudnnDestroyFilterDescriptor": (c_void_p,),
    "cudnnSetFilterNdDescriptor": (c_void_p, c_int, c_int, c_int, c_void_p),
    "cudnnCreateConvolutionDescriptor": (c_void_p,),
    "cudnnDestroyConvolutionDescriptor": (c_void_p,),
    "cudnnSetConvolutionNdDescriptor": (
        *(c_void_p, c_int, c_void_p, c_void_p, c_void_p),
        *(c_int, c_int),
    ),
    "cudnnSetConvolutionGroupCount": (c_void_p, c_int),
    "cudnnSetConvolutionMathType": (c_void_p, c_int),
    "cudnnAddTensor": (c_void_p,) * 7,
    "cudnnConvolutionBackwardBias": (c_void_p,) * 7,
    **_functions_of(_FORWARD),
    **_functions_of(_DATA),
    **_functions_of(_FILTER),
}


class Performance(ctypes.Structure):
    """What cuDNN says about an algorithm; time in ms, memory in bytes of workspace."""

    _fields_ = [
        ("algorithm", c_int),
        ("status", c_int),
        ("time", c_float),
        ("memory", c_size_t),
        ("determinism", c_int),
        ("math", c_int),
        ("reserved", c_int * 3),
    ]


def load() -> ctypes.CDLL:
    """The cuDNN that is installed; UnsupportedError where there is none."""
    return nvidia.load("cuDNN", PLACES)


class Cudnn(nvidia.Handle):
    """cuDNN on one device; `library` is what `load` returns.

    The workspace is used by every convolution: it is as large as the largest `workspace_bytes`.
    """

    _create = "cudnnCreate"
    _destroy = "cudnnDestroy"
    _set_stream = "cudnnSetStream"

    def __init__(self, library: Any = None) -> None:
        library = load() if library is None else library
        self._version = nvidia.bind(library, "cudnnGetVersion", c_size_t, ())
        name_of = nvidia.bind(library, "cudnnGetErrorString", c_char_p, (c_int,))
        more = nvidia.bind(library, "cudnnGetLastErrorString", None, (c_void_p, c_size_t))

        def explain(status: int) -> str:
            text = ctypes.create_string_buffer(1024)
            more(text, len(text))
            detail = f": {text.value.decode(errors='replace')}" if text.value else ""
            return f"{name_of(status).decode()}{detail}"

        super().__init__(nvidia.Calls(library, FUNCTIONS, explain))

    @property
    def version(self) -> str:
        """The library's version, as 9.1.0; needs no device."""
        number = self._version()
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    @property
    def calls(self) -> nvidia.Calls:
        """cuDNN's functions."""
        return self._calls

    @property
    def space(self) -> tuple[int, int]:
        """The workspace: address and bytes."""
        return self._workspace


@dataclass(frozen=True)
class Sizes:
    """A convolution with Caffe2's arguments, and the shapes of x, w and y in its `order`.

    NCHW: x (N, C, ...), w (M, C / groups, ...), y (N, M, ...), with one to three axes more;
    NHWC: (N, ..., C), (M, ..., C / groups), (N, ..., M). Transposed, w is (C, M / groups, ...)
    or (C, ..., M / groups). `pads` are those at the beginning of each axis, then those at its end.
    ShapeError if these do not fit each other.
    """

    x: Shape
    w: Shape
    y: Shape
    strides: Shape
    pads: Shape
    dilations: Shape
    dtype: DType
    groups: int = 1
    order: Literal["NCHW", "NHWC"] = "NCHW"
    transposed: bool = False

    def __post_init__(self) -> None:
        axes = len(self.x) - 2
        lengths = (len(self.w) - 2, len(self.y) - 2, len(self.strides), len(self.dilations))
        if axes < 1 or set(lengths) != {axes} or len(self.pads) != 2 * axes:
            raise ShapeError(f"ranks and arguments do not fit each other: {self}")
        if min(*self.strides, *self.dilations, self.groups) < 1:
            raise ShapeError(f"strides, dilations and groups are at least 1: {self}")
        image, kernel, maps = self.logical
        channels = (image[0], image[1], kernel[0])
        if channels != (maps[0], kernel[1] * self.groups, maps[1]) or kernel[0] % self.groups:
            raise ShapeError(f"batches, channels or groups do not fit each other: {self}")
        begins, ends = self.pads[:axes], self.pads[axes:]
        expected = tuple(
            (size + begin + end - dilation * (k - 1) - 1) // stride + 1
            for size, begin, end, dilation, k, stride in zip(
                image[2:], begins, ends, self.dilations, kernel[2:], self.strides, strict=True
            )
        )
        if expected != maps[2:]:
            name = "x" if self.transposed else "y"
            raise ShapeError(f"expected {name} to span {expected}, found {maps[2:]}: {self}")

    def __str__(self) -> str:
        kind = "transposed, " if self.transposed else ""
        return (
            f"x {self.x}, w {self.w}, y {self.y}, strides {self.strides}, pads {self.pads}, "
            f"dilations {self.dilations}, groups {self.groups}, {kind}{self.dtype} {self.order}"
        )

    @property
    def logical(self) -> tuple[Shape, Shape, Shape]:
        """The image, the filter and the maps, channels second whatever the order."""
        x, w, y = (
            (s if self.order == "NCHW" else (s[0], s[-1], *s[1:-1]))
            for s in (self.x, self.w, self.y)
        )
        return (y, w, x) if self.transposed else (x, w, y)

    @property
    def supported(self) -> bool:
        """Whether cuDNN may have an algorithm for this; not for float64, say."""
        return self.obstacle is None

    @property
    def obstacle(self) -> str | None:
        """Why cuDNN cannot do this, or None: then only the device may still refuse."""
        axes = len(self.strides)
        if axes > 3:
            return f"{axes} axes besides batch and channels, of at most 3"
        if np.dtype(self.dtype) not in _TYPES:
            return f"the type {self.dtype}, not float32 or float16"
        if self.pads[:axes] != self.pads[axes:]:
            return f"pads {self.pads}, not the same at both ends"
        counts = [math.prod(shape) for shape in (self.x, self.w, self.y)]
        if not all(0 < count < _MOST_ELEMENTS for count in counts):
            return f"{counts} elements in x, w and y, of 1 to {_MOST_ELEMENTS - 1}"
        return None


class _Choice(NamedTuple):
    algorithm: int
    workspace: int
    convolution: int


class Convolution:
    """A convolution of given sizes on a device; addresses are those of packed tensors.

    The first of cuDNN's algorithms is taken, as its heuristics order them, that is deterministic
    and has enough with `workspace_limit` bytes; `search` measures instead. float32 stays float32
    unless `tf32` lets tensor cores round; float16 is added up in float32. UnsupportedError where
    cuDNN has nothing for this (`sizes.supported`, or on this device): the caller has other means.
    KernelError where a call fails. `close` frees the descriptors.
    """

    def __init__(
        self,
        cudnn: Cudnn,
        sizes: Sizes,
        *,
        tf32: bool = False,
        deterministic: bool = True,
        workspace_limit: int = WORKSPACE_LIMIT,
    ) -> None:
        if sizes.obstacle is not None:
            raise UnsupportedError(f"cuDNN does not convolve with {sizes.obstacle}")
        self.sizes = sizes
        self._cudnn = cudnn
        self._calls = cudnn.calls
        self._tf32 = tf32
        self._deterministic = deterministic
        self._limit = workspace_limit
        self._open: list[tuple[str, int]] = []
        self._choices: dict[_Kind, _Choice] = {}
        self._convolutions: dict[_Kind, int] = {}
        self._tensors: dict[str, int] = {}
        try:
            self._describe()
        except KernelError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the descriptors; UsageError for whoever uses this afterwards."""
        self._tensors.clear()
        while self._open:
            what, descriptor = self._open.pop()
            self._calls(f"cudnnDestroy{what}Descriptor", descriptor)

    def workspace_bytes(self, step: Step = "forward") -> int:
        """The workspace that a step needs, in bytes; chooses its algorithm."""
        return self._choice(self._kind(step)).workspace

    def search(self, step: Step, x: int, w: int, y: int) -> None:
        """Choose a step's algorithm by running all that fit into cuDNN's workspace.

        x, w and y, or their gradients, are device addresses; what the step computes is
        overwritten with anything. Not while a stream is captured.
        """
        kind = self._kind(step)
        addresses = self._roles(x, w, y)
        self._choices.pop(kind, None)  # a search that fails leaves other math behind
        operands = [
            part
            for role in (kind.first, kind.second)
            for part in (self._tensor(role), addresses[role])
        ]
        self._choices[kind] = self._choose(
            kind,
            f"cudnnFindConvolution{kind.name}AlgorithmEx",
            [
                *operands,
                self._convolution(kind),
                self._tensor(kind.result),
                addresses[kind.result],
            ],
            self._cudnn.space,
        )

    def forward(self, x: int, w: int, y: int, bias: int | None = None) -> None:
        """Compute y = conv(x, w), and add bias (M,) to its channels."""
        self._run("forward", x, w, y)
        if bias is not None:
            self._calls(
                "cudnnAddTensor",
                *(self._cudnn.open(), byref(_ONE), self._tensor("bias"), bias),
                *(byref(_ONE), self._tensor(self._y), y),
                about=self._about,
            )

    def backward_data(self, w: int, dy: int, dx: int) -> None:
        """Compute dx, the gradient of x."""
        self._run("backward_data", dx, w, dy)

    def backward_filter(self, x: int, dy: int, dw: int) -> None:
        """Compute dw, the gradient of w."""
        self._run("backward_filter", x, dw, dy)

    def backward_bias(self, dy: int, db: int) -> None:
        """Compute db (M,), the gradient of the bias: the sum of dy for each channel."""
        self._calls(
            "cudnnConvolutionBackwardBias",
            *(self._cudnn.open(), byref(_ONE), self._tensor(self._y), dy),
            *(byref(_ZERO), self._tensor("bias"), db),
            about=self._about,
        )

    def _run(self, step: Step, x: int, w: int, y: int) -> None:
        kind = self._kind(step)
        choice = self._choice(kind)
        workspace, size = self._cudnn.space
        if size < choice.workspace:
            raise KernelError(
                f"cudnnConvolution{kind.name} needs {choice.workspace} bytes of workspace, "
                f"has {size}; {self.sizes}"
            )
        addresses = self._roles(x, w, y)
        self._calls(
            f"cudnnConvolution{kind.name}",
            *(self._cudnn.open(), byref(_ONE)),
            *(self._tensor(kind.first), addresses[kind.first]),
            *(self._tensor(kind.second), addresses[kind.second]),
            *(choice.convolution, choice.algorithm, workspace, size),
            *(byref(_ZERO), self._tensor(kind.result), addresses[kind.result]),
            about=lambda: f"{self.sizes}, algorithm {choice.algorithm}, workspace {size} bytes",
        )

    def _kind(self, step: Step) -> _Kind:
        return _KINDS[step][self.sizes.transposed]

    @property
    def _y(self) -> str:
        return "image" if self.sizes.transposed else "maps"

    def _roles(self, x: int, w: int, y: int) -> dict[str, int]:
        image, maps = (y, x) if self.sizes.transposed else (x, y)
        return {"image": image, "filter": w, "maps": maps}

    def _about(self) -> str:
        return str(self.sizes)

    def _tensor(self, role: str) -> int:
        """The descriptor of a tensor: image, filter, maps or bias."""
        if role not in self._tensors:
            raise UsageError(f"this convolution is closed: {self.sizes}")
        return self._tensors[role]

    def _choice(self, kind: _Kind) -> _Choice:
        if kind not in self._choices:
            parts = [
                *(self._tensor(kind.first), self._tensor(kind.second)),
                *(self._convolution(kind), self._tensor(kind.result)),
            ]
            name = f"cudnnGetConvolution{kind.name}Algorithm_v7"
            self._choices[kind] = self._choose(kind, name, parts, ())
        return self._choices[kind]

    def _choose(
        self, kind: _Kind, name: str, parts: Iterable[int], space: tuple[int, ...]
    ) -> _Choice:
        """The first algorithm that `name` gives and that is wanted; UnsupportedError if none is."""
        calls, handle = self._calls, self._cudnn.open()
        most, count = c_int(), c_int()
        calls(f"cudnnGetConvolution{kind.name}AlgorithmMaxCount", handle, byref(most))
        found = (Performance * most.value)()
        calls("cudnnSetConvolutionMathType", self._convolution(kind), self._math)
        status = calls.status(name, handle, *parts, most.value, byref(count), found, *space)
        if status in _NOT_SUPPORTED:
            raise UnsupportedError(str(calls.failure(name, status, self._about)))
        if status != nvidia.SUCCESS:
            raise calls.failure(name, status, self._about)
        for one in found[: count.value]:
            choice = self._usable(kind, one)
            if choice is not None:
                return choice
        wanted = "deterministic algorithm" if self._deterministic else "algorithm"
        raise UnsupportedError(
            f"cuDNN has no {wanted} within {self._limit} bytes of workspace for "
            f"{kind.name}; {self.sizes}"
        )

    def _usable(self, kind: _Kind, found: Performance) -> _Choice | None:
        """The algorithm with its workspace if it is wanted, its convolution set up for it."""
        if found.status != nvidia.SUCCESS:
            return None
        if self._deterministic and found.determinism != _DETERMINISTIC:
            return None
        if found.math == _ALLOW_CONVERSION:
            return None
        convolution = self._convolution(kind)
        # the default math would let tensor cores round float32
        arithmetic = _FMA_MATH if self._math == _FMA_MATH else found.math
        self._calls("cudnnSetConvolutionMathType", convolution, arithmetic)
        size = c_size_t()
        status = self._calls.status(
            f"cudnnGetConvolution{kind.name}WorkspaceSize",
            *(self._cudnn.open(), self._tensor(kind.first), self._tensor(kind.second)),
            *(convolution, self._tensor(kind.result), found.algorithm, byref(size)),
        )
        if status != nvidia.SUCCESS or size.value > self._limit:
            return None
        return _Choice(found.algorithm, size.value, convolution)

    @property
    def _math(self) -> int:
        if np.dtype(self.sizes.dtype) == np.float16:
            return _TENSOR_OP_MATH
        return _DEFAULT_MATH if self._tf32 else _FMA_MATH

    def _describe(self) -> None:
        """Make the descriptors of the tensors."""
        shapes = [_widened(shape) for shape in self.sizes.logical]
        image, kernel, maps = shapes
        self._tensors = {
            "image": self._describe_tensor(image),
            "filter": self._create("Filter"),
            "maps": self._describe_tensor(maps),
        }
        y = image if self.sizes.transposed else maps
        self._tensors["bias"] = self._describe_tensor((1, y[1], *(1 for _ in y[2:])))
        self._calls(
            "cudnnSetFilterNdDescriptor",
            *(self._tensors["filter"], _TYPES[np.dtype(self.sizes.dtype)]),
            *(_FORMATS[self.sizes.order], len(kernel), _ints(kernel)),
            about=self._about,
        )

    def _describe_tensor(self, shape: Shape) -> int:
        descriptor = self._create("Tensor")
        self._calls(
            "cudnnSetTensorNdDescriptor",
            *(descriptor, _TYPES[np.dtype(self.sizes.dtype)], len(shape), _ints(shape)),
            _ints(_packed(shape, self.sizes.order)),
            about=self._about,
        )
        return descriptor

    def _convolution(self, kind: _Kind) -> int:
        """The descriptor of the convolution, one for each kind: each may have other math."""
        if kind not in self._convolutions:
            descriptor = self._create("Convolution")
            sizes = self.sizes
            axes = len(sizes.strides)
            missing = max(0, 2 - axes)
            self._calls(
                "cudnnSetConvolutionNdDescriptor",
                *(descriptor, axes + missing),
                _ints((0,) * missing + sizes.pads[:axes]),
                _ints((1,) * missing + sizes.strides),
                _ints((1,) * missing + sizes.dilations),
                *(_CROSS_CORRELATION, _FLOAT),
                about=self._about,
            )
            self._calls("cudnnSetConvolutionGroupCount", descriptor, sizes.groups)
            self._convolutions[kind] = descriptor
        return self._convolutions[kind]

    def _create(self, what: str) -> int:
        descriptor = c_void_p()
        self._calls(f"cudnnCreate{what}Descriptor", byref(descriptor))
        value = descriptor.value or 0
        self._open.append((what, value))
        return value


def _widened(shape: Shape) -> Shape:
    """(N, C, W) as (N, C, 1, W): cuDNN has no fewer than two axes besides batch and channels."""
    return (*shape[:2], 1, *shape[2:]) if len(shape) == 3 else shape


def _packed(shape: Shape, order: str) -> Shape:
    """Elements from one index to the next on each axis of (N, C, ...), stored in this order."""
    axes = range(len(shape))
    stored = list(axes) if order == "NCHW" else [0, *axes[2:], 1]
    return tuple(math.prod(shape[b] for b in stored[stored.index(a) + 1 :]) for a in axes)


def _ints(values: Shape) -> Any:
    return (c_int * len(values))(*values)
