"""What training needs besides layers: data, counters, metrics, weight decay."""

from __future__ import annotations

from typing import Any

from caffe2py.graph.device import DeviceOption
from caffe2py.graph.queries import DataType
from caffe2py.graph.scope import CurrentNameScope
from caffe2py.modeling.helper import helper
from caffe2py.modeling.layers.common import on_cpu
from caffe2py.modeling.layers.plain import MissingArgumentError
from caffe2py.modeling.model import ModelHelper
from caffe2py.proto.caffe2_pb2 import PROTO_CPU


@helper
def iter(model: ModelHelper, blob_out: Any, **kwargs: Any) -> Any:
    """Iter: a counter, int64, that each run of the net increments; on the CPU, from 0."""
    kwargs.pop("device_option", None)
    start = {"shape": [1], "value": 0, "dtype": DataType.INT64}
    place = DeviceOption(PROTO_CPU, 0)
    model.param_init_net.ConstantFill([], blob_out, **start, device_option=place, **kwargs)
    return model.net.Iter(blob_out, blob_out, **kwargs)


@helper
def accuracy(model: ModelHelper, blob_in: Any, blob_out: Any, **kwargs: Any) -> None:
    """Accuracy of [predictions, labels]; returns nothing.

    Arguments matter only for top_k on a GPU, where both blobs are copied to the CPU first.
    """
    if on_cpu(kwargs) or kwargs.get("top_k", 1) <= 1:
        model.net.Accuracy(blob_in, blob_out)
        return
    on_host = [model.net.CopyGPUToCPU(blob, blob + "_host") for blob in blob_in]
    kwargs["device_option"] = DeviceOption(PROTO_CPU, 0)
    model.net.Accuracy(on_host, blob_out, **kwargs)


@helper
def add_weight_decay(model: ModelHelper, weight_decay: float) -> None:
    """Add `weight_decay` times each weight to its gradient; nothing if it is 0 or less.

    Among the weights of the current name scope, after AddGradientOperators.
    """
    if weight_decay <= 0.0:
        return
    decay = model.param_init_net.ConstantFill([], "wd", shape=[1], value=weight_decay)
    one = model.param_init_net.ConstantFill([], "ONE", shape=[1], value=1.0)
    scope = CurrentNameScope()
    for param in model.weights:
        if not scope or param.GetNameScope() == scope:
            grad = model.param_to_grad[param]
            model.net.WeightedSum([grad, one, param, decay], grad)


@helper
def db_input(model: ModelHelper, blobs_out: Any, batch_size: int, db: str, db_type: str) -> Any:
    """Batches from a data base of TensorProtos; the reader is the blob `dbreader_<db>`."""
    reader = model.param_init_net.CreateDB([], f"dbreader_{db}", db=db, db_type=db_type)
    return model.net.TensorProtosDBInput(reader, blobs_out, batch_size=batch_size)


@helper
def image_input(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    order: str = "NCHW",
    use_gpu_transform: bool = False,
    **kwargs: Any,
) -> Any:
    """ImageInput; `is_test` must be given. Images are turned to NCHW unless `order` is NHWC."""
    if "is_test" not in kwargs:
        raise MissingArgumentError("image_input: argument 'is_test' is required")
    if order != "NCHW" or use_gpu_transform:
        if order == "NCHW":
            kwargs["use_gpu_transform"] = 1
        return model.net.ImageInput(blob_in, blob_out, **kwargs)
    nhwc = [blob_out[0] + "_nhwc", *blob_out[1:]]
    image, *rest = model.net.ImageInput(blob_in, nhwc, **kwargs)
    return (model.net.NHWC2NCHW(image, blob_out[0]), *rest)
