"""What optimizers share: their options, the learning rate, names."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from caffe2py.errors import UnsupportedError, UsageError, ValueRangeError
from caffe2py.graph.counter import BuildUniqueMutexIter
from caffe2py.graph.device import IsGPUDeviceType
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.scope import CurrentDeviceScope
from caffe2py.optim.options import Option, bind, declared, documented, signature
from caffe2py.optim.step import AuxOptimizerParams, Step, Target, unique_rows

__all__ = ["AuxOptimizerParams", "Optimizer", "Target"]

#: How many optimizers of each class there are: a part of the names of their blobs.
_optimizer_instance_count: defaultdict[str, int] = defaultdict(int)


class Optimizer:
    """Adds the operators that update one parameter: `optimizer(net, init_net, param, grad)`.

    `param` is a model's ParameterInfo, which knows its gradient, or a blob; the gradient is a blob
    or a GradientSlice. What the optimizer keeps between iterations is filled by `init_net`.

    A class declares its options as attributes, `alpha: float = option(0.01, "the rate")`, in the
    order of the positional arguments; those of its base follow. One that has a `policy` takes
    further keywords, for the LearningRate operator. It says in `_update` how a parameter changes.
    """

    #: The attribute that holds the rate.
    rate_attribute: ClassVar[str] = "alpha"
    #: Whether a rate of 0 means that parameters stay as they are, without any operators.
    rests_at_zero: ClassVar[bool] = True
    #: Whether gradients may be GradientSlices, and what is raised if they are not.
    takes_sparse: ClassVar[bool] = True
    sparse_error: ClassVar[type[UsageError]] = UsageError

    options: ClassVar[Mapping[str, Option]] = {}
    __signature__: ClassVar[inspect.Signature | None] = None

    # what the methods below read; classes that let it be chosen declare it as an option
    policy: str = "fixed"
    sparse_dedup_aggregator: str | None = None
    lars: float | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.options = declared(cls, cls.options)
        if "__init__" in vars(cls):
            cls.__signature__ = None
        else:
            cls.__signature__ = signature(cls.options, "policy" in cls.options)
            cls.__doc__ = documented(cls.__doc__, cls.options)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        values, self.init_kwargs = bind(name, self.options, args, kwargs)
        if self.init_kwargs and "policy" not in values:
            raise UsageError(
                f"{name} has no options {', '.join(self.init_kwargs)}, "
                f"only {', '.join(self.options) or 'none at all'}"
            )
        vars(self).update(values)
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
        if self.rests_at_zero and getattr(self, self.rate_attribute, None) == 0:
            return
        aggregator = self.sparse_dedup_aggregator
        step = Step(net, param_init_net, param_info, self._aux_params, aggregator)
        if step.is_sparse and not self.takes_sparse:
            self._refuse_sparse(step)
        self._update(step)

    def _update(self, step: Step) -> None:
        raise UnsupportedError(f"{type(self).__name__} does not say how it updates")

    def _refuse_sparse(self, step: Step) -> None:
        raise self.sparse_error(
            f"{type(self).__name__} does not support sparse gradients; parameter "
            f"'{step.param}' has one"
        )

    def _chosen(self, *names: str) -> dict[str, Any]:
        """Options as the arguments of an operator that calls them the same."""
        return {name: getattr(self, name) for name in names}

    def _check_rate(self) -> None:
        rate = getattr(self, self.rate_attribute, None)
        if not isinstance(rate, numbers.Real | None):
            raise UsageError(
                f"{type(self).__name__}: the learning rate must be a number, found {rate!r:.80}"
            )
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

    def _rate(self, step: Step, sign: int = 1) -> tuple[Any, Any]:
        """The blobs of the rate, times the sign, and of its counter, as the options say."""
        given = getattr(self, self.rate_attribute)
        if given is None:
            raise UsageError(
                f"{type(self).__name__}: the learning rate must be a number, found None"
            )
        rate = given * sign
        return self.build_lr(
            step.net, step.init, base_learning_rate=rate, policy=self.policy, **self.init_kwargs
        )

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

    def _use_lars(self, step: Step) -> None:
        """Multiply the rate of this parameter by what LARS says; not for sparse gradients."""
        offset = None if step.is_sparse else self.lars
        self._local_lr_multiplier, self._local_lr_multiplier_on_gpu = None, False
        if offset is None:
            return
        if offset < 0:
            raise ValueRangeError(f"Lars offset must be nonnegative, got {offset}")
        limits = self.create_lars_inputs(step.init, 0.0, 1.0, float(np.finfo(np.float32).max))
        self._local_lr_multiplier = step.net.Lars(
            [step.param, step.info.grad, *limits],
            self.make_unique_blob_name(f"{step.param}_lars"),
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

    @staticmethod
    def dedup(net: Net, sparse_dedup_aggregator: str | None, grad: Any) -> Any:
        """A GradientSlice with each row once: the "sum" or "mean" of those that are equal.

        Without an aggregator it is returned as it is.
        """
        return unique_rows(net, sparse_dedup_aggregator, grad)


def _on_gpu() -> bool:
    device = CurrentDeviceScope()
    return device is not None and IsGPUDeviceType(device.device_type)
