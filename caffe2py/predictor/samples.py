"""Small nets with the commonest layers, to infer and to learn: what `caffe2py warmup` begins with.

Kernels are compiled for types and numbers of axes, not for sizes, so small nets bring what large
ones need.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2py import brew, optimizer
from caffe2py.model_helper import ModelHelper
from caffe2py.predictor.inputs import Invented
from caffe2py.predictor.load import Model, load_model

__all__ = ["sample_models"]

_BATCH, _CLASSES, _SIDE = 4, 10, 16


def sample_models() -> dict[str, tuple[Model, dict[str, Invented]]]:
    """By name: a model, and inputs for it."""
    image = Invented((_BATCH, 3, _SIDE, _SIDE), np.dtype(np.float32))
    label = Invented((_BATCH,), np.dtype(np.int32))
    infer, learn = _convnet("sample_infer", train=False), _convnet("sample_learn", train=True)
    return {
        "inference": (infer, {"data": image}),
        "training": (learn, {"data": image, "label": label}),
    }


def _convnet(name: str, *, train: bool) -> Model:
    """Convolutions of several kinds, normalisation, pooling, a joint, dense layers."""
    model = ModelHelper(name=name, arg_scope={"order": "NCHW"})
    test = int(not train)
    x = brew.conv(model, "data", "conv1", 3, 16, kernel=5, stride=2, pad=2)
    x = brew.relu(model, x, x)
    three = brew.conv(model, x, "conv2", 16, 16, kernel=3, pad=1)
    three = brew.spatial_bn(model, three, "bn2", 16, is_test=test)
    one = brew.conv(model, x, "conv3", 16, 16, kernel=1)
    x = brew.relu(model, brew.sum(model, [three, one], "sum"), "joined")
    deep = brew.group_conv(model, x, "conv4", 16, 16, kernel=3, pad=1, group=16)
    x = brew.concat(model, [x, deep], "both")
    x = brew.max_pool(model, x, "pool1", kernel=2, stride=2)
    x = brew.average_pool(model, x, "pool2", kernel=2, stride=2)
    x = brew.relu(model, brew.fc(model, x, "fc1", 32 * 4, 32), "hidden")
    x = brew.dropout(model, x, "dropped", ratio=0.5, is_test=test)
    x = brew.fc(model, x, "fc2", 32, _CLASSES)
    if train:
        _learn(model, x)
    else:
        brew.softmax(model, x, "prob")
    return _loaded(model)


def _learn(model: Any, x: Any) -> None:
    _, loss = model.net.SoftmaxWithLoss([x, "label"], ["prob", "loss"])
    model.AddGradientOperators([loss])
    optimizer.build_sgd(model, base_learning_rate=0.01, policy="fixed", momentum=0.9)


def _loaded(model: ModelHelper) -> Model:
    net = model.net.Proto()
    if not net.external_output:
        net.external_output.append("prob")
    return load_model(net, model.param_init_net.Proto())
