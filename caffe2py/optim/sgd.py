"""Gradient descent, with momentum, in two precisions; weight decay; RMSProp; YellowFin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.counter import BuildUniqueMutexIter
from caffe2py.graph.queries import DataType
from caffe2py.optim.base import Optimizer
from caffe2py.optim.options import AGGREGATOR, ENGINE, LARS, POLICY, REQUIRED, option
from caffe2py.optim.step import Step, device_suffix, node_name

__all__ = [
    "FP16SgdOptimizer",
    "MultiPrecisionSgdOptimizer",
    "RmsPropOptimizer",
    "SgdOptimizer",
    "WeightDecayBuilder",
    "YellowFinOptimizer",
]

_RATE = "the learning rate"
_MOMENTUM: Any = option(0.0, "how much of the last update remains")
_NESTEROV: Any = option(True, "whether momentum has Nesterov's form")


class SgdOptimizer(Optimizer):
    """Gradient descent: W - lr g; with momentum m: v = m v + lr g, W - v, or Nesterov's form.

    Further arguments (gamma, stepsize, ...) go to the LearningRate operator.
    """

    rate_attribute = "base_learning_rate"

    base_learning_rate: float = option(0.01, _RATE)
    policy: str = POLICY
    momentum: float = _MOMENTUM
    nesterov: bool = _NESTEROV
    sparse_dedup_aggregator: str | None = AGGREGATOR
    lars: float | None = LARS

    def _update(self, step: Step) -> None:
        self._use_lars(step)
        # MomentumSGDUpdate subtracts, WeightedSum adds
        lr, _ = self._rate(step, -1 if self.momentum else 1)
        unit = step.share(step.one(device_suffix() + node_name()))
        rows, grad = step.gradient()
        if self.momentum > 0:
            self._roll(step, lr, step.param, grad, rows)
        else:
            op_type = "ScatterWeightedSum" if rows else "WeightedSum"
            step.add(op_type, [step.param, unit, *rows, grad, lr], [step.param])

    def _roll(self, step: Step, lr: Any, target: Any, grad: Any, rows: Sequence[Any] = ()) -> None:
        """Update a blob with momentum, which belongs to the parameter."""
        (velocity,) = step.keep(step.zeros("momentum", like=target))
        step.add(
            step.form("MomentumSGDUpdate"),
            [grad, velocity, lr, target, *rows],
            [grad, velocity, target],
            **self._chosen("momentum", "nesterov"),
        )


class MultiPrecisionSgdOptimizer(SgdOptimizer):
    """Gradient descent on the float32 copy of a float16 parameter, which is converted back.

    Parameters without such a copy are updated as by SgdOptimizer.
    """

    base_learning_rate: float = option(0.1, _RATE)
    momentum: float = _MOMENTUM
    policy: str = POLICY
    nesterov: bool = _NESTEROV
    sparse_dedup_aggregator: str | None = AGGREGATOR

    def _update(self, step: Step) -> None:
        if step.info.blob_copy is None:
            super()._update(step)
            return
        if step.is_sparse:
            self._refuse_sparse(step)
        exact = step.info.blob_copy[DataType.FLOAT]
        lr, _ = self._rate(step, -1)
        grad = step.info.grad
        self._roll(step, lr, exact, step.net.HalfToFloat(grad, f"{grad}_fp32"))
        step.net.FloatToHalf(exact, step.param)


class FP16SgdOptimizer(SgdOptimizer):
    """Gradient descent with momentum and weight decay, in float16 where there is such a copy."""

    takes_sparse = False

    base_learning_rate: float = option(0.1, _RATE)
    momentum: float = _MOMENTUM
    policy: str = POLICY
    nesterov: bool = _NESTEROV
    weight_decay: float = option(0.0001, "how much of the parameter is added to its gradient")
    sparse_dedup_aggregator: str | None = AGGREGATOR

    def _update(self, step: Step) -> None:
        target, exact, half = self._precisions(step.info)
        lr, _ = self._rate(step, -1)
        # the names follow the blob that is updated, which may be a copy
        wide = step.init.ConstantFill(exact, f"{target}_momentum_fp32", value=0.0)
        (narrow,) = step.keep(step.init.FloatToHalf(wide, f"{target}_momentum"))
        velocity, grad = narrow if half else wide, step.info.grad
        step.add(
            "FP16MomentumSGDUpdate" if half else "FP32MomentumSGDUpdate",
            [grad, velocity, lr, target],
            [grad, velocity, target],
            **self._chosen("momentum", "nesterov", "weight_decay"),
        )

    @staticmethod
    def _precisions(info: Any) -> tuple[Any, Any, bool]:
        """The parameter to update, its float32 form, and whether the update is in float16."""
        # batch normalization keeps float32 parameters; Caffe2 knows it by this part of the name
        if "spatbn" in str(info.blob) or info.blob_copy is None:
            return info.blob, info.blob, False
        if DataType.FLOAT in info.blob_copy:
            return info.blob, info.blob_copy[DataType.FLOAT], True
        return info.blob_copy[DataType.FLOAT16], info.blob, True


class SparseDecayError(UsageError, ValueError):
    """Weight decay of a parameter with a sparse gradient."""


class WeightDecayBuilder(Optimizer):
    """Adds `weight_decay` times the parameter to its gradient."""

    takes_sparse = False
    sparse_error = SparseDecayError

    weight_decay: float = option(REQUIRED, "how much of the parameter is added")

    def _update(self, step: Step) -> None:
        place, grad = device_suffix(), step.info.grad
        unit = step.one(place)
        decay = step.init.ConstantFill([], f"wd_{place}", shape=[1], value=self.weight_decay)
        step.add("WeightedSum", [grad, unit, step.param, decay], [grad])


class RmsPropOptimizer(Optimizer):
    """RMSProp: the gradient over the root of a running mean of its square."""

    rests_at_zero = False
    takes_sparse = False

    alpha: float = option(0.01, _RATE)
    decay: float = option(0.9, "how much of the mean square remains")
    momentum: float = _MOMENTUM
    epsilon: float = option(1e-5, "keeps the root from 0")
    policy: str = POLICY
    engine: str = ENGINE

    def _update(self, step: Step) -> None:
        unit = step.one(device_suffix())
        lr, _ = self._rate(step, -1)
        scaled = step.zeros("grad_o")
        squares, velocity = step.keep(step.zeros("mean_squares"), step.zeros("momentum"))
        step.add(
            "RmsProp",
            [step.info.grad, squares, velocity, unit],
            [scaled, squares, velocity],
            **self._chosen("decay", "momentum", "epsilon", "engine"),
        )
        moving = [scaled, velocity]
        step.add("MomentumSGDUpdate", [*moving, lr, step.param], [*moving, step.param])


class YellowFinOptimizer(Optimizer):
    """Momentum SGD that tunes rate and momentum of each parameter (arXiv:1706.03471)."""

    rests_at_zero = False
    takes_sparse = False

    alpha: float = option(0.1, "the rate to begin with")
    mu: float = option(0.0, "the momentum to begin with")
    beta: float = option(0.999, "how much of the running means remains")
    curv_win_width: int = option(20, "how many curvatures are looked back at")
    zero_debias: bool = option(True, "whether the running means are corrected for their start at 0")
    epsilon: float = option(0.1**6, "keeps divisors from 0")
    policy: str = POLICY
    sparse_dedup_aggregator: str | None = AGGREGATOR

    #: How many numbers the operator keeps in its last input.
    _SCALARS = 5

    def _update(self, step: Step) -> None:
        moment = step.zeros("moment")
        window = step.vector("curv_win", 0.0, self.curv_win_width)
        means = [step.zeros("g_avg"), step.zeros("g2_avg")]
        tuned = [step.vector("lr_avg", self.alpha), step.vector("mu_avg", self.mu)]
        scalars = step.vector("scalars_memory", 0.0, self._SCALARS)
        iteration = step.share(BuildUniqueMutexIter(step.init, step.net, iter_val=0))
        state = [step.param, *step.keep(moment, *tuned, window, *means, scalars)]
        settings = self._chosen("beta", "epsilon", "curv_win_width", "zero_debias")
        step.update("YellowFin", state, [iteration], **settings)
