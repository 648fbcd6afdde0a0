"""Layers without parameters: one operator each."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import UsageError
from caffe2py.modeling.helper import helper
from caffe2py.modeling.layers.common import engine
from caffe2py.modeling.model import ModelHelper


class MissingArgumentError(UsageError, AssertionError):
    """A layer lacks an argument that has no default."""


@helper
def relu(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    use_cudnn: bool = False,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """Relu: Y = max(X, 0)."""
    return model.net.Relu(blob_in, blob_out, order=order, **(kwargs | engine(use_cudnn)))


@helper
def tanh(
    model: ModelHelper,
    blob_in: Any,
    blob_out: Any,
    use_cudnn: bool = False,
    order: str = "NCHW",
    **kwargs: Any,
) -> Any:
    """Tanh, element by element."""
    return model.net.Tanh(blob_in, blob_out, order=order, **(kwargs | engine(use_cudnn)))


@helper
def dropout(
    model: ModelHelper, blob_in: Any, blob_out: Any, use_cudnn: bool = False, **kwargs: Any
) -> Any:
    """Dropout; `is_test` must be given. The mask goes to `_<blob_out>_mask`."""
    if "is_test" not in kwargs:
        raise MissingArgumentError("dropout: argument 'is_test' is required")
    kwargs["engine"] = "CUDNN" if use_cudnn else "DEFAULT"
    return model.net.Dropout(blob_in, [blob_out, "_" + blob_out + "_mask"], **kwargs)[0]


@helper
def concat(model: ModelHelper, blobs_in: Any, blob_out: Any, **kwargs: Any) -> Any:
    """Concat along the channels, or along `axis`; the sizes go to `_<blob_out>_concat_dims`."""
    if kwargs.get("order") and kwargs.get("axis"):
        del kwargs["order"]
    return model.net.Concat(blobs_in, [blob_out, "_" + blob_out + "_concat_dims"], **kwargs)[0]


@helper
def depth_concat(model: ModelHelper, blobs_in: Any, blob_out: Any, **kwargs: Any) -> Any:
    """The old name of concat."""
    return concat(model, blobs_in, blob_out, **kwargs)


@helper
def transpose(
    model: ModelHelper, blob_in: Any, blob_out: Any, use_cudnn: bool = False, **kwargs: Any
) -> Any:
    """Transpose; `axes` say how."""
    return model.net.Transpose(blob_in, blob_out, **(kwargs | engine(use_cudnn)))


@helper
def sum(model: ModelHelper, blob_in: Any, blob_out: Any, **kwargs: Any) -> Any:
    """Sum of several blobs of one shape."""
    return model.net.Sum(blob_in, blob_out, **kwargs)


@helper
def sub(model: ModelHelper, blob_in: Any, blob_out: Any, **kwargs: Any) -> Any:
    """Sub: the difference of two blobs."""
    return model.net.Sub(blob_in, blob_out, **kwargs)


@helper
def reduce_sum(model: ModelHelper, blob_in: Any, blob_out: Any, **kwargs: Any) -> Any:
    """ReduceSum over `axes`."""
    return model.net.ReduceSum(blob_in, blob_out, **kwargs)


@helper
def arg_min(model: ModelHelper, blob_in: Any, blob_out: Any, **kwargs: Any) -> Any:
    """ArgMin along `axis`."""
    return model.net.ArgMin(blob_in, blob_out, **kwargs)


@helper
def mat_mul(model: ModelHelper, blob_in: Any, blob_out: Any, **kwargs: Any) -> Any:
    """MatMul: the product of two matrices."""
    return model.net.MatMul(blob_in, blob_out, **kwargs)


@helper
def batch_mat_mul(
    model: ModelHelper, blob_in: Any, blob_out: Any, enable_tensor_core: bool = False, **kwargs: Any
) -> Any:
    """BatchMatMul: the products of two stacks of matrices."""
    if enable_tensor_core:
        kwargs["engine"] = "TENSORCORE"
    return model.net.BatchMatMul(blob_in, blob_out, **kwargs)


@helper
def fused_8bit_rowwise_quantized_to_float(model: ModelHelper, blob_in: Any, blob_out: Any) -> Any:
    """Fused8BitRowwiseQuantizedToFloat."""
    return model.net.Fused8BitRowwiseQuantizedToFloat(blob_in, blob_out)


@helper
def sparse_lengths_sum_4bit_rowwise_sparse(
    model: ModelHelper, blob_in: Any, blob_out: Any, **kwargs: Any
) -> Any:
    """SparseLengthsSum4BitRowwiseSparse."""
    return model.net.SparseLengthsSum4BitRowwiseSparse(blob_in, blob_out, **kwargs)
