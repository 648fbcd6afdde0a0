"""The description of a predictor that is to be saved: a net, and which blobs play which part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from caffe2py.errors import UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.plan import Plan
from caffe2py.predictor.contents import get_comp_name
from caffe2py.predictor_constants import predictor_constants as consts
from caffe2py.proto.caffe2_pb2 import NetDef, PlanDef

__all__ = ["MetaError", "PredictorExportMeta", "get_predictor_exporter_helper"]


class MetaError(UsageError, AssertionError):
    """A description of a predictor that contradicts itself."""


class _Fields(NamedTuple):
    predict_net: NetDef | PlanDef
    parameters: list[str]
    inputs: list[str]
    outputs: list[str]
    shapes: dict[str, Sequence[int]]
    name: str
    extra_init_net: Net | None
    global_init_net: Net | None
    net_type: str | None
    num_workers: int | None
    trainer_prefix: str | None


class PredictorExportMeta(_Fields):
    """What is to be saved: a net, and which of its blobs play which part.

    `predict_net` is a Net or Plan, or its message; parameters, inputs and outputs are blobs or
    their names. `shapes` are those of inputs and outputs, where these are not in the workspace.
    `name` tells several predictors in one database apart; `extra_init_net` runs before each thread
    predicts, `global_init_net` once, after the parameters have been loaded; `net_type` and
    `num_workers` are those of the net once it is loaded; `trainer_prefix` begins the keys of plans.
    UsageError where a blob plays two parts.
    """

    def __new__(
        cls,
        predict_net: Net | Plan | NetDef | PlanDef,
        parameters: Iterable[Any],
        inputs: Iterable[Any],
        outputs: Iterable[Any],
        shapes: Mapping[Any, Sequence[int]] | None = None,
        name: str = "",
        extra_init_net: Net | None = None,
        global_init_net: Net | None = None,
        net_type: str | None = None,
        num_workers: int | None = None,
        trainer_prefix: str | None = None,
    ) -> Self:
        """Check the parts and keep them, blobs as names."""
        proto = predict_net.Proto() if isinstance(predict_net, Net | Plan) else predict_net
        if not isinstance(proto, NetDef | PlanDef):
            raise MetaError(f"expected a net or plan that predicts, found {predict_net!r:.80}")
        saved, fed, given = ([str(blob) for blob in part] for part in (parameters, inputs, outputs))
        _check_parts(saved, fed, given)
        known = {str(blob): shape for blob, shape in (shapes or {}).items()}
        return super().__new__(
            cls,
            proto,
            saved,
            fed,
            given,
            known,
            name,
            extra_init_net,
            global_init_net,
            net_type,
            num_workers,
            trainer_prefix,
        )

    def inputs_name(self) -> str:
        """The key of the list of inputs."""
        return get_comp_name(consts.INPUTS_BLOB_TYPE, self.name)

    def outputs_name(self) -> str:
        """The key of the list of outputs."""
        return get_comp_name(consts.OUTPUTS_BLOB_TYPE, self.name)

    def parameters_name(self) -> str:
        """The key of the list of parameters."""
        return get_comp_name(consts.PARAMETERS_BLOB_TYPE, self.name)

    def global_init_name(self) -> str:
        """The key of the net that loads the parameters."""
        return get_comp_name(consts.GLOBAL_INIT_NET_TYPE, self.name)

    def predict_init_name(self) -> str:
        """The key of the net that makes inputs and outputs."""
        return get_comp_name(consts.PREDICT_INIT_NET_TYPE, self.name)

    def predict_net_name(self) -> str:
        """The key of the net that predicts."""
        return get_comp_name(consts.PREDICT_NET_TYPE, self.name)

    def train_init_plan_name(self) -> str:
        """The key of the plan that prepares training."""
        return self._plan_name(consts.TRAIN_INIT_PLAN_TYPE)

    def train_plan_name(self) -> str:
        """The key of the plan that trains."""
        return self._plan_name(consts.TRAIN_PLAN_TYPE)

    def _plan_name(self, kind: str) -> str:
        key = get_comp_name(kind, self.name)
        return f"{self.trainer_prefix}_{key}" if self.trainer_prefix else key


def _check_parts(parameters: list[str], inputs: list[str], outputs: list[str]) -> None:
    twice = sorted({name for name in inputs if inputs.count(name) > 1})
    if twice:
        raise MetaError(f"an input is named twice: {', '.join(twice)}")
    for part, names in (("an input", inputs), ("an output", outputs)):
        both = sorted(set(parameters).intersection(names))
        if both:
            raise MetaError(f"no blob may be a parameter and {part}: {', '.join(both)}")


def get_predictor_exporter_helper(submodelNetName: str) -> PredictorExportMeta:
    """A description without blobs: what gives the keys of the predictor of this name."""
    return PredictorExportMeta(Net(submodelNetName), [], [], [], name=submodelNetName)
