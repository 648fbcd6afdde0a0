"""What optimizers share: learning rate, names, the blobs they keep."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from caffe2py.errors import UnsupportedError, UsageError, ValueRangeError
from caffe2py.graph.counter import BuildUniqueMutexIter
from caffe2py.graph.device import DeviceOption, IsGPUDeviceType
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.scope import CurrentDeviceScope
from caffe2py.proto.caffe2_pb2 import PROTO_CPU
from caffe2py.registry.gradient import GradientSlice

__all__ = ["AuxOptimizerParams", "Optimizer", "Target"]

#: How many optimizers of each class there are: a part of the names of their blobs.
_optimizer_instance_count: defaultdict[str, int] = defaultdict(int)


class AuxOptimizerParams(NamedTuple):
    """Blobs of an optimizer: those that belong to a parameter, and those of all parameters."""

    local: list[Any]
    shared: list[Any]


@dataclass
class Target:
    """A parameter and its gradient, where no model knows them."""

    blob: BlobReference
    grad: Any
    blob_copy: Any = None

    @property
    def name(self) -> str:
        """The parameter's name."""
        return str(self.blob)


class Optimizer:
    """Adds the operators that update one parameter: `optimizer(net, init_net, param, grad)`.

    `param` is a model's ParameterInfo, which knows its gradient, or a blob; the gradient is a blob
    or a GradientSlice. What the optimizer keeps between iterations is filled by `init_net`.
    """

    #: The attribute that holds the rate, for `scale_learning_rate`.
    rate_attribute: ClassVar[str] = "alpha"

    def __init__(self) -> None:
        name = type(self).__name__
        self._aux_params = AuxOptimizerParams([], [])
        self._instance_num = _optimizer_instance_count[name]
        _optimizer_instance_count[name] += 1
        self._lr_multiplier: Any = None
        self._local_lr_multiplier: Any = None
        self._local_lr_multiplier_on_gpu = False

    def __call__(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> None:
        """Add the operators; UsageError without a gradient, ValueRangeError for a bad rate."""
        if grad is not None:
            param = Target(BlobReference(getattr(param, "blob", param)), grad)
        elif getattr(param, "grad", None) is None:
            raise UsageError(f"{type(self).__name__}: parameter '{param}' has no gradient")
        self._check_rate()
        self._run(net, param_init_net, param)

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        raise UnsupportedError(f"{type(self).__name__} does not say how it updates")

    def _check_rate(self) -> None:
        rate = getattr(self, self.rate_attribute, None)
        if rate is not None and (math.isnan(rate) or rate < 0):
            raise ValueRangeError(
                f"{type(self).__name__}: Expect positive base learning rate, got {rate}"
            )

    # ---- names

    def get_cpu_blob_name(self, base_str: str, node_name: str = "") -> str:
        """The name of a blob of this optimizer on the CPU."""
        return f"{type(self).__name__}_{self._instance_num}_{base_str}{node_name}_cpu"

    def get_gpu_blob_name(self, base_str: str, gpu_id: int, node_name: str) -> str:
        """The name of a blob of this optimizer on a GPU."""
        return f"{type(self).__name__}_{self._instance_num}_{base_str}{node_name}_gpu{gpu_id}"

    def make_unique_blob_name(self, base_str: str) -> str:
        """A name that no other optimizer uses, on the current device."""
        device = CurrentDeviceScope()
        if device is None:
            return self.get_cpu_blob_name(base_str)
        if IsGPUDeviceType(device.device_type):
            return self.get_gpu_blob_name(base_str, device.device_id, device.node_name)
        return self.get_cpu_blob_name(base_str, device.node_name)

    @property
    def attributes(self) -> dict[str, Any]:
        """A copy of the settings."""
        return {k: copy.deepcopy(v) for k, v in vars(self).items() if k != "_instance_num"}

    # ---- learning rate

    def build_lr(
        self,
        net: Net,
        param_init_net: Net,
        base_learning_rate: float,
        learning_rate_blob: Any = None,
        policy: str = "fixed",
        iter_val: int = 0,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """The blobs of the learning rate and of the counter that it follows.

        The rate's sign is turned, since parameters go down. All parameters of this optimizer on one
        device share it; multipliers come on top.
        """
        name = learning_rate_blob or self.make_unique_blob_name("lr")
        iteration = BuildUniqueMutexIter(param_init_net, net, iter_val=iter_val)
        if net.BlobIsDefined(name):
            rate: Any = net.GetBlobRef(name)
        else:
            rate = net.LearningRate(
                [iteration], name, base_lr=-base_learning_rate, policy=policy, **kwargs
            )
        return self._multiplied(net, rate), iteration

    def _multiplied(self, net: Net, rate: Any) -> Any:
        if self._lr_multiplier is not None:
            factor = net.CopyFromCPUInput(
                self._lr_multiplier, self.make_unique_blob_name("lr_multiplier")
            )
            name = self.make_unique_blob_name("scaled_lr")
            rate = net.Mul([rate, factor], name, broadcast=1)
        if self._local_lr_multiplier is None:
            return rate
        factor = self._local_lr_multiplier
        if _on_gpu() and not self._local_lr_multiplier_on_gpu:
            name = self.make_unique_blob_name("local_lr_multiplier")
            factor = net.CopyFromCPUInput(factor, name)
        name = self.make_unique_blob_name("local_scaled_lr")
        return net.Mul([rate, factor], name, broadcast=1)

    def add_lr_multiplier(self, lr_multiplier: Any) -> None:
        """Multiply all rates built from now on by this blob; None: by nothing."""
        self._lr_multiplier = lr_multiplier

    def scale_learning_rate(self, scale: float) -> None:
        """Multiply the rate of what is built from now on."""
        if not hasattr(self, self.rate_attribute):
            raise UnsupportedError(f"{type(self).__name__} has no learning rate")
        setattr(self, self.rate_attribute, getattr(self, self.rate_attribute) * scale)

    def _use_lars(self, net: Net, param_init_net: Net, info: Any, offset: float | None) -> None:
        """Multiply the rate of this parameter by what LARS says; not for sparse gradients."""
        self._local_lr_multiplier = None
        self._local_lr_multiplier_on_gpu = False
        if offset is None or isinstance(info.grad, GradientSlice):
            return
        if offset < 0:
            raise ValueRangeError(f"Lars offset must be nonnegative, got {offset}")
        limits = self.create_lars_inputs(param_init_net, 0.0, 1.0, float(np.finfo(np.float32).max))
        self._local_lr_multiplier = net.Lars(
            [info.blob, info.grad, *limits],
            self.make_unique_blob_name(f"{info.blob}_lars"),
            offset=offset,
            lr_min=0.0,
        )
        self._local_lr_multiplier_on_gpu = _on_gpu()

    def create_lars_inputs(
        self, param_init_net: Net, weight_decay: float, trust: float, lr_max: float
    ) -> tuple[Any, ...]:
        """The blobs weight_decay, trust and lr_max that Lars reads."""
        values = {"weight_decay": weight_decay, "trust": trust, "lr_max": lr_max}
        return tuple(
            param_init_net.ConstantFill([], name, shape=[1], value=value)
            for name, value in values.items()
        )

    # ---- blobs

    def get_auxiliary_parameters(self) -> AuxOptimizerParams:
        """The blobs that have to be saved to go on training."""
        return self._aux_params

    def _local(self, made: Any) -> Any:
        self._aux_params.local.append(made)
        return made

    @staticmethod
    def dedup(net: Net, sparse_dedup_aggregator: str | None, grad: Any) -> Any:
        """A GradientSlice with each row once: the "sum" or "mean" of those that are equal.

        Without an aggregator it is returned as it is.
        """
        if not isinstance(grad, GradientSlice):
            raise UsageError(f"Dedup only works for sparse gradient, got {grad!r:.80}")
        if not sparse_dedup_aggregator:
            return grad
        kinds = {"sum": "UnsortedSegmentSum", "mean": "UnsortedSegmentMean"}
        kind = kinds.get(sparse_dedup_aggregator.lower())
        if kind is None:
            raise UsageError(
                f"rows can be put together by sum or mean, not by {sparse_dedup_aggregator}"
            )
        rows, places = net.Unique([grad.indices], 2, engine="SparseHash")
        return GradientSlice(rows, net.operator_method(kind)([grad.values, places], 1))

    def _refuse_sparse(self, info: Any) -> None:
        if isinstance(info.grad, GradientSlice):
            raise UsageError(
                f"{type(self).__name__} does not support sparse gradients; parameter "
                f"'{info.blob}' has one"
            )


def device_suffix() -> str:
    """The current device as a part of names: "0_0", and the name of the node."""
    device = CurrentDeviceScope() or DeviceOption(PROTO_CPU)
    return f"{device.device_type}_{device.device_id}"


def node_name() -> str:
    """The name of the current device's node, or ""."""
    return (CurrentDeviceScope() or DeviceOption(PROTO_CPU)).node_name


def one(param_init_net: Net, suffix: str) -> Any:
    """A blob ONE_<suffix> that holds 1."""
    return param_init_net.ConstantFill([], f"ONE_{suffix}", shape=[1], value=1.0)


def _on_gpu() -> bool:
    device = CurrentDeviceScope()
    return device is not None and IsGPUDeviceType(device.device_type)
