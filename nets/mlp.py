"""Three fully connected layers for digits of 28 x 28 pixels.

data float (N, 784) -> prob float (N, 10). `python nets/mlp.py` writes nets/mlp/*.pbtxt.
"""

import netkit


def build():
    """The init net and the predict net."""
    layers = netkit.Layers("mlp")
    x = layers.relu(layers.fc(layers.data, "fc1", (784, 128)))
    x = layers.relu(layers.fc(x, "fc2", (128, 64)))
    x = layers.fc(x, "fc3", (64, 10))
    return layers.done(layers.net.Softmax(x, "prob"))


def main():
    """Write both nets as text."""
    netkit.main(__file__, build)


if __name__ == "__main__":
    main()
