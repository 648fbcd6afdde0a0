"""What engines need to know of an operator's arguments, in one form. Python 3.8 or later."""

from __future__ import annotations

from worker import RefusedError


def require(fine, op, what):
    """Refuse an operator, saying what of it cannot be expressed."""
    if not fine:
        raise RefusedError(op["type"] + ": " + what)


def window(op):
    """(kernel, stride, dilation), each of height and width, and pads (top, left, bottom, right)."""
    args = op["args"]
    require(args.get("order", "NCHW") == "NCHW", op, "order is not NCHW")
    require(not args.get("legacy_pad"), op, "legacy_pad")

    def pair(name, default):
        if args.get(name + "s"):
            require(len(args[name + "s"]) == 2, op, "not two axes")
            return list(args[name + "s"])
        one = args.get(name, default)
        return [args.get(name + "_h", one), args.get(name + "_w", one)]

    pad = args.get("pad", 0)
    pads = args.get("pads") or [args.get("pad_" + side, pad) for side in "tlbr"]
    return pair("kernel", 1), pair("stride", 1), pair("dilation", 1), list(pads)


def aligned(op):
    """The shape that the second input of a binary operator is to have; None: it is fine."""
    a, b = op["input_shapes"][:2]
    require(a is not None and b is not None, op, "shapes are not known")
    if not op["args"].get("broadcast") or a == b:
        return None
    axis = op["args"].get("axis", -1)
    axis = len(a) - len(b) if axis == -1 else axis
    return [1] * axis + list(b) + [1] * (len(a) - axis - len(b))


def dense(op):
    """FC as a product of matrices: the shapes of x and w as matrices, and that of the result."""
    args, (x, w) = op["args"], op["input_shapes"][:2]
    require(x is not None and w is not None, op, "shapes are not known")
    axis, split = args.get("axis", 1), args.get("axis_w", 1)
    rows, depth, count = product(x[:axis]), product(x[axis:]), product(w[:split])
    return [rows, depth], [count, depth], [*x[:axis], count]


def product(numbers):
    """The product of some numbers."""
    found = 1
    for number in numbers:
        found *= number
    return found


def summed_axes(op):
    """The axes that ExpandGradient sums over; the axes that x lacks come first."""
    d, x = op["input_shapes"]
    require(d is not None and x is not None, op, "shapes are not known")
    whole = [1] * (len(d) - len(x)) + list(x)
    return [axis for axis, size in enumerate(d) if size != whole[axis]], list(x)


def joined_axis(op):
    """The axis of Concat."""
    require(not op["args"].get("add_axis"), op, "add_axis")
    return op["args"].get("axis", 1)


def softmax_axis(op):
    """The axis from which on Softmax takes everything as one row."""
    axis, shape = op["args"].get("axis", 1), op["input_shapes"][0]
    require(shape is not None, op, "shapes are not known")
    return axis + len(shape) if axis < 0 else axis


#: Operators that are one operation of one array everywhere: Caffe2's name -> ONNX's, torch's.
UNARY = {
    "Relu": ("Relu", "relu"),
    "Negative": ("Neg", "neg"),
    "Abs": ("Abs", "abs"),
    "Sigmoid": ("Sigmoid", "sigmoid"),
    "Tanh": ("Tanh", "tanh"),
    "Exp": ("Exp", "exp"),
    "Log": ("Log", "log"),
    "Sqrt": ("Sqrt", "sqrt"),
    "Reciprocal": ("Reciprocal", "reciprocal"),
}
BINARY = {
    "Add": ("Add", "add"),
    "Sub": ("Sub", "sub"),
    "Mul": ("Mul", "mul"),
    "Div": ("Div", "div"),
}
#: DataType numbers -> names of numpy.
CAST = {1: "float32", 2: "int32", 6: "bool", 7: "uint8", 10: "int64", 13: "float64"}
