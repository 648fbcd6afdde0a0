"""What an author of operators outside this package needs, in one place.

    from caffe2py.extend import Arg, elementwise

    @elementwise("Softsign2", "X -> Y", scale=Arg(float, 1.0, "steepness"), inplace={0: 0})
    def softsign2(x, scale):
        '''Y = scale * X / (1 + |X|)'''
        return scale * x / (1 + abs(x))

After that, `Softsign2` can stand in any net. `caffe2py.testing` checks it with one row.
"""

from caffe2py.kernels.elementwise import elementwise, launch_broadcast, launch_map
from caffe2py.kernels.jit import Kernel, kernel
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, NoGradient, NotDifferentiable, gradient_op
from caffe2py.registry.infer import (
    Query,
    broadcast_shapes,
    canonical_axis,
    fixed,
    require_dtype,
    require_rank,
    require_same_dtype,
    same_as,
)
from caffe2py.registry.operator import Operator, lookup, operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType

__all__ = [
    "Arg",
    "Call",
    "Gradient",
    "Kernel",
    "Launch",
    "NoGradient",
    "NotDifferentiable",
    "Operator",
    "Query",
    "TensorType",
    "broadcast_shapes",
    "canonical_axis",
    "elementwise",
    "fixed",
    "gradient_op",
    "kernel",
    "launch_broadcast",
    "launch_map",
    "lookup",
    "operator",
    "require_dtype",
    "require_rank",
    "require_same_dtype",
    "same_as",
]
