"""Caffe2's optimizer module: how the parameters of a model are updated.

model.AddGradientOperators([loss])
optimizer.build_sgd(model, base_learning_rate=0.1, policy="step", stepsize=100, gamma=0.9,
                    momentum=0.9)
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.optim.adagrad import FP16_ENGINES, AdagradOptimizer
from caffe2py.optim.adaptive import (
    AdadeltaOptimizer,
    AdamOptimizer,
    FtrlOptimizer,
    GFtrlOptimizer,
    StormOptimizer,
    WngradOptimizer,
)
from caffe2py.optim.base import (
    AuxOptimizerParams,
    Optimizer,
    _optimizer_instance_count,  # noqa: F401  (underscored names: scripts reach for them)
)
from caffe2py.optim.build import (
    _LEARNING_RATE_INJECTION,  # noqa: F401
    _build,  # noqa: F401
    _calc_norm_ratio,  # noqa: F401
    add_weight_decay,
    build_adadelta,
    build_adagrad,
    build_adam,
    build_fp16_sgd,
    build_ftrl,
    build_gftrl,
    build_multi_precision_sgd,
    build_rms_prop,
    build_sgd,
    build_storm,
    build_wngrad,
    build_yellowfin,
    get_lr_injection,
    get_param_device,
    set_lr_injection,
)
from caffe2py.optim.build import _param_devices as _get_param_to_device  # noqa: F401
from caffe2py.optim.sgd import (
    FP16SgdOptimizer,
    MultiPrecisionSgdOptimizer,
    RmsPropOptimizer,
    SgdOptimizer,
    WeightDecayBuilder,
    YellowFinOptimizer,
)

__all__ = [
    "FP16_ENGINES",
    "AdadeltaOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "AuxOptimizerParams",
    "FP16SgdOptimizer",
    "FtrlOptimizer",
    "GFtrlOptimizer",
    "MultiPrecisionSgdOptimizer",
    "Optimizer",
    "RmsPropOptimizer",
    "SgdOptimizer",
    "StormOptimizer",
    "WeightDecayBuilder",
    "WngradOptimizer",
    "YellowFinOptimizer",
    "add_weight_decay",
    "build_adadelta",
    "build_adagrad",
    "build_adam",
    "build_fp16_sgd",
    "build_ftrl",
    "build_gftrl",
    "build_multi_precision_sgd",
    "build_rms_prop",
    "build_sgd",
    "build_storm",
    "build_wngrad",
    "build_yellowfin",
    "get_lr_injection",
    "get_param_device",
    "set_lr_injection",
]
