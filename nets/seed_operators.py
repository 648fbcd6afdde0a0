"""Nine small operators, each with the operators of its gradient, called by name.

data float (2, 1, 3); the init net makes shapes and the gradients of the outputs. `python
nets/seed_operators.py` writes nets/seed_operators/*.pbtxt.
"""

import netkit


def zero_gradient(net, x):
    """Its gradient is zero everywhere."""
    net.ZeroGradient(x, [])
    return [net.ConstantFill(x, "zero_grad", value=0.0)]


def negative(net, x, given):
    """Negative, and NegateGradient, which is negative in the backward direction only."""
    return [
        net.Negative(x, "negative"),
        net.Negative(given, "negative_grad"),
        net.NegateGradient(x, "same"),
        net.Negative(given, "same_grad"),
    ]


def reciprocal(net, x, given):
    """1 / x; its gradient reads the result."""
    y = net.Reciprocal(x, "reciprocal")
    return [y, net.ReciprocalGradient([y, given], "reciprocal_grad")]


def shapes(net, x, shape, wide):
    """Operators that change shape or type, there and back."""
    expanded = net.Expand([x, shape], "expanded")
    longer = net.ExpandDims(x, "longer", dims=[0])
    squeezed = net.Squeeze(x, "squeezed", dims=[1])
    flat, before = net.Reshape(x, ["flat", "shape_before"], shape=[-1])
    whole = net.Cast(x, "whole", to="int32")
    return [
        expanded,
        net.ExpandGradient([wide, x], "expanded_grad"),
        longer,
        net.Squeeze(longer, "longer_grad", dims=[0]),
        squeezed,
        net.ExpandDims(squeezed, "squeezed_grad", dims=[1]),
        flat,
        net.Reshape([flat, before], ["flat_grad", "shape_after"])[0],
        whole,
        net.Cast(whole, "whole_grad", to="float"),
    ]


def build():
    """The init net and the predict net."""
    layers = netkit.Layers("seed_operators")
    net, x = layers.net, layers.data
    layers.init_net.GivenTensorInt64Fill([], "shape", shape=[3], values=[2, 4, 3])
    shape = net.AddExternalInput("shape")
    given = layers.weights("GaussianFill", "given_grad", (2, 1, 3))
    wide = layers.weights("GaussianFill", "wide_grad", (2, 4, 3))
    return layers.done(
        *zero_gradient(net, x),
        *negative(net, x, given),
        *reciprocal(net, x, given),
        *shapes(net, x, shape, wide),
    )


def main():
    """Write both nets as text."""
    netkit.main(__file__, build)


if __name__ == "__main__":
    main()
