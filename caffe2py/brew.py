"""Caffe2's brew module: layers, as functions that take the model first.

from caffe2py import brew, model_helper

model = model_helper.ModelHelper("lenet")
brew.conv(model, "data", "conv1", dim_in=1, dim_out=20, kernel=5)
with brew.arg_scope([brew.fc, brew.relu], engine="SOME"):
    brew.relu(model, brew.fc(model, "conv1", "fc2", 20 * 24 * 24, 10), "relu2")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.modeling.helper import arg_scope, has_helper, helper, helpers
from caffe2py.modeling.layers.control import cond, loop
from caffe2py.modeling.layers.convolution import (
    average_pool,
    conv,
    conv_nd,
    conv_transpose,
    group_conv,
    group_conv_deprecated,
    max_pool,
    max_pool_with_index,
)
from caffe2py.modeling.layers.dense import elementwise_linear, fc, fc_decomp, packed_fc
from caffe2py.modeling.layers.normalization import (
    instance_norm,
    layer_norm,
    lrn,
    moments_with_running_stats,
    prelu,
    softmax,
    spatial_bn,
    spatial_gn,
)
from caffe2py.modeling.layers.plain import (
    arg_min,
    batch_mat_mul,
    concat,
    depth_concat,
    dropout,
    fused_8bit_rowwise_quantized_to_float,
    mat_mul,
    reduce_sum,
    relu,
    sparse_lengths_sum_4bit_rowwise_sparse,
    sub,
    sum,
    tanh,
    transpose,
)
from caffe2py.modeling.layers.training import (
    accuracy,
    add_weight_decay,
    db_input,
    image_input,
    iter,
)

__all__ = [
    "Register",
    "accuracy",
    "add_weight_decay",
    "arg_min",
    "arg_scope",
    "average_pool",
    "batch_mat_mul",
    "concat",
    "cond",
    "conv",
    "conv_nd",
    "conv_transpose",
    "db_input",
    "depth_concat",
    "dropout",
    "elementwise_linear",
    "fc",
    "fc_decomp",
    "fused_8bit_rowwise_quantized_to_float",
    "group_conv",
    "group_conv_deprecated",
    "has_helper",
    "image_input",
    "instance_norm",
    "iter",
    "layer_norm",
    "loop",
    "lrn",
    "mat_mul",
    "max_pool",
    "max_pool_with_index",
    "moments_with_running_stats",
    "packed_fc",
    "prelu",
    "reduce_sum",
    "relu",
    "softmax",
    "sparse_lengths_sum_4bit_rowwise_sparse",
    "spatial_bn",
    "spatial_gn",
    "sub",
    "sum",
    "tanh",
    "transpose",
]

Register = helper


def __getattr__(name: str) -> Callable[..., Any]:
    """A helper that was registered by somebody else."""
    found = helpers().get(name)
    if found is None:
        raise AttributeError(f"Helper function {name} not registered.")
    return found
