"""Optimizers that find a rate for each element: Adagrad and what followed it."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import UsageError
from caffe2py.executor.session import InferShapesAndTypes
from caffe2py.graph.net import Net
from caffe2py.optim.base import Optimizer
from caffe2py.registry.gradient import GradientSlice

__all__ = [
    "AdadeltaOptimizer",
    "AdamOptimizer",
    "FtrlOptimizer",
    "GFtrlOptimizer",
    "StormOptimizer",
    "WngradOptimizer",
]


class _Adaptive(Optimizer):
    """An optimizer with the settings that all of this module have."""

    def __init__(
        self,
        alpha: float,
        policy: str = "fixed",
        sparse_dedup_aggregator: str | None = None,
        engine: str = "",
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.policy = policy
        self.sparse_dedup_aggregator = sparse_dedup_aggregator
        self.engine = engine
        self.init_kwargs = init_kwargs or {}

    def _rate(self, net: Net, param_init_net: Net) -> tuple[Any, Any]:
        return self.build_lr(
            net,
            param_init_net,
            base_learning_rate=getattr(self, self.rate_attribute),
            policy=self.policy,
            **self.init_kwargs,
        )

    def _update(
        self, net: Net, dense: str, sparse: str | None, state: list[Any], info: Any, rest: Any
    ) -> _Update:
        """The operator that fits the gradient, with its inputs and outputs."""
        grad = info.grad
        if isinstance(grad, GradientSlice):
            if sparse is None:
                self._refuse_sparse(info)
            grad = self.dedup(net, self.sparse_dedup_aggregator, grad)
            return _Update(net, sparse or "", [*state, grad.indices, grad.values, *rest], state)
        return _Update(net, dense, [*state, grad, *rest], state)


class _Update:
    """An operator about to be added."""

    def __init__(self, net: Net, op_type: str, inputs: list[Any], outputs: list[Any]) -> None:
        self.net, self.op_type = net, op_type
        self.inputs, self.outputs = inputs, list(outputs)

    def add(self, **kwargs: Any) -> None:
        """Add it with these arguments."""
        self.net.operator_method(self.op_type)(self.inputs, self.outputs, **kwargs)


def effective_outputs(param: Any, rate: bool, rate_and_update: bool) -> list[str]:
    """The names of the further outputs with the rates and the updates that were used."""
    names = ["_effective_lr", "_update"] if rate_and_update else ["_effective_lr"] if rate else []
    return [f"{param}{name}" for name in names]


class WngradOptimizer(_Adaptive):
    """WNGrad: one accumulator for the whole parameter."""

    def __init__(
        self,
        alpha: float = 1.0,
        epsilon: float = 1e-9,
        policy: str = "fixed",
        sparse_dedup_aggregator: str | None = None,
        engine: str = "",
        moment_init: float = 100.0,
        lars: float | None = None,
        output_effective_lr: bool = False,
        output_effective_lr_and_update: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha, policy, sparse_dedup_aggregator, engine, kwargs)
        self.epsilon = epsilon
        self.moment_init = moment_init
        self.lars = lars
        self.output_effective_lr = output_effective_lr
        self.output_effective_lr_and_update = output_effective_lr_and_update

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if self.alpha == 0:
            return
        self._use_lars(net, param_init_net, param_info, self.lars)
        param = param_info.blob
        lr, _ = self._rate(net, param_init_net)
        moment = self._local(
            param_init_net.ConstantFill([], f"{param}_moment", shape=[1], value=self.moment_init)
        )
        made = self._update(net, "Wngrad", "SparseWngrad", [param, moment], param_info, [lr])
        if made.op_type == "Wngrad":
            made.outputs += effective_outputs(
                param, self.output_effective_lr, self.output_effective_lr_and_update
            )
        made.add(epsilon=self.epsilon, engine=self.engine)


class StormOptimizer(Optimizer):
    """STORM (arXiv:1905.10018): momentum with a variance-reduced gradient."""

    rate_attribute = "lr"

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float = 10.0,
        beta: float = 0.1,
        grad_sq_init: float = 0.01,
        policy: str = "fixed",
        sparse_dedup_aggregator: str | None = None,
        lars: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.lr = lr
        self.momentum = momentum
        self.beta = beta
        self.grad_sq_init = grad_sq_init
        self.policy = policy
        self.sparse_dedup_aggregator = sparse_dedup_aggregator
        self.lars = lars
        self.init_kwargs = kwargs

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if self.lr == 0:
            return
        self._use_lars(net, param_init_net, param_info, self.lars)
        param, grad = param_info.blob, param_info.grad
        lr, _ = self.build_lr(
            net,
            param_init_net,
            base_learning_rate=self.lr,
            policy=self.policy,
            **self.init_kwargs,
        )
        fill = param_init_net.ConstantFill
        moment = self._local(fill(param, f"{param}_moment", value=0.0))
        total = self._local(fill([], f"{param}_grad_sq_sum", shape=[1], value=self.grad_sq_init))
        state = [param, moment, total]
        settings = {"momentum": self.momentum, "beta": self.beta}
        if isinstance(grad, GradientSlice):
            grad = self.dedup(net, self.sparse_dedup_aggregator, grad)
            net.SparseStorm([*state, grad.values, grad.indices, lr], state, **settings)
        else:
            net.Storm([*state, grad, lr], state, **settings)


class AdadeltaOptimizer(_Adaptive):
    """ADADELTA (arXiv:1212.5701)."""

    def __init__(
        self,
        alpha: float = 0.01,
        epsilon: float = 1e-4,
        decay: float = 0.95,
        policy: str = "fixed",
        sparse_dedup_aggregator: str | None = None,
        engine: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha, policy, sparse_dedup_aggregator, engine, kwargs)
        self.epsilon = epsilon
        self.decay = decay

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if self.alpha == 0:
            return
        param = param_info.blob
        lr, _ = self._rate(net, param_init_net)
        moments = [
            self._local(param_init_net.ConstantFill([param], f"{param}_{suffix}", value=0.0))
            for suffix in ("squared_moment", "squared_moment_update")
        ]
        state = [param, *moments]
        made = self._update(net, "Adadelta", "SparseAdadelta", state, param_info, [lr])
        made.add(epsilon=self.epsilon, decay=self.decay, engine=self.engine)


class FtrlOptimizer(_Adaptive):
    """FTRL-Proximal: alpha and beta make the rate, lambda1 and lambda2 weigh |w| and w^2."""

    _TYPES: tuple[str, str | None] = ("Ftrl", "SparseFtrl")
    _SUFFIX = "ftrl_nz"

    def __init__(
        self,
        alpha: float = 0.01,
        beta: float = 1e-4,
        lambda1: float = 0,
        lambda2: float = 0,
        sparse_dedup_aggregator: str | None = None,
        engine: str = "",
    ) -> None:
        super().__init__(alpha, "fixed", sparse_dedup_aggregator, engine)
        self.beta = beta
        self.lambda1 = lambda1
        self.lambda2 = lambda2

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if self.alpha == 0:
            return
        param = param_info.blob
        kept = self._local(
            param_init_net.ConstantFill(
                [param], f"{param}_{self._SUFFIX}", extra_shape=[2], value=0.0
            )
        )
        made = self._update(net, *self._TYPES, [param, kept], param_info, [])
        made.add(
            engine=self.engine,
            alpha=self.alpha,
            beta=self.beta,
            lambda1=self.lambda1,
            lambda2=self.lambda2,
        )


class GFtrlOptimizer(FtrlOptimizer):
    """FTRL with a group lasso; dense gradients only."""

    _TYPES = ("GFtrl", None)
    _SUFFIX = "gftrl_nz"


class AdamOptimizer(_Adaptive):
    """Adam (arXiv:1412.6980); `rowWise`: one second moment per row, for sparse gradients."""

    def __init__(
        self,
        alpha: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        policy: str = "fixed",
        use_lr_adaption: bool = False,
        lr_alpha: float = 0.01,
        normalized_lr_adaption: bool = True,
        sparse_dedup_aggregator: str | None = None,
        rowWise: bool = False,
        engine: str = "",
        enableRAdam: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha, policy, sparse_dedup_aggregator, engine, kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.use_lr_adaption = use_lr_adaption
        self.lr_alpha = lr_alpha
        self.normalized_lr_adaption = normalized_lr_adaption
        self.rowWise = rowWise
        self.enableRAdam = enableRAdam

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if self.alpha == 0:
            return
        is_sparse = isinstance(param_info.grad, GradientSlice)
        if self.rowWise and not is_sparse:
            raise UsageError(
                f"rowWise Adam takes sparse gradients only; that of '{param_info.blob}' is dense"
            )
        if self.rowWise and self.enableRAdam:
            raise UsageError("RowWiseSparseAdam is not supported by RAdam")
        lr, iteration = self._rate(net, param_init_net)
        moments = self._moments(param_init_net, param_info.blob)
        self._aux_params.shared.append(iteration)
        self._aux_params.local.extend(moments)
        state = [param_info.blob, *moments]
        sparse = "RowWiseSparseAdam" if self.rowWise else "SparseAdam"
        made = self._update(net, "Adam", sparse, state, param_info, [lr, iteration])
        effective = f"{param_info.blob}_effective_grad"
        if self.use_lr_adaption:
            made.outputs.append(effective)
        settings = {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}
        if made.op_type == "SparseAdam":
            settings["enableRAdam"] = self.enableRAdam
        made.add(**settings)
        if self.use_lr_adaption:
            net.LearningRateAdaption(
                [lr, made.inputs[-3], effective],
                [lr],
                lr_alpha=self.lr_alpha,
                normalized_lr_adaption=self.normalized_lr_adaption,
            )

    def _moments(self, param_init_net: Net, param: Any) -> list[Any]:
        fill = param_init_net.ConstantFill
        first = fill([param], param + "_first_moment", value=0.0)
        if not self.rowWise:
            return [first, fill([param], param + "_second_moment", value=0.0)]
        shapes, _ = InferShapesAndTypes([param_init_net])
        rows = shapes[str(param)][0]
        return [first, fill([], param + "_avg_second_moment", shape=[rows], value=0.0)]
