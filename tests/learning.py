"""A small training: nets with dropout and momentum, rows, and the files of both."""

import numpy as np

from caffe2py import brew, core, model_helper, optimizer
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import write_message

ROWS, FEATURES = 40, 6


def rows(seed=0, count=ROWS):
    """Rows whose sum is to be found."""
    x = np.random.default_rng(seed).random((count, FEATURES)).astype(np.float32)
    return {"x": x, "wanted": x.sum(axis=1, keepdims=True)}


def found(model, *, is_test):
    h = brew.relu(model, brew.fc(model, "x", "hidden", FEATURES, 8), "hidden")
    h = brew.dropout(model, h, "dropped", ratio=0.25, is_test=int(is_test))
    h = brew.fc(model, h, "found", 8, 1)
    return model.net.AveragedLoss(model.net.SquaredL2Distance([h, "wanted"], "distance"), "loss")


def nets(build=None):
    """(init net, train net, test net); `build` adds the updates."""
    model = model_helper.ModelHelper("learn")
    model.AddGradientOperators([found(model, is_test=False)])
    (build or (lambda m: optimizer.build_sgd(m, 0.05, momentum=0.9)))(model)
    tests = model_helper.ModelHelper("measure", init_params=False)
    tests.net.AddExternalOutput(found(tests, is_test=True))
    protos = [named(model.param_init_net, "init"), named(model.net, "learn")]
    return [*protos, named(tests.net, "measure")]


def named(net, name):
    """A copy under a name that does not depend on other tests: names are seeds, too."""
    proto = NetDef()
    proto.CopyFrom(net.Proto() if isinstance(net, core.Net) else net)
    proto.name = name
    return proto


class Files:
    """The files of a training in a folder, and the arguments that name them."""

    def __init__(self, folder, build=None):
        self.folder = folder
        self.init, self.train, self.test = (folder / f"{n}.pbtxt" for n in ("i", "t", "e"))
        self.data = folder / "rows.npz"
        self.run = folder / "run"
        for path, net in zip((self.init, self.train, self.test), nets(build), strict=True):
            write_message(path, net)
        self.write_rows()

    def write_rows(self, **arrays):
        parts = {f"train/{n}": a for n, a in rows().items()}
        parts |= {f"test/{n}": a for n, a in rows(1, 10).items()}
        np.savez(self.data, **{**parts, **arrays})

    def arguments(self, *more, epochs=3):
        made = ["train", self.init, self.train, "--data", self.data, "--batch", 8]
        return [*made, "--epochs", epochs, *more]

    def saving(self, *more, **options):
        return self.arguments("--save", self.run, "--test", self.test, *more, **options)


def weights(folder):
    """The blobs of the newest checkpoint, as bytes, and where the random numbers are."""
    from caffe2py.training.checkpoint import newest

    _, checkpoint, wrong = newest(folder)
    assert wrong == []
    values = {name: np.asarray(value).tobytes() for name, value in checkpoint.values.items()}
    return checkpoint.iteration, values, checkpoint.random
