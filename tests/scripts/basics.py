"""Blobs, operators, nets and workspaces, as a first look at the library would use them."""

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, utils, workspace

print("Current workspace: {}".format(workspace.CurrentWorkspace()))
print("Blobs: {}".format(workspace.Blobs()))
print("Has X: {}".format(workspace.HasBlob("X")))

X = np.arange(12, dtype=np.float32).reshape(3, 4) / 10 - 0.5
workspace.FeedBlob("X", X)
print("Fed X: {}".format(workspace.FetchBlob("X").tolist() == X.tolist()))
try:
    workspace.FetchBlob("no_such_blob")
except Exception:
    print("There is no such blob")

workspace.SwitchWorkspace("second", True)
print("{}: {}".format(workspace.CurrentWorkspace(), workspace.Blobs()))
workspace.FeedBlob("only_here", np.zeros(3, dtype=np.int32))
workspace.SwitchWorkspace("default")
print("{}: {}".format(workspace.CurrentWorkspace(), workspace.Blobs()))

op = core.CreateOperator(
    "Relu", ["X"], ["Y"], name="first", device_option=core.DeviceOption(caffe2_pb2.CPU)
)
print(str(op))
workspace.RunOperatorOnce(op)
print("Y: {}".format(np.round(workspace.FetchBlob("Y"), 4).tolist()))

filler = core.CreateOperator("ConstantFill", [], ["Z"], shape=[2, 3], value=1.5, run_once=0)
workspace.RunOperatorOnce(filler)
print("Z: {} {}".format(workspace.FetchBlob("Z").dtype, workspace.FetchBlob("Z").tolist()))
print([(a.name, a.f, list(a.ints)) for a in filler.arg])

net = core.Net("my_first_net")
weights = net.GivenTensorFill([], ["W"], shape=[5, 4], values=[i / 8.0 - 1.0625 for i in range(20)])
bias = net.ConstantFill([], ["b"], shape=[5], value=1.5)
hidden = net.FC(["X", weights, bias], ["h"])
answer = hidden.Sigmoid([], 1).Softmax([], "answer", axis=1)
print("{} {} {}".format(type(answer).__name__, str(answer), str(hidden)))
print(net.Proto())
workspace.RunNetOnce(net)
print("answer: {}".format(np.round(workspace.FetchBlob("answer"), 4).tolist()))

workspace.CreateNet(net)
for i in range(3):
    workspace.FeedBlob("X", X * (i + 1))
    workspace.RunNet(net.Name())
    print("run {}: {:.4f}".format(i, workspace.FetchBlob("answer").max()))

with core.NameScope("outer"):
    with core.NameScope("inner"):
        scoped = core.Net("scoped")
        scoped.Negative("x", "y")
        print(
            "{} -> {}".format(core.ScopedName("x"), [str(o) for o in scoped.Proto().op[0].output])
        )

with core.DeviceScope(core.DeviceOption(caffe2_pb2.CPU, 0)):
    print(core.CreateOperator("Copy", "a", "b").device_option.device_type)

argument = utils.MakeArgument("dims", [1, 2, 3])
print("{} {}".format(argument.name, list(argument.ints)))
tensor = utils.NumpyArrayToCaffe2Tensor(np.array([[1.5, 2.5]], dtype=np.float32), "t")
print("{} {} {}".format(tensor.name, list(tensor.dims), list(tensor.float_data)))
print(utils.Caffe2TensorToNumpyArray(tensor).tolist())

shapes, types = workspace.InferShapesAndTypes([net], {"X": [3, 4]})
print("{} {}".format(shapes["answer"], types["answer"]))

print(
    core.IsOperator("Relu"), core.IsOperator("Relux"), "Softmax" in workspace.RegisteredOperators()
)
print(sorted(workspace.Blobs()))
workspace.ResetWorkspace()
print(workspace.Blobs())
