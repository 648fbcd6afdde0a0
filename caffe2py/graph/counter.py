"""The counter of iterations that all optimizers of a net share."""

from __future__ import annotations

from typing import Any

from caffe2py.graph.device import DeviceOption
from caffe2py.graph.net import Net
from caffe2py.graph.scope import DeviceScope
from caffe2py.proto.caffe2_pb2 import PROTO_CPU, TensorProto

OPTIMIZER_ITERATION_NAME = "optimizer_iteration"
ITERATION_MUTEX_NAME = "iteration_mutex"


def BuildUniqueMutexIter(
    init_net: Net, net: Net, iter: Any = None, iter_mutex: Any = None, iter_val: int = 0
) -> Any:
    """The blob of an int64 counter that each run of `net` increments, starting from `iter_val`.

    It is made once for an `init_net`: if there is a blob of that name, it is returned.
    """
    name = OPTIMIZER_ITERATION_NAME if iter is None else iter
    mutex_name = ITERATION_MUTEX_NAME if iter_mutex is None else iter_mutex
    if init_net.BlobIsDefined(name):
        return init_net.GetBlobRef(name)
    with DeviceScope(DeviceOption(PROTO_CPU, extra_info=["device_type_override:cpu"])):
        counter = init_net.ConstantFill(
            [], name, shape=[1], value=iter_val, dtype=TensorProto.INT64
        )
        mutex = init_net.CreateMutex([], [mutex_name])
        net.AtomicIter([mutex, counter], [counter])
    return counter
