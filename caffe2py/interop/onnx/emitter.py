"""A net under construction: operators, weights, and what is known of every blob so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from caffe2py.errors import Error, MemoryBudgetError, ShapeError, UnsupportedError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.infer_net import Walk
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, DType, TensorType, number_from_dtype

__all__ = ["Emitter", "VariesError"]

#: Elements of all blobs that a constant is computed through.
_MOST_FOLDED = 2**24
#: Operators whose results differ from run to run.
_RANDOM = {"UniformFill", "GaussianFill", "UniformIntFill", "Dropout", "If", "ONNXWhile"}


class VariesError(UnsupportedError):
    """Caffe2 wants as an argument what `inputs` of the model decide; their values would help."""

    def __init__(self, message: str, inputs: Sequence[str]) -> None:
        super().__init__(message)
        self.inputs = tuple(inputs)


def _no_graphs(graph: Any, bound: Mapping[str, str]) -> list[str]:
    raise UnsupportedError("graphs within nodes")


class Emitter:
    """Emits operators. `weights` are the arrays that the init net is to make."""

    def __init__(self, name: str, hints: Mapping[str, TensorType] | None = None) -> None:
        self.name = name
        self.inputs: list[str] = []
        self.ops: list[OperatorDef] = []
        self.weights: dict[str, Array] = {}
        #: What the file says of blobs whose types cannot be inferred.
        self.hints = dict(hints or {})
        self.walk = Walk()
        self.taken: set[str] = set()
        #: Translates a graph within a node, its inputs bound to blobs; gives its outputs.
        self.graph: Callable[[Any, Mapping[str, str]], list[str]] = _no_graphs
        self._makers: dict[str, int] = {}
        self._folded: dict[str, Array | None] = {}

    # ---- blobs

    def add_input(self, name: str, type_: TensorType) -> None:
        """A blob that is fed from outside."""
        self.taken.add(name)
        self.walk.types[name] = type_
        self.inputs.append(name)

    def add_weight(self, name: str, array: Array) -> str:
        """A blob that the init net makes."""
        self.taken.add(name)
        self.weights[name] = array
        self.walk.types[name] = TensorType.of(array)
        return name

    def const(self, values: Any, dtype: Any = None) -> str:
        """A new weight with these values."""
        return self.add_weight(self.fresh("constant"), np.asarray(values, dtype))

    def fresh(self, base: str) -> str:
        """A name that no blob has."""
        name, k = f"{base}_", 0
        while f"{name}{k}" in self.taken:
            k += 1
        self.taken.add(f"{name}{k}")
        return f"{name}{k}"

    # ---- operators

    def emit(self, type_: str, *inputs: str, out: str | None = None, **args: Any) -> str:
        """Append an operator with one output, which is new unless named; the output."""
        made = out or self.fresh(inputs[0] if inputs else type_)
        return self.emit_all(type_, inputs, [made], **args)[0]

    def emit_all(
        self, type_: str, inputs: Sequence[str], outputs: Sequence[str], **args: Any
    ) -> list[str]:
        """Append an operator; its outputs. Raises what its declaration or inference objects to."""
        op = OperatorDef(type=type_, input=inputs, output=outputs)
        op.arg.extend(make_argument(k, v) for k, v in args.items() if v is not None)
        (step,) = self.walk.steps(NetDef(name=self.name, op=[op]))
        if step.error is not None:
            raise step.error
        for name in outputs:
            self.taken.add(name)
            self._makers[name] = len(self.ops)
        self.ops.append(op)
        return list(outputs)

    def alias(self, source: str, out: str) -> None:
        """Let `out` hold what `source` holds."""
        self.emit("Copy", source, out=out)

    def net(self, outputs: Sequence[str]) -> NetDef:
        """What was emitted, without operators that none of these outputs needs."""
        needed, kept = set(outputs), []
        for op in reversed(self.ops):
            if needed.intersection(op.output):
                kept.append(op)
                needed.update(op.input)
        made = NetDef(name=self.name, external_output=outputs)
        made.op.extend(reversed(kept))
        reads = {name for op in kept for name in op.input} | set(outputs)
        made.external_input.extend(self.inputs)
        made.external_input.extend(name for name in self.weights if name in reads)
        return made

    @contextmanager
    def inner(self) -> Iterator[list[OperatorDef]]:
        """Collect operators of a net within an operator: they are in the list that this gives."""
        outer, makers = self.ops, self._makers
        self.ops, self._makers = [], {}
        try:
            yield self.ops
        finally:
            self.ops, self._makers = outer, makers

    # ---- what is known

    def type(self, name: str) -> TensorType:
        """The type of a blob as far as it is known; by inference, or else as the file says."""
        found = self.walk.types.get(name, UNKNOWN)
        hint = self.hints.get(name, UNKNOWN)
        return TensorType(
            found.dtype if found.dtype is not None else hint.dtype,
            found.shape if found.shape is not None else hint.shape,
        )

    def dtype(self, name: str) -> DType:
        """The element type of a blob; UnsupportedError if it is not known."""
        found = self.type(name).dtype
        if found is None:
            raise UnsupportedError(f"the element type of '{name}' is not known")
        return found

    def rank(self, name: str) -> int:
        """The number of dimensions of a blob; UnsupportedError if it is not known."""
        found = self.type(name).rank
        if found is None:
            raise UnsupportedError(f"the number of dimensions of '{name}' is not known")
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a blob; UnsupportedError if a dimension is not known."""
        found = self.type(name).full_shape
        if found is None:
            raise UnsupportedError(
                f"the shape of '{name}' has to be known, found {self.type(name)}; "
                "give the shapes of the inputs"
            )
        return found

    def size(self, name: str, axis: int) -> int:
        """One dimension of a blob; UnsupportedError if it is not known."""
        shape = self.type(name).shape
        found = None if shape is None else shape[axis]
        if found is None:
            raise UnsupportedError(
                f"dimension {axis} of '{name}' has to be known; give the shapes of the inputs"
            )
        return found

    def axis(self, name: str, axis: int) -> int:
        """An axis of a blob, counted from the front; UnsupportedError where it has none such."""
        rank = self.rank(name)
        if not -rank <= axis < max(rank, 1):
            raise UnsupportedError(f"'{name}' has {rank} dimensions, and no axis {axis}")
        return axis % rank if rank else 0

    def axes(self, name: str, axes: Sequence[int]) -> list[int]:
        """The same of several axes, in ascending order."""
        return sorted({self.axis(name, int(axis)) for axis in axes})

    # ---- constants

    def constant(self, name: str) -> Array | None:
        """The contents of a blob that no input decides; None for others."""
        if name in self.weights:
            return self.weights[name]
        if name not in self._folded:
            self._folded[name] = self._fold(name)
        return self._folded[name]

    def require_constant(self, name: str, what: str) -> Array:
        """The contents of a blob that Caffe2 wants as an argument; VariesError if inputs decide."""
        found = self.constant(name)
        if found is None:
            inputs = self._deciding(name)
            listed = ", ".join(f"'{one}'" for one in inputs) or "chance"
            raise VariesError(
                f"{what} ('{name}') has to be constant, and {listed} decide it", inputs
            )
        return found

    def int_list(self, name: str, what: str) -> list[int]:
        """The same as a list of ints."""
        found = self.require_constant(name, what)
        if found.dtype.kind not in "iu":
            raise UnsupportedError(f"{what} ('{name}') has to hold integers, not {found.dtype}")
        return [int(value) for value in found.reshape(-1)]

    def _fold(self, name: str) -> Array | None:
        known = self.walk.values.get(name)
        if known is not None:
            return np.asarray(known)
        ops = self._history(name)
        if ops is None:
            return None
        workspace = Workspace()
        produced = {output for op in ops for output in op.output}
        for source in {n for op in ops for n in op.input} - produced:
            array = self.weights.get(source)
            workspace.feed(source, self.walk.values[source] if array is None else array)
        try:
            workspace.run_operators_once(ops)
            return workspace.fetch_array(name)
        except MemoryBudgetError:
            return None
        except Error as error:
            raise error.with_where(f"computing the constant '{name}'") from None

    def _deciding(self, name: str) -> list[str]:
        """The inputs of the model that a blob is computed from."""
        waiting, seen = [name], {name}
        while waiting:
            index = self._makers.get(waiting.pop())
            inputs = set(self.ops[index].input) - seen if index is not None else set()
            seen |= inputs
            waiting.extend(inputs)
        return [one for one in self.inputs if one in seen]

    def _history(self, name: str) -> list[OperatorDef] | None:
        """The operators that make a blob from constants, in order; None if there is an input."""
        found: set[int] = set()
        waiting, seen, elements = [name], set(), 0
        while waiting:
            blob = waiting.pop()
            if blob in seen or blob in self.weights or blob in self.walk.values:
                continue
            seen.add(blob)
            index = self._makers.get(blob)
            shape = self.walk.types.get(blob, UNKNOWN).full_shape
            elements += int(np.prod(shape, dtype=object)) if shape is not None else 1
            if index is None or self.ops[index].type in _RANDOM or elements > _MOST_FOLDED:
                return None
            found.add(index)
            waiting.extend(self.ops[index].input)
        return [self.ops[index] for index in sorted(found)] if found else None

    # ---- small nets that many rules use

    def cast(self, name: str, dtype: Any, out: str | None = None) -> str:
        """The blob in another element type; itself if it has that one and `out` is not named."""
        if out is None and self.type(name).dtype == np.dtype(dtype):
            return name
        return self.emit("Cast", name, out=out, to=number_from_dtype(np.dtype(dtype)))

    def scalar(self, value: Any, like: str) -> str:
        """A constant without dimensions, of the element type of another blob."""
        return self.const(value, self.dtype(like))

    def reshape(self, name: str, shape: Sequence[int], out: str | None = None) -> str:
        """The blob in another shape; 0 and -1 as Caffe2's Reshape has them."""
        made = out or self.fresh(name)
        self.emit_all("Reshape", [name], [made, self.fresh("old_shape")], shape=list(shape))
        return made

    def concat(self, names: Sequence[str], axis: int, out: str | None = None) -> str:
        """Blobs joined along an axis."""
        made = out or self.fresh(names[0])
        self.emit_all("Concat", names, [made, self.fresh("widths")], axis=axis)
        return made

    def transpose(self, name: str, axes: Sequence[int], out: str | None = None) -> str:
        """The blob with its axes in another order; itself if that is theirs."""
        if out is None and list(axes) == list(range(len(axes))):
            return name
        return self.emit("Transpose", name, out=out, axes=list(axes))

    def take(self, name: str, indices: Array, axis: int, out: str | None = None) -> str:
        """The slices of a blob at constant places of one axis."""
        places = self.const(indices, np.int64)
        return self.emit("Gather", name, places, out=out, axis=axis)

    def broadcast(self, names: Sequence[str]) -> list[str]:
        """The blobs in the one shape that numpy's broadcasting gives them."""
        shapes = [self.type(name).full_shape for name in names]
        known = [shape for shape in shapes if shape is not None]
        if len(known) == len(names):
            try:
                target = np.broadcast_shapes(*known)
            except ValueError:
                raise ShapeError(f"the shapes {known} do not broadcast") from None
            if 0 in target:  # Expand leaves a dimension for which 0 is asked
                return [
                    name if shape == target else self.const(np.zeros(target), self.dtype(name))
                    for name, shape in zip(names, known, strict=True)
                ]
            wanted = self.const(list(target), np.int64) if len(set(known)) > 1 else ""
            return [
                name if shape == target else self.emit("Expand", name, wanted)
                for name, shape in zip(names, known, strict=True)
            ]
        widest = names[0]
        for name in names[1:]:
            widest = self.emit("Expand", widest, self.emit("Shape", name))
        target_shape = self.emit("Shape", widest)
        return [self.emit("Expand", name, target_shape) for name in names]

    def where(self, condition: str, x: str, y: str, out: str | None = None) -> str:
        """X where the condition holds, y elsewhere, with numpy's broadcasting."""
        return self.emit("Where", *self.broadcast([condition, x, y]), out=out)
