"""Adagrad, with the many things that Caffe2 can do along with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.graph.queries import DataType
from caffe2py.optim.base import Optimizer
from caffe2py.optim.options import AGGREGATOR, ENGINE, LARS, POLICY, option
from caffe2py.optim.step import Step

__all__ = ["AdagradOptimizer"]

log = logging.getLogger(__name__)

#: Engines that keep the sums of squares in float16.
FP16_ENGINES = ("SIMD_Q_FP16", "SIMD_Q_STOC_FP16", "SIMD_Q_STOC_MKL_FP16")

#: Argument of the operator -> what it is called among the options.
_SWA = {
    "avg_start": "swa_avg_start_it",
    "avg_end": "swa_avg_end_it",
    "feedback_start": "swa_feedback_start_it",
    "feedback_step": "swa_feedback_step",
    "feedback_end": "swa_feedback_end_it",
}
_EMA = {name: name for name in ("ema_start", "ema_end", "ema_step", "ema_alpha")}

Options = Mapping[str, Any]


def _checked_pruning(given: Options | None) -> Options:
    """The options, if they name one mask; an empty mapping if they name none."""
    options = given or {}
    if not isinstance(options, Mapping):
        raise UsageError(f"pruning_options can only be provided as a dictionary, found {options!r}")
    tensor, delays = options.get("mask_tensor"), options.get("prune_delays")
    stored = [options.get("mask_db_path"), options.get("mask_db_type")]
    if tensor is not None and not isinstance(tensor, np.ndarray):
        raise UsageError("mask_tensor must be a numpy array!")
    if any(stored) and not all(stored):
        raise UsageError("a mask in a data base needs mask_db_path and mask_db_type")
    if sum((tensor is not None, any(stored), bool(delays))) > 1:
        raise UsageError("a mask is an array, or in a data base, or comes from prune_delays")
    if delays and len(delays) != len(options.get("prune_ratios") or ()):
        raise UsageError("Prune Delays and prune ratios should be of the same length")
    return options if tensor is not None or any(stored) or delays else {}


class AdagradOptimizer(Optimizer):
    """Adagrad: the rate of each element falls with the sum of its squared gradients.

    `rowWise` keeps one sum per row, for sparse gradients. `weight_decay` leaves out parameters of
    one dimension. `pruning_options` hold a mask: mask_tensor, or mask_db_path and mask_db_type, or
    prune_delays and prune_ratios. `swa_options` and `ema_options` keep averages of the parameter.
    `weight_scale` has the attributes stepsize, upper_bound_iter, scale and to_aux.
    """

    alpha: float = option(0.01, "the learning rate")
    epsilon: float = option(1e-4, "keeps divisors from 0")
    decay: float = option(1, "how much of the sums remains; 1 for sparse gradients")
    weight_decay: float = option(0.0, "how much of the parameter is added to its gradient", float)
    policy: str = POLICY
    sparse_dedup_aggregator: str | None = AGGREGATOR
    rowWise: bool = option(False, "one sum per row")  # noqa: N815  (Caffe2's spelling)
    engine: str = ENGINE
    lars: float | None = LARS
    output_effective_lr: bool = option(False, "write <param>_effective_lr, for dense gradients")
    output_effective_lr_and_update: bool = option(False, "write <param>_update as well")
    pruning_options: Options = option(None, "the mask of elements that stay", _checked_pruning)
    swa_options: Options | None = option(None, "when to average the parameter, and to feed it back")
    ema_options: Options | None = option(None, "when to keep a moving average of the parameter")
    weight_scale: Any = option(None, "when to scale the parameter, and by what")
    counter_halflife: int = option(-1, "if positive: count updates of rows, with this half-life")

    @property
    def use_mask(self) -> bool:
        """Whether elements are pruned."""
        return bool(self.pruning_options)

    def _update(self, step: Step) -> None:
        self._refuse(step)
        self._use_lars(step)
        lr, iteration = self._rate(step)
        if self.counter_halflife > 0:
            step.share(iteration)
        squares = self._squares(step)
        masks = self._masks(step) if self.use_mask else []
        step.keep(squares)
        counters = self._counters(step) if self.counter_halflife > 0 else []
        rest, more = [lr, *masks], self._effective(step)
        if self.pruning_options.get("prune_delays"):
            rest.insert(2, iteration)
            more += masks
        rows, _ = step.update(
            self._op_type(step), [step.param, squares], rest, more, **self._arguments(step)
        )
        for row in rows if counters else ():
            halflife = self._chosen("counter_halflife")
            step.add("RowWiseCounter", [*counters, row, iteration], counters, **halflife)
        if not step.is_sparse and not self.use_mask:
            self._average(step, iteration, "swa", self.swa_options, _SWA)
        self._average(step, iteration, "ema", self.ema_options, _EMA)
        self._scale(step, [step.param, squares], iteration)

    def _refuse(self, step: Step) -> None:
        if self.rowWise and not step.is_sparse:
            raise UsageError(
                f"rowWise Adagrad takes sparse gradients only; that of '{step.param}' is dense"
            )
        if step.is_sparse and self.decay != 1:
            raise UsageError("Decay is not implemented for SparseAdagrad and must be set to 1")
        if step.is_sparse and self.pruning_options.get("prune_delays"):
            raise UsageError("prune_delays are not supported for sparse gradients")
        beside = {
            "LARS": self.lars is not None and not step.is_sparse,
            "pruning": self.use_mask,
            f"engine {self.engine}": self.engine in FP16_ENGINES,
        }
        for what, used in beside.items():
            if used and self.weight_decay:
                raise UsageError(f"weight decay is not implemented together with {what}")

    def _op_type(self, step: Step) -> str:
        kinds = {"Masked": self.use_mask, "RowWise": self.rowWise}
        return "".join(kind for kind in kinds if kinds[kind]) + step.form("Adagrad")

    def _effective(self, step: Step) -> list[Any]:
        return [*step.effective(self.output_effective_lr, self.output_effective_lr_and_update)]

    def _arguments(self, step: Step) -> dict[str, Any]:
        settings = self._chosen("epsilon")
        if not step.is_sparse:
            settings["decay"] = float(self.decay)
        if self.use_mask and not step.is_sparse:
            options = self.pruning_options
            settings["block_size"] = options.get("prune_block_size", 1)
            settings["delays"] = options.get("prune_delays", [])
            settings["prune_ratios"] = options.get("prune_ratios", [])
        shape = step.shape()
        if self.weight_decay and shape is not None and len(shape) == 1:
            log.debug("no weight decay on %s: it has one dimension", step.param)
        elif self.weight_decay > 0:
            settings |= self._chosen("weight_decay")
        return settings | self._chosen("engine")

    # ---- what is kept

    def _squares(self, step: Step) -> Any:
        if self.rowWise:
            return step.per_row("avg_squared_sum", 0.0)
        if self.engine in FP16_ENGINES:
            name = step.named("squared_sum")
            return step.init.Float16ConstantFill([], name, value=0.0, shape=step.shape())
        return step.zeros("squared_sum")

    @staticmethod
    def _counters(step: Step) -> list[Any]:
        count, since = step.keep(
            step.per_row("update_counter", 0.0, dtype=DataType.DOUBLE),
            step.per_row("prev_update_iter", 0, dtype=DataType.INT64),
        )
        return [since, count]

    def _masks(self, step: Step) -> list[Any]:
        """The mask, and for some forms of the operator one more blob about it."""
        if self.pruning_options.get("prune_delays"):
            updated = _mark(step, "last_mask_updated_iter", -1, DataType.INT64)
            mask = step.init.GivenTensorFill(
                [], [step.named("empty_mask")], values=[], dtype=DataType.FLOAT, shape=[0]
            )
            return [mask, updated]
        mask = self._given_mask(step)
        if not step.is_sparse:
            return [mask]
        return [mask, _mark(step, "mask_changed_blob", False, DataType.BOOL)]

    def _given_mask(self, step: Step) -> Any:
        options = self.pruning_options
        mask = options.get("mask_tensor")
        if mask is None:
            return step.init.Load(
                [],
                options.get("mask_blob_name") or step.named("mask"),
                db=options["mask_db_path"],
                db_type=options["mask_db_type"],
                absolute_path=True,
            )
        name = [step.named("mask")]
        if not step.is_sparse:
            return step.init.GivenTensorFill([], name, values=mask, shape=mask.shape)
        bits = mask.astype(np.uint8)
        made = step.init.GivenTensorBoolFill([], name, values=bits, shape=bits.shape)
        return step.init.Cast(made, to=DataType.UINT8)

    # ---- what follows the update

    @staticmethod
    def _average(
        step: Step, iteration: Any, kind: str, options: Options | None, called: Mapping[str, str]
    ) -> None:
        """Keep an average of the parameter by the operator SWA or EMA, if the options say so."""
        if not options:
            return
        name = step.named(kind)
        if not step.init.BlobIsDefined(name):
            step.zeros(kind)
            step.keep(name)
        settings = {argument: options.get(key) for argument, key in called.items()}
        step.add(kind.upper(), [step.param, name, iteration], [step.param, name], **settings)

    def _scale(self, step: Step, blobs: list[Any], iteration: Any) -> None:
        """Scale the parameter and, if the options say so, what is kept of it."""
        options = self.weight_scale
        if not options:
            return
        settings = {name: getattr(options, name) for name in ("stepsize", "upper_bound_iter")}
        settings["scale"] = float(options.scale)
        for blob in blobs if options.to_aux else blobs[:1]:
            step.add("WeightScale", [blob, iteration], [blob], **settings)


def _mark(step: Step, suffix: str, value: Any, dtype: int) -> Any:
    """One value beside a mask."""
    name = [step.named(suffix)]
    return step.init.ConstantFill([], name, value=value, dtype=dtype, shape=[1])
