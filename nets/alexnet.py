"""AlexNet: grouped convolutions, local response normalisation, dropout (as at test time).

data float (N, 3, 227, 227) -> prob float (N, 1000). `python nets/alexnet.py` writes
nets/alexnet/*.pbtxt.
"""

import netkit


def build():
    """The init net and the predict net."""
    layers = netkit.Layers("alexnet")
    net = layers.net
    x = layers.relu(layers.conv(layers.data, "conv1", (3, 96), 11, stride=4))
    x = net.MaxPool(layers.lrn(x, "norm1"), "pool1", kernel=3, stride=2)
    x = layers.relu(layers.conv(x, "conv2", (96, 256), 5, pad=2, group=2))
    x = net.MaxPool(layers.lrn(x, "norm2"), "pool2", kernel=3, stride=2)
    x = layers.relu(layers.conv(x, "conv3", (256, 384), 3, pad=1))
    x = layers.relu(layers.conv(x, "conv4", (384, 384), 3, pad=1, group=2))
    x = layers.relu(layers.conv(x, "conv5", (384, 256), 3, pad=1, group=2))
    x = net.MaxPool(x, "pool5", kernel=3, stride=2)
    x = layers.dropout(layers.relu(layers.fc(x, "fc6", (256 * 6 * 6, 4096))), 0.5)
    x = layers.dropout(layers.relu(layers.fc(x, "fc7", (4096, 4096))), 0.5)
    x = layers.fc(x, "fc8", (4096, 1000))
    return layers.done(net.Softmax(x, "prob"))


def main():
    """Write both nets as text."""
    netkit.main(__file__, build)


if __name__ == "__main__":
    main()
