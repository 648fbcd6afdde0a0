"""LeNet: two convolutions and two fully connected layers for digits of 28 x 28 pixels.

data float (N, 1, 28, 28) -> prob float (N, 10). `python nets/lenet.py` writes nets/lenet/*.pbtxt.
"""

import netkit


def build():
    """The init net and the predict net."""
    layers = netkit.Layers("lenet")
    x = layers.conv(layers.data, "conv1", (1, 20), 5)
    x = layers.net.MaxPool(x, "pool1", kernel=2, stride=2)
    x = layers.conv(x, "conv2", (20, 50), 5)
    x = layers.net.MaxPool(x, "pool2", kernel=2, stride=2)
    x = layers.relu(layers.fc(x, "fc3", (50 * 4 * 4, 500)))
    x = layers.fc(x, "fc4", (500, 10))
    return layers.done(layers.net.Softmax(x, "prob"))


def main():
    """Write both nets as text."""
    netkit.main(__file__, build)


if __name__ == "__main__":
    main()
