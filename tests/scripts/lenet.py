"""A small LeNet on digits drawn with a pen of noise: model helper, brew, a scope for test and train."""

import numpy as np
from caffe2.python import brew, core, model_helper, optimizer, workspace

SEGMENTS = [
    "1110111",
    "0010010",
    "1011101",
    "1011011",
    "0111010",
    "1101011",
    "1101111",
    "1010010",
    "1111111",
    "1111011",
]


def draw(digit, rng):
    """A 16 x 16 picture of a seven-segment digit, moved a little, with noise."""
    picture = np.zeros((16, 16), dtype=np.float32)
    top, left = 2 + rng.randint(-1, 2), 4 + rng.randint(-2, 3)
    strokes = [
        (slice(top, top + 2), slice(left, left + 8)),
        (slice(top, top + 6), slice(left, left + 2)),
        (slice(top, top + 6), slice(left + 6, left + 8)),
        (slice(top + 5, top + 7), slice(left, left + 8)),
        (slice(top + 6, top + 12), slice(left, left + 2)),
        (slice(top + 6, top + 12), slice(left + 6, left + 8)),
        (slice(top + 10, top + 12), slice(left, left + 8)),
    ]
    for lit, (rows, columns) in zip(SEGMENTS[digit], strokes):
        if lit == "1":
            picture[rows, columns] = 1
    return picture + rng.randn(16, 16).astype(np.float32) * np.float32(0.3)


def batch(rng, size):
    labels = rng.randint(0, 10, size).astype(np.int32)
    return np.stack([draw(label, rng) for label in labels])[:, None], labels


def add_lenet(model, data):
    conv1 = brew.conv(model, data, "conv1", dim_in=1, dim_out=8, kernel=5, pad=2)
    pool1 = brew.max_pool(model, conv1, "pool1", kernel=2, stride=2)
    conv2 = brew.conv(model, pool1, "conv2", dim_in=8, dim_out=16, kernel=3)
    pool2 = brew.max_pool(model, conv2, "pool2", kernel=2, stride=2)
    fc3 = brew.fc(model, pool2, "fc3", dim_in=16 * 3 * 3, dim_out=32)
    relu = brew.relu(model, fc3, fc3)
    pred = brew.fc(model, relu, "pred", 32, 10)
    return brew.softmax(model, pred, "softmax")


def add_training(model, softmax, label):
    xent = model.LabelCrossEntropy([softmax, label], "xent")
    loss = model.AveragedLoss(xent, "loss")
    brew.accuracy(model, [softmax, label], "accuracy")
    model.AddGradientOperators([loss])
    optimizer.build_sgd(
        model, base_learning_rate=0.05, policy="step", stepsize=10, gamma=0.95, momentum=0.9
    )


arguments = {"order": "NCHW"}
trainer = model_helper.ModelHelper(name="lenet_train", arg_scope=arguments)
add_training(trainer, add_lenet(trainer, "data"), "label")
tester = model_helper.ModelHelper(name="lenet_test", arg_scope=arguments, init_params=False)
brew.accuracy(tester, [add_lenet(tester, "data"), "label"], "accuracy")

print([str(p) for p in trainer.params])
print([(op.type, list(op.input), list(op.output)) for op in trainer.net.Proto().op])

rng = np.random.RandomState(8)
workspace.RunNetOnce(trainer.param_init_net)
for param in trainer.params:
    shape = workspace.FetchBlob(param).shape
    fan_in = int(np.prod(shape[1:])) or 1
    value = (
        (rng.rand(*shape) * 2 - 1) * np.sqrt(3.0 / fan_in) if len(shape) > 1 else np.zeros(shape)
    )
    workspace.FeedBlob(param, value.astype(np.float32))

data, label = batch(rng, 64)
workspace.FeedBlob("data", data)
workspace.FeedBlob("label", label)
workspace.CreateNet(trainer.net)
workspace.CreateNet(tester.net)
for step in range(40):
    data, label = batch(rng, 64)
    workspace.FeedBlob("data", data)
    workspace.FeedBlob("label", label)
    workspace.RunNet(trainer.net)
    if step % 5 == 0:
        print("step {:2d} loss {:.3f}".format(step, float(workspace.FetchBlob("loss"))))

data, label = batch(np.random.RandomState(99), 200)
workspace.FeedBlob("data", data)
workspace.FeedBlob("label", label)
workspace.RunNet(tester.net)
print("test accuracy {:.2f}".format(float(workspace.FetchBlob("accuracy"))))
