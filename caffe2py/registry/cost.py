"""How much work an operator is, from types alone: multiply-adds, and bytes moved.

A multiply with the addition that takes it in counts once; so does one element that a pooling
window reads, or one element of a normalisation. Operators without an entry count as nothing: they
move memory. Bytes moved are the least that the operator has to move: every input is read once and
every output written once; of a table, only the rows that are looked up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from caffe2py.registry.infer import Query, product
from caffe2py.tensor.types import TensorType

__all__ = ["COSTS", "Cost", "bytes_moved", "multiply_adds"]

#: Multiply-adds of one operator, None where too little is known.
Cost = Callable[[Query, Sequence[TensorType]], int | None]


def multiply_adds(query: Query, outputs: Sequence[TensorType]) -> int | None:
    """The multiply-adds of one operator: 0 if it does none, None if the types leave it open."""
    cost = COSTS.get(query.schema.name)
    return 0 if cost is None else cost(query, outputs)


def bytes_moved(
    name: str, inputs: Sequence[TensorType], outputs: Sequence[TensorType]
) -> int | None:
    """The bytes that an operator of this name reads and writes; None if the types leave it open."""
    sizes = [_nbytes(type_) for type_ in (*inputs, *outputs)]
    table, indices = _LOOKUPS.get(name, (0, 0))
    if table != indices and len(inputs) > max(table, indices):
        rows, row = _numel(inputs[indices]), _per_first(inputs[table])
        dtype = inputs[table].dtype
        sizes[table] = _times(rows, row, None if dtype is None else dtype.itemsize)
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _nbytes(type_: TensorType) -> int | None:
    return _times(_numel(type_), None if type_.dtype is None else type_.dtype.itemsize)


def _numel(type_: TensorType) -> int | None:
    return None if type_.shape is None else product(type_.shape)


def _times(*factors: int | None) -> int | None:
    return product(factors)


def _input(query: Query, index: int) -> TensorType:
    return query.inputs[index] if index < len(query.inputs) else TensorType()


def _per_first(weights: TensorType) -> int | None:
    """Elements of a weight tensor for one index of its first axis."""
    return None if not weights.shape else product(weights.shape[1:])


def _per_output(weights: int) -> Cost:
    """Every output element is a dot product with one row of the weights (Conv, FC)."""

    def cost(query: Query, outputs: Sequence[TensorType]) -> int | None:
        return _times(_numel(outputs[0]), _per_first(_input(query, weights)))

    return cost


def _per_input(weights: int) -> Cost:
    """Every input element is spread over one row of the weights (ConvTranspose)."""

    def cost(query: Query, outputs: Sequence[TensorType]) -> int | None:
        return _times(_numel(query.inputs[0]), _per_first(_input(query, weights)))

    return cost


def _fc_transposed(query: Query, outputs: Sequence[TensorType]) -> int | None:
    """FCTransposed: the weights are (K, N) from `axis_w` on."""
    weights = _input(query, 1).shape
    if not weights:
        return None
    return _times(_numel(outputs[0]), product(weights[: getattr(query.args, "axis_w", 1)]))


def _gradient(query: Query, outputs: Sequence[TensorType]) -> int | None:
    """X, W, dY -> dW, db, dX of a product: as much as forward for dW, and as much for dX."""
    least = 1 if getattr(query.args, "no_bias", False) else 2
    once = _times(_numel(_input(query, 2)), _per_first(_input(query, 1)))
    return _times(once, 2 if len(outputs) > least else 1)


def _matmul(query: Query, outputs: Sequence[TensorType]) -> int | None:
    """MatMul, BatchMatMul: the axis of A that the product sums over."""
    a = query.inputs[0].shape
    if not a:
        return None
    transposed = bool(getattr(query.args, "trans_a", False))
    return _times(_numel(outputs[0]), a[-2] if transposed and len(a) > 1 else a[-1])


def _pool(query: Query, outputs: Sequence[TensorType]) -> int | None:
    """Pooling: every element of every window."""
    if getattr(query.args, "global_pooling", False):
        return _numel(query.inputs[0])
    return _times(_numel(outputs[0]), _window(query))


def _window(query: Query) -> int | None:
    args: Any = query.args
    kernels = list(getattr(args, "kernels", None) or [])
    if kernels:
        return math.prod(int(k) for k in kernels)
    sides = [getattr(args, "kernel_h", 0) or 0, getattr(args, "kernel_w", 0) or 0]
    if all(sides):
        return math.prod(int(side) for side in sides)
    rank = query.inputs[0].rank
    kernel = int(getattr(args, "kernel", 0) or 0)
    return None if rank is None or not kernel else math.prod([kernel] * max(rank - 2, 1))


def _each_input(query: Query, outputs: Sequence[TensorType]) -> int | None:
    """One for every element of the first input."""
    return _numel(query.inputs[0])


def _lrn(query: Query, outputs: Sequence[TensorType]) -> int | None:
    """LRN: every element sums the squares of `size` neighbours."""
    return _times(_numel(query.inputs[0]), getattr(query.args, "size", None))


COSTS: dict[str, Cost] = {
    **dict.fromkeys(("Conv", "Conv1D", "Conv2D", "Conv3D", "FusedConv"), _per_output(1)),
    **{f"Conv{rank}Gradient": _gradient for rank in ("", "1D", "2D", "3D")},
    **dict.fromkeys(("FC", "FusedFC"), _per_output(1)),
    "FCGradient": _gradient,
    "FCTransposed": _fc_transposed,
    "ConvTranspose": _per_input(1),
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    **{
        f"{kind}Pool{rank}": _pool for kind in ("Max", "Average") for rank in ("", "1D", "2D", "3D")
    },
    "LpPool": _pool,
    **dict.fromkeys(("SpatialBN", "InstanceNorm", "LayerNorm", "GroupNorm", "Scale"), _each_input),
    "LRN": _lrn,
}

#: Operators that look up rows: which input is the table, which one says what rows.
_LOOKUPS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("Gather", "SparseLengthsSum", "SparseLengthsMean"), (0, 1)),
    **dict.fromkeys(("SparseLengthsWeightedSum", "SparseLengthsWeightedMean"), (0, 2)),
}
