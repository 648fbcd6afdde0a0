"""Features of many tensors merged into one tensor of features, example by example; and back.

Inputs come in groups, one for each feature (or source of features). An example of the merged
tensors has a key for each feature that it has, in the order of the groups.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from caffe2py.errors import ArgumentError, ArityError, DTypeError, ShapeError, ValueRangeError
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import (
    Gradient,
    GradientName,
    NotDifferentiable,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.memory import require_memory
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType, shape_text

_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)


# ---------------------------------------------------------------- pieces of all features in order


@dataclass
class Order:
    """Which elements of all groups, one after another, come in which order.

    Who asks for the order has compared the lengths with arrays: until then they may be any numbers.
    """

    starts: Array
    taken: Array
    total: int

    @property
    def size(self) -> int:
        """How many elements are not left out."""
        return int(self.taken.sum())

    @functools.cached_property
    def index(self) -> Array:
        """The place of each element."""
        before = np.cumsum(self.taken) - self.taken
        found: Array = np.repeat(self.starts - before, self.taken) + np.arange(self.size)
        return found

    @classmethod
    def of(cls, lengths: Array, present: Array | None = None) -> Order:
        """By example, then by group. lengths[i, k] elements of group k are those of example i.

        Elements where `present` is false are left out.
        """
        sums = lengths.sum(axis=0)
        bases = np.cumsum(sums) - sums
        starts = (np.cumsum(lengths, axis=0) - lengths + bases).reshape(-1)
        taken = (lengths if present is None else np.where(present, lengths, 0)).reshape(-1)
        return cls(starts, taken, int(sums.sum()))

    def merge(self, arrays: Sequence[Array]) -> Array:
        """The elements in this order."""
        found: Array = np.concatenate(arrays)[self.index]
        return found

    def spread(self, gradient: Array, sizes: Sequence[int]) -> list[Array]:
        """For each group the gradient of its elements: zero for those that were left out."""
        require_memory(self.total * gradient.itemsize, f"a gradient of {self.total} elements")
        whole = np.zeros(self.total, gradient.dtype)
        whole[self.index] = gradient
        return list(np.split(whole, np.cumsum(sizes)[:-1]))


def _inner(outer: Array, lengths: Sequence[Array]) -> Array:
    """Sums of the lengths of elements: [i, k] is that of all elements of example i in group k."""
    columns = []
    for k, inner in enumerate(lengths):
        sums = np.concatenate([[0], np.cumsum(inner, dtype=np.int64)])
        ends = np.cumsum(outer[:, k])
        columns.append(sums[ends] - sums[ends - outer[:, k]])
    return np.stack(columns, axis=1)


# ---------------------------------------------------------------- the inputs


class Groups:
    """The inputs of a call in groups, and checks of them."""

    def __init__(self, call: Call, names: Sequence[str], last: int = 0) -> None:
        self._call = call
        self._names = names
        self.count = (call.input_count - last) // len(names)

    def take(self, name: str) -> list[Array]:
        """One input of each group: vectors of one type."""
        at = self._names.index(name)
        found = [self._call.inputs[at + k * len(self._names)] for k in range(self.count)]
        for k, array in enumerate(found):
            if array.ndim != 1:
                raise ShapeError(f"{self._label(at, k)} must be a vector: {TensorType.of(array)}")
            if array.dtype != found[0].dtype:
                raise DTypeError(
                    f"{self._label(at, k)} is {TensorType.of(array)}, those before it "
                    f"{TensorType.of(found[0])}"
                )
        return found

    def matrix(self, name: str, rows: int | None = None) -> Array:
        """One input of each group as a column: one value for each example."""
        found = self.take(name)
        at = self._names.index(name)
        rows = len(found[0]) if rows is None else rows
        for k, array in enumerate(found):
            if len(array) != rows:
                raise ShapeError(
                    f"{self._label(at, k)} has {len(array)} value(s) for {rows} example(s)"
                )
        return np.stack(found, axis=1)

    def lengths(self, name: str, rows: int | None = None) -> Array:
        """As matrix, of int64 lengths, none negative."""
        found = self.matrix(name, rows)
        self._require_lengths(name, found)
        return found.astype(np.int64)

    def counts(self, name: str, sizes: Sequence[int]) -> list[Array]:
        """Lengths of elements, as many as there are elements in each group."""
        found = self.take(name)
        for k, (array, size) in enumerate(zip(found, sizes, strict=True)):
            self._require_lengths(name, array)
            self._require_size(self._names.index(name), k, array, size)
        return found

    def elements(self, name: str, sizes: Sequence[int]) -> list[Array]:
        """One input of each group, with as many elements as the lengths say."""
        found = self.take(name)
        for k, (array, size) in enumerate(zip(found, sizes, strict=True)):
            self._require_size(self._names.index(name), k, array, size)
        return found

    def _require_lengths(self, name: str, array: Array) -> None:
        if array.dtype != np.int32:
            raise DTypeError(f"'{name}' must be int32, found {array.dtype}")
        if array.size and array.min() < 0:
            raise ValueRangeError(f"'{name}' holds a negative length, {array.min()}")

    def _require_size(self, at: int, k: int, array: Array, size: int) -> None:
        if len(array) != size:
            raise ShapeError(
                f"{self._label(at, k)} has {len(array)} element(s); the lengths sum up to {size}"
            )

    def _label(self, at: int, k: int) -> str:
        index = at + k * len(self._names)
        return f"input {index} '{self._call.input_blob(index)}'"


def _require_presence(array: Array) -> Array:
    if array.dtype != np.bool_:
        raise DTypeError(f"presence must be bool, found {array.dtype}")
    return array


def _feature_ids(call: Call, count: int) -> Array:
    ids = call.args.feature_ids or []
    if len(ids) != count:
        raise ArgumentError(
            f"argument 'feature_ids' must name {count} feature(s), found {len(ids)}"
        )
    return np.array(ids, np.int64)


def _emit(call: Call, *arrays: Array) -> None:
    for index, array in enumerate(arrays):
        call.output(index, array.shape, array.dtype)[...] = array


# ---------------------------------------------------------------- declarations

_IDS = {"feature_ids": Arg(list[int], None, "the key of each feature")}
_NONE = NotDifferentiable("it is a gradient already")
_MERGED = "merged features have no derivative"


def _groups_of(query: Query, size: int, last: int = 0) -> int:
    groups, rest = divmod(len(query.inputs) - last, size)
    if rest:
        raise ArityError(
            f"expected {size} input(s) for each feature, found {len(query.inputs) - last}"
        )
    return groups


def _rule(
    name: str, group: int, read: Sequence[int], value: int
) -> Callable[[OperatorDef, Sequence[GradientName]], Gradient]:
    """The gradient operator reads some inputs of each group, and gives the gradient of one."""

    def build(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
        count = len(op.input) // group
        reads = [op.input[k * group + r] for k in range(count) for r in read]
        grads: list[str | None] = [None] * len(op.input)
        if output_grads[-1] is None:
            return Gradient((), tuple(grads))
        for k in range(count):
            at = k * group + value
            grads[at] = gradient_name(op.input[at])
        outputs = [grad for grad in grads if grad is not None]
        back = gradient_op(op, f"{name}Gradient", [*reads, output_grads[-1]], outputs)
        return Gradient((back,), tuple(grads))

    return build


def _merge(
    name: str,
    inputs: Sequence[str],
    outputs: str,
    run: Callable[[Call], None],
    read: Sequence[int],
    doc: str,
    example: str,
    *,
    ids: bool,
    most: int | None = None,
) -> None:
    slots = ", ".join(f"in1_{n}" if n else "in1" for n in inputs)
    more = [f"in{k}_{n}?" for k in range(2, (most or 0) + 1) for n in inputs] or ["more*"]

    def infer(query: Query) -> Sequence[TensorType]:
        _groups_of(query, len(inputs))
        return [UNKNOWN] * query.outputs

    made = operator(
        name,
        f"{slots}, {', '.join(more)} -> {outputs}",
        infer=infer,
        gradient=_rule(name, len(inputs), read, _value_at(inputs)),
        input_counts=None if most is None else [len(inputs) * (k + 1) for k in range(most)],
        arguments=_IDS if ids else {},
        doc=doc,
        example=example,
    )
    made.cpu_dynamic()(run)


def _value_at(inputs: Sequence[str]) -> int:
    """The position of what has a gradient: the innermost values."""
    return next(k for k, n in enumerate(inputs) if n in ("", "values", "values_values"))


def _back(name: str, inputs: Sequence[str], run: Callable[[Call], None], doc: str) -> None:
    slots = ", ".join(f"in1_{n}" for n in inputs)

    def infer(query: Query) -> Sequence[TensorType]:
        groups = _groups_of(query, len(inputs), 1)
        if query.outputs != groups:
            raise ArityError(
                f"expected {groups} output(s), one for each group, found {query.outputs}"
            )
        return [TensorType(query.inputs[-1].dtype)] * groups

    made = operator(
        f"{name}Gradient",
        f"{slots}, more_and_gradient+ -> gradients+",
        infer=infer,
        gradient=_NONE,
        doc=doc,
    )
    made.cpu_dynamic()(run)


def _gradient(call: Call, order: Order, sizes: Sequence[int]) -> None:
    gradient = call.inputs[-1]
    if gradient.shape != (order.size,):
        raise ShapeError(
            f"the gradient must have {order.size} element(s), found {shape_text(gradient.shape)}"
        )
    _emit(call, *order.spread(gradient, sizes))


# ---------------------------------------------------------------- scalars


def _merge_scalars(call: Call, values: Array, present: Array) -> None:
    ids = _feature_ids(call, values.shape[1])
    keys = np.broadcast_to(ids, present.shape)[present]
    _emit(call, present.sum(axis=1).astype(np.int32), keys, values[present])


def _infer_dense(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 1, np.bool_)
    return [TensorType(_INT32), TensorType(_INT64), TensorType(query.inputs[0].dtype)]


dense = operator(
    "MergeDenseFeatureTensors",
    "in1, in1_presence -> out_lengths, out_keys, out_values",
    infer=_infer_dense,
    gradient=NotDifferentiable(_MERGED),
    arguments=_IDS,
    doc="""
    in1[i, k] is feature k of example i, if in1_presence[i, k] (bool). out_lengths[i] = how many
    features example i has (int32); out_keys = their feature_ids (int64); out_values = their values.
    """,
    example="""
    in1 = [[1, 2], [3, 4]]; in1_presence = [[true, false], [true, true]]; feature_ids = [7, 9]
    out_lengths = [1, 2]; out_keys = [7, 7, 9]; out_values = [1, 3, 4]
    """,
)


@dense.cpu_dynamic()
def merge_dense(call: Call) -> None:
    """Take what is present."""
    values, present = call.inputs
    if values.ndim != 2 or present.shape != values.shape:
        raise ShapeError(
            f"in1 must be a matrix, and in1_presence have its shape: {shape_text(values.shape)} "
            f"and {shape_text(present.shape)}"
        )
    _merge_scalars(call, values, present)


def _single_scalar(call: Call) -> None:
    groups = Groups(call, ["", "presence"])
    values = groups.matrix("")
    _merge_scalars(call, values, _require_presence(groups.matrix("presence", len(values))))


_merge(
    "MergeSingleScalarFeatureTensors",
    ["", "presence"],
    "out_lengths, out_keys, out_values",
    _single_scalar,
    [1],
    """
    Two inputs for each feature: its value in each example, and whether the example has it (bool).
    out_lengths[i] = how many features example i has (int32); out_keys = their feature_ids (int64);
    out_values = their values.
    """,
    """
    in1 = [1, 2]; in1_presence = [true, false]; in2 = [3, 4]; in2_presence = [true, true]
    feature_ids = [7, 9]
    out_lengths = [2, 1]; out_keys = [7, 9, 9]; out_values = [1, 3, 4]
    """,
    ids=True,
)


def _single_scalar_back(call: Call) -> None:
    present = _require_presence(Groups(call, ["presence"], 1).matrix("presence"))
    order = Order.of(np.ones(present.shape, np.int64), present)
    _gradient(call, order, [len(present)] * present.shape[1])


_back(
    "MergeSingleScalarFeatureTensors",
    ["presence"],
    _single_scalar_back,
    "gradients[k] = those of out_values where an example has feature k, 0 where it has not.",
)


# ---------------------------------------------------------------- lists and maps


def _single(call: Call, names: Sequence[str]) -> None:
    groups = Groups(call, names)
    lengths = groups.lengths("lengths")
    present = _require_presence(groups.matrix("presence", len(lengths)))
    ids = _feature_ids(call, groups.count)
    order = Order.of(lengths, present)
    sizes = lengths.sum(axis=0).tolist()
    inner = [order.merge(groups.elements(n, sizes)) for n in names[1:-1]]
    keys = np.broadcast_to(ids, present.shape)[present]
    counts = present.sum(axis=1).astype(np.int32)
    _emit(call, counts, keys, lengths[present].astype(np.int32), *inner)


def _single_back(call: Call) -> None:
    groups = Groups(call, ["lengths", "presence"], 1)
    lengths = groups.lengths("lengths")
    present = _require_presence(groups.matrix("presence", len(lengths)))
    _gradient(call, Order.of(lengths, present), lengths.sum(axis=0).tolist())


_LIST = ("lengths", "values", "presence")
_MAP = ("lengths", "keys", "values", "presence")

_merge(
    "MergeSingleListFeatureTensors",
    _LIST,
    "out_lengths, out_keys, out_values_lengths, out_values_values",
    lambda call: _single(call, _LIST),
    [0, 2],
    """
    Three inputs for each feature, a list: its length in each example (int32), all its elements, and
    whether the example has it (bool). out_lengths[i] = how many features example i has (int32);
    out_keys = their feature_ids (int64); out_values_lengths = their lengths; out_values_values =
    their elements.
    """,
    """
    in1_lengths = [2, 1]; in1_values = [1, 2, 3]; in1_presence = [true, true]; feature_ids = [7]
    out_lengths = [1, 1]; out_keys = [7, 7]; out_values_lengths = [2, 1]
    out_values_values = [1, 2, 3]
    """,
    ids=True,
)
_merge(
    "MergeSingleMapFeatureTensors",
    _MAP,
    "out_lengths, out_keys, out_values_lengths, out_values_keys, out_values_values",
    lambda call: _single(call, _MAP),
    [0, 3],
    """
    Four inputs for each feature, a map: its length in each example (int32), all its keys, all its
    values, and whether the example has it (bool). out_lengths[i] = how many features example i has
    (int32); out_keys = their feature_ids (int64); out_values_lengths = their lengths;
    out_values_keys and out_values_values = their keys and values.
    """,
    """
    in1_lengths = [1, 1]; in1_keys = [4, 5]; in1_values = [1, 2]; in1_presence = [true, true]
    feature_ids = [7]
    out_lengths = [1, 1]; out_keys = [7, 7]; out_values_lengths = [1, 1]; out_values_keys = [4, 5]
    out_values_values = [1, 2]
    """,
    ids=True,
)

for _kind in ("List", "Map"):
    _back(
        f"MergeSingle{_kind}FeatureTensors",
        ["lengths", "presence"],
        _single_back,
        """
        gradients[k] = those of out_values_values where an example has feature k, 0 for the elements
        of examples that have it not (Caffe2 leaves these out, so that sizes differ).
        """,
    )


# ---------------------------------------------------------------- several features a group


def _multi_scalar(call: Call) -> None:
    groups = Groups(call, ["lengths", "keys", "values"])
    lengths = groups.lengths("lengths")
    sizes = lengths.sum(axis=0).tolist()
    order = Order.of(lengths)
    keys = _require_keys(groups.elements("keys", sizes))
    counts = lengths.sum(axis=1).astype(np.int32)
    _emit(call, counts, order.merge(keys), order.merge(groups.elements("values", sizes)))


def _require_keys(keys: list[Array]) -> list[Array]:
    if keys[0].dtype != np.int64:
        raise DTypeError(f"keys must be int64, found {keys[0].dtype}")
    return keys


def _multi_scalar_back(call: Call) -> None:
    lengths = Groups(call, ["lengths"], 1).lengths("lengths")
    _gradient(call, Order.of(lengths), lengths.sum(axis=0).tolist())


def _multi(call: Call, names: Sequence[str]) -> None:
    groups = Groups(call, names)
    lengths = groups.lengths("lengths")
    sizes = lengths.sum(axis=0).tolist()
    order = Order.of(lengths)
    keys = _require_keys(groups.elements("keys", sizes))
    inner_lengths = groups.counts("values_lengths", sizes)
    inner = _inner(lengths, inner_lengths)
    inner_sizes = inner.sum(axis=0).tolist()
    inner_order = Order.of(inner)
    rest = [inner_order.merge(groups.elements(n, inner_sizes)) for n in names[3:]]
    counts = lengths.sum(axis=1).astype(np.int32)
    _emit(call, counts, order.merge(keys), order.merge(inner_lengths), *rest)


def _multi_back(call: Call) -> None:
    groups = Groups(call, ["lengths", "values_lengths"], 1)
    lengths = groups.lengths("lengths")
    inner = _inner(lengths, groups.counts("values_lengths", lengths.sum(axis=0).tolist()))
    _gradient(call, Order.of(inner), inner.sum(axis=0).tolist())


_MULTI_LIST = ("lengths", "keys", "values_lengths", "values_values")
_MULTI_MAP = ("lengths", "keys", "values_lengths", "values_keys", "values_values")

_merge(
    "MergeMultiScalarFeatureTensors",
    ("lengths", "keys", "values"),
    "out_lengths, out_keys, out_values",
    _multi_scalar,
    [0],
    """
    Three inputs for each group of features: how many of them each example has (int32), their keys
    (int64), their values. The outputs are the same for all groups together, example by example.
    """,
    """
    in1_lengths = [1, 1]; in1_keys = [7, 8]; in1_values = [1, 2]
    in2_lengths = [0, 1]; in2_keys = [9]; in2_values = [3]
    out_lengths = [1, 2]; out_keys = [7, 8, 9]; out_values = [1, 2, 3]
    """,
    ids=False,
)
_merge(
    "MergeMultiListFeatureTensors",
    _MULTI_LIST,
    "out_lengths, out_keys, out_values_lengths, out_values_values",
    lambda call: _multi(call, _MULTI_LIST),
    [0, 2],
    """
    Four inputs for each group of features that are lists: how many of them each example has
    (int32), their keys (int64), their lengths (int32), their elements. The outputs are the same
    for all groups together, example by example.
    """,
    """
    in1_lengths = [1, 1]; in1_keys = [7, 8]; in1_values_lengths = [2, 0]; in1_values_values = [1, 2]
    the outputs are the same
    """,
    ids=False,
)
_merge(
    "MergeMultiMapFeatureTensors",
    _MULTI_MAP,
    "out_lengths, out_keys, out_values_lengths, out_values_keys, out_values_values",
    lambda call: _multi(call, _MULTI_MAP),
    [0, 2],
    """
    Five inputs for each group of features that are maps, three groups at most: how many of them
    each example has (int32), their keys (int64), their lengths (int32), the keys and the values in
    them. The outputs are the same for all groups together, example by example.
    """,
    """
    in1_lengths = [1]; in1_keys = [7]; in1_values_lengths = [2]; in1_values_keys = [4, 5]
    in1_values_values = [1, 2]
    the outputs are the same
    """,
    ids=False,
    most=3,
)
_back(
    "MergeMultiScalarFeatureTensors",
    ["lengths"],
    _multi_scalar_back,
    "gradients[k] = those of out_values for the features of group k.",
)
for _kind in ("List", "Map"):
    _back(
        f"MergeMulti{_kind}FeatureTensors",
        ["lengths", "values_lengths"],
        _multi_back,
        "gradients[k] = those of out_values_values for the features of group k.",
    )
