"""ResNet-50: bottleneck blocks with batch normalisation (as at test time) and shortcuts.

data float (N, 3, 224, 224) -> prob float (N, 1000); other sizes do as well. `python
nets/resnet50.py` writes nets/resnet50/*.pbtxt.
"""

import netkit

#: Name, blocks, channels inside of a block, stride of the first one.
STAGES = [("res2", 3, 64, 1), ("res3", 4, 128, 2), ("res4", 6, 256, 2), ("res5", 3, 512, 2)]
EXPANSION = 4


def conv_norm(layers, x, name, channels, kernel, factor=1.0, **args):
    """A convolution without bias, normalised."""
    x = layers.conv(x, name, channels, kernel, bias=False, filler="MSRAFill", **args)
    return layers.batch_norm(x, f"{name}_bn", channels[1], factor)


def bottleneck(layers, x, name, depth, inner, stride):
    """Narrow, convolve, widen; then add what came in.

    What is added is made small, so that numbers do not double from block to block.
    """
    outer = inner * EXPANSION
    y = layers.relu(conv_norm(layers, x, f"{name}_a", (depth, inner), 1, stride=stride))
    y = layers.relu(conv_norm(layers, y, f"{name}_b", (inner, inner), 3, pad=1))
    y = conv_norm(layers, y, f"{name}_c", (inner, outer), 1, factor=0.25)
    if depth != outer:
        x = conv_norm(layers, x, f"{name}_shortcut", (depth, outer), 1, stride=stride)
    return layers.relu(layers.net.Sum([y, x], f"{name}_sum"))


def build():
    """The init net and the predict net."""
    layers = netkit.Layers("resnet50")
    x = layers.relu(conv_norm(layers, layers.data, "conv1", (3, 64), 7, stride=2, pad=3))
    x = layers.net.MaxPool(x, "pool1", kernel=3, stride=2, pad=1)
    depth = 64
    for stage, blocks, inner, stride in STAGES:
        for index in range(blocks):
            x = bottleneck(layers, x, f"{stage}_{index}", depth, inner, stride if not index else 1)
            depth = inner * EXPANSION
    x = layers.net.AveragePool(x, "pool5", global_pooling=1)
    x = layers.fc(x, "fc1000", (depth, 1000))
    return layers.done(layers.net.Softmax(x, "prob"))


def main():
    """Write both nets as text."""
    netkit.main(__file__, build)


if __name__ == "__main__":
    main()
