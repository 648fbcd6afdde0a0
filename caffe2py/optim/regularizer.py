"""Regularizers: terms on top of the loss, and bounds that parameters are brought back into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.counter import BuildUniqueMutexIter
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.registry.gradient import GradientSlice


class InvalidError(UsageError, AssertionError):
    """A regularizer that makes no sense, or is used where it does nothing."""


class UnsupportedGradientError(UsageError, NotImplementedError):
    """A regularizer for sparse gradients met a dense one."""


class RegularizationBy:
    """Where a regularizer acts: on the loss, or on parameters that were just updated."""

    AFTER_OPTIMIZER = "after_optimizer"
    ON_LOSS = "on_loss"


_PLACES = (RegularizationBy.AFTER_OPTIMIZER, RegularizationBy.ON_LOSS)


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise InvalidError(text)


class Regularizer:
    """Adds operators for one parameter to a net: `reg(net, init_net, param, grad, by="on_loss")`.

    On the loss it returns a blob with one number to add, or None. After the optimizer it changes
    the parameter in place. Subclasses override `_run_on_loss`, `_run_after_optimizer` or both.
    """

    #: How far from an open end of an interval values are kept.
    kEpsilon = 1e-9  # noqa: N815  (Caffe2's name, which subclasses use)

    def __call__(
        self, net: Net, param_init_net: Net, param: Any, grad: Any = None, by: str | None = None
    ) -> Any:
        """Add the operators; InvalidError for a `by` that is none of RegularizationBy's."""
        _require(isinstance(param, BlobReference), f"expected a BlobReference, found {param!r:.80}")
        _require(by in _PLACES, f"by={by!r} is none of {', '.join(_PLACES)}")
        return getattr(self, f"_run_{by}")(net, param_init_net, param, grad)

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        return None

    def _run_after_optimizer(self, net: Net, param_init_net: Net, param: Any, grad: Any) -> Any:
        return None

    def _feature_grouping(self, param: Any, net: Net) -> Any:
        """The Euclidean norm of each column, over the first axis."""
        squares = net.Mul([param, param], [net.NextScopedBlob("param_mul")])
        sums = net.ReduceFrontSum([squares], [net.NextScopedBlob("param_reduced")])
        name = net.NextScopedBlob("grouped_feature_weight_vec")
        return net.Pow([sums], [name], exponent=0.5)

    def _ensure_clipped(
        self,
        net: Net,
        param: Any,
        grad: Any = None,
        min: float | None = None,
        max: float | None = None,
        open_range: bool = False,
        left_open: bool = False,
        right_open: bool = False,
    ) -> None:
        """Bring values back into an interval; with a sparse gradient only the rows it names."""
        if min is not None and (open_range or left_open):
            min += self.kEpsilon
        if max is not None and (open_range or right_open):
            max -= self.kEpsilon
        rows = [grad.indices, grad.values] if isinstance(grad, GradientSlice) else []
        net.EnsureClipped([param, *rows], [param], min=min, max=max)


def _norm(net: Net, param: Any, p: int, factor: float, blob: Any) -> Any:
    """factor * LpNorm(param), in the blob."""
    net.LpNorm([param], [blob], p=p)
    net.Scale([blob], [blob], scale=factor)
    return blob


def _trimmed(net: Net, param: Any, k: int, factor: float, blob: Any) -> Any:
    """factor * the sum of all but each row's k largest absolute values, in the blob."""
    absolute = net.Abs([param], [net.NextScopedBlob("abs")])
    total = net.SumElements([absolute], [net.NextScopedBlob("sum_abs")], average=False)
    names = [net.NextScopedBlob(name) for name in ("topk", "id", "flat_id")]
    largest = net.TopK([absolute], names, k=k)[0]
    spared = net.SumElements([largest], [net.NextScopedBlob("topk_sum")], average=False)
    net.Sub([total, spared], [blob])
    net.Scale([blob], [blob], scale=factor)
    return blob


# ---------------------------------------------------------------- on the loss


class L1Norm(Regularizer):
    """reg_lambda * sum |w|."""

    def __init__(self, reg_lambda: float) -> None:
        _require(reg_lambda >= 0, f"reg_lambda must not be negative, found {reg_lambda}")
        self.reg_lambda = reg_lambda

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        blob = net.NextScopedBlob(param + "_l1_regularization")
        return _norm(net, param, 1, self.reg_lambda, blob)


class L2Norm(Regularizer):
    """reg_lambda * sum w^2."""

    def __init__(self, reg_lambda: float) -> None:
        _require(reg_lambda >= 0, f"reg_lambda must not be negative, found {reg_lambda}")
        self.reg_lambda = reg_lambda

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        blob = net.NextScopedBlob(param + "_l2_regularization")
        return _norm(net, param, 2, self.reg_lambda, blob)


class ElasticNet(Regularizer):
    """l1 * sum |w| + l2 * sum w^2."""

    _suffix = "_elastic_net_regularization"

    def __init__(self, l1: float, l2: float) -> None:
        self.l1 = l1
        self.l2 = l2

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        names = (param + suffix for suffix in (self._suffix, "_l2_blob", "_l1_blob"))
        total, second, first = map(net.NextScopedBlob, names)
        self._terms(net, param, first, second)
        net.Add([first, second], [total])
        return total

    def _terms(self, net: Net, param: Any, first: Any, second: Any) -> None:
        net.LpNorm([param], [second], p=2)
        net.LpNorm([param], [first], p=1)
        net.Scale([second], [second], scale=self.l2)
        net.Scale([first], [first], scale=self.l1)


class ElasticNetL1NormTrimmed(ElasticNet):
    """As ElasticNet; each row's k largest absolute values are left out of the first sum."""

    _suffix = "_elastic_net_l1_trimmed_regularization"

    def __init__(self, l1: float, l2: float, k: int) -> None:
        super().__init__(l1, l2)
        self.k = k

    def _terms(self, net: Net, param: Any, first: Any, second: Any) -> None:
        _norm(net, param, 2, self.l2, second)
        _trimmed(net, param, self.k, self.l1, first)


class L1NormTrimmed(Regularizer):
    """reg_lambda * sum |w| without each row's k largest (the trimmed lasso, arXiv:1708.04527)."""

    def __init__(self, reg_lambda: float, k: int) -> None:
        _require(reg_lambda >= 0, f"reg_lambda must not be negative, found {reg_lambda}")
        _require(isinstance(k, int) and k >= 1, f"k must be an integer of at least 1, found {k!r}")
        self.reg_lambda = reg_lambda
        self.k = k

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        blob = net.NextScopedBlob(param + "_l1_trimmed_regularization")
        return _trimmed(net, param, self.k, self.reg_lambda, blob)


class LpNorm(Regularizer):
    """reg_lambda * (sum_j n_j^p)^(1/p), n_j the Euclidean norm of column j."""

    def __init__(self, reg_lambda: float, p_value: float = 0.5) -> None:
        _require(reg_lambda > 0, f"reg_lambda must be positive, found {reg_lambda}")
        _require(p_value > 0, f"p_value must be positive, found {p_value}")
        self.reg_lambda = reg_lambda
        self.p_value = p_value

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        total = net.NextScopedBlob(param + "_dense_feature_regularization")
        columns = self._feature_grouping(param, net)
        powers = net.Pow([columns], [net.NextScopedBlob("lp_vec_raised")], exponent=self.p_value)
        summed = net.ReduceFrontSum([powers], [net.NextScopedBlob("lp_vec_summed")])
        norm = net.Pow([summed], [net.NextScopedBlob("lp_vec")], exponent=1 / self.p_value)
        net.Scale([norm], [total], scale=self.reg_lambda)
        return total


class L0ApproxNorm(Regularizer):
    """reg_lambda * max(0, sum_j min(n_j, alpha) / alpha - budget), n_j the norm of column j.

    It is about the number of columns that are used; without a `budget` nothing is subtracted.
    """

    def __init__(self, reg_lambda: float, alpha: float = 0.01, budget: float = 0) -> None:
        _require(reg_lambda > 0, f"reg_lambda must be positive, found {reg_lambda}")
        _require(alpha > 0, f"alpha must be positive, found {alpha}")
        _require(budget >= 0, f"budget must not be negative, found {budget}")
        self.reg_lambda = reg_lambda
        self.alpha = alpha
        self.budget = float(budget)

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        total = net.NextScopedBlob(param + "_dense_feature_regularization")
        columns = net.Abs([self._feature_grouping(param, net)], [net.NextScopedBlob("l0_abs")])
        small = net.Clip([columns], [net.NextScopedBlob("l0_min")], max=self.alpha)
        summed = net.ReduceFrontSum([small], [net.NextScopedBlob("l0_summed")])
        norm = net.Scale([summed], [net.NextScopedBlob("l0_norm")], scale=1 / self.alpha)
        if self.budget:
            budget = net.ConstantFill([], "budget", shape=[1], value=self.budget)
            above = net.Sub([norm, budget], [net.NextScopedBlob("l0_budget")])
            norm = net.Relu([above], [net.NextScopedBlob("relu_l0_sub_budget")])
        net.Scale([norm], [total], scale=self.reg_lambda)
        return total


class GroupL1Norm(Regularizer):
    """reg_lambda * sum_g sqrt(size_g) * sqrt(sum of w^2 in group g); groups are runs of columns.

    `groups` are the sizes, which must add up to the number of columns. `stabilizing_val` is added
    below the root, whose slope is infinite at 0.
    """

    def __init__(
        self, reg_lambda: float, groups: Sequence[int], stabilizing_val: float = 0
    ) -> None:
        _require(reg_lambda >= 0, f"reg_lambda must not be negative, found {reg_lambda}")
        _require(isinstance(groups, list), f"groups must be a list, found {groups!r:.80}")
        self.reg_lambda = reg_lambda
        self.groups = groups
        self.stabilizing_val = stabilizing_val

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        count = len(self.groups)
        columns = net.ReduceSum(net.Sqr(param), axes=[0], keepdims=0)
        sizes = net.GivenTensorIntFill([], 1, shape=[count], values=self.groups)
        sums = net.LengthsSum([columns, sizes])
        if self.stabilizing_val:
            constant = net.ConstantFill([], 1, value=self.stabilizing_val)
            net.Add([sums, constant], [sums], broadcast=1)
        norms = net.Sqrt(sums)
        factors = [math.sqrt(size) * self.reg_lambda for size in self.groups]
        weights = net.GivenTensorFill([], shape=[count], values=factors)
        scaled = net.Mul([norms, weights], ["normalized_l2_norm_scaled"])
        return net.LpNorm(scaled, ["group_l1_nrom"], p=1)


class LogBarrier(Regularizer):
    """-reg_lambda * d_t * sum log w, with a discount d_t that falls; w is kept positive.

    `discount_policy` and `discount_options` are those of LearningRate. (Nocedal and Wright,
    Numerical Optimization, chapter 19.)
    """

    def __init__(
        self,
        reg_lambda: float,
        discount_policy: str = "inv",
        discount_options: Mapping[str, Any] | None = None,
    ) -> None:
        _require(reg_lambda > 0, f"reg_lambda must be positive, found {reg_lambda}")
        self.reg_lambda = reg_lambda
        self.discount_policy = discount_policy
        self.discount_options = discount_options or {"gamma": 1.0, "power": 1.0}

    def _run_on_loss(self, net: Net, param_init_net: Net, param: Any, grad: Any = None) -> Any:
        iteration = BuildUniqueMutexIter(param_init_net, net)
        names = ("_log_barrier_discount", "_non_neg", "_log", "_log_sum", "_log_barrier")
        discount, positive, log, log_sum, total = (net.NextScopedBlob(param + n) for n in names)
        net.LearningRate(
            [iteration],
            [discount],
            base_lr=-self.reg_lambda,
            policy=self.discount_policy,
            **self.discount_options,
        )
        net.Clip([param], [positive], min=self.kEpsilon)  # the logarithm of 0 is infinite
        net.Log([positive], [log])
        net.SumElements([log], [log_sum])
        net.Mul([log_sum, discount], [total], broadcast=1)
        return total

    def _run_after_optimizer(self, net: Net, param_init_net: Net, param: Any, grad: Any) -> None:
        self._ensure_clipped(net, param, grad, min=0, open_range=True)


# ---------------------------------------------------------------- after the optimizer


class BoundedGradientProjection(Regularizer):
    """Brings parameters back between `lb` and `ub`; open ends are `epsilon` further inside."""

    def __init__(
        self,
        lb: float | None = None,
        ub: float | None = None,
        left_open: bool = False,
        right_open: bool = False,
        epsilon: float | None = None,
    ) -> None:
        gap = self.kEpsilon if epsilon is None else float(epsilon)
        _require(gap > 0, f"epsilon must be positive, found {gap}")
        self.lb = None if lb is None else float(lb)
        self.ub = None if ub is None else float(ub)
        if self.lb is not None and self.ub is not None:
            least = self.lb + (gap if left_open else 0.0)
            most = self.ub - (gap if right_open else 0.0)
            _require(least <= most, f"nothing lies between lb={lb} and ub={ub} (epsilon {gap})")
        self.left_open = left_open
        self.right_open = right_open
        self.kEpsilon = gap

    def _run_after_optimizer(self, net: Net, param_init_net: Net, param: Any, grad: Any) -> None:
        self._ensure_clipped(
            net,
            param,
            grad,
            min=self.lb,
            max=self.ub,
            left_open=self.left_open,
            right_open=self.right_open,
        )


class _OfRows(Regularizer):
    """Regularizers for the rows that a sparse gradient names."""

    def _run_after_optimizer(self, net: Net, param_init_net: Net, param: Any, grad: Any) -> None:
        if not isinstance(grad, GradientSlice):
            raise UnsupportedGradientError(
                f"{type(self).__name__} is not supported for dense parameters"
            )
        op_type, settings = self._operator()
        net.operator_method(op_type)([param, grad.indices], [param], **settings)

    def _operator(self) -> tuple[str, dict[str, Any]]:
        """The operator and its arguments."""
        raise NotImplementedError


class MaxNorm(_OfRows):
    """Shortens rows of a sparse parameter that are longer than `norm`."""

    def __init__(self, norm: float = 1.0) -> None:
        self.norm = norm

    def _operator(self) -> tuple[str, dict[str, Any]]:
        return _row_norm(self.norm, at_most=True)


class ConstantNorm(_OfRows):
    """Gives rows of a sparse parameter the length `norm`."""

    def __init__(self, norm: float = 1.0) -> None:
        self.norm = norm

    def _operator(self) -> tuple[str, dict[str, Any]]:
        return _row_norm(self.norm, at_most=False)


def _row_norm(norm: float, *, at_most: bool) -> tuple[str, dict[str, Any]]:
    _require(norm > 0, f"norm must be positive, found {norm}")
    return "SparseNormalize", {"use_max_norm": at_most, "norm": norm}


class SparseLpNorm(_OfRows):
    """Shrinks rows of a sparse parameter as a term reg_lambda * |w|_p in the loss would."""

    def __init__(self, p: float, reg_lambda: float) -> None:
        _require(p in (1.0, 2.0), f"p must be 1 or 2, found {p}")
        _require(reg_lambda > 0, f"reg_lambda must be positive, found {reg_lambda}")
        self.p = p
        self.reg_lambda = reg_lambda

    def _operator(self) -> tuple[str, dict[str, Any]]:
        return "SparseLpRegularizer", {"p": self.p, "reg_lambda": self.reg_lambda}


class SparseL1Norm(SparseLpNorm):
    """SparseLpNorm with p = 1."""

    def __init__(self, reg_lambda: float) -> None:
        super().__init__(1.0, reg_lambda)


class SparseL2Norm(SparseLpNorm):
    """SparseLpNorm with p = 2."""

    def __init__(self, reg_lambda: float) -> None:
        super().__init__(2.0, reg_lambda)
