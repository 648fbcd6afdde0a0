"""Optimizers for whole models: each parameter that has a gradient gets its update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.executor.session import FeedBlob, FetchBlob
from caffe2py.graph.blob_devices import InferBlobDevices
from caffe2py.graph.device import DeviceOption
from caffe2py.graph.net import Net
from caffe2py.graph.scope import DeviceScope, NameScope
from caffe2py.optim.adagrad import AdagradOptimizer
from caffe2py.optim.adaptive import (
    AdadeltaOptimizer,
    AdamOptimizer,
    FtrlOptimizer,
    GFtrlOptimizer,
    StormOptimizer,
    WngradOptimizer,
)
from caffe2py.optim.base import Optimizer
from caffe2py.optim.sgd import (
    FP16SgdOptimizer,
    MultiPrecisionSgdOptimizer,
    RmsPropOptimizer,
    SgdOptimizer,
    WeightDecayBuilder,
    YellowFinOptimizer,
)
from caffe2py.proto.caffe2_pb2 import PROTO_CPU
from caffe2py.proto.caffe2_pb2 import DeviceOption as DeviceProto
from caffe2py.registry.gradient import GradientSlice

_LEARNING_RATE_INJECTION = "lr_injection"

Devices = Mapping[str, DeviceProto]


class Model(Protocol):
    """What is needed of a ModelHelper."""

    net: Net
    param_init_net: Net
    weights: Sequence[Any]

    def Validate(self) -> None:
        """Refuse parameters that are there twice."""

    def GetOptimizationParamInfo(self, params: Any = None) -> list[Any]:
        """What is known of the parameters that have a gradient."""


# ---------------------------------------------------------------- a multiplier from outside


def get_lr_injection() -> Any:
    """The factor of all learning rates of models built with `allow_lr_injection`: an array."""
    return FetchBlob(_LEARNING_RATE_INJECTION)


def set_lr_injection(lr_injection_value: float) -> None:
    """Set the factor of all learning rates of models built with `allow_lr_injection`."""
    FeedBlob(_LEARNING_RATE_INJECTION, np.array([lr_injection_value], dtype=np.float32))


# ---------------------------------------------------------------- devices


def _param_devices(model: Model) -> dict[str, DeviceProto]:
    return {**InferBlobDevices(model.net), **InferBlobDevices(model.param_init_net)}


def get_param_device(
    param_name: str,
    grad: Any,
    param_to_device: Devices | None = None,
    default_device: DeviceProto | None = None,
) -> DeviceProto:
    """The device of a parameter: where it is made, or else where its gradient is.

    UsageError if no operator makes either and there is no default.
    """
    known = param_to_device or {}
    names = [param_name]
    names += [grad.values, grad.indices] if isinstance(grad, GradientSlice) else [grad]
    for name in names:
        if str(name) in known:
            return known[str(name)]
    if default_device is None:
        raise UsageError(f"Cannot infer device for {param_name}: no op creates it")
    return default_device


# ---------------------------------------------------------------- building


def _build(
    model: Model,
    optimizer: Optimizer,
    weights_only: bool = False,
    use_param_info_optim: bool = True,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
) -> Optimizer:
    if not hasattr(model, "GetOptimizationParamInfo"):
        raise UsageError(f"expected a ModelHelper, found {model!r:.80}")
    devices = _param_devices(model)
    model.Validate()
    params = [
        info
        for info in model.GetOptimizationParamInfo()
        if not weights_only or info.blob in model.weights
    ]
    factor = None
    if max_gradient_norm is not None:
        scope = "norm_clipped_grad_update"
        factor = _calc_norm_ratio(model, params, scope, devices, max_gradient_norm)
    if allow_lr_injection:
        factor = _injected(model, factor)
    optimizer.add_lr_multiplier(factor)
    for info in params:
        with DeviceScope(get_param_device(str(info.blob), info.grad, devices)):
            own = info.optimizer if use_param_info_optim else None
            (own or optimizer)(model.net, model.param_init_net, info)
    return optimizer


def _injected(model: Model, factor: Any) -> Any:
    """The factor that set_lr_injection sets, times another one."""
    name: Any = _LEARNING_RATE_INJECTION
    if not model.net.BlobIsDefined(name):
        name = model.param_init_net.ConstantFill([], name, shape=[1], value=1.0)
    if factor is None:
        return name
    return model.net.Mul([factor, name], "lr_multiplier", broadcast=1)


def _calc_norm_ratio(
    model: Model,
    params: Iterable[Any],
    name_scope: str,
    param_to_device: Devices,
    max_gradient_norm: float,
) -> Any:
    """min(1, max_gradient_norm / the norm of all gradients together), in a name scope."""
    net, sums = model.net, []
    with NameScope(name_scope):
        for k, info in enumerate(params):
            device = get_param_device(str(info.blob), info.grad, param_to_device)
            grad = info.grad.values if isinstance(info.grad, GradientSlice) else info.grad
            with DeviceScope(device):
                total = net.SumSqrElements(grad, f"grad_{k}_squared_sum")
                sums.append(net.EnsureCPUOutput(total))
        with DeviceScope(DeviceOption(PROTO_CPU)):
            total = net.Sum(sums, "grad_squared_full_sum")
            norm = net.Pow(total, "global_norm", exponent=0.5)
            limit = model.param_init_net.ConstantFill(
                [], "clip_norm", shape=[], value=float(max_gradient_norm)
            )
            largest = net.Max([norm, limit], "max_norm")
            return net.Div([limit, largest], "norm_ratio")


def add_weight_decay(model: Model, weight_decay: float) -> None:
    """Add `weight_decay` times each weight to its gradient; before the optimizer is built."""
    _build(model, WeightDecayBuilder(weight_decay), weights_only=True, use_param_info_optim=False)


def build_sgd(
    model: Model,
    base_learning_rate: float,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Update all parameters by SgdOptimizer: momentum, policy, gamma, stepsize, lars, ...

    `max_gradient_norm` limits the norm of all gradients together; `allow_lr_injection` lets
    set_lr_injection scale the rate.
    """
    made = SgdOptimizer(base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)


def build_multi_precision_sgd(
    model: Model,
    base_learning_rate: float,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """As build_sgd, on the float32 copies of float16 parameters."""
    made = MultiPrecisionSgdOptimizer(base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)


def build_fp16_sgd(model: Model, base_learning_rate: float, **kwargs: Any) -> Optimizer:
    """Update all parameters by FP16SgdOptimizer."""
    return _build(model, FP16SgdOptimizer(base_learning_rate, **kwargs))


def build_ftrl(model: Model, engine: str = "SIMD", **kwargs: Any) -> Optimizer:
    """Update all parameters by FtrlOptimizer."""
    return _build(model, FtrlOptimizer(engine=engine, **kwargs))


def build_gftrl(model: Model, engine: str = "", **kwargs: Any) -> Optimizer:
    """Update all parameters by GFtrlOptimizer."""
    return _build(model, GFtrlOptimizer(engine=engine, **kwargs))


def build_adagrad(
    model: Model,
    base_learning_rate: float,
    parameters: Any = None,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Update all parameters by AdagradOptimizer; `parameters` is not used."""
    made = AdagradOptimizer(alpha=base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)


def build_wngrad(
    model: Model,
    base_learning_rate: float,
    parameters: Any = None,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Update all parameters by WngradOptimizer; `parameters` is not used."""
    made = WngradOptimizer(alpha=base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)


def build_storm(
    model: Model,
    base_learning_rate: float,
    parameters: Any = None,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Update all parameters by StormOptimizer; `parameters` is not used."""
    made = StormOptimizer(lr=base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)


def build_adadelta(
    model: Model,
    base_learning_rate: float,
    parameters: Any = None,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Update all parameters by AdadeltaOptimizer; `parameters` is not used."""
    made = AdadeltaOptimizer(alpha=base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)


def build_adam(
    model: Model,
    base_learning_rate: float,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Update all parameters by AdamOptimizer."""
    made = AdamOptimizer(alpha=base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)


def build_yellowfin(model: Model, base_learning_rate: float = 0.1, **kwargs: Any) -> Optimizer:
    """Update all parameters by YellowFinOptimizer."""
    return _build(model, YellowFinOptimizer(alpha=base_learning_rate, **kwargs))


def build_rms_prop(
    model: Model,
    base_learning_rate: float,
    max_gradient_norm: float | None = None,
    allow_lr_injection: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Update all parameters by RmsPropOptimizer."""
    made = RmsPropOptimizer(alpha=base_learning_rate, **kwargs)
    return _build(model, made, False, True, max_gradient_norm, allow_lr_injection)
