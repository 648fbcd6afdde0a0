"""Inputs for a net that nobody gave any: shapes that fit, found by inference.

A net does not say what shapes it takes. But its first layers tell the number of channels or
columns, and inference tells whether an image of some size goes through to the end. The batch is 1,
the values are random (those of `--input NAME=SHAPE`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from caffe2py.errors import Error, MissingBlobError
from caffe2py.predictor.inputs import Invented
from caffe2py.predictor.load import Model
from caffe2py.predictor.summary import known_before
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.infer_net import Walk
from caffe2py.tensor.types import Shape, TensorType

__all__ = ["guess_inputs"]

#: Sides of images that nets commonly take, the commonest first.
_SIDES = (224, 227, 299, 256, 128, 112, 96, 64, 32, 28, 16, 8)
#: Pass values on, so that what comes after them tells the shape.
_TRANSPARENT = ("Relu", "Copy", "Dropout", "StopGradient", "Sigmoid", "Tanh", "Scale", "Alias")
_FLOAT = np.dtype(np.float32)


def guess_inputs(model: Model, given: Mapping[str, TensorType]) -> dict[str, Invented]:
    """An invented value for every input that is neither given nor filled by the init net.

    Shapes are those that the model declares, if it does.
    Raises MissingBlobError, with what to type, where the net does not tell a shape.
    """
    missing = [n for n in model.data_inputs if n not in given and n not in model.stand_ins]
    if not missing or len(model.nets) != 1:
        return {}
    net = model.nets[0]
    before = known_before(model, given)
    declared = {name: before.types.get(name, TensorType()) for name in missing}
    if all(type_.full_shape is not None for type_ in declared.values()):
        return {n: Invented(t.full_shape or (), t.dtype or _FLOAT) for n, t in declared.items()}
    for shapes in _candidates(net, missing, before):
        walk = Walk(before.types, before.values)
        walk.types |= {name: TensorType(_FLOAT, shape) for name, shape in shapes.items()}
        if all(step.error is None for step in walk.steps(net)):
            return {name: Invented(shape, _FLOAT) for name, shape in shapes.items()}
    raise MissingBlobError(
        f"input '{missing[0]}' is not given, and the net does not tell its shape",
        where=f"net '{model.name}'",
        hint=f"--input {missing[0]}=1x3x224x224, or x.npy",
    )


def _candidates(net: NetDef, names: list[str], before: Walk) -> Iterator[dict[str, Shape]]:
    """Shapes for all these inputs at once, images of one size."""
    for side in _SIDES:
        found = {name: _shape(net, name, before, side) for name in names}
        known = {name: shape for name, shape in found.items() if shape is not None}
        if len(known) == len(names):
            yield known


def _shape(net: NetDef, name: str, before: Walk, side: int) -> Shape | None:
    """What the first operator tells that is not indifferent to the shape of its data."""
    names = {name}
    for op in net.op:
        if not op.input or op.input[0] not in names:
            continue
        if op.type in _TRANSPARENT:
            names.update(op.output[:1])
            continue
        try:
            return _first_layer(op, before, side)
        except (Error, ValueError):
            return None
    return None


def _first_layer(op: OperatorDef, before: Walk, side: int) -> Shape | None:
    weights = before.types.get(op.input[1]) if len(op.input) > 1 else None
    shape = None if weights is None else weights.full_shape
    if not shape:
        return None
    args = {arg.name: arg for arg in op.arg}
    if op.type == "FC":
        return (1, int(np.prod(shape[1:])))
    if op.type in ("Conv", "Conv2D") and len(shape) == 4:
        group = args["group"].i if "group" in args else 1
        if "order" in args and args["order"].s == b"NHWC":
            return (1, side, side, shape[3] * group)
        return (1, shape[1] * group, side, side)
    if op.type == "SpatialBN":
        return (1, shape[0], side, side)
    return None
