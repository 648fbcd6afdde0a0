"""A small convolutional net for handwritten digits, trained from nothing in a few seconds.

data float (N, 1, 8, 8), pixels from 0 (background) to 255 (ink) -> prob float (N, 10). The digits
are those of scikit-learn (1797 pictures of 8 x 8 pixels): 360 of them, chosen once by a fixed seed,
are for testing only. Every run on one kind of CPU gives the same bits.

`python nets/digits/train.py` writes everything else in this folder: digits.npz, three nets to train
with (train_init_net, train_net, test_net), the trained init_net and predict_net, and a few test
digits as pictures. Needs scikit-learn and Pillow.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from caffe2py import brew, core, model_helper, optimizer, workspace
from caffe2py.proto import caffe2_pb2
from caffe2py.proto.text import to_text

HERE = Path(__file__).parent

TESTS = 360
BATCH, EPOCHS = 32, 40
#: Pictures are shown so many times as large.
ZOOM = 16


# ---------------------------------------------------------------- data


def load():
    """The arrays of digits.npz: train/data, train/label, test/data, test/label."""
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.float32)[:, np.newaxis]
    labels = digits.target.astype(np.int32)
    order = np.random.RandomState(0).permutation(len(labels))
    parts = {"test": order[:TESTS], "train": order[TESTS:]}
    found = {}
    for part, rows in parts.items():
        found[f"{part}/data"] = pixels[rows]
        found[f"{part}/label"] = labels[rows]
    return found


def batches(data, epoch):
    """The training rows in an order that depends on the epoch, in whole batches."""
    pixels, labels = data["train/data"], data["train/label"]
    order = np.random.RandomState(epoch).permutation(len(labels))
    for begin in range(0, len(labels) - BATCH + 1, BATCH):
        rows = order[begin : begin + BATCH]
        yield pixels[rows], labels[rows]


# ---------------------------------------------------------------- nets


def add_layers(model, *, is_test):
    """From "data" to the scores of ten classes."""
    x = model.net.Scale("data", "pixels", scale=1 / 255)
    x = brew.conv(model, x, "conv1", dim_in=1, dim_out=16, kernel=3, pad=1)
    x = brew.relu(model, x, x)
    x = brew.conv(model, x, "conv2", dim_in=16, dim_out=32, kernel=3, pad=1)
    x = brew.relu(model, x, x)
    x = brew.max_pool(model, x, "pool2", kernel=2, stride=2)
    x = brew.fc(model, x, "fc3", dim_in=32 * 4 * 4, dim_out=64)
    x = brew.relu(model, x, x)
    x = brew.dropout(model, x, "drop3", ratio=0.5, is_test=int(is_test))
    return brew.fc(model, x, "fc4", dim_in=64, dim_out=10)


def training_model():
    """The model with its loss, its backward operators and its updates."""
    model = model_helper.ModelHelper("digits_train")
    scores = add_layers(model, is_test=False)
    _, loss = model.net.SoftmaxWithLoss([scores, "label"], ["prob", "loss"])
    model.AddGradientOperators([loss])
    # the rate falls to a fifth after 16 epochs, and again after 32
    optimizer.build_adam(model, 0.002, policy="step", stepsize=16 * 44, gamma=0.2)
    model.net.AddExternalOutput("loss")
    return model


def test_model():
    """The same layers with loss and accuracy; the parameters are those of the training."""
    model = model_helper.ModelHelper("digits_test", init_params=False)
    scores = add_layers(model, is_test=True)
    prob, loss = model.net.SoftmaxWithLoss([scores, "label"], ["prob", "loss"])
    brew.accuracy(model, [prob, "label"], "accuracy")
    model.net.AddExternalOutput(loss, "accuracy")
    return model


def predict_model():
    """The same layers, from data to probabilities."""
    model = model_helper.ModelHelper("digits", init_params=False)
    prob = brew.softmax(model, add_layers(model, is_test=True), "prob")
    model.net.AddExternalOutput(prob)
    return model


# ---------------------------------------------------------------- training


def train(data, model):
    """Train for all epochs; the weights are in the workspace then."""
    workspace.ResetWorkspace()
    workspace.RunNetOnce(model.param_init_net)
    workspace.CreateNet(model.net, input_blobs=["data", "label"])
    for epoch in range(EPOCHS):
        for pixels, labels in batches(data, epoch):
            workspace.FeedBlob("data", pixels)
            workspace.FeedBlob("label", labels)
            workspace.RunNet(model.net)
        print(f"epoch {epoch + 1}: loss {float(workspace.FetchBlob('loss')):.4f}")


def measure(data, model):
    """The part of the test digits that the weights in the workspace tell right."""
    workspace.FeedBlob("data", data["test/data"])
    workspace.FeedBlob("label", data["test/label"])
    workspace.RunNetOnce(model.net)
    return float(workspace.FetchBlob("accuracy"))


def trained_init_net(params):
    """A net that fills the parameters with what was learnt."""
    net = core.Net("digits_init")
    for name in map(str, params):
        value = workspace.FetchBlob(name)
        net.GivenTensorFill([], name, shape=value.shape, values=value.reshape(-1))
    net.AddExternalOutput(*map(str, params))
    return net


# ---------------------------------------------------------------- files


def write_pictures(data):
    """The first test digit of each kind, large enough to be looked at."""
    for digit in range(10):
        row = int(np.flatnonzero(data["test/label"] == digit)[0])
        small = data["test/data"][row, 0].astype(np.uint8)
        large = small.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
        Image.fromarray(large).save(HERE / f"{digit}.png", optimize=True)


def write_net(name, net):
    """A net, as text where people will want to read it."""
    proto = caffe2_pb2.NetDef()
    proto.CopyFrom(net.Proto())
    if name.endswith(".pbtxt"):
        (HERE / name).write_text(to_text(proto), encoding="utf-8")
    else:
        (HERE / name).write_bytes(proto.SerializeToString())


def main():
    """Train, and write all files."""
    data = load()
    np.savez_compressed(HERE / "digits.npz", **data)
    write_pictures(data)
    model, tests, predict = training_model(), test_model(), predict_model()
    write_net("train_init_net.pbtxt", model.param_init_net)
    write_net("train_net.pbtxt", model.net)
    write_net("test_net.pbtxt", tests.net)
    train(data, model)
    print(f"accuracy on {TESTS} test digits: {measure(data, tests):.4f}")
    write_net("predict_net.pb", predict.net)
    write_net("init_net.pb", trained_init_net(model.GetParams()))


if __name__ == "__main__":
    main()
