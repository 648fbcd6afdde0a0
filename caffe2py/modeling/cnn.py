"""CNNModelHelper: the older way to write convolutional models, with layers as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.device import DeviceOption
from caffe2py.modeling.helper import helpers
from caffe2py.modeling.initializers import Filler
from caffe2py.modeling.layers import convolution, dense, normalization, plain, training
from caffe2py.modeling.model import ModelHelper
from caffe2py.proto.caffe2_pb2 import PROTO_CPU, PROTO_CUDA
from caffe2py.proto.caffe2_pb2 import DeviceOption as DeviceProto

__all__ = ["CNNModelHelper"]

#: Where the helpers are declared that the methods call.
_DECLARED_IN = (convolution, dense, normalization, plain, training)

_CONVOLUTION = ("use_cudnn", "order", "cudnn_exhaustive_search", "ws_nbytes_limit")
_LAYER = ("use_cudnn", "order")

#: Method -> the helper of brew, and which of the model's settings it gets.
_METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Accuracy": ("accuracy", ()),
    "AddWeightDecay": ("add_weight_decay", ()),
    "AveragePool": ("average_pool", _LAYER),
    "Concat": ("concat", ("order",)),
    "Conv": ("conv", _CONVOLUTION),
    "ConvNd": ("conv_nd", _CONVOLUTION),
    "ConvTranspose": ("conv_transpose", _CONVOLUTION),
    "DepthConcat": ("concat", ("order",)),
    "Dropout": ("dropout", _LAYER),
    "FC": ("fc", ()),
    "FC_Decomp": ("fc_decomp", ()),
    "GroupConv": ("group_conv", _CONVOLUTION),
    "GroupConv_Deprecated": ("group_conv_deprecated", _CONVOLUTION),
    "ImageInput": ("image_input", ("order",)),
    "InstanceNorm": ("instance_norm", ("order",)),
    "Iter": ("iter", ()),
    "LRN": ("lrn", _LAYER),
    "MaxPool": ("max_pool", _LAYER),
    "MaxPoolWithIndex": ("max_pool_with_index", ("order",)),
    "PRelu": ("prelu", ()),
    "PackedFC": ("packed_fc", ()),
    "Relu": ("relu", _LAYER),
    "Softmax": ("softmax", ("use_cudnn",)),
    "SpatialBN": ("spatial_bn", ("order",)),
    "SpatialGN": ("spatial_gn", ("order",)),
    "Sum": ("sum", ()),
    "Transpose": ("transpose", ("use_cudnn",)),
}


class OrderError(UsageError, ValueError):
    """A storage order that is neither NCHW nor NHWC."""


class CNNModelHelper(ModelHelper):
    """A ModelHelper with a storage order, and methods such as `Conv` and `FC` that add layers.

    The methods take the arguments of the brew functions, without the model.
    """

    use_cudnn: bool
    order: str
    cudnn_exhaustive_search: bool
    ws_nbytes_limit: int | None

    def __init__(
        self,
        order: str = "NCHW",
        name: str | None = None,
        use_cudnn: bool = True,
        cudnn_exhaustive_search: bool = False,
        ws_nbytes_limit: int | None = None,
        init_params: bool = True,
        skip_sparse_optim: bool = False,
        param_model: ModelHelper | None = None,
    ) -> None:
        if order not in ("NCHW", "NHWC"):
            raise OrderError(f"Cannot understand the CNN storage order {order}.")
        given = (use_cudnn, order, cudnn_exhaustive_search, ws_nbytes_limit)
        settings: dict[str, Any] = dict(zip(_CONVOLUTION, given, strict=True))
        vars(self).update(settings)
        if not ws_nbytes_limit:
            del settings["ws_nbytes_limit"]
        super().__init__(
            "CNN" if name is None else name,
            init_params,
            arg_scope=settings,
            param_model=param_model,
            skip_sparse_optim=skip_sparse_optim,
        )

    def PadImage(self, blob_in: Any, blob_out: Any, **kwargs: Any) -> Any:
        """Add the operator PadImage."""
        return self.net.PadImage(blob_in, blob_out, **kwargs)

    def VideoInput(self, blob_in: Any, blob_out: Any, **kwargs: Any) -> Any:
        """Add the operator VideoInput."""
        return self.net.VideoInput(blob_in, blob_out, **kwargs)

    @property
    def XavierInit(self) -> Filler:
        """The filler XavierFill."""
        return "XavierFill", {}

    @property
    def MSRAInit(self) -> Filler:
        """The filler MSRAFill."""
        return "MSRAFill", {}

    @property
    def ZeroInit(self) -> Filler:
        """The filler that gives zeros."""
        return "ConstantFill", {}

    def ConstantInit(self, value: float) -> Filler:
        """The filler that gives one value everywhere."""
        return "ConstantFill", {"value": value}

    @property
    def CPU(self) -> DeviceProto:
        """The device option of the CPU."""
        return DeviceProto(device_type=PROTO_CPU)

    @property
    def GPU(self) -> DeviceProto:
        """The device option of the first GPU."""
        return DeviceOption(PROTO_CUDA)


def _method(name: str, layer: str, settings: tuple[str, ...]) -> Callable[..., Any]:
    function = helpers()[layer]

    def method(self: CNNModelHelper, *args: Any, **kwargs: Any) -> Any:
        given = {key: getattr(self, key) for key in settings}
        return function(self, *args, **given, **kwargs)

    method.__name__, method.__doc__ = name, function.__doc__
    return method


for _name, (_layer, _settings) in _METHODS.items():
    setattr(CNNModelHelper, _name, _method(_name, _layer, _settings))
