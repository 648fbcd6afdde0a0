"""The hierarchical softmax, trees from counts, and InferenceLSTM.

Messages are written byte by byte here, so that no protobuf module is needed.
"""

from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, gradient, grid, pick, wrong_arity

F = np.float32

#: A node is a list of nodes and classes.
Node = list[Any]


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def random_tree(rng: np.random.Generator, classes: list[int], depth: int = 0) -> Node:
    """All of these classes below one node."""
    if len(classes) <= 2 or depth > 3 or (depth and rng.random() < 0.3):
        return list(classes)
    cuts = sorted(int(c) for c in rng.integers(1, len(classes), int(rng.integers(1, 3))))
    parts = [classes[a:b] for a, b in zip([0, *cuts], [*cuts, len(classes)], strict=True)]
    children: Node = []
    for part in parts:
        if len(part) > 1:
            children.append(random_tree(rng, part, depth + 1))
        else:
            children += part
    return children


class Layout:
    """A tree's two messages; a node's rows follow those of all before it."""

    def __init__(self, spec: Node) -> None:
        self.rows = 0
        self.paths: list[bytes] = []
        self.tree = _bytes(1, self._visit(spec, []))
        self.hierarchy = _number(1, self.rows) + b"".join(_bytes(2, path) for path in self.paths)

    def _visit(self, node: Node, path: list[tuple[int, int]]) -> bytes:
        first = self.rows
        self.rows += len(node)
        below = [child for child in node if isinstance(child, list)]
        words = [child for child in node if not isinstance(child, list)]
        out = b""
        for turn, child in enumerate(below):
            out += _bytes(1, self._visit(child, [*path, self._turn(first, node, turn)]))
        for turn, word in enumerate(words, len(below)):
            out += _number(2, word)
            turns = [*path, self._turn(first, node, turn)]
            self.paths.append(_number(1, word) + b"".join(_bytes(2, t) for t in turns))
        return out + _number(3, first) + _bytes(4, f"n{first}".encode())

    def _turn(self, first: int, node: Node, turn: int) -> bytes:
        return _number(1, first) + _number(2, len(node)) + _number(3, turn)


def layer(rng: np.random.Generator) -> tuple[Layout, dict[str, np.ndarray], list[int]]:
    classes = [int(c) for c in rng.permutation(int(rng.integers(2, 12)))]
    layout = Layout(random_tree(rng, classes))
    rows, size = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    feed = {
        "X": grid(rng, (rows, size)),
        "W": grid(rng, (layout.rows + int(rng.integers(0, 3)), size)),
    }
    feed["b"] = grid(rng, (len(feed["W"]),))
    return layout, feed, classes


def hsoftmax(rng: np.random.Generator) -> Cases:
    outputs = ["Y", "inner"]
    for number in range(24):
        layout, feed, classes = layer(rng)
        feed["L"] = rng.choice(classes, len(feed["X"])).astype("int32")
        if number % 6 == 5:
            feed["X"], feed["L"] = feed["X"][0], feed["L"][:1]
        args = {"hierarchy": layout.hierarchy}
        yield Case("HSoftmax", feed, outputs, args)
    for name, value in (
        ("L", np.full_like(feed["L"], 99)),
        ("L", feed["L"].astype("int64")),
        ("L", np.repeat(feed["L"], 2)),
        ("b", feed["b"][:-1]),
        ("b", feed["b"][:, None]),
        ("W", feed["W"][:, 0]),
        ("W", np.repeat(feed["W"], 2, 1)),
    ):
        yield Case("HSoftmax", {**feed, name: value}, outputs, args, refused=True)
    yield Case("HSoftmax", feed, outputs, {"hierarchy": b"\x00"}, refused=True)
    yield from wrong_arity("HSoftmax", feed, outputs, **args)


def hsoftmax_gradient(rng: np.random.Generator) -> Cases:
    reads, outputs = ["X", "W", "b", "L", "inner", "dY"], ["dX", "dW", "db", "dinner"]
    for _ in range(24):
        layout, feed, classes = layer(rng)
        feed["L"] = rng.choice(classes, len(feed["X"])).astype("int32")
        forward = Case("HSoftmax", feed, ["Y", "inner"], {"hierarchy": layout.hierarchy})
        yield gradient(forward, "HSoftmaxGradient", reads, outputs)


def search(rng: np.random.Generator) -> Cases:
    outputs = ["names", "scores"]
    for _ in range(36):
        layout, feed, _ = layer(rng)
        args = {"tree": layout.tree, "beam": pick(rng, [0.01, 0.5, 1.5, 4.0, 50.0])}
        if rng.integers(0, 2):
            args["topN"] = int(rng.integers(0, 20))
        yield Case("HSoftmaxSearch", feed, outputs, args)
    yield Case("HSoftmaxSearch", feed, outputs, {}, refused=True)
    yield Case("HSoftmaxSearch", feed, outputs, {"tree": b"\x00"}, refused=True)
    yield Case("HSoftmaxSearch", {**feed, "b": feed["b"][1:]}, outputs, args, refused=True)
    yield from wrong_arity("HSoftmaxSearch", feed, outputs, **args)


def huffman(rng: np.random.Generator) -> Cases:
    for number in range(40):
        classes = int(rng.integers(1, 30))
        most = pick(rng, [1, 3, 40])
        counts = rng.integers(0, most + 1, classes)
        labels = rng.permutation(np.repeat(np.arange(classes), counts)).astype("int64")
        yield Case("HuffmanTreeHierarchy", {"L": labels}, args={"num_classes": classes})
        if number == 0:
            yield Case("HuffmanTreeHierarchy", {"L": labels[:0]}, args={"num_classes": 5})
    labels = np.array([4, 2], "int64")
    yield Case("HuffmanTreeHierarchy", {"L": labels}, args={"num_classes": 4}, refused=True)
    yield Case("HuffmanTreeHierarchy", {"L": labels}, refused=True)
    yield Case("HuffmanTreeHierarchy", {"L": labels[:0]}, args={"num_classes": 0}, refused=True)
    square = {"L": labels.reshape(1, 2)}
    yield Case("HuffmanTreeHierarchy", square, args={"num_classes": 9}, refused=True)
    yield from wrong_arity("HuffmanTreeHierarchy", {"L": labels}, ["Y"], num_classes=9)


def lstm(rng: np.random.Generator) -> Cases:
    outputs = ["Y", "H", "C"]
    for number in range(26):
        flags = number % 8
        args = {"has_biases": flags & 1, "batch_first": flags >> 1 & 1, "bidirectional": flags >> 2}
        if number % 3:
            args["num_layers"] = number % 3
        feed = lstm_inputs(rng, **{"num_layers": 1, **args})
        yield Case("InferenceLSTM", feed, outputs, args)
    names = list(feed)
    yield Case("InferenceLSTM", feed, outputs, {**args, "num_layers": 9}, refused=True)
    yield Case("InferenceLSTM", feed, outputs, args, reads=names[:-1], refused=True)
    yield Case("InferenceLSTM", feed, ["Y"], args, refused=True)


def lstm_inputs(
    rng: np.random.Generator,
    num_layers: int,
    has_biases: int,
    batch_first: int,
    bidirectional: int,
) -> dict[str, np.ndarray]:
    steps, batch, width, size = (int(n) for n in rng.integers(1, 5, 4))
    ways = 1 + bidirectional
    states = (num_layers * ways, batch, size)
    first = (batch, steps) if batch_first else (steps, batch)
    feed = {"X": grid(rng, (*first, width)), "H0": grid(rng, states), "C0": grid(rng, states)}
    for k in range(num_layers * ways):
        below = width if k < ways else ways * size
        shapes = [(4 * size, below), (4 * size, size), (4 * size,), (4 * size,)]
        for i, shape in enumerate(shapes if has_biases else shapes[:2]):
            feed[f"W{k}_{i}"] = grid(rng, shape)
    return feed


CASES = {
    "HSoftmax": hsoftmax,
    "HSoftmaxGradient": hsoftmax_gradient,
    "HSoftmaxSearch": search,
    "HuffmanTreeHierarchy": huffman,
    "InferenceLSTM": lstm,
}
