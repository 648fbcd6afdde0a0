"""RNN, GRU and LSTM, step after step: as many operators as the sequence is long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table

__all__ = ["RULES"]

RULES = Table()

#: The longest sequence that is written out.
_MOST_STEPS = 1024

_ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softsign": "Softsign",
                "softplus": "Softplus"}  # fmt: skip


@dataclass
class _Layer:
    """One direction of a layer, and what its steps need."""

    g: Emitter
    n: Node
    functions: list[str]
    hidden: int
    #: Weights (gates * hidden, hidden) of the state, and their bias.
    recurrent: str
    bias: str
    peepholes: str | None

    def act(self, index: int, x: str) -> str:
        """An activation of the node, after its clip."""
        limit = self.n.float("clip")
        if limit:
            x = self.g.emit("Clip", x, min=-limit, max=limit)
        return self.g.emit(self.functions[index], x)

    def split(self, x: str, parts: int) -> list[str]:
        """The gates of a row each."""
        names = [self.g.fresh("gate") for _ in range(parts)]
        return self.g.emit_all("Split", [x], names, axis=1)

    def rows(self, name: str, first: int, last: int) -> str:
        """The rows of some gates."""
        places = np.arange(first * self.hidden, last * self.hidden)
        return self.g.take(name, places, 0)

    def peep(self, gate: int, x: str, cell: str) -> str:
        """X + peephole * cell."""
        if self.peepholes is None:
            return x
        weights = self.rows(self.peepholes, gate, gate + 1)
        return self.g.emit("Add", x, self.g.emit("Mul", cell, weights))


#: One step: what comes from the input, the states; gives the new states, the first is the output.
_Step = Callable[[_Layer, str, list[str]], list[str]]


def _rnn(layer: _Layer, x: str, states: list[str]) -> list[str]:
    g = layer.g
    total = g.emit("Add", x, g.emit("FC", states[0], layer.recurrent, layer.bias))
    return [layer.act(0, total)]


def _gru(layer: _Layer, x: str, states: list[str]) -> list[str]:
    g, h = layer.g, states[0]
    xz, xr, xh = layer.split(x, 3)
    weights = [layer.rows(layer.recurrent, k, k + 1) for k in range(3)]
    biases = [layer.rows(layer.bias, k, k + 1) for k in range(3)]
    z = layer.act(0, g.emit("Add", xz, g.emit("FC", h, weights[0], biases[0])))
    r = layer.act(0, g.emit("Add", xr, g.emit("FC", h, weights[1], biases[1])))
    if layer.n.int("linear_before_reset"):
        inner = g.emit("Mul", r, g.emit("FC", h, weights[2], biases[2]))
    else:
        inner = g.emit("FC", g.emit("Mul", r, h), weights[2], biases[2])
    new = layer.act(1, g.emit("Add", xh, inner))
    return [g.emit("Add", new, g.emit("Mul", z, g.emit("Sub", h, new)))]


def _lstm(layer: _Layer, x: str, states: list[str]) -> list[str]:
    g, (h, c) = layer.g, states
    total = g.emit("Add", x, g.emit("FC", h, layer.recurrent, layer.bias))
    i, o, f, new = layer.split(total, 4)
    i = layer.act(0, layer.peep(0, i, c))
    f = layer.act(0, layer.peep(2, f, c))
    cell = g.emit("Add", g.emit("Mul", f, c), g.emit("Mul", i, layer.act(1, new)))
    o = layer.act(0, layer.peep(1, o, cell))
    return [g.emit("Mul", o, layer.g.emit(layer.functions[2], cell)), cell]


_KINDS: dict[str, tuple[_Step, int, int, list[str]]] = {
    "RNN": (_rnn, 1, 1, ["Tanh"]),
    "GRU": (_gru, 3, 1, ["Sigmoid", "Tanh"]),
    "LSTM": (_lstm, 4, 2, ["Sigmoid", "Tanh", "Tanh"]),
}


@RULES(*_KINDS)
def recurrent(g: Emitter, n: Node) -> None:
    """Both directions, written out."""
    step, gates, states, defaults = _KINDS[n.op_type]
    if n.int("layout"):
        n.fail("layout=1")
    if n.int("input_forget"):
        n.fail("input_forget=1")
    x = n.input(0)
    steps, batch = g.size(x, 0), g.size(x, 1)
    if steps > _MOST_STEPS:
        n.fail(f"a sequence of {steps} steps")
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    direction = n.text("direction", "forward")
    if direction not in ways:
        n.fail(f"direction '{direction}'")
    hidden = n.int("hidden_size") or g.size(n.input(2), 2)
    functions = _functions(n, defaults, len(ways[direction]))
    outputs, lasts = [], []
    for k, backward in enumerate(ways[direction]):
        peepholes = n.maybe_input(7) if n.op_type == "LSTM" else None
        biases = _biases(g, n, k, gates * hidden)
        layer = _Layer(
            g, n, functions[k], hidden, _part(g, n.input(2), k), biases[1],
            None if peepholes is None else _part(g, peepholes, k),
        )  # fmt: skip
        fed = g.emit("FC", x, _part(g, n.input(1), k), biases[0], axis=2)
        first = [_state(g, n, 5 + j, k, (batch, hidden)) for j in range(states)]
        rows, last = _unrolled(layer, step, fed, first, steps, backward)
        outputs.append(rows)
        lasts.append(last)
    _collect(g, n, outputs, lasts)


def _functions(n: Node, defaults: list[str], directions: int) -> list[list[str]]:
    given = n.strings("activations")
    if given is None:
        return [defaults] * directions
    if n.has("activation_alpha") or n.has("activation_beta"):
        n.fail("activations with alpha or beta")
    names = [bytes(name).decode(errors="replace").lower() for name in given]
    unknown = [name for name in names if name not in _ACTIVATIONS]
    if unknown or len(names) != len(defaults) * directions:
        n.fail(f"the activations {names[:8]}")
    size = len(defaults)
    found = [_ACTIVATIONS[name] for name in names]
    return [found[k * size : (k + 1) * size] for k in range(directions)]


def _part(g: Emitter, name: str, direction: int) -> str:
    """What belongs to one direction."""
    return g.emit("Squeeze", g.take(name, np.array([direction]), 0), dims=[0])


def _biases(g: Emitter, n: Node, direction: int, size: int) -> list[str]:
    """The biases of the input and of the state."""
    name = n.maybe_input(3)
    if name is None:
        zeros = g.const(np.zeros(size, np.float32))
        return [zeros, zeros]
    own = _part(g, name, direction)
    return [g.take(own, np.arange(k * size, (k + 1) * size), 0) for k in range(2)]


def _state(g: Emitter, n: Node, index: int, direction: int, shape: tuple[int, int]) -> str:
    name = n.maybe_input(index)
    return g.const(np.zeros(shape, np.float32)) if name is None else _part(g, name, direction)


def _unrolled(
    layer: _Layer, step: _Step, fed: str, states: list[str], steps: int, backward: bool
) -> tuple[list[str], list[str]]:
    """The output of each step in the order of the sequence, and the last states."""
    g, lengths = layer.g, layer.n.maybe_input(4)
    rows: list[str] = [""] * steps
    for t in range(steps)[:: -1 if backward else 1]:
        now = g.emit("Squeeze", g.take(fed, np.array([t]), 0), dims=[0])
        made = step(layer, now, states)
        if lengths is not None:  # past its end a sequence keeps its states and gives zeros
            wide = g.cast(lengths, np.int64)
            active = g.emit("ExpandDims", g.emit("GT", wide, g.const(t, np.int64)), dims=[1])
            made = [g.where(active, new, old) for new, old in zip(made, states, strict=True)]
            rows[t] = g.where(active, made[0], g.const(0, np.float32))
        else:
            rows[t] = made[0]
        states = made
    return rows, states


def _collect(g: Emitter, n: Node, outputs: list[list[str]], lasts: list[list[str]]) -> None:
    """Y (steps, directions, batch, hidden), and the last states (directions, batch, hidden)."""
    if n.has_output(0):
        steps = []
        for row in zip(*outputs, strict=True):
            parts = [g.emit("ExpandDims", name, dims=[0, 1]) for name in row]
            steps.append(g.concat(parts, 1) if len(parts) > 1 else parts[0])
        g.concat(steps, 0, out=n.outputs[0])
    for k in range(len(lasts[0])):
        if n.has_output(k + 1):
            parts = [g.emit("ExpandDims", last[k], dims=[0]) for last in lasts]
            g.concat(parts, 0, out=n.outputs[k + 1])
