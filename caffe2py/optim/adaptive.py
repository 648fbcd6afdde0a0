"""Optimizers that find a rate for each element: ADADELTA, FTRL, Adam and others."""

from __future__ import annotations

from typing import Any, ClassVar

from caffe2py.errors import UsageError
from caffe2py.optim.base import Optimizer
from caffe2py.optim.options import AGGREGATOR, ENGINE, LARS, POLICY, option
from caffe2py.optim.step import Step

__all__ = [
    "AdadeltaOptimizer",
    "AdamOptimizer",
    "FtrlOptimizer",
    "GFtrlOptimizer",
    "StormOptimizer",
    "WngradOptimizer",
]

_RATE = "the learning rate"
_EPSILON = "keeps divisors from 0"


class WngradOptimizer(Optimizer):
    """WNGrad: one accumulator for the whole parameter."""

    alpha: float = option(1.0, _RATE)
    epsilon: float = option(1e-9, _EPSILON)
    policy: str = POLICY
    sparse_dedup_aggregator: str | None = AGGREGATOR
    engine: str = ENGINE
    moment_init: float = option(100.0, "the accumulator's first value")
    lars: float | None = LARS
    output_effective_lr: bool = option(False, "write <param>_effective_lr, for dense gradients")
    output_effective_lr_and_update: bool = option(False, "write <param>_update as well")

    def _update(self, step: Step) -> None:
        self._use_lars(step)
        lr, _ = self._rate(step)
        state = [step.param, *step.keep(step.vector("moment", self.moment_init))]
        more = step.effective(self.output_effective_lr, self.output_effective_lr_and_update)
        step.update(step.form("Wngrad"), state, [lr], more, **self._chosen("epsilon", "engine"))


class StormOptimizer(Optimizer):
    """STORM (arXiv:1905.10018): momentum with a variance-reduced gradient."""

    rate_attribute = "lr"

    lr: float = option(0.1, _RATE)
    momentum: float = option(10.0, "how fast the momentum forgets")
    beta: float = option(0.1, "weighs the sum of squared gradients")
    grad_sq_init: float = option(0.01, "the first value of that sum")
    policy: str = POLICY
    sparse_dedup_aggregator: str | None = AGGREGATOR
    lars: float | None = LARS

    def _update(self, step: Step) -> None:
        self._use_lars(step)
        lr, _ = self._rate(step)
        moment, total = step.zeros("moment"), step.vector("grad_sq_sum", self.grad_sq_init)
        state = [step.param, *step.keep(moment, total)]
        rows, grad = step.gradient()
        settings = self._chosen("momentum", "beta")
        step.add(step.form("Storm"), [*state, grad, *rows, lr], state, **settings)


class AdadeltaOptimizer(Optimizer):
    """ADADELTA (arXiv:1212.5701)."""

    alpha: float = option(0.01, _RATE)
    epsilon: float = option(1e-4, _EPSILON)
    decay: float = option(0.95, "how much of the running means remains")
    policy: str = POLICY
    sparse_dedup_aggregator: str | None = AGGREGATOR
    engine: str = ENGINE

    def _update(self, step: Step) -> None:
        lr, _ = self._rate(step)
        means = (step.zeros(f"squared_moment{of}") for of in ("", "_update"))
        state = [step.param, *step.keep(*means)]
        settings = self._chosen("epsilon", "decay", "engine")
        step.update(step.form("Adadelta"), state, [lr], **settings)


class FtrlOptimizer(Optimizer):
    """FTRL-Proximal: alpha and beta make the rate, lambda1 and lambda2 weigh |w| and w^2."""

    op_type: ClassVar[str] = "Ftrl"

    alpha: float = option(0.01, "the rate's numerator")
    beta: float = option(1e-4, "a part of the rate's denominator")
    lambda1: float = option(0, "the weight of |w|")
    lambda2: float = option(0, "the weight of w^2")
    sparse_dedup_aggregator: str | None = AGGREGATOR
    engine: str = ENGINE

    def _update(self, step: Step) -> None:
        sums = step.zeros(f"{self.op_type.lower()}_nz", extra_shape=[2])
        state = [step.param, *step.keep(sums)]
        settings = self._chosen("engine", "alpha", "beta", "lambda1", "lambda2")
        step.update(step.form(self.op_type), state, **settings)


class GFtrlOptimizer(FtrlOptimizer):
    """FTRL with a group lasso; dense gradients only."""

    op_type = "GFtrl"
    takes_sparse = False


class AdamOptimizer(Optimizer):
    """Adam (arXiv:1412.6980); `rowWise`: one second moment per row, for sparse gradients."""

    alpha: float = option(0.001, _RATE)
    beta1: float = option(0.9, "how much of the first moment remains")
    beta2: float = option(0.999, "how much of the second moment remains")
    epsilon: float = option(1e-8, _EPSILON)
    policy: str = POLICY
    use_lr_adaption: bool = option(False, "whether the rate learns from the gradients too")
    lr_alpha: float = option(0.01, "the rate at which it learns")
    normalized_lr_adaption: bool = option(True, "whether its gradient is normalized")
    sparse_dedup_aggregator: str | None = AGGREGATOR
    rowWise: bool = option(False, "one second moment per row")  # noqa: N815  (Caffe2's spelling)
    engine: str = ENGINE
    enableRAdam: bool = option(False, "RAdam's correction, if sparse")  # noqa: N815

    def _update(self, step: Step) -> None:
        self._refuse(step)
        lr, iteration = self._rate(step)
        step.share(iteration)
        state = [step.param, *step.keep(*self._moments(step))]
        settings = self._chosen("beta1", "beta2", "epsilon")
        op_type = step.form("Adam")
        if self.rowWise:
            op_type = f"RowWise{op_type}"
        elif step.is_sparse:
            settings["enableRAdam"] = self.enableRAdam
        effective = [step.named("effective_grad")] if self.use_lr_adaption else []
        _, grad = step.update(op_type, state, [lr, iteration], effective, **settings)
        if effective:
            settings = self._chosen("lr_alpha", "normalized_lr_adaption")
            step.add("LearningRateAdaption", [lr, grad, *effective], [lr], **settings)

    def _refuse(self, step: Step) -> None:
        if self.rowWise and not step.is_sparse:
            raise UsageError(
                f"rowWise Adam takes sparse gradients only; that of '{step.param}' is dense"
            )
        if self.rowWise and self.enableRAdam:
            raise UsageError("RowWiseSparseAdam is not supported by RAdam")

    def _moments(self, step: Step) -> tuple[Any, Any]:
        first = step.zeros("first_moment")
        if self.rowWise:
            return first, step.per_row("avg_second_moment", 0.0)
        return first, step.zeros("second_moment")
