"""One parameter's update in the making: its gradient, what is kept of it, its operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from caffe2py.errors import UsageError
from caffe2py.executor.session import InferShapesAndTypes
from caffe2py.graph.device import DeviceOption
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.scope import CurrentDeviceScope
from caffe2py.proto.caffe2_pb2 import PROTO_CPU
from caffe2py.registry.gradient import GradientSlice

__all__ = ["AuxOptimizerParams", "Step", "Target", "device_suffix", "node_name", "unique_rows"]

#: What puts equal rows of a sparse gradient together.
_AGGREGATORS = {"sum": "UnsortedSegmentSum", "mean": "UnsortedSegmentMean"}


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


@dataclass
class Step:
    """What updates one parameter, between the nets and the rule of the optimizer.

    `kept` gets the blobs that have to be saved; `aggregator` says what becomes of equal rows of a
    sparse gradient.
    """

    net: Net
    init: Net
    info: Any
    kept: AuxOptimizerParams
    aggregator: str | None = None

    @property
    def param(self) -> Any:
        """The blob to update."""
        return self.info.blob

    @property
    def is_sparse(self) -> bool:
        """Whether the gradient has rows of the parameter only."""
        return isinstance(self.info.grad, GradientSlice)

    def gradient(self) -> tuple[list[Any], Any]:
        """The blob of row numbers, in a list that a dense gradient leaves empty, and the values."""
        grad = self.info.grad
        if not self.is_sparse:
            return [], grad
        grad = unique_rows(self.net, self.aggregator, grad)
        return [grad.indices], grad.values

    # ---- what is kept between iterations

    def named(self, suffix: str) -> str:
        """The name of a blob that belongs to the parameter."""
        return f"{self.param}_{suffix}"

    def zeros(self, suffix: str, like: Any = None, **kwargs: Any) -> Any:
        """Zeros in the shape of the parameter, or of another blob."""
        source = self.param if like is None else like
        return self.init.ConstantFill([source], self.named(suffix), **kwargs, value=0.0)

    def vector(self, suffix: str, value: float, size: int = 1, **kwargs: Any) -> Any:
        """One value `size` times."""
        name = self.named(suffix)
        return self.init.ConstantFill([], name, shape=[size], value=value, **kwargs)

    def per_row(self, suffix: str, value: float, **kwargs: Any) -> Any:
        """One value for each row of the parameter, whose shape may not be known yet."""
        shape = self.shape()
        if shape is not None:
            return self.vector(suffix, value, shape[0], **kwargs)
        dims = self.init.Shape(self.param, self.named("shape"))
        rows = self.init.Slice([dims], f"{dims}_numrows", starts=[0], ends=[1])
        name = self.named(suffix)
        return self.init.ConstantFill(rows, name, input_as_shape=1, value=value, **kwargs)

    def one(self, suffix: str) -> Any:
        """A blob ONE_<suffix> that holds 1."""
        return self.init.ConstantFill([], f"ONE_{suffix}", shape=[1], value=1.0)

    def shape(self) -> list[int] | None:
        """The parameter's shape, as far as the net that fills it tells."""
        return InferShapesAndTypes([self.init])[0].get(str(self.param))

    def keep(self, *blobs: Any) -> tuple[Any, ...]:
        """Note blobs that belong to this parameter and have to be saved."""
        self.kept.local.extend(blobs)
        return blobs

    def share(self, blob: Any) -> Any:
        """Note a blob of all parameters that has to be saved."""
        self.kept.shared.append(blob)
        return blob

    # ---- operators

    def form(self, op_type: str) -> str:
        """The operator's name for the kind of gradient."""
        return f"Sparse{op_type}" if self.is_sparse else op_type

    def add(
        self, op_type: str, inputs: Sequence[Any], outputs: Sequence[Any], **kwargs: Any
    ) -> None:
        """Add an operator to the net that trains."""
        self.net.operator_method(op_type)(list(inputs), list(outputs), **kwargs)

    def update(
        self,
        op_type: str,
        state: Sequence[Any],
        rest: Sequence[Any] = (),
        more: Sequence[Any] = (),
        **kwargs: Any,
    ) -> tuple[list[Any], Any]:
        """Add an operator from state, gradient and the rest to the state and more outputs.

        Returns what `gradient` does.
        """
        rows, grad = self.gradient()
        self.add(op_type, [*state, *rows, grad, *rest], [*state, *more], **kwargs)
        return rows, grad

    def effective(self, rate: bool, rate_and_update: bool) -> list[str]:
        """Names for the rates and the updates that a dense operator used, if they are wanted."""
        wanted = {"effective_lr": rate or rate_and_update, "update": rate_and_update}
        return [self.named(name) for name in wanted if wanted[name] and not self.is_sparse]


def unique_rows(net: Net, aggregator: str | None, grad: Any) -> Any:
    """A GradientSlice with each row once, or as it is without an aggregator."""
    if not isinstance(grad, GradientSlice):
        raise UsageError(f"Dedup only works for sparse gradient, got {grad!r:.80}")
    if not aggregator:
        return grad
    kind = _AGGREGATORS.get(aggregator.lower())
    if kind is None:
        raise UsageError(f"rows can be put together by sum or mean, not by {aggregator}")
    rows, places = net.Unique([grad.indices], 2, engine="SparseHash")
    return GradientSlice(rows, net.operator_method(kind)([grad.values, places], 1))


def device_suffix() -> str:
    """The current device as a part of names: "0_0"."""
    device = CurrentDeviceScope() or DeviceOption(PROTO_CPU)
    return f"{device.device_type}_{device.device_id}"


def node_name() -> str:
    """The name of the current device's node, or ""."""
    return (CurrentDeviceScope() or DeviceOption(PROTO_CPU)).node_name
