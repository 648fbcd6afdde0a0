"""Fully connected layers."""

from __future__ import annotations

from typing import Any

from caffe2py.modeling.helper import helper
from caffe2py.modeling.layers.common import (
    CONSTANT,
    XAVIER,
    constant,
    filled,
    output_name,
    parameter,
)
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.parameter_info import ParameterTags


def _connected(
    model: ModelHelper,
    op_type: str,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    dim_out: int,
    weight_init: Any = None,
    bias_init: Any = None,
    WeightInitializer: Any = None,
    BiasInitializer: Any = None,
    enable_tensor_core: bool = False,
    float16_compute: bool = False,
    **kwargs: Any,
) -> Any:
    name = output_name(model, blob_out)
    frozen = [ParameterTags.COMPUTED_PARAM] if "freeze_bias" in kwargs else []
    weight = parameter(
        model,
        name + "_w",
        [dim_out, dim_in],
        WeightInitializer,
        weight_init,
        XAVIER,
        ParameterTags.WEIGHT,
    )
    bias = parameter(
        model,
        name + "_b",
        [dim_out],
        BiasInitializer,
        bias_init,
        CONSTANT,
        [ParameterTags.BIAS, *frozen],
    )
    if enable_tensor_core:
        kwargs["engine"] = "TENSORCORE"
    if float16_compute:
        kwargs["float16_compute"] = True
    return model.net.operator_method(op_type)([blob_in, weight, bias], name, **kwargs)


@helper
def fc(model: ModelHelper, *args: Any, **kwargs: Any) -> Any:
    """FC: `fc(model, x, "y", dim_in, dim_out)`, Y = X W^T + b.

    Parameters y_w of shape (dim_out, dim_in), XavierFill unless `weight_init` (a filler's type and
    its arguments) or `WeightInitializer` (a class) says otherwise; y_b of shape (dim_out,), zero
    unless `bias_init` or `BiasInitializer` does.
    """
    return _connected(model, "FC", *args, **kwargs)


@helper
def packed_fc(model: ModelHelper, *args: Any, **kwargs: Any) -> Any:
    """PackedFC, with arguments as fc."""
    return _connected(model, "PackedFC", *args, **kwargs)


@helper
def fc_decomp(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    dim_out: int,
    rank_approx: int = 5,
    weight_init: Any = None,
    bias_init: Any = None,
    WeightInitializer: Any = None,
    BiasInitializer: Any = None,
    **kwargs: Any,
) -> Any:
    """FC_Decomp: an FC whose weight is the product U V^T of two of rank `rank_approx`."""
    name = output_name(model, blob_out)
    inputs = [blob_in]
    for suffix, shape in (("_u", [dim_out, rank_approx]), ("_v", [dim_in, rank_approx])):
        inputs.append(
            parameter(model, name + suffix, shape, WeightInitializer, weight_init, XAVIER)
        )
    inputs.append(parameter(model, name + "_b", [dim_out], BiasInitializer, bias_init, CONSTANT))
    return model.net.FC_Decomp(inputs, name, **kwargs)


@helper
def elementwise_linear(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim: int,
    weight_init: Any = None,
    bias_init: Any = None,
    **kwargs: Any,
) -> Any:
    """ElementwiseLinear: Y = X * w + b, a weight (1) and a bias (0) for each of `dim` columns."""
    name = output_name(model, blob_out)
    weight_init = weight_init or constant(1.0)
    bias_init = bias_init or constant(0.0)
    weight = filled(model, name + "_w", [dim], weight_init, ParameterTags.WEIGHT)
    bias = filled(model, name + "_b", [dim], bias_init, ParameterTags.BIAS)
    return model.net.ElementwiseLinear([blob_in, weight, bias], name, **kwargs)
