"""Small nets, written as tests need them."""

from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef


def op(type_, inputs="", outputs="", **args):
    """`op("Add", "x y", "z", broadcast=1)`; blobs are separated by blanks."""
    made = OperatorDef(type=type_, input=inputs.split(), output=outputs.split())
    made.arg.extend(make_argument(name, value) for name, value in args.items())
    return made


def net(*ops, name="toy", reads="", gives=""):
    return NetDef(name=name, op=ops, external_input=reads.split(), external_output=gives.split())


def fill(blob, values, shape=None):
    shape = [len(values)] if shape is None else shape
    return op("GivenTensorFill", "", blob, shape=shape, values=[float(v) for v in values])


#: z = relu(x) + w, with the weights w = (1, 2, 3)
PREDICT = net(op("Relu", "x", "y"), op("Add", "y w", "z"), reads="x w", gives="z")
INIT = net(fill("w", [1, 2, 3]), name="toy_init")


def nested(depth):
    """A net with nets in nets, `depth` of them."""
    inner = net(op("Relu", "x", "x"), name="n0")
    for level in range(depth):
        outer = net(op("If", "x", ""), name=f"n{level + 1}")
        argument = outer.op[0].arg.add()
        argument.name = "then_net"
        argument.n.CopyFrom(inner)
        inner = outer
    return inner
