"""Adagrad, with the many things that Caffe2 can do along with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe2py.errors import UsageError
from caffe2py.executor.session import InferShapesAndTypes
from caffe2py.graph.net import Net
from caffe2py.graph.queries import DataType
from caffe2py.optim.adaptive import _Adaptive, _Update, effective_outputs
from caffe2py.registry.gradient import GradientSlice

__all__ = ["AdagradOptimizer"]

log = logging.getLogger(__name__)

#: Engines that keep the sums of squares in float16.
FP16_ENGINES = ("SIMD_Q_FP16", "SIMD_Q_STOC_FP16", "SIMD_Q_STOC_MKL_FP16")

Options = Mapping[str, Any]


class AdagradOptimizer(_Adaptive):
    """Adagrad: the rate of each element falls with the sum of its squared gradients.

    `rowWise` keeps one sum per row, for sparse gradients. `weight_decay` leaves out parameters of
    one dimension. `pruning_options` hold a mask: mask_tensor, or mask_db_path and mask_db_type, or
    prune_delays and prune_ratios. `swa_options` and `ema_options` keep averages of the parameter.
    `weight_scale` has the attributes stepsize, upper_bound_iter, scale and to_aux.
    """

    def __init__(
        self,
        alpha: float = 0.01,
        epsilon: float = 1e-4,
        decay: float = 1,
        weight_decay: float = 0.0,
        policy: str = "fixed",
        sparse_dedup_aggregator: str | None = None,
        rowWise: bool = False,
        engine: str = "",
        lars: float | None = None,
        output_effective_lr: bool = False,
        output_effective_lr_and_update: bool = False,
        pruning_options: Options | None = None,
        swa_options: Options | None = None,
        ema_options: Options | None = None,
        weight_scale: Any = None,
        counter_halflife: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha, policy, sparse_dedup_aggregator, engine, kwargs)
        self.epsilon = epsilon
        self.decay = decay
        self.weight_decay = float(weight_decay)
        self.rowWise = rowWise
        self.lars = lars
        self.output_effective_lr = output_effective_lr
        self.output_effective_lr_and_update = output_effective_lr_and_update
        self.pruning_options = _checked_pruning(pruning_options or {})
        self.swa_options = swa_options
        self.ema_options = ema_options
        self.weight_scale = weight_scale
        self.counter_halflife = counter_halflife

    @property
    def use_mask(self) -> bool:
        """Whether elements are pruned."""
        return bool(self.pruning_options)

    def _run(self, net: Net, param_init_net: Net, param_info: Any) -> None:
        if self.alpha == 0:
            return
        self._refuse(param_info)
        self._use_lars(net, param_init_net, param_info, self.lars)
        lr, iteration = self._rate(net, param_init_net)
        if self.counter_halflife > 0:
            self._aux_params.shared.append(iteration)
        param = param_info.blob
        squares = self._squares(param_init_net, param)
        masks = self._masks(param_init_net, param_info) if self.use_mask else []
        self._local(squares)
        counters = self._counters(param_init_net, param) if self.counter_halflife > 0 else []
        made = self._update(
            net, self._dense_type, self._sparse_type, [param, squares], param_info, [lr]
        )
        is_sparse = isinstance(param_info.grad, GradientSlice)
        self._complete(made, param, masks, iteration, is_sparse)
        made.add(**self._arguments(param_init_net, param, is_sparse))
        if counters and is_sparse:
            net.RowWiseCounter(
                [*counters, made.inputs[2], iteration],
                counters,
                counter_halflife=self.counter_halflife,
            )
        if not is_sparse and not self.use_mask:
            self._average_swa(net, param_init_net, param, iteration)
        self._average_ema(net, param_init_net, param, iteration)
        self._scale_weight(net, [param, squares], iteration)

    def _refuse(self, info: Any) -> None:
        is_sparse = isinstance(info.grad, GradientSlice)
        if self.rowWise and not is_sparse:
            raise UsageError(
                f"rowWise Adagrad takes sparse gradients only; that of '{info.blob}' is dense"
            )
        if is_sparse and self.decay != 1:
            raise UsageError("Decay is not implemented for SparseAdagrad and must be set to 1")
        if is_sparse and self.pruning_options.get("prune_delays"):
            raise UsageError("prune_delays are not supported for sparse gradients")
        for known, what in (
            (self.lars is not None and not is_sparse, "LARS"),
            (self.use_mask, "pruning"),
            (self.engine in FP16_ENGINES, f"engine {self.engine}"),
        ):
            if known and self.weight_decay:
                raise UsageError(f"weight decay is not implemented together with {what}")

    @property
    def _dense_type(self) -> str:
        return "MaskedAdagrad" if self.use_mask else "Adagrad"

    @property
    def _sparse_type(self) -> str:
        return ("Masked" if self.use_mask else "") + (
            "RowWiseSparseAdagrad" if self.rowWise else "SparseAdagrad"
        )

    def _complete(
        self, made: _Update, param: Any, masks: list[Any], iteration: Any, is_sparse: bool
    ) -> None:
        """Add the inputs and outputs that only some forms of the operator have."""
        if not is_sparse:
            made.outputs += effective_outputs(
                param, self.output_effective_lr, self.output_effective_lr_and_update
            )
        if self.pruning_options.get("prune_delays"):
            mask, updated = masks
            made.inputs += [mask, iteration, updated]
            made.outputs += [mask, updated]
        else:
            made.inputs += masks

    def _arguments(self, param_init_net: Net, param: Any, is_sparse: bool) -> dict[str, Any]:
        settings: dict[str, Any] = {"epsilon": self.epsilon}
        if not is_sparse:
            settings["decay"] = float(self.decay)
        if self.use_mask and not is_sparse:
            options = self.pruning_options
            settings["block_size"] = options.get("prune_block_size", 1)
            settings["delays"] = options.get("prune_delays", [])
            settings["prune_ratios"] = options.get("prune_ratios", [])
        shape = _shape(param_init_net, param)
        if self.weight_decay and shape is not None and len(shape) == 1:
            log.debug("no weight decay on %s: it has one dimension", param)
        elif self.weight_decay > 0:
            settings["weight_decay"] = self.weight_decay
        settings["engine"] = self.engine
        return settings

    # ---- what is kept

    def _squares(self, param_init_net: Net, param: Any) -> Any:
        if self.rowWise:
            return _per_row(param_init_net, param, "avg_squared_sum", value=0.0)
        if self.engine in FP16_ENGINES:
            return param_init_net.Float16ConstantFill(
                [], f"{param}_squared_sum", value=0.0, shape=_shape(param_init_net, param)
            )
        return param_init_net.ConstantFill([param], f"{param}_squared_sum", value=0.0)

    def _counters(self, param_init_net: Net, param: Any) -> list[Any]:
        counter = _per_row(
            param_init_net, param, "update_counter", value=0.0, dtype=DataType.DOUBLE
        )
        before = _per_row(param_init_net, param, "prev_update_iter", value=0, dtype=DataType.INT64)
        self._aux_params.local.extend([counter, before])
        return [before, counter]

    def _masks(self, param_init_net: Net, info: Any) -> list[Any]:
        """The mask, and for some forms of the operator one more blob about it."""
        options, param = self.pruning_options, info.blob
        is_sparse = isinstance(info.grad, GradientSlice)
        if options.get("prune_delays"):
            updated = param_init_net.ConstantFill(
                [], [f"{param}_last_mask_updated_iter"], value=-1, dtype=DataType.INT64, shape=[1]
            )
            mask = param_init_net.GivenTensorFill(
                [], [f"{param}_empty_mask"], values=[], dtype=DataType.FLOAT, shape=[0]
            )
            return [mask, updated]
        if options.get("mask_tensor") is not None:
            mask = _given_mask(param_init_net, param, options["mask_tensor"], is_sparse)
        else:
            mask = param_init_net.Load(
                [],
                options.get("mask_blob_name") or f"{param}_mask",
                db=options["mask_db_path"],
                db_type=options["mask_db_type"],
                absolute_path=True,
            )
        if not is_sparse:
            return [mask]
        changed = param_init_net.ConstantFill(
            [], [f"{param}_mask_changed_blob"], value=False, dtype=DataType.BOOL, shape=[1]
        )
        return [mask, changed]

    # ---- averages

    def _average(self, param_init_net: Net, param: Any, suffix: str) -> str:
        name = f"{param}_{suffix}"
        if not param_init_net.BlobIsDefined(name):
            param_init_net.ConstantFill([param], name, value=0.0)
            self._local(name)
        return name

    def _average_swa(self, net: Net, param_init_net: Net, param: Any, iteration: Any) -> None:
        if not self.swa_options:
            return
        name = self._average(param_init_net, param, "swa")
        keys = ("avg_start", "avg_end", "feedback_start", "feedback_step", "feedback_end")
        options = {}
        for key in keys:
            option = f"swa_{key}" if key == "feedback_step" else f"swa_{key}_it"
            options[key] = self.swa_options.get(option)
        net.SWA([param, name, iteration], [param, name], **options)

    def _average_ema(self, net: Net, param_init_net: Net, param: Any, iteration: Any) -> None:
        if not self.ema_options:
            return
        name = self._average(param_init_net, param, "ema")
        keys = ("ema_start", "ema_end", "ema_step", "ema_alpha")
        options = {key: self.ema_options.get(key) for key in keys}
        net.EMA([param, name, iteration], [param, name], **options)

    def _scale_weight(self, net: Net, blobs: list[Any], iteration: Any) -> None:
        """Scale the parameter and, if the options say so, what is kept of it."""
        options = self.weight_scale
        if not options:
            return
        for blob in blobs if options.to_aux else blobs[:1]:
            net.WeightScale(
                [blob, iteration],
                [blob],
                stepsize=options.stepsize,
                upper_bound_iter=options.upper_bound_iter,
                scale=float(options.scale),
            )


def _checked_pruning(options: Options) -> Options:
    """The options, if they name one mask; an empty mapping if they name none."""
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


def _given_mask(param_init_net: Net, param: Any, mask: Any, is_sparse: bool) -> Any:
    name = [f"{param}_mask"]
    if not is_sparse:
        return param_init_net.GivenTensorFill([], name, values=mask, shape=mask.shape)
    bits = mask.astype(np.uint8)
    made = param_init_net.GivenTensorBoolFill([], name, values=bits, shape=bits.shape)
    return param_init_net.Cast(made, to=DataType.UINT8)


def _shape(param_init_net: Net, param: Any) -> list[int] | None:
    shapes, _ = InferShapesAndTypes([param_init_net])
    return shapes.get(str(param))


def _per_row(param_init_net: Net, param: Any, suffix: str, **kwargs: Any) -> Any:
    """A constant for each row of a parameter, whose shape may not be known yet."""
    shape = _shape(param_init_net, param)
    name = f"{param}_{suffix}"
    if shape is not None:
        return param_init_net.ConstantFill([], name, shape=[shape[0]], **kwargs)
    dims = param_init_net.Shape(param, f"{param}_shape")
    rows = param_init_net.Slice([dims], f"{dims}_numrows", starts=[0], ends=[1])
    return param_init_net.ConstantFill(rows, name, input_as_shape=1, **kwargs)
