"""What the scripts beside it share: layers with their weights, and writing the two nets as text.

A layer adds operators to the predict net and, for each of its parameters, a filler to the init net.
Fillers have a seed of their own, so every run of the init net gives the same weights.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from caffe2py import core
from caffe2py.proto import caffe2_pb2
from caffe2py.proto.text import to_text

HERE = Path(__file__).parent

Build = Callable[[], tuple[core.Net, core.Net]]


class Layers:
    """A pair of nets under construction; methods take and return references to blobs."""

    def __init__(self, name: str) -> None:
        self.init_net = core.Net(f"{name}_init")
        self.net = core.Net(name)
        # the text must not depend on which nets this process has built before
        self.init_net.Proto().name = f"{name}_init"
        self.net.Proto().name = name
        self.data = self.net.AddExternalInput("data")

    def done(self, *outputs: Any) -> tuple[core.Net, core.Net]:
        """The init net and the predict net, with these blobs as results."""
        self.init_net.AddExternalOutputs(*self.net.external_inputs[1:])
        self.net.AddExternalOutputs(*outputs)
        return self.init_net, self.net

    # ---- parameters

    def weights(self, filler: str, name: str, shape: Sequence[int]) -> Any:
        """A parameter from a random filler with a seed of its own."""
        seed = len(self.init_net.Proto().op) + 1
        option = core.DeviceOption(caffe2_pb2.CPU, random_seed=seed)
        getattr(self.init_net, filler)([], name, shape=shape, device_option=option)
        return self.net.AddExternalInput(name)

    def constant(self, name: str, shape: Sequence[int], value: float) -> Any:
        """A parameter that is the same everywhere."""
        self.init_net.ConstantFill([], name, shape=shape, value=value)
        return self.net.AddExternalInput(name)

    # ---- layers

    def conv(
        self,
        x: Any,
        name: str,
        channels: tuple[int, int],
        kernel: int,
        *,
        bias: bool = True,
        filler: str = "XavierFill",
        group: int = 1,
        **args: int,
    ) -> Any:
        """A convolution from channels[0] to channels[1] channels."""
        depth, count = channels
        shape = (count, depth // group, kernel, kernel)
        inputs = [x, self.weights(filler, f"{name}_w", shape)]
        if bias:
            inputs.append(self.constant(f"{name}_b", (count,), 0.0))
        if group != 1:
            args["group"] = group
        return self.net.Conv(inputs, name, kernel=kernel, **args)

    def fc(self, x: Any, name: str, sizes: tuple[int, int]) -> Any:
        """A fully connected layer from sizes[0] to sizes[1] numbers."""
        size, count = sizes
        w = self.weights("XavierFill", f"{name}_w", (count, size))
        b = self.constant(f"{name}_b", (count,), 0.0)
        return self.net.FC([x, w, b], name)

    def batch_norm(self, x: Any, name: str, channels: int, factor: float = 1.0) -> Any:
        """Batch normalisation as at test time, in a blob of its own."""
        shape = (channels,)
        scale = self.constant(f"{name}_scale", shape, factor)
        bias = self.constant(f"{name}_bias", shape, 0.0)
        mean = self.constant(f"{name}_mean", shape, 0.0)
        variance = self.constant(f"{name}_var", shape, 1.0)
        return self.net.SpatialBN([x, scale, bias, mean, variance], name, is_test=1)

    def relu(self, x: Any) -> Any:
        """Relu in place."""
        return self.net.Relu(x, x)

    def dropout(self, x: Any, ratio: float) -> Any:
        """Dropout as at test time, in place: it changes nothing."""
        return self.net.Dropout(x, x, is_test=1, ratio=ratio)

    def lrn(self, x: Any, name: str) -> Any:
        """Local response normalisation across five channels."""
        return self.net.LRN(x, name, size=5, alpha=1e-4, beta=0.75, bias=1.0)


def main(script: str, build: Build) -> None:
    """Write both nets as text to the folder that is named after the script."""
    for path, text in texts(Path(script).stem, build).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


def texts(name: str, build: Build) -> dict[Path, str]:
    """The files that belong to a script, with what should be in them."""
    init_net, net = build()
    folder = HERE / name
    return {
        folder / "init_net.pbtxt": to_text(init_net.Proto()),
        folder / "predict_net.pbtxt": to_text(net.Proto()),
    }
