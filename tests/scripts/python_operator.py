"""Operators written in Python, with and without a gradient, inside a net that learns."""

import numpy as np
from caffe2.python import core, workspace

calls = []


def scale_and_count(inputs, outputs):
    calls.append(inputs[0].shape)
    outputs[0].feed(inputs[0].data * 2)


def softsign(inputs, outputs):
    x = inputs[0].data
    outputs[0].reshape(x.shape)
    outputs[0].data[...] = x / (1 + np.abs(x))


def softsign_gradient(inputs, outputs):
    x, grad = inputs[0].data, inputs[-1].data
    outputs[0].reshape(x.shape)
    outputs[0].data[...] = grad / (1 + np.abs(x)) ** 2


net = core.Net("with_python")
net.Python(scale_and_count)(["x"], ["twice"])
net.Python(softsign, softsign_gradient)(["twice"], ["soft"])
net.FC(["soft", "w", "b"], "score")
net.SquaredL2Distance(["score", "target"], "distance")
net.AveragedLoss("distance", "loss")

forward = [op.type for op in net.Proto().op]
print(forward)

rng = np.random.RandomState(5)
x = rng.randn(4, 3).astype(np.float32)
workspace.FeedBlob("x", x)
workspace.FeedBlob("w", rng.randn(2, 3).astype(np.float32))
workspace.FeedBlob("b", np.zeros(2, dtype=np.float32))
workspace.FeedBlob("target", rng.randn(4, 2).astype(np.float32))
workspace.RunNetOnce(net)
print("loss {:.4f}".format(float(workspace.FetchBlob("loss"))))
print(np.round(workspace.FetchBlob("soft"), 4).tolist())
print(calls)

learner = core.Net("learner")
learner.Python(softsign, softsign_gradient)(["w_in"], ["w_soft"])
learner.Sub(["w_soft", "goal"], "delta")
learner.Mul(["delta", "delta"], "square")
learner.SumElements("square", "cost")
grads = learner.AddGradientOperators(["cost"])
print([op.type for op in learner.Proto().op])
print(str(grads["w_in"]))
learner.WeightedSum(["w_in", "one", grads["w_in"], "rate"], "w_in")

workspace.FeedBlob("w_in", np.array([0.5, -1.0, 2.0], dtype=np.float32))
workspace.FeedBlob("goal", np.array([0.1, 0.2, 0.3], dtype=np.float32))
workspace.FeedBlob("one", np.array([1], dtype=np.float32))
workspace.FeedBlob("rate", np.array([-0.5], dtype=np.float32))
workspace.CreateNet(learner)
for step in range(60):
    workspace.RunNet(learner)
    if step % 20 == 0:
        print("cost {:.4f}".format(float(workspace.FetchBlob("cost"))))
print(np.round(workspace.FetchBlob("w_in"), 3).tolist())


def fails(inputs, outputs):
    raise ValueError("no, thank you")


workspace.RunOperatorOnce(core.CreatePythonOperator(scale_and_count, ["x"], ["again"]))
print(workspace.FetchBlob("again").shape)
try:
    workspace.RunOperatorOnce(core.CreatePythonOperator(fails, ["x"], ["y"]))
except Exception as error:
    print("no, thank you" in str(error))
