"""Convolutions and pooling."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import UsageError
from caffe2py.modeling.helper import helper
from caffe2py.modeling.layers.common import (
    CONSTANT,
    XAVIER,
    convolution_engine,
    engine,
    filled,
    output_name,
    parameter,
)
from caffe2py.modeling.model import ModelHelper
from caffe2py.modeling.parameter_info import ParameterTags


def _convolve(
    model: ModelHelper,
    is_nd: bool,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    dim_out: int,
    kernel: Any,
    weight_init: Any = None,
    bias_init: Any = None,
    WeightInitializer: Any = None,
    BiasInitializer: Any = None,
    group: int = 1,
    transform_inputs: Any = None,
    use_cudnn: bool = False,
    order: str = "NCHW",
    cudnn_exhaustive_search: bool = False,
    ws_nbytes_limit: int | None = None,
    float16_compute: bool = False,
    **kwargs: Any,
) -> Any:
    sizes = _kernel_sizes(kernel, is_nd)
    _refuse_other_engine(kwargs.get("engine"), use_cudnn)
    kwargs |= convolution_engine(use_cudnn, cudnn_exhaustive_search, ws_nbytes_limit)
    name = output_name(model, blob_out)
    depth = [dim_in // group]
    shape = [dim_out, *depth, *sizes] if order == "NCHW" else [dim_out, *sizes, *depth]
    weight_tag, bias_tag = ParameterTags.WEIGHT, ParameterTags.BIAS
    inputs = [
        blob_in,
        parameter(model, name + "_w", shape, WeightInitializer, weight_init, XAVIER, weight_tag),
    ]
    if not kwargs.pop("no_bias", False):
        inputs.append(
            parameter(model, name + "_b", [dim_out], BiasInitializer, bias_init, CONSTANT, bias_tag)
        )
    if transform_inputs is not None:
        transform_inputs(model, name, inputs)
    if float16_compute:
        kwargs["float16_compute"] = True
    if group != 1:
        kwargs["group"] = group
    window = _window(kernel, sizes, is_nd)
    return model.net.Conv(inputs, name, **window, order=order, **kwargs)


def _kernel_sizes(kernel: Any, is_nd: bool) -> list[int]:
    if not isinstance(kernel, list):
        return [kernel] if is_nd else [kernel] * 2
    if not is_nd and len(kernel) != 2:
        raise UsageError(f"Conv support only a 2D kernel, found {kernel}", hint="conv_nd")
    return kernel


def _window(kernel: Any, sizes: list[int], is_nd: bool) -> dict[str, Any]:
    if is_nd:
        return {"kernels": sizes}
    if isinstance(kernel, list):
        return {"kernel_h": kernel[0], "kernel_w": kernel[1]}
    return {"kernel": kernel}


class EngineError(UsageError, ValueError):
    """An engine that contradicts `use_cudnn`."""


def _refuse_other_engine(name: str | None, use_cudnn: bool) -> None:
    if name is not None and use_cudnn != (name == "CUDNN"):
        only = '"CUDNN"' if use_cudnn else '""'
        raise EngineError(
            f"When use_cudnn={use_cudnn}, the only engine you can specify is {only}, found {name!r}"
        )


@helper
def conv(model: ModelHelper, *args: Any, **kwargs: Any) -> Any:
    """Conv: `conv(model, x, "y", dim_in, dim_out, kernel)`; `kernel` is a number or [h, w].

    Parameters y_w of shape (dim_out, dim_in / group, h, w), or (dim_out, h, w, dim_in / group) in
    NHWC, and y_b of shape (dim_out,), unless `no_bias`; initializers as in fc. `transform_inputs`
    is called with the model, the output's name and the list of inputs. Further arguments (stride,
    pad, ...) go to the operator. UsageError for an engine that contradicts `use_cudnn`.
    """
    return _convolve(model, False, *args, **kwargs)


@helper
def conv_nd(model: ModelHelper, *args: Any, order: str = "NCHW", **kwargs: Any) -> Any:
    """Conv in as many dimensions as `kernel` has numbers; in NCHW only."""
    if order != "NCHW":
        raise UsageError(f"ConvNd only supported for NCHW storage, found {order}")
    kwargs["order"] = order
    return _convolve(model, True, *args, **kwargs)


@helper
def group_conv(model: ModelHelper, *args: Any, **kwargs: Any) -> Any:
    """Conv, where `group` says how many groups of channels are convolved apart."""
    return _convolve(model, False, *args, **kwargs)


@helper
def conv_transpose(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    dim_out: int,
    kernel: int,
    weight_init: Any = None,
    bias_init: Any = None,
    use_cudnn: bool = False,
    order: str = "NCHW",
    cudnn_exhaustive_search: bool = False,
    ws_nbytes_limit: int | None = None,
    **kwargs: Any,
) -> Any:
    """ConvTranspose with a weight of shape (dim_in, dim_out, kernel, kernel) and a bias.

    In NHWC the weight's shape is (dim_in, kernel, kernel, dim_out).
    """
    name = output_name(model, blob_out)
    square = [kernel, kernel]
    shape = [dim_in, dim_out, *square] if order == "NCHW" else [dim_in, *square, dim_out]
    weight = filled(model, name + "_w", shape, weight_init or XAVIER, ParameterTags.WEIGHT)
    bias = filled(model, name + "_b", [dim_out], bias_init or CONSTANT, ParameterTags.BIAS)
    kwargs |= convolution_engine(use_cudnn, cudnn_exhaustive_search, ws_nbytes_limit)
    return model.net.ConvTranspose(
        [blob_in, weight, bias], name, kernel=kernel, order=order, **kwargs
    )


@helper
def group_conv_deprecated(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    dim_in: int,
    dim_out: int,
    kernel: int,
    weight_init: Any = None,
    bias_init: Any = None,
    group: int = 1,
    use_cudnn: bool = False,
    order: str = "NCHW",
    cudnn_exhaustive_search: bool = False,
    ws_nbytes_limit: int | None = None,
    **kwargs: Any,
) -> Any:
    """What group_conv does, by splitting the channels, convolving each part, concatenating.

    UsageError unless `group` divides both numbers of channels.
    """
    if dim_in % group or dim_out % group:
        raise UsageError(f"dim_in {dim_in} and dim_out {dim_out} should be divisible by {group}")
    kwargs |= convolution_engine(use_cudnn, cudnn_exhaustive_search, ws_nbytes_limit)
    has_bias = not kwargs.pop("no_bias", False)
    outs, ins, square = [dim_out // group], [dim_in // group], [kernel, kernel]
    shape = [*outs, *ins, *square] if order == "NCHW" else [*outs, *square, *ins]
    parts = [f"_{blob_out}_gconv_split_{k}" for k in range(group)]
    parts = model.net.DepthSplit(blob_in, parts, dimensions=ins * group, order=order)
    made = []
    for k, part in enumerate(parts if isinstance(parts, tuple) else (parts,)):
        name = f"{blob_out}_gconv_{k}"
        inputs = [
            part,
            filled(model, name + "_w", shape, weight_init or XAVIER, ParameterTags.WEIGHT),
        ]
        if has_bias:
            bias = filled(model, name + "_b", outs, bias_init or CONSTANT, ParameterTags.BIAS)
            inputs.append(bias)
        made.append(model.net.Conv(inputs, name, kernel=kernel, order=order, **kwargs))
    return model.net.Concat(made, [blob_out, f"_{blob_out}_concat_dims"], order=order)[0]


@helper
def max_pool(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    use_cudnn: bool = False,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """MaxPool; `kernel`, `stride`, `pad` and so on go to the operator."""
    return model.net.MaxPool(blob_in, blob_out, order=order, **(kwargs | engine(use_cudnn)))


@helper
def average_pool(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    use_cudnn: bool = False,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """AveragePool; `kernel`, `stride`, `pad` and so on go to the operator."""
    return model.net.AveragePool(blob_in, blob_out, order=order, **(kwargs | engine(use_cudnn)))


@helper
def max_pool_with_index(
    model: ModelHelper, blob_in: Any, blob_out: Any, order: str = "NCHW", **kwargs: Any
) -> Any:
    """MaxPoolWithIndex; where the maxima stand goes to `<blob_out>_index`."""
    outputs = [blob_out, blob_out + "_index"]
    return model.net.MaxPoolWithIndex(blob_in, outputs, order=order, **kwargs)[0]
