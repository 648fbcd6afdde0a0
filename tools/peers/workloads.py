"""Workloads: nets with their inputs and weights, and the form in which every engine reads them.

A folder of workloads holds one folder each, with predict_net.pb, perhaps init_net.pb, and
meta.json: {"name", "group", "kind": "infer" or "train", "inputs": [array...], "params": [array...],
"outputs": [blob...]}. An array is {"name", "shape", "dtype", "dist", "a", "b"}, drawn as `dist`
says: "normal" (mean a, deviation b), "uniform" (from a to b), "const" (a), "randint" (from a to
below b), "values" (those of the entry "values").
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.proto.args import get_value, make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.proto.files import read_net
from caffe2py.registry.infer_net import Walk
from caffe2py.tensor.types import TensorType

#: Random values are drawn up to this many; larger arrays repeat them.
_MOST_DRAWN = 1 << 22


@dataclass
class Workload:
    """A net, what is fed to it, and what it gives."""

    name: str
    group: str
    net: NetDef
    arrays: dict[str, np.ndarray]
    inputs: list[str]
    outputs: list[str]
    kind: str = "infer"
    init: NetDef | None = None

    def write(self, folder: Path) -> None:
        """Everything that an engine needs, in files."""
        folder.mkdir(parents=True, exist_ok=True)
        net = NetDef()
        net.CopyFrom(self.net)
        net.name = net.name or self.name
        (folder / "predict_net.pb").write_bytes(net.SerializeToString())
        if self.init is not None:
            (folder / "init_net.pb").write_bytes(self.init.SerializeToString())
        np.savez(folder / "arrays.npz", **{f"a/{n}": a for n, a in self.arrays.items()})
        (folder / "net.json").write_text(json.dumps(self.described()))

    def described(self) -> dict[str, Any]:
        """The net without protobuf, with the shapes that blobs have before and after operators."""
        shapes = {n: a for n, a in self.arrays.items() if a.dtype.kind == "i" and a.size <= 64}
        walk = Walk({name: TensorType.of(a) for name, a in self.arrays.items()}, shapes)
        if self.init is not None:
            first = Walk()
            for _ in first.steps(self.init):
                pass
            walk.types = {**first.types, **walk.types}
        ops = [
            {
                "type": step.op.type,
                "inputs": list(step.op.input),
                "outputs": list(step.op.output),
                "args": _args(step.op),
                "input_shapes": [_shape(type_) for type_ in step.inputs],
                "output_shapes": [_shape(type_) for type_ in step.outputs],
            }
            for step in walk.steps(self.net)
        ]
        return {
            "name": self.name,
            "kind": self.kind,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "ops": ops,
        }


def _shape(type_: TensorType) -> list[int] | None:
    return None if type_.full_shape is None else list(type_.full_shape)


def _args(op: OperatorDef) -> dict[str, Any]:
    found = {}
    for arg in op.arg:
        value = get_value(arg)
        if isinstance(value, bytes):
            found[arg.name] = value.decode(errors="replace")
        elif all(
            isinstance(v, int | float) for v in (value if isinstance(value, list) else [value])
        ):
            found[arg.name] = value
        else:
            found[arg.name] = None  # nets, tensors: for engines that read the NetDef only
    return found


# ---------------------------------------------------------------- folders


def read_folder(folder: Path, select: Sequence[str] = ()) -> Iterator[Workload]:
    """The workloads in a folder; `select` are names, or beginnings of names that end in "_"."""
    for path in sorted(p for p in folder.iterdir() if (p / "meta.json").is_file()):
        if chosen(path.name, select):
            yield _read(path)


def chosen(name: str, select: Sequence[str]) -> bool:
    """Whether a workload is among those asked for; all are if none is named."""
    return not select or any(
        name.startswith(one) if one.endswith("_") else name == one for one in select
    )


def _read(path: Path) -> Workload:
    meta = json.loads((path / "meta.json").read_text())
    arrays = {spec["name"]: draw(spec) for spec in [*meta["inputs"], *meta.get("params", [])]}
    init = path / "init_net.pb"
    return Workload(
        meta.get("name", path.name),
        meta.get("group", "-"),
        read_net(path / "predict_net.pb"),
        arrays,
        [spec["name"] for spec in meta["inputs"]],
        list(meta["outputs"]),
        meta.get("kind", "infer"),
        read_net(init, allow_empty=True) if init.is_file() else None,
    )


def draw(spec: Mapping[str, Any]) -> np.ndarray:
    """The array that an entry describes; the same in every run."""
    shape, count = tuple(spec["shape"]), int(np.prod(spec["shape"], dtype=np.int64))
    rng = np.random.default_rng(zlib.crc32(spec["name"].encode()))
    a, b = spec.get("a", 0.0), spec.get("b", 1.0)
    few = min(count, _MOST_DRAWN)
    draws: dict[str, Callable[[], np.ndarray]] = {
        "normal": lambda: rng.standard_normal(few, np.float32) * b + a,
        "uniform": lambda: rng.random(few, np.float32) * (b - a) + a,
        "const": lambda: np.full(few, a),
        "randint": lambda: rng.integers(int(a), int(b), few),
        "values": lambda: np.asarray(spec["values"]).reshape(-1),
    }
    values = draws[spec["dist"]]().astype(spec["dtype"])
    return np.ascontiguousarray(np.resize(values, count).reshape(shape))


# ---------------------------------------------------------------- workloads of our own


@dataclass
class Builder:
    """Operators in a row, and the arrays that they read."""

    name: str
    group: str
    ops: list[OperatorDef] = field(default_factory=list)
    specs: list[dict[str, Any]] = field(default_factory=list)

    def array(self, name: str, *shape: int, scale: float = 1.0) -> str:
        entry = {"name": name, "shape": shape, "dtype": "float32", "dist": "normal", "b": scale}
        self.specs.append(entry)
        return name

    def op(self, type_: str, inputs: str, output: str, **args: Any) -> str:
        made = OperatorDef(type=type_, input=inputs.split(), output=output.split())
        made.arg.extend(make_argument(name, value) for name, value in args.items())
        self.ops.append(made)
        return output.split()[0]

    def conv(self, x: str, name: str, depth: int, count: int, kernel: int, **args: int) -> str:
        deviation = (2 / (depth // args.get("group", 1) * kernel**2)) ** 0.5
        w = self.array(
            f"{name}_w", count, depth // args.get("group", 1), kernel, kernel, scale=deviation
        )
        b = self.array(f"{name}_b", count, scale=0.1)
        return self.op("Conv", f"{x} {w} {b}", name, kernel=kernel, **args)

    def fc(self, x: str, name: str, depth: int, count: int) -> str:
        w = self.array(f"{name}_w", count, depth, scale=depth**-0.5)
        b = self.array(f"{name}_b", count, scale=0.1)
        return self.op("FC", f"{x} {w} {b}", name)

    def done(self, output: str, *inputs: str) -> Workload:
        arrays = {spec["name"]: draw(spec) for spec in self.specs}
        net = NetDef(name=self.name, op=self.ops, external_input=arrays, external_output=[output])
        return Workload(self.name, self.group, net, arrays, list(inputs), [output])


def own() -> dict[str, Callable[[], Workload]]:
    """Small workloads by name: nets, dispatch and chains, single operators."""
    return {
        "net_mlp": _mlp,
        "net_convnet": _convnet,
        "chain_100_relu_10": lambda: _chain("chain_100_relu_10", ("Relu",), 100, 10),
        "chain_20_unary_1M": lambda: _chain(
            "chain_20_unary_1M", ("Negative", "Scale", "Abs", "Clip"), 20, 1 << 20
        ),
        "op_fc_64x512x512": _fc,
        "op_conv3x3_64_28": _conv,
    }


def _mlp() -> Workload:
    make = Builder("net_mlp", "net")
    x = make.array("data", 16, 784)
    for k, (depth, count) in enumerate([(784, 256), (256, 128), (128, 10)]):
        x = make.fc(x, f"fc{k}", depth, count)
        x = make.op("Relu", x, x) if k < 2 else x
    return make.done(make.op("Softmax", x, "prob"), "data")


def _convnet() -> Workload:
    make = Builder("net_convnet", "net")
    x = make.conv(make.array("data", 1, 3, 64, 64), "conv1", 3, 32, 5, stride=2, pad=2)
    x = make.op("Relu", x, x)
    one = make.conv(x, "conv2", 32, 32, 1)
    three = make.conv(x, "conv3", 32, 32, 3, pad=1)
    x = make.op("Relu", make.op("Sum", f"{one} {three}", "sum"), "joined")
    deep = make.conv(x, "conv4", 32, 32, 3, pad=1, group=32)
    x = make.op("Concat", f"{x} {deep}", "both widths", axis=1)
    x = make.op("MaxPool", x, "pool1", kernel=2, stride=2)
    x = make.op("LRN", x, "norm", size=5, alpha=1e-4, beta=0.75, bias=1.0)
    x = make.op("AveragePool", x, "pool2", global_pooling=1)
    return make.done(make.op("Softmax", make.fc(x, "fc", 64, 10), "prob"), "data")


def _chain(name: str, types: tuple[str, ...], count: int, size: int) -> Workload:
    make = Builder(name, "chain")
    args = {"Scale": {"scale": 0.99}, "Clip": {"min": -2.0, "max": 2.0}}
    x = make.array("x0", size)
    for k in range(count):
        type_ = types[k % len(types)]
        x = make.op(type_, x, f"x{k + 1}", **args.get(type_, {}))
    return make.done(x, "x0")


def _fc() -> Workload:
    make = Builder("op_fc_64x512x512", "op")
    return make.done(make.fc(make.array("x", 64, 512), "y", 512, 512), "x")


def _conv() -> Workload:
    make = Builder("op_conv3x3_64_28", "op")
    return make.done(make.conv(make.array("x", 1, 64, 28, 28), "y", 64, 64, 3, pad=1), "x")
