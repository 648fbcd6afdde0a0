"""SqueezeNet 1.1: squeezing 1 x 1 convolutions, expanded again by 1 x 1 and 3 x 3 ones.

data float (N, 3, 224, 224) -> prob float (N, 1000); other sizes do as well. `python
nets/squeezenet.py` writes nets/squeezenet/*.pbtxt.
"""

import netkit


def fire(layers, x, name, depth, squeeze, expand):
    """Squeeze `depth` channels to few, expand to twice `expand`."""
    x = layers.relu(layers.conv(x, f"{name}_squeeze", (depth, squeeze), 1))
    one = layers.relu(layers.conv(x, f"{name}_expand1", (squeeze, expand), 1))
    three = layers.relu(layers.conv(x, f"{name}_expand3", (squeeze, expand), 3, pad=1))
    x, _ = layers.net.Concat([one, three], [f"{name}_concat", f"{name}_split_info"])
    return x


def build():
    """The init net and the predict net."""
    layers = netkit.Layers("squeezenet")
    net = layers.net
    x = layers.relu(layers.conv(layers.data, "conv1", (3, 64), 3, stride=2))
    x = net.MaxPool(x, "pool1", kernel=3, stride=2)
    x = fire(layers, x, "fire2", 64, 16, 64)
    x = fire(layers, x, "fire3", 128, 16, 64)
    x = net.MaxPool(x, "pool3", kernel=3, stride=2)
    x = fire(layers, x, "fire4", 128, 32, 128)
    x = fire(layers, x, "fire5", 256, 32, 128)
    x = net.MaxPool(x, "pool5", kernel=3, stride=2)
    x = fire(layers, x, "fire6", 256, 48, 192)
    x = fire(layers, x, "fire7", 384, 48, 192)
    x = fire(layers, x, "fire8", 384, 64, 256)
    x = fire(layers, x, "fire9", 512, 64, 256)
    x = layers.dropout(x, 0.5)
    x = layers.relu(layers.conv(x, "conv10", (512, 1000), 1))
    x = net.AveragePool(x, "pool10", global_pooling=1)
    x, _ = net.Reshape(x, ["logits", "pool10_shape"], shape=[0, 1000])
    return layers.done(net.Softmax(x, "prob"))


def main():
    """Write both nets as text."""
    netkit.main(__file__, build)


if __name__ == "__main__":
    main()
