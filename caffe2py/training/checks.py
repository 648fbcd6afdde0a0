"""What can be told of a training before it begins, and of a net that makes NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from caffe2py.errors import DTypeError, Error, UsageError, ValueRangeError
from caffe2py.executor.bind import BoundOperator
from caffe2py.predictor.load import Model
from caffe2py.predictor.summary import known_before
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.place import operator_place
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType
from caffe2py.training.data import describe

__all__ = ["check_model", "check_types", "losses_of", "refuse_non_finite"]

#: What the first gradient of a backward pass is called, after its loss.
_FIRST_GRADIENT = "_autogen_grad"

#: Updates that subtract the rate times something, and those that add it.
_SUBTRACT = (
    "MomentumSGD",
    "MomentumSGDUpdate",
    "SparseMomentumSGDUpdate",
    "FP16MomentumSGDUpdate",
    "FP32MomentumSGDUpdate",
)
_ADD = (
    "WeightedSum",
    "ScatterWeightedSum",
    "Adam",
    "SparseAdam",
    "RowWiseSparseAdam",
    "Adagrad",
    "SparseAdagrad",
    "RowWiseSparseAdagrad",
)


def losses_of(net: NetDef) -> list[str]:
    """The blobs that the net's backward pass begins at."""
    made = (name for op in net.op for name in op.output if op.type == "ConstantFill")
    return [name.removesuffix(_FIRST_GRADIENT) for name in made if name.endswith(_FIRST_GRADIENT)]


def check_model(model: Model) -> None:
    """Refuse a net that updates by a gradient which nothing makes, or at an impossible rate.

    Raises UsageError and ValueRangeError, with the operator's place.
    """
    for net in model.nets:
        _refuse_missing_gradients(model, net)
        _refuse_rates(net)


def _refuse_missing_gradients(model: Model, net: NetDef) -> None:
    lacking = {name for name in model.inputs if name.endswith("_grad")}
    for index, op in enumerate(net.op):
        found = [name for name in op.input if name in lacking]
        if found:
            parameter = found[0].removesuffix("_grad")
            raise UsageError(
                f"it reads '{found[0]}', which nothing makes: '{parameter}' has no gradient in "
                "this net",
                where=operator_place(net.name, index, op),
                hint="caffe2py grad NET --loss LOSS -o TRAIN_NET, or leave that update out",
            )


def _refuse_rates(net: NetDef) -> None:
    for index, op in enumerate(net.op):
        if op.type != "LearningRate":
            continue
        rate = next((arg.f or float(arg.i) for arg in op.arg if arg.name == "base_lr"), 0.0)
        place = operator_place(net.name, index, op)
        if not math.isfinite(rate):
            raise ValueRangeError(f"base_lr is {rate:g}, and no learning rate is", where=place)
        for user in _users(net, op):
            signs = {**dict.fromkeys(_SUBTRACT, 1), **dict.fromkeys(_ADD, -1)}
            if rate * signs.get(user.type, 0) < 0:
                does = "subtracts" if user.type in _SUBTRACT else "adds"
                raise ValueRangeError(
                    f"base_lr is {rate:g}, and {user.type} {does} it times the gradient: the "
                    "loss would grow",
                    where=place,
                    hint=f"base_lr {-rate:g}",
                )


def _users(net: NetDef, rate: OperatorDef) -> Iterator[OperatorDef]:
    return (op for op in net.op if set(rate.output) & set(op.input))


def check_types(
    model: Model, types: Mapping[str, TensorType], label: str
) -> Mapping[str, TensorType]:
    """The types of all blobs; raises the first error that those of the data lead to."""
    try:
        walk = known_before(model, types)
        for net in model.nets:
            for step in walk.steps(net):
                if step.error is not None:
                    raise step.error
    except Error as error:
        wide = [name for name, type_ in types.items() if type_.dtype == np.float64]
        if wide and error.hint is None and isinstance(error, DTypeError):
            error.hint = f"save '{wide[0]}' as float32"
        raise error.with_where(f"with {describe(types)} of {label}" if types else label) from None
    return walk.types


# ---------------------------------------------------------------- NaN


def non_finite(array: Array | None) -> str:
    """What in an array is not finite: "2 NaN and 1 infinite of 10 elements"; else ""."""
    if array is None or array.dtype.kind != "f":
        return ""
    nans = int(np.count_nonzero(np.isnan(array)))
    infinite = int(np.count_nonzero(np.isinf(array)))
    parts = [f"{nans} NaN"] * bool(nans) + [f"{infinite} infinite"] * bool(infinite)
    return f"{' and '.join(parts)} of {array.size} elements" if parts else ""


def refuse_non_finite(operator: BoundOperator) -> None:
    """Raise ValueRangeError if an operator that has run made a NaN or an infinity."""
    for blob in operator.output_blobs:
        found = non_finite(blob.array)
        if found:
            given = [
                f"'{b.name}' {_range(b.array)}"
                for b in operator.input_blobs
                if b.array is not None and b not in operator.output_blobs
            ]
            read = f"; it read {', '.join(given)}" if given else ""
            raise ValueRangeError(
                f"it is the first to make what is not finite: '{blob.name}' holds {found}{read}",
                where=operator.origin.where(operator.index, operator.op),
            )


def _range(array: Array) -> str:
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size or array.dtype == object:
        return "with no finite element" if array.size else "without elements"
    return f"from {finite.min():.6g} to {finite.max():.6g}"
