"""An ONNX graph under construction, and the operator of the net that is being said in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from caffe2py.errors import UnsupportedError
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.interop.onnx.tensors import number_of, tensor_of
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.schema import Args
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import DType, TensorType

__all__ = ["ExportRule", "ExportTable", "Op", "Writer"]


@dataclass(frozen=True)
class Op:
    """An operator of the net: its names in the graph, typed arguments, and types of its blobs."""

    proto: OperatorDef
    args: Args
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_types: tuple[TensorType, ...]
    output_types: tuple[TensorType, ...]

    @property
    def type(self) -> str:
        """The operator's name."""
        return self.proto.type

    @property
    def x(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def y(self) -> str:
        """The first output."""
        return self.outputs[0]

    def arg(self, name: str) -> Any:
        """An argument, or its default."""
        return getattr(self.args, name)

    def given(self, name: str) -> bool:
        """Whether the operator states an argument itself."""
        return name in self.args.given

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input; UnsupportedError if it is not known."""
        return self._full(self.input_types[index], f"input '{self.proto.input[index]}'")

    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output; UnsupportedError if it is not known."""
        return self._full(self.output_types[index], f"output '{self.proto.output[index]}'")

    def _full(self, type_: TensorType, what: str) -> tuple[int, ...]:
        found = type_.full_shape
        if found is None:
            self.fail(f"the shape of its {what} has to be known, found {type_}")
        return found

    def dtype(self, index: int = 0) -> DType:
        """The element type of an input; UnsupportedError if it is not known."""
        found = self.input_types[index].dtype
        if found is None:
            self.fail(f"the element type of '{self.proto.input[index]}' is not known")
        return found

    def rank(self, index: int = 0) -> int:
        """The number of dimensions of an input; UnsupportedError if it is not known."""
        found = self.input_types[index].rank
        if found is None:
            self.fail(f"the number of dimensions of '{self.proto.input[index]}' is not known")
        return found

    def axis(self, axis: int, index: int = 0) -> int:
        """An axis of an input, counted from the front."""
        return axis % self.rank(index) if axis < 0 else axis

    def fail(self, reason: str) -> NoReturn:
        """Say that this operator cannot be written."""
        raise UnsupportedError(reason)


class Writer:
    """Adds nodes and constants, in the form that the chosen opset wants."""

    def __init__(self, opset: int, taken: set[str], weights: Mapping[str, Array]) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.weights = weights
        self._taken = taken
        self._shared: dict[tuple[Any, ...], str] = {}

    def fresh(self, base: str) -> str:
        """A name that no blob has."""
        k = 0
        while f"{base}_{k}" in self._taken:
            k += 1
        self._taken.add(f"{base}_{k}")
        return f"{base}_{k}"

    def const(self, values: Any, dtype: Any) -> str:
        """A constant; equal ones are one."""
        array = np.asarray(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self.fresh("constant")
            self.constants[self._shared[key]] = array
        return self._shared[key]

    def constant(self, name: str) -> Array | None:
        """What a blob holds if it is a weight or a constant."""
        return self.weights[name] if name in self.weights else self.constants.get(name)

    def add(self, type_: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """A node with one output, which is new unless named; the output."""
        made = out or self.fresh(inputs[0] if inputs and inputs[0] else type_)
        self.add_all(type_, inputs, [made], **attributes)
        return made

    def add_all(
        self, type_: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """A node; attributes that are None are left out."""
        given = {k: v for k, v in attributes.items() if v is not None}
        helper = onnx_package("helper")
        self.nodes.append(helper.make_node(type_, list(inputs), list(outputs), **given))

    # ---- operators whose form depends on the opset

    def _listed(
        self, type_: str, since: int, x: str, name: str, values: Sequence[int],
        out: str | None, **attributes: Any,
    ) -> str:  # fmt: skip
        """A list of ints that is an input from some opset on, and an attribute before."""
        if self.opset >= since:
            return self.add(type_, x, self.const(list(values), np.int64), out=out, **attributes)
        return self.add(type_, x, out=out, **attributes, **{name: list(values)})

    def squeeze(self, x: str, axes: Sequence[int], out: str | None = None) -> str:
        """Without axes of one element."""
        return self._listed("Squeeze", 13, x, "axes", axes, out)

    def unsqueeze(self, x: str, axes: Sequence[int], out: str | None = None) -> str:
        """With axes of one element."""
        return self._listed("Unsqueeze", 13, x, "axes", axes, out)

    def reduce(
        self, type_: str, x: str, axes: Sequence[int], keep: bool, out: str | None = None
    ) -> str:
        """Over axes, which are at least one."""
        since = 13 if type_ == "ReduceSum" else 18
        return self._listed(type_, since, x, "axes", axes, out, keepdims=int(keep))

    def reshape(self, x: str, shape: Sequence[int], out: str | None = None) -> str:
        """In another shape; 0 and -1 as both have them."""
        return self.add("Reshape", x, self.const(list(shape), np.int64), out=out)

    def transpose(self, x: str, axes: Sequence[int], out: str | None = None) -> str:
        """With the axes in another order."""
        return self.add("Transpose", x, out=out, perm=list(axes))

    def slice(
        self, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int],
        out: str | None = None,
    ) -> str:  # fmt: skip
        """Cut along axes."""
        lists = {"starts": list(starts), "ends": list(ends), "axes": list(axes)}
        if self.opset < 10:
            return self.add("Slice", x, out=out, **lists)
        names = [self.const(values, np.int64) for values in lists.values()]
        return self.add("Slice", x, *names, out=out)

    def clip(self, x: str, low: float, high: float, out: str | None = None) -> str:
        """Within limits."""
        if self.opset < 11:
            return self.add("Clip", x, out=out, min=low, max=high)
        limits = (self.const(low, np.float32), self.const(high, np.float32))
        return self.add("Clip", x, *limits, out=out)

    def split(self, x: str, widths: Sequence[int], axis: int, outputs: Sequence[str]) -> None:
        """In parts along an axis."""
        if self.opset < 13:
            self.add_all("Split", [x], outputs, axis=axis, split=list(widths))
            return
        self.add_all("Split", [x, self.const(list(widths), np.int64)], outputs, axis=axis)

    def softmax(self, type_: str, x: str, rank: int, out: str) -> None:
        """Over the last axis."""
        self.add(type_, x, out=out, axis=rank - 1)

    def scalar(self, value: float, dtype: DType) -> str:
        """A constant without dimensions."""
        return self.const(value, dtype)

    def cast(self, x: str, dtype: DType, out: str | None = None) -> str:
        """In another element type."""
        return self.add("Cast", x, out=out, to=number_of(dtype))

    def tensors(self) -> list[Any]:
        """The weights that a node reads, and the constants, as TensorProtos."""
        read = {name for node in self.nodes for name in node.input}
        kept = {n: a for n, a in {**self.weights, **self.constants}.items() if n in read}
        return [tensor_of(name, array) for name, array in kept.items()]

    def resize(self, x: str, mode: str, scales: Sequence[float], corners: bool, out: str) -> None:
        """Larger or smaller, by a factor for each axis."""
        factors = self.const(list(scales), np.float32)
        if corners and self.opset < 11:
            raise UnsupportedError("align_corners before opset 11", hint="a newer opset")
        if self.opset < 11:
            self.add("Upsample" if self.opset < 10 else "Resize", x, factors, out=out, mode=mode)
            return
        region = self.const([], np.float32)
        self.add(
            "Resize",
            x,
            region,
            factors,
            out=out,
            mode=mode,
            coordinate_transformation_mode="align_corners" if corners else "asymmetric",
            nearest_mode="floor" if mode == "nearest" else None,
        )


#: Adds the nodes that an operator means. UnsupportedError, with the reason, where there are none.
ExportRule = Callable[[Writer, Op], None]


class ExportTable(dict[str, ExportRule]):
    """A family of rules; called with names it is the decorator that adds one for each."""

    def __call__(self, *names: str) -> Callable[[ExportRule], ExportRule]:
        """The decorator for the rule of these operators."""

        def add(rule: ExportRule) -> ExportRule:
            self.update(dict.fromkeys(names, rule))
            return rule

        return add
