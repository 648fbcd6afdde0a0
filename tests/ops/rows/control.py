"""Rows: If."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    BlobTypeError,
    DTypeError,
    ShapeError,
)
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.testing import Bad, Case, Sample


def _net(name, *ops):
    return NetDef(
        name=name, op=[OperatorDef(type=t, input=i.split(), output=o.split()) for t, i, o in ops]
    )


DOUBLE = _net("double", ("Add", "in1 in1", "out0"))
SQUARE = _net("square", ("Mul", "in1 in1", "half"), ("Copy", "half", "out0"))


def _if(condition, x, *, then_net, else_net):
    return x + x if condition.reshape(-1)[0] else x * x


def _samples(rng):
    nets = {"then_net": DOUBLE, "else_net": SQUARE}
    for shape in ((), (3,), (2, 0)):
        for condition in (np.array(True), np.array([False]), np.array([[True]])):
            yield Sample([condition, np.asarray(rng.uniform(-1, 1, shape), np.float32)], nets)


YES = np.array([True])
X = np.ones(3, np.float32)
CASES = [
    Case(
        "If",
        _if,
        _samples,
        [
            Bad([X, X], DTypeError, "supported: bool", {"then_net": DOUBLE}),
            Bad([np.ones(2, bool), X], ShapeError, "one element", {"then_net": DOUBLE}),
            Bad([b"yes", X], BlobTypeError, "expected a tensor, found", {"then_net": DOUBLE}),
            Bad([YES, X], ArgumentError, "expected a net", {"then_net": "text"}),
        ],
        skip={
            "infer_full": "what its nets write is not known to it",
            "inplace": "a net may write what it reads, or not",
        },
    )
]
