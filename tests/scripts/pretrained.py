"""A model saved as init_net.pb and predict_net.pb, loaded and asked, in the three usual ways."""

import os
import tempfile

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

rng = np.random.RandomState(3)
folder = tempfile.mkdtemp()

# A model that somebody saved some years ago.
weights = core.Net("init")
for name, shape in [
    ("conv1_w", [6, 3, 3, 3]),
    ("conv1_b", [6]),
    ("fc_w", [4, 6 * 7 * 7]),
    ("fc_b", [4]),
]:
    values = (rng.randn(*shape) * 0.1).astype(np.float32)
    weights.GivenTensorFill([], name, shape=shape, values=values.ravel().tolist())
weights.ConstantFill([], "data", shape=[1])
predict = core.Net("predict")
predict.Conv(["data", "conv1_w", "conv1_b"], "conv1", kernel=3, stride=2, pad=1)
predict.Relu("conv1", "conv1")
predict.LRN("conv1", ["norm1", "norm1_scale"], size=3, alpha=1e-4, beta=0.75, bias=1.0)
predict.FC(["norm1", "fc_w", "fc_b"], "fc")
predict.Softmax("fc", "prob")
predict.AddExternalOutput(core.BlobReference("prob"))
for name, net in (("init_net.pb", weights), ("predict_net.pb", predict)):
    with open(os.path.join(folder, name), "wb") as target:
        target.write(net.Proto().SerializeToString())

image = rng.rand(2, 3, 14, 14).astype(np.float32)

# 1. the predictor
with open(os.path.join(folder, "init_net.pb"), "rb") as source:
    init_bytes = source.read()
with open(os.path.join(folder, "predict_net.pb"), "rb") as source:
    predict_bytes = source.read()
predictor = workspace.Predictor(init_bytes, predict_bytes)
first = predictor.run([image])[0]
print("predictor {} {}".format(first.shape, np.round(first, 4).tolist()))
print(
    "by name   {}".format(
        np.round(predictor.run({"data": image})[0], 4).tolist() == np.round(first, 4).tolist()
    )
)

# 2. NetDefs read, changed and run
init_net = caffe2_pb2.NetDef()
init_net.ParseFromString(init_bytes)
predict_net = caffe2_pb2.NetDef()
predict_net.ParseFromString(predict_bytes)
workspace.ResetWorkspace()
workspace.RunNetOnce(init_net)
workspace.FeedBlob("data", image)
workspace.CreateNet(predict_net)
workspace.RunNet(predict_net.name)
second = workspace.FetchBlob("prob")
print("net def   {}".format(bool(np.allclose(first, second))))
print("{} {}".format(predict_net.name, [op.type for op in predict_net.op]))

# 3. a layer cut off, and features read
del predict_net.op[-2:]
predict_net.name = "features"
predict_net.external_output[:] = ["norm1"]
workspace.RunNetOnce(predict_net)
features = workspace.FetchBlob("norm1")
print("features {} mean {:.4f} max {:.4f}".format(features.shape, features.mean(), features.max()))
print("conv1_w {:.4f}".format(float(np.abs(workspace.FetchBlob("conv1_w")).sum())))
