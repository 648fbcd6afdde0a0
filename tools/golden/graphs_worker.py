"""Differentiates random graphs and given nets with the real Caffe2; for the oracle's Python 3.8.

graphs_worker.py FOLDER GRAPHS NET.pb...: writes FOLDER/answers.npz in the form that
tests/golden/README.md describes.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core

sys.path.insert(0, str(Path(__file__).parent))
from graphs import graph


class OrderedSet(set):
    """A set that is read in the order of its making.

    Where an operator is the first user of several blobs, Caffe2 adds up their gradients in the
    order of a set of strings, which is another one in each process.
    """

    def __init__(self, items=()):
        self.items = list(dict.fromkeys(items))
        super().__init__(self.items)

    def __iter__(self):
        return iter(self.items)


def text(value):
    """UTF-8 as an array."""
    return np.frombuffer(value.encode(), dtype=np.uint8)


def pairs(gradients):
    """The map that the call returned, as a list."""
    return [
        [str(blob), [str(part) for part in found] if isinstance(found, tuple) else str(found)]
        for blob, found in gradients.items()
    ]


def scopes(call):
    stack = contextlib.ExitStack()
    stack.enter_context(core.NameScope(call["scope"]))
    if call["device"] is not None:
        stack.enter_context(core.DeviceScope(core.DeviceOption(call["device"], 2)))
    return stack


def differentiate(net, call):
    """The parts of an answer: the operators that were added and the map, or the refusal."""
    before = len(net.Proto().op)
    given = {core.BlobReference(loss): gradient for loss, gradient in call["ys"].items()}
    try:
        with scopes(call):
            found = net.AddGradientOperators(list(given) if call["list"] else given, call["skip"])
    except Exception as error:
        return {"error": text(str(error).partition("\n")[0][:200])}
    added = caffe2_pb2.NetDef(op=net.Proto().op[before:])
    return {
        "added": np.frombuffer(added.SerializeToString(), dtype=np.uint8),
        "map": text(json.dumps(pairs(found))),
    }


def main(folder, graphs, *files):
    core.set = OrderedSet
    answers = {}
    for seed in range(int(graphs)):
        made, call = graph(core, seed)
        proto = made.net.Proto()
        proto.name = "graph"
        parts = {"net": np.frombuffer(proto.SerializeToString(), dtype=np.uint8)}
        parts["call"] = text(json.dumps(dict(call, inputs=made.external)))
        parts.update(differentiate(made.net, call))
        answers.update((f"{seed:03d}/{key}", value) for key, value in parts.items())
    for file in map(Path, files):
        proto = caffe2_pb2.NetDef.FromString(file.read_bytes())
        for number, loss in enumerate(proto.external_output):
            call = {"ys": {loss: None}, "list": True, "skip": 0, "scope": "", "device": None}
            parts = dict(differentiate(core.Net(proto), call), call=text(json.dumps(call)))
            key = f"{file.stem}.{number}"
            answers.update((f"{key}/{name}", value) for name, value in parts.items())
    np.savez(Path(folder) / "answers.npz", **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
