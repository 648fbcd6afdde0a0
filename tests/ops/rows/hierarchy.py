"""Rows: softmax over a tree of classes, the search in it, and a tree made from counts."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    DTypeError,
    InplaceError,
    ShapeError,
    UnsupportedError,
    ValueRangeError,
)
from caffe2py.proto import hsm_pb2
from caffe2py.testing import Bad, Case, Sample

FLOATS = ("float32", "float64")

#: A node is a list of nodes and classes; every node's rows follow those of the ones before.
SMALL = [[[0, 1, 2], [3, 4]], [5, 6, 7, 8]]
FLAT = [7, 2]
MIXED = [5, [1, [2, -3, 4]], [9]]


def _tree(spec):
    """The tree and its hierarchy, as messages."""
    tree, ways, row = hsm_pb2.TreeProto(), hsm_pb2.HierarchyProto(), 0

    def visit(node, message, path):
        nonlocal row
        message.offset, message.name = row, f"node{row}"
        first, row = row, row + len(node)
        below = [child for child in node if isinstance(child, list)]
        words = [child for child in node if not isinstance(child, list)]
        for turn, child in enumerate(below):
            visit(child, message.children.add(), [*path, (first, len(node), turn)])
        for turn, word in enumerate(words, len(below)):
            message.word_ids.append(word)
            way = ways.paths.add(word_id=word)
            for index, length, target in [*path, (first, len(node), turn)]:
                way.path_nodes.add(index=index, length=length, target=target)

    visit(spec, tree.root_node, [])
    ways.size = row
    return tree, ways


def _args(spec):
    return {"hierarchy": _tree(spec)[1].SerializeToString()}


def _softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def _matrix(x):
    return x.reshape(1, -1) if x.ndim == 1 else x.reshape(len(x), int(np.prod(x.shape[1:])))


def _turns(x, w, b, labels, hierarchy):
    """For each label the turns on its way: row, scores, probabilities, and which is taken."""
    message = hsm_pb2.HierarchyProto.FromString(hierarchy)
    ways = {path.word_id: path.path_nodes for path in message.paths}
    for n, label in enumerate(labels.reshape(-1)):
        for node in ways[int(label)]:
            part = slice(node.index, node.index + node.length)
            scores = (_matrix(w)[part] * _matrix(x)[n]).sum(1) + b[part]
            yield n, part, scores, _softmax(scores), node.target


def _hsoftmax(x, w, b, labels, hierarchy):
    y, inner = np.zeros(labels.size, x.dtype), [np.zeros(0, x.dtype)]
    for n, _, scores, p, taken in _turns(x, w, b, labels, hierarchy):
        y[n] -= np.log(p[taken])
        inner += [scores, p]
    return y, np.concatenate(inner)


def _hsoftmax_gradient(x, w, b, labels, inner, dy, hierarchy):
    dx, dw, db = (np.zeros_like(_matrix(z)) for z in (x, w, b.reshape(-1, 1)))
    dinner, at = np.zeros_like(inner), 0
    for n, part, _, _, taken in _turns(x, w, b, labels, hierarchy):
        size = part.stop - part.start
        p = inner[at + size : at + 2 * size]
        change = dy[n] * (p - (np.arange(size) == taken))
        dinner[at : at + size] = change
        dinner[at + size + taken] = -dy[n] / p[taken]
        dx[n] += (change[:, None] * _matrix(w)[part]).sum(0)
        dw[part] += np.outer(change, _matrix(x)[n])
        db[part, 0] += change
        at += 2 * size
    return dx.reshape(x.shape), dw.reshape(w.shape), db.reshape(-1), dinner


def _layer(rng, dtype, rows, size, spec):
    """X, W, b; as many rows of W as the tree has entries, and some more."""
    total = _tree(spec)[1].size + 2
    return [rng.normal(size=s).astype(dtype) for s in ((rows, size), (total, size), (total,))]


def _words(spec):
    return [path.word_id for path in _tree(spec)[1].paths]


def _hsoftmax_samples(rng, backward=False):
    for dtype in FLOATS:
        for spec, rows, size in ((SMALL, 6, 5), (FLAT, 1, 1), (MIXED, 4, 3), (SMALL, 0, 2)):
            given = _layer(rng, dtype, rows, size, spec)
            for kind in ("int32", "int64"):
                labels = rng.choice(_words(spec), rows).astype(kind)
                yield _sample(rng, [*given, labels], _args(spec), backward)
    x, w, b = _layer(rng, "float32", 2, 6, MIXED)
    labels = np.array([[4], [-3]], np.int32)
    yield _sample(rng, [x.reshape(2, 3, 2), w.reshape(-1, 2, 3), b, labels], _args(MIXED), backward)
    yield _sample(rng, [x[0], w, b, labels[0]], _args(MIXED), backward)


def _sample(rng, inputs, args, backward):
    if not backward:
        return Sample(inputs, args, 2)
    y, inner = _hsoftmax(*inputs, **args)
    return Sample([*inputs, inner, rng.normal(size=y.shape).astype(y.dtype)], args, 4)


def _search(x, w, b, tree, beam=0.01, topN=5, hierarchy=None):
    """By recursion, and a stable sort."""
    root = hsm_pb2.TreeProto.FromString(tree).root_node
    x, w = _matrix(x), _matrix(w)

    def visit(row, node, cost):
        entries = [*node.children, *node.word_ids]
        part = slice(node.offset, node.offset + len(entries))
        costs = cost - np.log(_softmax((w[part] * row).sum(1) + b[part]))
        for entry, own in zip(entries, costs, strict=True):
            if own < cost + beam:
                is_node = isinstance(entry, hsm_pb2.NodeProto)
                yield (entry.name if is_node else str(entry)).encode(), own
                if is_node:
                    yield from visit(row, entry, own)

    names = np.full((len(x), topN), b"", object)
    scores = np.zeros((len(x), topN), x.dtype)
    for n, row in enumerate(x):
        best = sorted(visit(row, root, x.dtype.type(0)), key=lambda pair: pair[1])[:topN]
        for k, (name, score) in enumerate(best):
            names[n, k], scores[n, k] = name, score
    return names, scores


def _search_samples(rng):
    for dtype in FLOATS:
        for spec, rows, size in ((SMALL, 6, 5), (FLAT, 1, 1), (MIXED, 4, 3), (SMALL, 0, 2)):
            given = _layer(rng, dtype, rows, size, spec)
            tree = _tree(spec)[0].SerializeToString()
            for args in ({}, {"beam": 1.5}, {"beam": 50.0, "topN": 3}, {"beam": 3.0, "topN": 30}):
                yield Sample(given, {"tree": tree, **args}, 2)
            yield Sample(given, {"tree": tree, "beam": 9.0, "topN": 0}, 2)
    x, w, b = _layer(rng, "float32", 2, 6, MIXED)
    tree = {"tree": _tree(MIXED)[0].SerializeToString(), "beam": 4.0}
    yield Sample([x.reshape(2, 3, 2), w.reshape(-1, 2, 3), b], tree, 2)
    yield Sample([x[0], w, b], {**tree, "hierarchy": b"not read"}, 2)
    equal = [np.zeros((1, 2), np.float32), np.zeros((4, 2), np.float32), np.zeros(4, np.float32)]
    yield Sample(equal, {"tree": _tree([3, 1, 4, 2])[0].SerializeToString(), "beam": 9.0}, 2)


# ---------------------------------------------------------------- trees from counts


def _huffman_samples(rng):
    for dtype in ("int32", "int64"):
        for labels, classes in (([0, 1, 1, 2], 3), ([1, 1], 2), ([0], 1), ([], 1)):
            yield Sample([np.array(labels, dtype)], {"num_classes": classes})


#: The trees of these samples, written down: two rows a node, one more for a class on the right.
def _huffman(labels, num_classes):
    tree = hsm_pb2.TreeProto()
    root = tree.root_node
    root.offset = 0
    if num_classes == 3:
        root.children.add(offset=2, word_ids=[0, 2])
        root.word_ids.append(1)
    if num_classes == 2:
        root.word_ids.extend([0, 1])
    return np.array([tree.SerializeToString()], object)


# ---------------------------------------------------------------- rows

X, W, B = (np.ones(s, np.float32) for s in ((3, 4), (13, 4), (13,)))
L = np.array([0, 8, 3], np.int32)
SMALL_ARGS, TREE_ARGS = _args(SMALL), {"tree": _tree(SMALL)[0].SerializeToString()}
ROOTLESS = hsm_pb2.TreeProto()
ROOTLESS.root_node.word_ids.append(3)
BELOW = hsm_pb2.TreeProto()
BELOW.root_node.offset = -1
ASTRAY = hsm_pb2.HierarchyProto()
ASTRAY.paths.add(word_id=0).path_nodes.add(index=0, length=2, target=2)
OUT = np.zeros(3, np.float32)


def _layer_errors(rest, outputs, args):
    """What X, W and b must be, with any other inputs behind them."""

    def bad(x, w, b, error, match):
        return Bad([x, w, b, *rest], error, match, args, outputs)

    return [
        bad(X.astype("int32"), W, B, DTypeError, "supported: float"),
        bad(X, W.astype("float64"), B, DTypeError, "must have one type"),
        bad(X, W, B[:, None], ShapeError, "must have 1 dimension"),
        bad(X, W[:, 0], B, ShapeError, "must be a matrix"),
        bad(X, W, B[:5], ShapeError, "has 5 element.*needs 13"),
        bad(X[:, :3], W, B, ShapeError, "has 3 element.*and one.* has 4"),
        bad(X[0, 0], W, B, ShapeError, "must not be a scalar"),
        bad(X, W[:12], B[:12], ShapeError, r"needs 13 row\(s\)"),
        Bad([X, W], ArityError, "expected", args, outputs),
        Bad([X, W, B, *rest], InplaceError, "does not allow", args, outputs, [(0, 0)]),
    ]


def _label_errors(rest, outputs):
    def bad(labels, error, match, args=SMALL_ARGS):
        return Bad([X, W, B, labels, *rest], error, match, args, outputs)

    return [
        bad(L[:2], ShapeError, "one element for each of 3 row"),
        bad(X[0, :3], DTypeError, "supported: int32, int64"),
        bad(np.array([0, 9, 1], np.int32), ValueRangeError, r"'in3'\[1\] is 9, which is no class"),
        bad(L, ValueRangeError, r"\[0\] is 0, which is no class", {}),
        bad(L, ArgumentError, "is no serialized HierarchyProto", {"hierarchy": b"\x00"}),
        bad(L, ArgumentError, "entry 2 of 2 from row 0", {"hierarchy": ASTRAY.SerializeToString()}),
    ]


INNER = _hsoftmax(X, W, B, L, **SMALL_ARGS)[1]
SIZE = {"infer_full": "the number of intermediates depends on the labels"}

CASES = [
    Case(
        "HSoftmax",
        _hsoftmax,
        _hsoftmax_samples,
        gradient_outputs=[0],
        skip=SIZE,
        bad=_layer_errors([L], 2, SMALL_ARGS) + _label_errors([], 2),
    ),
    Case(
        "HSoftmaxGradient",
        _hsoftmax_gradient,
        lambda rng: _hsoftmax_samples(rng, backward=True),
        bad=[
            *_layer_errors([L, INNER, OUT], 4, SMALL_ARGS),
            *_label_errors([INNER, OUT], 4),
            Bad([X, W, B, L, INNER[:5], OUT], ShapeError, "do not fill 5 inter", SMALL_ARGS, 4),
            Bad([X, W, B, L, INNER, OUT[:2]], ShapeError, "like Y", SMALL_ARGS, 4),
            Bad([X, W, B, L, INNER, OUT.astype("f8")], DTypeError, "one type", SMALL_ARGS, 4),
        ],
    ),
    Case(
        "HSoftmaxSearch",
        _search,
        _search_samples,
        bad=[
            *_layer_errors([], 2, TREE_ARGS),
            Bad([X, W, B], ArgumentError, "with offsets", {}, 2),
            Bad([X, W, B], ArgumentError, "offsets", {"tree": ROOTLESS.SerializeToString()}, 2),
            Bad([X, W, B], ArgumentError, "node at row -1", {"tree": BELOW.SerializeToString()}, 2),
            Bad([X, W, B], ArgumentError, "is no serialized TreeProto", {"tree": b"\x00"}, 2),
            Bad([X, W, B], ArgumentError, "topN must be at least 0", {**TREE_ARGS, "topN": -1}, 2),
        ],
    ),
    Case(
        "HuffmanTreeHierarchy",
        _huffman,
        _huffman_samples,
        bad=[
            Bad([L], ArgumentError, "num_classes must be positive"),
            Bad([L], ValueRangeError, r"\[1\] is 8, and there are 5", {"num_classes": 5}),
            Bad([-L], ValueRangeError, r"\[1\] is -8", {"num_classes": 50}),
            Bad([X[0]], DTypeError, "supported: int32, int64", {"num_classes": 2}),
            Bad([L[:, None]], ShapeError, "must have 1 dimension", {"num_classes": 9}),
            Bad([], ArityError, "expected 1", {"num_classes": 2}),
            Bad([L], InplaceError, "does not allow", {"num_classes": 9}, same=[(0, 0)]),
        ],
    ),
    Case(
        "TTLinearGradient",
        None,
        lambda rng: iter(()),
        skip={"forward": "no run succeeds"},
        bad=[
            Bad([X, W], UnsupportedError, "TT has no gradient"),
            Bad([], UnsupportedError, "TT has no gradient", outputs=0),
        ],
    ),
]
