"""Small nets of many shapes: branches, several readers, in-place operators, views, dead ends."""

import numpy as np

from caffe2py.proto.caffe2_pb2 import NetDef
from tests.toy import op

ROWS, COLUMNS = 5, 24

_UNARY = ["Relu", "Negative", "Sigmoid", "Copy", "StopGradient", "Tanh", "Softmax"]
_BINARY = ["Add", "Mul", "Sub", "Sum"]

#: Weights: name -> array.
WEIGHTS = {
    "w": np.random.default_rng(1).uniform(-1, 1, (COLUMNS, COLUMNS)).astype(np.float32),
    "b": np.random.default_rng(2).uniform(-1, 1, COLUMNS).astype(np.float32),
}


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.net = NetDef(name=f"random{seed}")
        self.flat = ["x"]  # blobs of shape (ROWS, COLUMNS)
        self.count = 0

    def pick(self, names):
        return names[self.rng.integers(len(names))]

    def new(self):
        self.count += 1
        return f"t{self.count}"

    def output(self, *inputs, inplace=True):
        """A blob to write to: new, one of the inputs, or one that is overwritten."""
        chance = self.rng.random()
        own = [name for name in inputs if name != "x"]
        if own and inplace and chance < 0.2:
            return own[0]
        old = [name for name in self.flat if name != "x" and name not in inputs]
        return self.pick(old) if old and chance < 0.3 else self.new()

    def step(self):
        kind = self.rng.integers(8)
        a, b = self.pick(self.flat), self.pick(self.flat)
        if kind < 3:
            type_ = self.pick(_UNARY)
            y = self.output(a, inplace=type_ in ("Relu", "Negative", "Sigmoid", "Tanh"))
            made = op(type_, a, y)
        elif kind < 5:
            y = self.output(a, b, inplace=False)
            made = op(self.pick(_BINARY), f"{a} {b}", y)
        elif kind == 5:
            y = self.output(a, inplace=False)
            made = op("FC", f"{a} w b", y)
        elif kind == 6 and self.rng.random() < 0.3 and a != "x":  # in place
            self.net.op.append(op("Reshape", a, f"{a} {self.new()}", shape=[COLUMNS, ROWS]))
            made, y = op("Reshape", a, f"{a} {self.new()}", shape=[ROWS, COLUMNS]), a
        elif kind == 6 and self.rng.random() < 0.5:  # another name
            y = self.new()
            made = op("Alias", a, y)
        elif kind == 6:
            y, shape = self.new(), self.new()
            self.net.op.append(op("Reshape", a, f"{y} {shape}", shape=[COLUMNS, ROWS]))
            back = self.new()
            made = op("Reshape", y, f"{back} {self.new()}", shape=[ROWS, COLUMNS])
            y = back
        else:
            y, mask = self.output(a), self.new()
            made = op("Dropout", a, f"{y} {mask}", is_test=1)
        self.net.op.append(made)
        if y not in self.flat:
            self.flat.append(y)


def random_net(seed):
    """A net that reads x, w and b, and the names of its outputs."""
    maker = _Maker(seed)
    for _ in range(int(maker.rng.integers(4, 25))):
        maker.step()
    outputs = sorted({maker.pick(maker.flat) for _ in range(2)} | {maker.flat[-1]})
    maker.net.external_output.extend(outputs)
    return maker.net, outputs
