"""Gradient descent, with momentum, in two precisions; weight decay; RMSProp; YellowFin."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.counter import BuildUniqueMutexIter
from caffe2py.graph.net import Net
from caffe2py.graph.queries import DataType
from caffe2py.optim.base import Optimizer, device_suffix, node_name, one
from caffe2py.registry.gradient import GradientSlice

__all__ = [
    "FP16SgdOptimizer",
    "MultiPrecisionSgdOptimizer",
    "RmsPropOptimizer",
    "SgdOptimizer",
    "WeightDecayBuilder",
    "YellowFinOptimizer",
]


class SgdOptimizer(Optimizer):
    """Gradient descent: W - lr g; with momentum m: v = m v + lr g, W - v, or Nesterov's form.

    Further arguments (gamma, stepsize, ...) go to the LearningRate operator.
    """

    rate_attribute = "base_learning_rate"

    def __init__(
        self,
        base_learning_rate: float = 0.01,
        policy: str = "fixed",
        momentum: float = 0.0,
        nesterov: bool = True,
        sparse_dedup_aggregator: str | None = None,
        lars: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.base_learning_rate = base_learning_rate
        self.policy = policy
        self.momentum = momentum
        self.nesterov = nesterov
        self.sparse_dedup_aggregator = sparse_dedup_aggregator
        self.lars = lars
        self.init_kwargs = kwargs

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if self.base_learning_rate == 0:
            return
        self._use_lars(net, param_init_net, param_info, self.lars)
        # MomentumSGDUpdate subtracts, WeightedSum adds
        lr = self._rate(net, param_init_net, -1 if self.momentum else 1)
        unit = one(param_init_net, device_suffix() + node_name())
        self._aux_params.shared.append(unit)
        if self.momentum > 0:
            self._with_momentum(net, param_init_net, param_info, lr)
        else:
            self._plain(net, param_info, unit, lr)

    def _rate(self, net: Net, param_init_net: Net, sign: int) -> Any:
        rate = self.base_learning_rate * sign
        lr, _ = self.build_lr(
            net, param_init_net, base_learning_rate=rate, policy=self.policy, **self.init_kwargs
        )
        return lr

    def _plain(self, net: Net, info: Any, unit: Any, lr: Any) -> None:
        param, grad = info.blob, info.grad
        if isinstance(grad, GradientSlice):
            grad = self.dedup(net, self.sparse_dedup_aggregator, grad)
            net.ScatterWeightedSum([param, unit, grad.indices, grad.values, lr], param)
        else:
            net.WeightedSum([param, unit, grad, lr], param)

    def _with_momentum(self, net: Net, param_init_net: Net, info: Any, lr: Any) -> None:
        param, grad = info.blob, info.grad
        kept = self._local(param_init_net.ConstantFill(param, f"{param}_momentum", value=0.0))
        settings = {"momentum": self.momentum, "nesterov": self.nesterov}
        if isinstance(grad, GradientSlice):
            grad = self.dedup(net, self.sparse_dedup_aggregator, grad)
            net.SparseMomentumSGDUpdate(
                [grad.values, kept, lr, param, grad.indices],
                [grad.values, kept, param],
                **settings,
            )
        else:
            net.MomentumSGDUpdate([grad, kept, lr, param], [grad, kept, param], **settings)


class MultiPrecisionSgdOptimizer(SgdOptimizer):
    """Gradient descent on the float32 copy of a float16 parameter, which is converted back.

    Parameters without such a copy are updated as by SgdOptimizer.
    """

    def __init__(
        self,
        base_learning_rate: float = 0.1,
        momentum: float = 0.0,
        policy: str = "fixed",
        nesterov: bool = True,
        sparse_dedup_aggregator: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            base_learning_rate, policy, momentum, nesterov, sparse_dedup_aggregator, **kwargs
        )

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if param_info.blob_copy is None:
            super()._run(net, param_init_net, param_info)
            return
        if self.base_learning_rate == 0:
            return
        self._refuse_sparse(param_info)
        param, grad = param_info.blob, param_info.grad
        copy = param_info.blob_copy[DataType.FLOAT]
        lr = self._rate(net, param_init_net, -1)
        kept = self._local(param_init_net.ConstantFill(copy, f"{param}_momentum", value=0.0))
        grad32 = net.HalfToFloat(grad, grad + "_fp32")
        net.MomentumSGDUpdate(
            [grad32, kept, lr, copy],
            [grad32, kept, copy],
            momentum=self.momentum,
            nesterov=self.nesterov,
        )
        net.FloatToHalf(copy, param)


class FP16SgdOptimizer(SgdOptimizer):
    """Gradient descent with momentum and weight decay, in float16 where there is such a copy."""

    def __init__(
        self,
        base_learning_rate: float = 0.1,
        momentum: float = 0.0,
        policy: str = "fixed",
        nesterov: bool = True,
        weight_decay: float = 0.0001,
        sparse_dedup_aggregator: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            base_learning_rate, policy, momentum, nesterov, sparse_dedup_aggregator, **kwargs
        )
        self.weight_decay = weight_decay

    def _run(
        self, net: Net, param_init_net: Net, param_info: Any, fp32_update: bool = False
    ) -> None:
        if self.base_learning_rate == 0:
            return
        self._refuse_sparse(param_info)
        param, copy, half = self._blobs(param_info, fp32_update)
        lr = self._rate(net, param_init_net, -1)
        kept32 = param_init_net.ConstantFill(copy, f"{param}_momentum_fp32", value=0.0)
        kept = self._local(param_init_net.FloatToHalf(kept32, f"{param}_momentum"))
        update = net.operator_method("FP16MomentumSGDUpdate" if half else "FP32MomentumSGDUpdate")
        moment = kept if half else kept32
        grad = param_info.grad
        update(
            [grad, moment, lr, param],
            [grad, moment, param],
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )

    @staticmethod
    def _blobs(info: Any, fp32_update: bool) -> tuple[Any, Any, bool]:
        """The parameter to update, its float32 form, and whether the update is in float16."""
        # batch normalization keeps float32 parameters; Caffe2 knows it by this part of the name
        if fp32_update or "spatbn" in str(info.blob) or info.blob_copy is None:
            return info.blob, info.blob, False
        if DataType.FLOAT in info.blob_copy:
            return info.blob, info.blob_copy[DataType.FLOAT], True
        return info.blob_copy[DataType.FLOAT16], info.blob, True


class WeightDecayBuilder(Optimizer):
    """Adds `weight_decay` times the parameter to its gradient."""

    def __init__(self, weight_decay: float) -> None:
        super().__init__()
        self.weight_decay = weight_decay

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        suffix = device_suffix()
        unit = one(param_init_net, suffix)
        decay = param_init_net.ConstantFill([], f"wd_{suffix}", shape=[1], value=self.weight_decay)
        if isinstance(param_info.grad, GradientSlice):
            raise SparseDecayError(
                f"Weight decay does not yet support sparse gradients; parameter "
                f"'{param_info.blob}' has one"
            )
        grad = param_info.grad
        net.WeightedSum([grad, unit, param_info.blob, decay], grad)


class SparseDecayError(UsageError, ValueError):
    """Weight decay of a parameter with a sparse gradient."""


class RmsPropOptimizer(Optimizer):
    """RMSProp: the gradient over the root of a running mean of its square."""

    def __init__(
        self,
        alpha: float = 0.01,
        decay: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-5,
        policy: str = "fixed",
        engine: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.decay = decay
        self.momentum = momentum
        self.epsilon = epsilon
        self.policy = policy
        self.engine = engine
        self.init_kwargs = kwargs

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        self._refuse_sparse(param_info)
        param, grad = param_info.blob, param_info.grad
        unit = one(param_init_net, device_suffix())
        lr, _ = self.build_lr(
            net,
            param_init_net,
            base_learning_rate=-self.alpha,
            policy=self.policy,
            **self.init_kwargs,
        )
        scaled, squares, momentum = (
            param_init_net.ConstantFill([param], f"{param}_{suffix}", value=0.0)
            for suffix in ("grad_o", "mean_squares", "momentum")
        )
        self._aux_params.local.extend([squares, momentum])
        net.RmsProp(
            [grad, squares, momentum, unit],
            [scaled, squares, momentum],
            decay=self.decay,
            momentum=self.momentum,
            epsilon=self.epsilon,
            engine=self.engine,
        )
        net.MomentumSGDUpdate([scaled, momentum, lr, param], [scaled, momentum, param])


class YellowFinOptimizer(Optimizer):
    """Momentum SGD that tunes rate and momentum of each parameter (arXiv:1706.03471)."""

    #: How many numbers the operator keeps in its last input.
    _SCALARS = 5

    def __init__(
        self,
        alpha: float = 0.1,
        mu: float = 0.0,
        beta: float = 0.999,
        curv_win_width: int = 20,
        zero_debias: bool = True,
        epsilon: float = 0.1**6,
        policy: str = "fixed",
        sparse_dedup_aggregator: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.mu = mu
        self.beta = beta
        self.curv_win_width = curv_win_width
        self.zero_debias = zero_debias
        self.epsilon = epsilon
        self.policy = policy
        self.sparse_dedup_aggregator = sparse_dedup_aggregator
        self.init_kwargs = kwargs

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        self._refuse_sparse(param_info)
        param = param_info.blob

        def like(suffix: str) -> Any:
            return param_init_net.ConstantFill([param], param + suffix, value=0.0)

        def new(suffix: str, size: int, value: float) -> Any:
            return param_init_net.ConstantFill([], param + suffix, shape=[size], value=value)

        moment = like("_moment")
        window = new("_curv_win", self.curv_win_width, 0.0)
        averages = [like("_g_avg"), like("_g2_avg")]
        rates = [new("_lr_avg", 1, self.alpha), new("_mu_avg", 1, self.mu)]
        scalars = new("_scalars_memory", self._SCALARS, 0.0)
        iteration = BuildUniqueMutexIter(param_init_net, net, iter_val=0)
        state = [moment, *rates, window, *averages, scalars]
        self._aux_params.shared.append(iteration)
        self._aux_params.local.extend(state)
        net.YellowFin(
            [param, *state, param_info.grad, iteration],
            [param, *state],
            beta=self.beta,
            epsilon=self.epsilon,
            curv_win_width=self.curv_win_width,
            zero_debias=self.zero_debias,
        )
