"""A line through points by stochastic gradient descent, with the update written out by hand."""

import numpy as np
from caffe2.python import core, workspace

rng = np.random.RandomState(1701)
init = core.Net("init")
truth_w = init.GivenTensorFill([], "W_gt", shape=[1, 2], values=[2.0, 1.5])
truth_b = init.GivenTensorFill([], "B_gt", shape=[1], values=[0.5])
one = init.ConstantFill([], "ONE", shape=[1], value=1.0)
iterations = init.ConstantFill([], "ITER", shape=[1], value=0, dtype=core.DataType.INT64)
w = init.GivenTensorFill([], "W", shape=[1, 2], values=[-0.3, 0.8])
b = init.ConstantFill([], "B", shape=[1], value=0.0)

train = core.Net("train")
x = train.StopGradient("X", "X_stopped")
target = x.FC([truth_w, truth_b], "Y_gt")
noisy = train.StopGradient(train.Add([target, "noise"], "Y_noisy"), "Y_noisy_stopped")
prediction = x.FC([w, b], "Y_pred")
distance = train.SquaredL2Distance([noisy, prediction], "dist")
loss = distance.AveragedLoss([], ["loss"])
gradients = train.AddGradientOperators([loss])
train.Iter(iterations, iterations)
rate = train.LearningRate(iterations, "LR", base_lr=-0.1, policy="step", stepsize=20, gamma=0.9)
train.WeightedSum([w, one, gradients[w], rate], w)
train.WeightedSum([b, one, gradients[b], rate], b)

print([str(op.type) for op in train.Proto().op])
print({str(k): str(v) for k, v in sorted(gradients.items(), key=lambda item: str(item[0]))})

workspace.RunNetOnce(init)
workspace.FeedBlob("X", rng.randn(64, 2).astype(np.float32))
workspace.FeedBlob("noise", np.zeros((64, 1), dtype=np.float32))
workspace.CreateNet(train)
for step in range(100):
    workspace.FeedBlob("X", rng.randn(64, 2).astype(np.float32))
    workspace.FeedBlob("noise", (rng.randn(64, 1) * 0.05).astype(np.float32))
    workspace.RunNet(train.Proto().name)
    if step % 10 == 0:
        print(
            "step {:3d} loss {:.4f} lr {:.4f}".format(
                step, float(workspace.FetchBlob("loss")), float(workspace.FetchBlob("LR"))
            )
        )
print(
    "W {} B {}".format(
        np.round(workspace.FetchBlob("W"), 3).tolist(),
        np.round(workspace.FetchBlob("B"), 3).tolist(),
    )
)

# The same again as a plan, which is how longer trainings were run.
workspace.ResetWorkspace()
workspace.FeedBlob("X", rng.randn(64, 2).astype(np.float32))
workspace.FeedBlob("noise", np.zeros((64, 1), dtype=np.float32))
plan = core.Plan("toy_plan")
plan.AddStep(core.ExecutionStep("init", init))
plan.AddStep(core.ExecutionStep("train", train, 200))
workspace.RunPlan(plan)
print(
    "loss small: {} after {} iterations".format(
        bool(abs(workspace.FetchBlob("loss")) < 1e-4), int(workspace.FetchBlob("ITER")[0])
    )
)
print("W {}".format(np.round(workspace.FetchBlob("W"), 3).tolist()))
