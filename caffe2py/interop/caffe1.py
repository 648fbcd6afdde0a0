"""Caffe2's caffe_translator module: models of Caffe 1 as nets.

net, params = caffe_translator.TranslateModel(caffe_net, caffe_weights, is_test=True)
init_net = caffe_translator.ConvertTensorProtosToInitNet(params, "data")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.errors import Error, ModelFormatError, NetError, UnsupportedError, UsageError
from caffe2py.interop.caffe1_layers import (
    NO_COMPUTATION,
    Layer,
    blob_array,
    translated,
)
from caffe2py.interop.damage import damage_named
from caffe2py.interop.weights import weights_net
from caffe2py.proto.args import find, make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, TensorProtos
from caffe2py.proto.caffe_pb2 import (
    TEST,
    TRAIN,
    LayerParameter,
    NetParameter,
    NetState,
    V1LayerParameter,
)
from caffe2py.proto.files import file_content
from caffe2py.proto.text import from_text
from caffe2py.registry.infer_net import infer_net
from caffe2py.tensor.serialize import tensor_from_proto, tensor_to_proto
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType, checked_numel

__all__ = [
    "ConvertTensorProtosToInitNet",
    "TranslateModel",
    "TranslatorRegistry",
    "read_caffe",
    "translate_files",
]

_MOST_LAYERS = 100_000
_SHOWN = 12

#: Types of the second version whose names are not those of the first in another spelling.
_V1_NAMES = {
    "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BNLL": "BNLL", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "IM2COL": "Im2col", "LRN": "LRN", "MVN": "MVN", "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH",
}  # fmt: skip

Translator = Callable[..., tuple[NetDef, Sequence[Any]]]


class TranslatorRegistry:
    """The translators of layers, and those that a script adds."""

    registry_: dict[str, Translator] = {}

    @classmethod
    def Register(cls, op_name: str) -> Callable[[Translator], Translator]:
        """Decorator: a translator for a type of layer.

        It gets the layer, its BlobProtos, and is_test, and gives operators (one, a list or a
        NetDef) and a list of TensorProtos.
        """

        def wrapper(func: Translator) -> Translator:
            cls.registry_[op_name] = func
            return func

        return wrapper

    @classmethod
    def TranslateModel(
        cls,
        caffe_net: NetParameter,
        pretrained_net: NetParameter,
        is_test: bool = False,
        net_state: NetState | None = None,
        remove_legacy_pad: bool = False,
        input_dims: Sequence[int] | None = None,
    ) -> tuple[NetDef, TensorProtos]:
        """The net that computes and its weights, one for each `_w`, `_b` and so on.

        With `remove_legacy_pad` pooling gets plain pads that give the same sizes, for an input of
        shape `input_dims`. Raises UnsupportedError that lists every layer without counterpart.
        """
        net, params = _translated(caffe_net, pretrained_net, is_test, net_state, cls.registry_)
        if remove_legacy_pad:
            if input_dims is None:
                raise UsageError("remove_legacy_pad needs input_dims")
            _plain_pads(net, params, tuple(input_dims))
        del net.external_input[:], net.external_output[:]  # scripts declare them
        made = TensorProtos()
        made.protos.extend(_named_proto(name, array) for name, array in params.items())
        return net, made


TranslateModel = TranslatorRegistry.TranslateModel


def ConvertTensorProtosToInitNet(net_params: TensorProtos, input_name: str) -> NetDef:
    """The net that makes the weights, and a stand-in of one element for the input."""
    weights = {proto.name: tensor_from_proto(proto) for proto in net_params.protos}
    net = weights_net("init", weights)
    fill = net.op.add(type="ConstantFill", output=[input_name])
    fill.arg.append(make_argument("shape", [1]))
    net.external_output.append(input_name)
    return net


def translate_files(
    prototxt: str | os.PathLike[str], caffemodel: str | os.PathLike[str]
) -> tuple[NetDef, NetDef]:
    """The init net and the predict net of the two files of a model, as at test time.

    Raises FileError for files that cannot be read, ModelFormatError for what is no such model,
    UnsupportedError that lists every layer without counterpart.
    """
    net, weights = read_caffe(prototxt), read_caffe(caffemodel)
    try:
        predict, params = _translated(net, weights, True, None, TranslatorRegistry.registry_)
    except Error as error:
        raise error.with_where(os.fspath(prototxt)) from None
    return weights_net(f"{predict.name}_init", params), predict


@damage_named()
def read_caffe(path: str | os.PathLike[str]) -> NetParameter:
    """The NetParameter in a file, text or binary; ModelFormatError if it is none."""
    data = file_content(Path(path))
    try:
        net = _parsed(data)
        if not net.layer and not net.layers:
            raise ModelFormatError("expected a model of Caffe 1, found one without layers")
    except Error as error:
        raise error.with_where(os.fspath(path)) from None
    return net


def _parsed(data: bytes) -> NetParameter:
    if not data:
        raise ModelFormatError("expected a model of Caffe 1, found nothing (0 bytes)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is not None and not any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return from_text(text, NetParameter, partial=True)
    net = NetParameter()
    try:
        net.ParseFromString(data)
    except DecodeError:
        raise ModelFormatError(
            f"expected a model of Caffe 1, found {len(data)} bytes that are cut off, damaged or "
            "of another kind"
        ) from None
    return net


# ---------------------------------------------------------------- layers of both versions


def _layers(net: NetParameter) -> list[LayerParameter]:
    """The layers of a net, those of the first version in the form of the second."""
    if net.layer and net.layers:
        raise ModelFormatError("layers of two versions in one file")
    found = list(net.layer) or [_upgraded(layer) for layer in net.layers]
    if len(found) > _MOST_LAYERS:
        raise NetError(f"{len(found)} layers, more than {_MOST_LAYERS}")
    return found


def _upgraded(old: V1LayerParameter) -> LayerParameter:
    made = LayerParameter(name=old.name, bottom=old.bottom, top=old.top)
    word = V1LayerParameter.LayerType.Name(old.type)
    made.type = _V1_NAMES.get(word, "".join(part.capitalize() for part in word.split("_")))
    made.blobs.extend(old.blobs)
    made.include.extend(old.include)
    made.exclude.extend(old.exclude)
    for descriptor, value in old.ListFields():
        if descriptor.name.endswith("_param"):
            getattr(made, descriptor.name).CopyFrom(value)
    return made


def _included(layer: LayerParameter, state: NetState) -> bool:
    """Whether a layer belongs to the net in this state."""
    if layer.include:
        return any(_meets(rule, state) for rule in layer.include)
    return not any(_meets(rule, state) for rule in layer.exclude)


def _meets(rule: Any, state: NetState) -> bool:
    stages = set(state.stage)
    return not (
        (rule.HasField("phase") and rule.phase != state.phase)
        or (rule.HasField("min_level") and state.level < rule.min_level)
        or (rule.HasField("max_level") and state.level > rule.max_level)
        or any(stage not in stages for stage in rule.stage)
        or any(stage in stages for stage in rule.not_stage)
    )


# ---------------------------------------------------------------- the net


def _inputs(net: NetParameter, layers: Sequence[LayerParameter]) -> dict[str, tuple[int, ...]]:
    """The blobs that are fed, with the shapes that the model says; () where it says none."""
    found: dict[str, tuple[int, ...]] = {}
    for k, name in enumerate(net.input):
        if k < len(net.input_shape):
            found[name] = tuple(net.input_shape[k].dim)
        else:
            found[name] = tuple(net.input_dim[4 * k : 4 * k + 4])
    for layer in layers:
        if layer.type in NO_COMPUTATION and not layer.bottom:
            shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
            for k, top in enumerate(layer.top):
                found.setdefault(top, shapes[min(k, len(shapes) - 1)] if shapes else ())
    return found


@damage_named()
def _translated(
    caffe_net: NetParameter,
    pretrained: NetParameter,
    is_test: bool,
    net_state: NetState | None,
    registry: Mapping[str, Translator],
) -> tuple[NetDef, dict[str, Array]]:
    state = net_state or NetState(phase=TEST if is_test else TRAIN)
    layers = [layer for layer in _layers(caffe_net) if _included(layer, state)]
    saved = {layer.name: layer.blobs for layer in _layers(pretrained)}
    net = NetDef(name=caffe_net.name or "caffe")
    params: dict[str, Array] = {}
    failures = []
    for layer in layers:
        if layer.type in NO_COMPUTATION and layer.type not in registry:
            continue
        label = f"layer '{layer.name}' ({layer.type})"
        try:
            blobs = list(saved.get(layer.name, layer.blobs))
            if layer.type in registry:
                _custom(registry[layer.type], layer, blobs, is_test, net, params)
                continue
            one = Layer(layer, [blob_array(blob) for blob in blobs], is_test)
            translated(one)
            net.op.extend(one.ops)
            params |= one.params
        except UnsupportedError as error:
            failures.append(f"{label}: {error}")
        except Error as error:
            raise error.with_where(label) from None
    if failures:
        more = len(failures) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise UnsupportedError(
            f"{len(failures)} layer(s) have no counterpart: {'; '.join(failures[:_SHOWN])}{rest}"
        )
    if not net.op:
        raise ModelFormatError("the model has no layer that computes")
    _declare(net, params, _inputs(caffe_net, layers))
    return net, params


def _custom(
    translator: Translator, layer: LayerParameter, blobs: Sequence[Any], is_test: bool,
    net: NetDef, params: dict[str, Array],
) -> None:  # fmt: skip
    """A layer by a script's own translator."""
    made, protos = translator(layer, blobs, is_test, net=net)
    if isinstance(made, NetDef):
        net.op.extend(made.op)
    elif isinstance(made, list | tuple):
        net.op.extend(made)
    else:
        net.op.append(made)
    params |= {proto.name: tensor_from_proto(proto) for proto in protos}


def _declare(
    net: NetDef, params: Mapping[str, Array], inputs: Mapping[str, tuple[int, ...]]
) -> None:
    """Say what the net reads and gives; NetError for a blob that nothing makes."""
    known, read = {*params, *inputs}, set()
    for index, op in enumerate(net.op):
        for name in op.input:
            if name not in known:
                raise NetError(f"op #{index} {op.type} reads '{name}', which nothing makes")
            read.add(name)
        known.update(op.output)
    net.external_input.extend([name for name in inputs if name in read])
    net.external_input.extend(params)
    net.external_output.extend(_unread(net))


def _unread(net: NetDef) -> list[str]:
    """The blobs that no operator reads after they were written, masks and widths left out."""
    found: dict[str, None] = {}
    for op in net.op:
        for name in op.input:
            found.pop(name, None)
        found |= dict.fromkeys(op.output if op.type == "Split" else op.output[:1])
    return list(found)


def _named_proto(name: str, array: Array) -> Any:
    return tensor_to_proto(array, name)


def _plain_pads(net: NetDef, params: Mapping[str, Array], dims: tuple[int, ...]) -> None:
    """Replace Caffe 1's rounding of pooled sizes by pads at the end that give the same sizes."""
    checked_numel(dims, 4)
    float32 = np.dtype(np.float32)
    types = {name: TensorType.of(array) for name, array in params.items()}
    data = [name for name in net.external_input if name not in params]
    types |= {name: TensorType(float32, dims) for name in data}
    known = infer_net(net, types)
    for op in net.op:
        legacy = find(op, "legacy_pad")
        if legacy is None:
            continue
        before, after = known[op.input[0]].full_shape, known[op.output[0]].full_shape
        if before is None or after is None:
            raise UnsupportedError(f"{op.type}: the shape of '{op.input[0]}' is not known")
        values = {arg.name: arg.i for arg in op.arg}
        sides = []
        for axis, (side, begin, end) in enumerate((("h", "t", "b"), ("w", "l", "r")), 2):
            kernel = values.get(f"kernel_{side}", values.get("kernel", 1))
            stride = values.get(f"stride_{side}", values.get("stride", 1))
            first = values.get(f"pad_{begin}", values.get("pad", 0))
            whole = (after[axis] - 1) * stride + kernel - before[axis] - first
            sides += [(f"pad_{begin}", first), (f"pad_{end}", max(whole, 0))]
        kept = [
            arg for arg in op.arg if arg.name != "legacy_pad" and not arg.name.startswith("pad")
        ]
        made = [make_argument(name, value) for name, value in sides]
        copies = [type(arg).FromString(arg.SerializeToString()) for arg in kept]
        del op.arg[:]
        op.arg.extend([*copies, *made])
