"""Inception v1 (GoogLeNet) without its auxiliary classifiers.

data float (N, 3, 224, 224) -> prob float (N, 1000); other sizes do as well. `python
nets/inception_v1.py` writes nets/inception_v1/*.pbtxt.
"""

import netkit

#: Name, input channels, then those of the branches: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; pool.
BLOCKS = [
    ("inception_3a", 192, 64, (96, 128), (16, 32), 32),
    ("inception_3b", 256, 128, (128, 192), (32, 96), 64),
    ("inception_4a", 480, 192, (96, 208), (16, 48), 64),
    ("inception_4b", 512, 160, (112, 224), (24, 64), 64),
    ("inception_4c", 512, 128, (128, 256), (24, 64), 64),
    ("inception_4d", 512, 112, (144, 288), (32, 64), 64),
    ("inception_4e", 528, 256, (160, 320), (32, 128), 128),
    ("inception_5a", 832, 256, (160, 320), (32, 128), 128),
    ("inception_5b", 832, 384, (192, 384), (48, 128), 128),
]


def halved(layers, x, name):
    """Max pooling to half the size, rounded up: the window may stick out to the right and below."""
    pads = {"pad_t": 0, "pad_l": 0, "pad_b": 1, "pad_r": 1}
    return layers.net.MaxPool(x, name, kernel=3, stride=2, **pads)


def inception(layers, x, name, depth, one, three, five, pool):
    """Four branches side by side."""

    def conv(x, part, channels, kernel, **args):
        return layers.relu(layers.conv(x, f"{name}_{part}", channels, kernel, **args))

    reduced3 = conv(x, "3x3_reduce", (depth, three[0]), 1)
    reduced5 = conv(x, "5x5_reduce", (depth, five[0]), 1)
    pooled = layers.net.MaxPool(x, f"{name}_pool", kernel=3, stride=1, pad=1)
    branches = [
        conv(x, "1x1", (depth, one), 1),
        conv(reduced3, "3x3", three, 3, pad=1),
        conv(reduced5, "5x5", five, 5, pad=2),
        conv(pooled, "pool_proj", (depth, pool), 1),
    ]
    x, _ = layers.net.Concat(branches, [f"{name}_output", f"{name}_split_info"])
    return x


def build():
    """The init net and the predict net."""
    layers = netkit.Layers("inception_v1")
    x = layers.relu(layers.conv(layers.data, "conv1", (3, 64), 7, stride=2, pad=3))
    x = layers.lrn(halved(layers, x, "pool1"), "norm1")
    x = layers.relu(layers.conv(x, "conv2_reduce", (64, 64), 1))
    x = layers.relu(layers.conv(x, "conv2", (64, 192), 3, pad=1))
    x = halved(layers, layers.lrn(x, "norm2"), "pool2")
    for block in BLOCKS:
        x = inception(layers, x, *block)
        if block[0] in ("inception_3b", "inception_4e"):
            x = halved(layers, x, f"{block[0]}_half")
    x = layers.dropout(layers.net.AveragePool(x, "pool5", global_pooling=1), 0.4)
    x = layers.fc(x, "loss3_classifier", (1024, 1000))
    return layers.done(layers.net.Softmax(x, "prob"))


def main():
    """Write both nets as text."""
    netkit.main(__file__, build)


if __name__ == "__main__":
    main()
