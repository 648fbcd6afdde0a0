"""ModelHelper: a net, the net that initializes its parameters, and the parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from caffe2py.errors import NetError, UsageError
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.scope import SEPARATOR, CurrentNameScope
from caffe2py.modeling.modifier_context import (
    DEFAULT_MODIFIER,
    OptimizerContext,
    RegularizerContext,
)
from caffe2py.modeling.parameter_info import ParameterInfo, ParameterTags
from caffe2py.modeling.parameter_sharing import parameter_sharing_context
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.operator import registered

__all__ = ["DuplicateParameterError", "ModelHelper"]

#: At the end of an operator's debug_info: it initializes a parameter.
_INIT_MARK = "/param_init_net"

_DEFAULTS: Mapping[str, Any] = {
    "order": "NCHW",
    "use_cudnn": True,
    "cudnn_exhaustive_search": False,
}

#: Operators that a model with `allow_not_known_ops=False` can add by `model.Op(...)`.
_KNOWN_TEXT = """
    Accuracy Adadelta Adagrad Adam Add AveragedLoss Cast Checkpoint ConstantFill Copy CopyCPUToGPU
    CopyGPUToCPU DequeueBlobs EnsureCPUOutput ExpandDims Flatten FlattenToVec LabelCrossEntropy
    LearningRate MakeTwoClass MatMul NCCLAllreduce NHWC2NCHW PRelu PackSegments Print ReduceFrontSum
    Scale ScatterWeightedSum Sigmoid Snapshot Softmax SoftmaxWithLoss SortedSegmentSum
    SparseAdadelta SparseAdagrad SquaredL2Distance Squeeze StopGradient Summarize Tanh Transpose
    UnpackSegments WeightedSum YellowFin
    """
_KNOWN = frozenset(_KNOWN_TEXT.split())

#: What a model shares with its `param_model`, and how it is made, from the name, without one.
_PARAMETERS: Mapping[str, Callable[[str], Any]] = {
    "param_init_net": lambda name: Net(f"{name}_init"),
    "param_to_grad": lambda name: {},
    "params": lambda name: [],
    "_parameters_info": lambda name: {},
    "_computed_params": lambda name: [],
}


class DuplicateParameterError(NetError, AssertionError):
    """A model has the same parameter twice."""


class UnsafeOperatorError(UsageError, AttributeError):
    """An operator that a careful model does not know."""


class ModelHelper:
    """A model in the making: `net`, `param_init_net` and what is known of the parameters.

    Layers are added by the functions of `brew`, single operators by `model.net.Op(...)` or
    `model.Op(...)`. With `init_params=False` parameters are expected to come from elsewhere.
    `param_model` is a model whose parameters this one shares. `arg_scope` holds arguments that all
    brew functions get by default.
    """

    param_init_net: Net
    param_to_grad: dict[BlobReference, Any]
    params: list[BlobReference]
    _parameters_info: dict[Any, ParameterInfo]
    _computed_params: list[BlobReference]

    def __init__(
        self,
        name: str | None = None,
        init_params: bool = True,
        allow_not_known_ops: bool = True,
        skip_sparse_optim: bool = False,
        param_model: ModelHelper | None = None,
        arg_scope: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name or "model"
        self.net = Net(self.name)
        if param_model is None:
            vars(self).update({part: make(self.name) for part, make in _PARAMETERS.items()})
        else:
            vars(self).update({part: getattr(param_model, part) for part in _PARAMETERS})
        self.init_params, self.allow_not_known_ops = init_params, allow_not_known_ops
        self.skip_sparse_optim = skip_sparse_optim
        self.weights: list[BlobReference] = []
        self.biases: list[BlobReference] = []
        self.grad_map: dict[Any, Any] = {}
        self.gradient_ops_added = False
        self._devices: list[int] = []
        self._arg_scope = {**_DEFAULTS, **(arg_scope or {})}

    @property
    def arg_scope(self) -> dict[str, Any]:
        """Arguments that all brew functions get unless told otherwise."""
        return self._arg_scope

    def get_name(self) -> str:
        """The name that was given."""
        return self.name

    def Proto(self) -> NetDef:
        """The NetDef of the net."""
        return self.net.Proto()

    def InitProto(self) -> NetDef:
        """The NetDef of the net that initializes the parameters."""
        return self.param_init_net.Proto()

    def RunAllOnGPU(self, *args: Any, **kwargs: Any) -> None:
        """Let both nets run on a CUDA device; arguments as in Net.RunAllOnGPU."""
        self.param_init_net.RunAllOnGPU(*args, **kwargs)
        self.net.RunAllOnGPU(*args, **kwargs)

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        """What adds an operator of this type to the net."""
        if op_type.startswith("_") or "net" not in self.__dict__:
            raise AttributeError(op_type)
        method = self.net.operator_method(op_type)
        if not self.allow_not_known_ops and op_type not in _KNOWN:
            raise UnsafeOperatorError(
                f"Operator {op_type} is not known to be safe", hint=f"model.net.{op_type}(...)"
            )
        return method

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_KNOWN.intersection(registered())})

    # ---- parameters

    def create_param(
        self, param_name: Any, shape: Sequence[int], initializer: Any, tags: Any = None
    ) -> BlobReference:
        """Make a parameter and return its blob; one that exists already is returned as it is.

        A reference keeps its name. A string gets the current name scope, or the one whose
        parameters are shared. `tags` are ParameterTags, one or a list. UsageError if the parameter
        exists with another shape.
        """
        if isinstance(param_name, BlobReference):
            name = str(param_name)
        elif isinstance(param_name, str):
            name = parameter_sharing_context.get_parameter_name(param_name)
        else:
            raise UsageError(f"the name of a parameter is a string, found {param_name!r:.80}")
        known = self._parameters_info.get(name)
        if known is not None:
            self._require_same_shape(known, shape)
            return known.blob
        info: ParameterInfo = initializer.create_param(
            param_name=BlobReference(name), init_net=self.param_init_net, shape=shape
        )
        self._use_contexts(info, _tag_set(tags))
        self._parameters_info[name] = info
        self.AddParameter(info.blob, tags)
        return info.blob

    @staticmethod
    def _require_same_shape(known: ParameterInfo, shape: Sequence[int]) -> None:
        if known.shape is None or list(known.shape) != list(shape):
            raise UsageError(
                f"parameter '{known}' exists with shape {known.shape}, and is asked for with "
                f"shape {list(shape)}"
            )

    @staticmethod
    def _use_contexts(info: ParameterInfo, tags: Iterable[str]) -> None:
        optimizers = OptimizerContext.current()
        for tag in tags:
            if optimizers.has_optimizer(tag):
                info.optimizer = optimizers.get_optimizer(tag)
        if not info.optimizer and optimizers.has_optimizer(DEFAULT_MODIFIER):
            info.optimizer = optimizers.get_optimizer(DEFAULT_MODIFIER)
        info.regularizer = RegularizerContext.current()

    def AddParameter(self, param: BlobReference, tags: Any = None) -> None:
        """Count a blob among the parameters, with its tags."""
        if not isinstance(param, BlobReference):
            raise UsageError(f"a parameter is a BlobReference, found {param!r:.80}")
        known = _tag_set(tags)
        computed = ParameterTags.COMPUTED_PARAM in known
        (self._computed_params if computed else self.params).append(param)
        if ParameterTags.WEIGHT in known:
            self.weights.append(param)
        if ParameterTags.BIAS in known:
            self.biases.append(param)

    def get_param_info(self, param: BlobReference) -> ParameterInfo | None:
        """What is known of a parameter, or None."""
        if not isinstance(param, BlobReference):
            raise UsageError(f"Param {param} is not a BlobReference")
        return self._parameters_info.get(param)

    def GetParams(self, namescope: str | None = None, top_scope: bool = False) -> list[Any]:
        """The parameters that are learnt, in a name scope: the current one unless given."""
        return _within(self.params, namescope)

    def GetComputedParams(self, namescope: str | None = None) -> list[Any]:
        """The parameters that are computed from data, such as running means."""
        return _within(self._computed_params, namescope)

    def GetAllParams(self, namescope: str | None = None) -> list[Any]:
        """Both kinds of parameters."""
        return self.GetParams(namescope) + self.GetComputedParams(namescope)

    def _Validate(self) -> list[str]:
        names = [str(param) for param in self.params]
        return sorted({name for name in names if names.count(name) > 1})

    def Validate(self) -> None:
        """DuplicateParameterError if a parameter is there twice."""
        duplicates = self._Validate()
        if duplicates:
            raise DuplicateParameterError(
                f"Duplicate params: {duplicates}", where=f"model '{self.name}'"
            )

    # ---- gradients

    def AddGradientOperators(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """Append the backward pass to the net: see Net.AddGradientOperators. Only once.

        Returns the gradients by the name of the blob.
        """
        if self.gradient_ops_added:
            raise UsageError("You cannot run AddGradientOperators twice.")
        self.Validate()
        self.gradient_ops_added = True
        self.grad_map = dict(self.net.AddGradientOperators(*args, **kwargs))
        self.param_to_grad = self.get_param_to_grad(self.params)
        for param, grad in self.param_to_grad.items():
            info = self.get_param_info(param)
            if info is None:
                self._parameters_info[param] = ParameterInfo(None, param, grad=grad)
            else:
                info.grad = grad
        return self.grad_map

    def get_param_to_grad(self, params: Iterable[BlobReference]) -> dict[BlobReference, Any]:
        """The gradients of parameters, without those that have none."""
        if not self.gradient_ops_added:
            raise UsageError("You need to run AddGradientOperators first.")
        return {p: self.grad_map[str(p)] for p in params if str(p) in self.grad_map}

    def GetOptimizationParamInfo(self, params: Any = None) -> list[Any]:
        """What is known of the parameters that have a gradient; all of them unless given."""
        if not self.gradient_ops_added:
            raise UsageError("Need to call AddGradientOperators first")
        gradients = self.get_param_to_grad(params) if params else self.param_to_grad
        return [
            self.get_param_info(param)
            for param, grad in gradients.items()
            if not (self.skip_sparse_optim and not isinstance(grad, BlobReference | str))
        ]

    # ---- data and devices

    def CreateDB(self, blob_out: Any, db: str, db_type: str, **kwargs: Any) -> Any:
        """A data base, opened by the net that initializes."""
        return self.param_init_net.CreateDB([], blob_out, db=db, db_type=db_type, **kwargs)

    def TensorProtosDBInput(
        self, unused_blob_in: Any, blob_out: Any, batch_size: int, db: str, db_type: str
    ) -> Any:
        """Batches from a data base of TensorProtos; `unused_blob_in` is empty."""
        if unused_blob_in:
            raise UsageError(
                "You cannot pass reader to model_helper.TensorProtosDBInput.",
                hint="model.net.TensorProtosDBInput",
            )
        reader = self.param_init_net.CreateDB([], f"dbreader_{db}", db=db, db_type=db_type)
        return self.net.TensorProtosDBInput(reader, blob_out, batch_size=batch_size)

    def GetDevices(self) -> list[int]:
        """The devices of a data parallel model; UsageError for another one."""
        if not self._devices:
            raise UsageError("Use data_parallel_model to run model on multiple GPUs.")
        return self._devices

    # ---- both nets in one

    def GetCompleteNet(self) -> Net:
        """One net that initializes the parameters and then does what `net` does."""
        made = self.param_init_net.Clone(f"{self.name}_complete_net", keep_schema=True)
        for op in made.Proto().op:
            op.debug_info += _INIT_MARK
        made.AppendNet(self.net)
        if self.net.Proto().HasField("type"):
            made.Proto().type = self.net.Proto().type
        return made

    def ConstructInitTrainNetfromNet(self, net: Net) -> None:
        """Take both nets from one that GetCompleteNet made."""
        ops = net.Proto().op
        first = [k for k, op in enumerate(ops) if op.debug_info.endswith(_INIT_MARK)]
        rest = [k for k, op in enumerate(ops) if not op.debug_info.endswith(_INIT_MARK)]

        def part(suffix: str, kept: list[int]) -> Net:
            name = f"{net.Name()}/generated_{suffix}"
            return net.Clone(name, op_id_mask=kept, update_external_list=True)

        self.param_init_net = part("param_init_net", first)
        self.net = part("net", rest)

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelHelper:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made


def _tag_set(tags: Any) -> set[str]:
    if isinstance(tags, str):
        return {tags}
    return set(tags or ())


def _within(params: Iterable[BlobReference], namescope: str | None) -> list[BlobReference]:
    scope = CurrentNameScope() if namescope is None else namescope
    if scope and not scope.endswith(SEPARATOR):
        scope += SEPARATOR
    return [param for param in params if param.GetNameScope().startswith(scope)]
