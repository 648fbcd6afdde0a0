"""Control flow: nets that run under a condition."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2py.errors import BlobTypeError, ShapeError
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Tensor
from caffe2py.tensor.types import UNKNOWN, TensorType, shape_text


def _infer_if(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "bool")
    shape = query.inputs[0].shape
    if shape is not None and product(shape) not in (None, 1):
        raise ShapeError(
            f"input 0 '{query.name(0)}' must have one element, found {shape_text(shape)}"
        )
    return [UNKNOWN] * query.outputs


_if = operator(
    "If",
    "condition, inputs* -> outputs*",
    infer=_infer_if,
    gradient=NotDifferentiable("its gradient is built from the gradients of its two nets"),
    inplace=lambda i, o: True,
    doc="""
    Runs then_net if condition is true, else else_net, if there is one.

    The nets run in the workspace of the operator: they read and write its blobs by their names.
    Inputs and outputs say which, for those who look at the outer net. A net is checked when it is
    about to run for the first time.
    """,
    example="""
    condition = [true]; then_net: Y = Relu(X)
    Y = Relu(X)
    """,
    then_net=Arg(NetDef, None, "runs if the condition is true"),
    else_net=Arg(NetDef, None, "runs if it is false"),
)


@_if.cpu_dynamic()
def _run_if(call: Call) -> None:
    condition = call.value(0)
    if not isinstance(condition, Tensor):
        raise BlobTypeError(
            f"input 0 '{call.input_blob(0)}': expected a tensor, found {type(condition).__name__}"
        )
    name = "then_net" if condition.array.reshape(-1)[0] else "else_net"
    net = getattr(call.args, name)
    if net is None:
        return
    if name not in call.kept:
        call.kept[name] = call.scope.bind(net)
    call.kept[name].run()
