"""Normalization, and what else looks at a whole channel or row."""

from __future__ import annotations

from typing import Any

from caffe2py.modeling.helper import helper
from caffe2py.modeling.layers.common import (
    CONSTANT,
    constant,
    engine,
    filled,
    on_cpu,
    output_name,
    parameter,
)
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.parameter_info import ParameterTags

#: Suffix, initial value and tag of the running statistics.
_RUNNING = (("_rm", 0.0), ("_riv", 1.0))


def _scale_and_bias(
    model: ModelHelper,
    name: str,
    dim_in: int,
    values: tuple[float, float],
    initializers: tuple[Any, Any],
) -> list[Any]:
    tags = (ParameterTags.WEIGHT, ParameterTags.BIAS)
    return [
        parameter(model, name + suffix, [dim_in], initializer, constant(value), CONSTANT, tag)
        for suffix, value, initializer, tag in zip(
            ("_s", "_b"), values, initializers, tags, strict=True
        )
    ]


def _running(
    model: ModelHelper, name: str, dim_in: int, initializers: tuple[Any, Any]
) -> list[Any]:
    tag = ParameterTags.COMPUTED_PARAM
    return [
        parameter(model, name + suffix, [dim_in], initializer, constant(value), CONSTANT, tag)
        for (suffix, value), initializer in zip(_RUNNING, initializers, strict=True)
    ]


@helper
def spatial_bn(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    init_scale: float = 1.0,
    init_bias: float = 0.0,
    ScaleInitializer: Any = None,
    BiasInitializer: Any = None,
    RunningMeanInitializer: Any = None,
    RunningVarianceInitializer: Any = None,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """SpatialBN over `dim_in` channels; `is_test` must be given.

    Parameters y_s and y_b, and y_rm and y_riv (running mean and variance), which training updates.
    """
    name = output_name(model, blob_out)
    inputs = [blob_in]
    inputs += _scale_and_bias(
        model, name, dim_in, (init_scale, init_bias), (ScaleInitializer, BiasInitializer)
    )
    running = _running(model, name, dim_in, (RunningMeanInitializer, RunningVarianceInitializer))
    inputs += running
    if kwargs.get("is_test"):
        return model.net.SpatialBN(inputs, [name], order=order, **kwargs)
    outputs = [name, *running, name + "_sm", name + "_siv"]
    return model.net.SpatialBN(inputs, outputs, order=order, **kwargs)[0]


@helper
def spatial_gn(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    init_scale: float = 1.0,
    init_bias: float = 0.0,
    ScaleInitializer: Any = None,
    BiasInitializer: Any = None,
    RunningMeanInitializer: Any = None,
    RunningVarianceInitializer: Any = None,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """GroupNorm over `dim_in` channels, with parameters y_s and y_b."""
    name = output_name(model, blob_out)
    inputs = _scale_and_bias(
        model, name, dim_in, (init_scale, init_bias), (ScaleInitializer, BiasInitializer)
    )
    outputs = [name, name + "_mean", name + "_std"]
    return model.net.GroupNorm([blob_in, *inputs], outputs, **kwargs)[0]


@helper
def instance_norm(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """InstanceNorm over `dim_in` channels, with parameters y_s (1) and y_b (0)."""
    name = output_name(model, blob_out)
    made = []
    for suffix, value in (("_s", 1.0), ("_b", 0.0)):
        fill = model.param_init_net.ConstantFill
        made.append(fill([], name + suffix, shape=[dim_in], value=value))
    model.AddParameter(made[0], ParameterTags.WEIGHT)
    model.AddParameter(made[1], ParameterTags.BIAS)
    if kwargs.get("is_test"):
        return model.net.InstanceNorm([blob_in, *made], [name], order=order, **kwargs)
    outputs = [name, name + "_sm", name + "_siv"]
    return model.net.InstanceNorm([blob_in, *made], outputs, order=order, **kwargs)[0]


@helper
def layer_norm(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: Any,
    axis: int = 1,
    epsilon: float = 1e-4,
    initial_scale: float = 1.0,
    initial_bias: float = 0.0,
) -> Any:
    """LayerNorm of what follows `axis`, whose size (or shape) is `dim_in`.

    Parameters y_scale and y_bias. Returns references to Y, the means and the standard deviations.
    """
    shape = [dim_in] if isinstance(dim_in, int) else dim_in
    inputs = [blob_in]
    for suffix, value, tag in (
        ("_scale", initial_scale, ParameterTags.WEIGHT),
        ("_bias", initial_bias, ParameterTags.BIAS),
    ):
        name = f"{blob_out}{suffix}"
        inputs.append(parameter(model, name, shape, None, constant(value), CONSTANT, tag))
    outputs = [blob_out, blob_out + "_mean", blob_out + "_std"]
    return model.net.LayerNorm(inputs, outputs, axis=axis, epsilon=epsilon, elementwise_affine=True)


@helper
def moments_with_running_stats(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    RunningMeanInitializer: Any = None,
    RunningVarianceInitializer: Any = None,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """Moments of each channel, y_sm and y_sv, and parameters y_rm and y_riv for running ones."""
    _running(model, blob_out, dim_in, (RunningMeanInitializer, RunningVarianceInitializer))
    outputs = [blob_out + "_sm", blob_out + "_sv"]
    axes = [0, 2, 3] if order == "NCHW" else [0, 1, 2]
    return model.net.Moments([blob_in], outputs, axes=axes, order=order, keepdims=False, **kwargs)


@helper
def lrn(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    order: str = "NCHW",
    use_cudnn: bool = False,
    **kwargs: Any,
) -> Any:
    """LRN; its scale goes to `_<blob_out>_scale`, except with cuDNN on a GPU."""
    if use_cudnn and not on_cpu(kwargs):
        return model.net.LRN(blob_in, blob_out, order=order, **(kwargs | engine(use_cudnn)))
    outputs = [blob_out, "_" + blob_out + "_scale"]
    return model.net.LRN(blob_in, outputs, order=order, **kwargs)[0]


@helper
def softmax(
    model: ModelHelper, blob_in: Any, blob_out: Any = None, use_cudnn: bool = False, **kwargs: Any
) -> Any:
    """Softmax; without `blob_out` the output gets an automatic name."""
    return model.net.Softmax(blob_in, blob_out, **(kwargs | engine(use_cudnn)))


@helper
def prelu(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    num_channels: int = 1,
    slope_init: Any = None,
    **kwargs: Any,
) -> Any:
    """PRelu with a parameter y_slope of `num_channels` slopes, 0.25 each."""
    slope = filled(model, blob_out + "_slope", [num_channels], slope_init or constant(0.25))
    return model.net.PRelu([blob_in, slope], [blob_out])
