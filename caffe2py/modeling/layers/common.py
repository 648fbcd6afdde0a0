"""How layers make their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.graph.reference import BlobReference, ScopedBlobReference
from caffe2py.graph.scope import CurrentDeviceScope
from caffe2py.modeling.initializers import ExternalInitializer, Filler, update_initializer
from caffe2py.modeling.model import ModelHelper
from caffe2py.proto.caffe2_pb2 import PROTO_CPU

XAVIER: Filler = ("XavierFill", {})
CONSTANT: Filler = ("ConstantFill", {})


def constant(value: float) -> Filler:
    """The filler for one value everywhere."""
    return "ConstantFill", {"value": value}


def parameter(
    model: ModelHelper,
    name: str,
    shape: Sequence[int],
    initializer: Any,
    filler: Filler | None,
    default: Filler,
    tags: Any = None,
) -> BlobReference:
    """A parameter that can be shared and have an initializer class of its own."""
    made = update_initializer(initializer, filler, default)
    if not model.init_params:
        made = ExternalInitializer()
    return model.create_param(param_name=name, shape=shape, initializer=made, tags=tags)


def filled(
    model: ModelHelper, name: str, shape: Sequence[int], filler: Filler, tags: Any = None
) -> BlobReference:
    """A parameter that a single operator fills; it is never shared."""
    if model.init_params:
        fill = model.param_init_net.operator_method(filler[0])
        blob: BlobReference = fill([], name, shape=shape, **filler[1])
    else:
        blob = ScopedBlobReference(name, model.param_init_net)
    model.AddParameter(blob, tags)
    return blob


def output_name(model: ModelHelper, blob_out: Any) -> Any:
    """The output's name, or a free one."""
    return blob_out or model.net.NextName()


def engine(use_cudnn: bool) -> dict[str, Any]:
    """The argument that asks for cuDNN; on the CPU it changes nothing."""
    return {"engine": "CUDNN"} if use_cudnn else {}


def convolution_engine(
    use_cudnn: bool, exhaustive_search: bool, ws_nbytes_limit: int | None
) -> dict[str, Any]:
    """As `engine`, with the arguments that cuDNN's convolutions take."""
    if not use_cudnn:
        return {}
    limit = {"ws_nbytes_limit": ws_nbytes_limit} if ws_nbytes_limit else {}
    return {"engine": "CUDNN", "exhaustive_search": exhaustive_search, **limit}


def on_cpu(kwargs: dict[str, Any]) -> bool:
    """Whether an operator with these arguments, made now, runs on the CPU."""
    device = kwargs.get("device_option", CurrentDeviceScope())
    return device is None or device.device_type == PROTO_CPU
