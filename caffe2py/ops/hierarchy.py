"""HSoftmax, HSoftmaxSearch: a softmax over very many classes, by a tree; and a tree by counts."""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from caffe2py.errors import ArgumentError, NoGradientError, ShapeError, ValueRangeError
from caffe2py.kernels.callback import launch_python
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.kernels.hierarchy import (
    Branches,
    Ways,
    launch_search,
    launch_ways,
    launch_ways_gradient,
)
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import Gradient, GradientName, gradient_name, gradient_op
from caffe2py.registry.infer import Query, product, require_dtype, require_rank, require_same_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.memory import require_memory
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import STRING, TensorType, shape_text

Dims = tuple[int | None, ...]

HIERARCHY = {"hierarchy": Arg(bytes, "", "a serialized HierarchyProto: the way to every class")}


def _message(kind: str, text: str | bytes, argument: str) -> Any:
    """An argument as the message that it has to be; ArgumentError for anything else."""
    # few nets have trees
    from caffe2py.proto import hsm_pb2

    message = getattr(hsm_pb2, kind)()
    try:
        message.ParseFromString(text.encode() if isinstance(text, str) else text)
    except DecodeError as error:
        raise ArgumentError(f"argument '{argument}' is no serialized {kind}: {error}") from None
    return message


@functools.lru_cache(maxsize=64)
def _ways(text: str | bytes) -> Ways:
    """The ways of a HierarchyProto; of a class that is there twice the first."""
    known: dict[int, Any] = {}
    for path in _message("HierarchyProto", text, "hierarchy").paths:
        known.setdefault(path.word_id, path.path_nodes)
    words = sorted(known)
    nodes = [node for word in words for node in known[word]]
    for node in nodes:
        if node.index < 0 or not 0 <= node.target < node.length:
            raise ArgumentError(
                f"argument 'hierarchy' has a step to entry {node.target} of {node.length} "
                f"from row {node.index} on"
            )
    begins = np.cumsum([0, *(len(known[word]) for word in words)])
    columns = ([getattr(n, name) for n in nodes] for name in ("index", "length", "target"))
    first, count, target = (np.array(column, np.int64) for column in columns)
    return Ways(np.array(words, np.int64), begins.astype(np.int64), first, count, target)


def _require_layer(query: Query) -> tuple[Any, Dims | None]:
    """The dtype of X, W and b, and how many rows X has, as (N,); ShapeError unless they fit."""
    for index in range(3):
        require_dtype(query, index, *FLOATS)
    require_rank(query, 2, 1)
    dtype = require_same_dtype(query, 0, 1, 2)
    x, w, b = (given.shape for given in query.inputs[:3])
    if w is not None and len(w) < 2:
        raise ShapeError(f"input 1 '{query.name(1)}' must be a matrix, found {shape_text(w)}")
    if w is not None and b is not None and None not in (w[0], b[0]) and w[0] != b[0]:
        raise ShapeError(f"input 2 '{query.name(2)}' has {b[0]} element(s), needs {w[0]}")
    if x is None:
        return dtype, None
    if not x:
        raise ShapeError(f"input 0 '{query.name(0)}' must not be a scalar")
    width = product(x[1:]) if len(x) > 1 else x[0]
    columns = None if w is None else product(w[1:])
    if None not in (width, columns) and width != columns:
        raise ShapeError(
            f"a row of input 0 '{query.name(0)}' {shape_text(x)} has {width} element(s), and one "
            f"of input 1 '{query.name(1)}' {shape_text(w or ())} has {columns}"
        )
    return dtype, (x[:1] if len(x) > 1 else (1,))


def _require_rows(query: Query, last: int, what: str) -> None:
    """Refuse a tree that reads beyond the weights."""
    w = query.inputs[1].shape
    if w is not None and w[0] is not None and last > w[0]:
        raise ShapeError(f"{what} needs {last} row(s) of input 1 '{query.name(1)}' {shape_text(w)}")


def _require_labels(query: Query, rows: Dims | None, index: int) -> None:
    """One label for each row of X."""
    require_dtype(query, index, "int32", "int64")
    shape = query.inputs[index].shape
    size = None if shape is None else product(shape)
    if size is not None and rows is not None and rows[0] is not None and size != rows[0]:
        raise ShapeError(
            f"input {index} '{query.name(index)}' {shape_text(shape or ())} must have one element "
            f"for each of {rows[0]} row(s)"
        )


def _require_ways(query: Query) -> tuple[Any, Dims | None]:
    dtype, rows = _require_layer(query)
    ways = _ways(query.args.hierarchy)
    _require_rows(query, int((ways.first + ways.count).max(initial=0)), "the hierarchy")
    _require_labels(query, rows, 3)
    return dtype, rows


def _rows(x: Array) -> Array:
    """(N, D); a vector is one row."""
    if x.ndim == 1:
        return x.reshape(1, -1)
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


# ---------------------------------------------------------------- HSoftmax


def _infer_hsoftmax(query: Query) -> Sequence[TensorType]:
    dtype, rows = _require_ways(query)
    return [TensorType(dtype, rows or (None,)), TensorType(dtype, (None,))]


def _gradient(op: OperatorDef, given: Sequence[GradientName]) -> Gradient:
    if given[0] is None:
        raise NoGradientError(f"{op.type}: its output '{op.output[0]}' has no gradient")
    dx, dw, db = (gradient_name(name) for name in op.input[:3])
    inner = given[1] or gradient_name(op.output[1])
    back = gradient_op(
        op, "HSoftmaxGradient", [*op.input, op.output[1], given[0]], [dx, dw, db, inner]
    )
    return Gradient((back,), (dx, dw, db, None))


hsoftmax = operator(
    "HSoftmax",
    "X, W, b, labels -> Y, intermediate_output",
    infer=_infer_hsoftmax,
    gradient=_gradient,
    doc="""
    Y[n] = the sum of -log p over the turns on the way to class labels[n], p the entry that is taken
    of softmax(W[r : r + m] X[n] + b[r : r + m]) for a turn of m entries from row r on.

    X (N, D) or (D,), W (R, D), b (R,), labels int32 or int64 (N,), Y (N,). intermediate_output
    holds for each turn the m scores and the m probabilities, one label after the other. p counts as
    1e-20 at least. Raises ValueRangeError for a label that is no class. Caffe2 reads as many labels
    as X has rows, however many there are, and has a gradient only where intermediate_output has.
    """,
    example="""
    X = [[1]]; W = [[0], [0]]; b = [0, 0]; labels = [0]; hierarchy = class 0: row 0, 2 entries
    Y = [0.6931]; intermediate_output = [0, 0, 0.5, 0.5]
    """,
    arguments=HIERARCHY,
)


@hsoftmax.cpu_dynamic()
def _launch_hsoftmax(call: Call) -> Launch:
    x, w, b, labels = call.inputs
    ways = _ways(call.args.hierarchy)
    flat = labels.reshape(-1)
    place = np.searchsorted(ways.words, flat)
    known = place < len(ways.words)
    known[known] = ways.words[place[known]] == flat[known]
    if not known.all():
        at = int(np.argmin(known))
        raise ValueRangeError(
            f"'{call.input_blob(3)}'[{at}] is {int(flat[at])}, which is no class of the hierarchy"
        )
    totals = np.concatenate([[0], np.cumsum(2 * ways.count)])
    size = int((totals[ways.begins[place + 1]] - totals[ways.begins[place]]).sum())
    y = call.output(0, (len(flat),), x.dtype)
    inner = call.output(1, (size,), x.dtype)
    name = f"'{call.input_blob(3)}'"
    return launch_ways(_rows(x), _rows(w), b, flat, ways, name, y, inner)


def _infer_hsoftmax_gradient(query: Query) -> Sequence[TensorType]:
    dtype, rows = _require_ways(query)
    for index in (4, 5):
        require_dtype(query, index, *FLOATS)
        require_rank(query, index, 1)
    require_same_dtype(query, 0, 4, 5)
    dy = query.inputs[5].shape
    if rows is not None and dy is not None and None not in (rows[0], dy[0]) and rows != dy:
        raise ShapeError(
            f"input 5 '{query.name(5)}' {shape_text(dy)} must be {shape_text(rows)} like Y"
        )
    shapes = [query.inputs[index].shape for index in (0, 1, 2, 4)]
    return [TensorType(dtype, shape) for shape in shapes]


hsoftmax_gradient = operator(
    "HSoftmaxGradient",
    "X, W, b, labels, intermediate_output, dY -> dX, dW, db, dintermediate_output",
    infer=_infer_hsoftmax_gradient,
    doc="""
    For each turn with probabilities p of which entry t is taken: the derivative by the scores is
    s_j = dY * (p_j - [j = t]), and dX += s W[r : r + m], dW[r : r + m] += s X[n], db += s.

    dintermediate_output holds s, and then -dY / p_t at the place of t and zeros beside it.
    """,
    arguments=HIERARCHY,
)


@hsoftmax_gradient.everywhere
def _launch_hsoftmax_gradient(call: Call) -> Launch:
    x, w, _, labels, inner, dy = call.inputs
    dx, dw, db, dinner = call.outputs
    ways, name = _ways(call.args.hierarchy), f"'{call.input_blob(3)}'"
    results = (_rows(dx), _rows(dw), db, dinner)
    return launch_ways_gradient(
        (_rows(x), _rows(w)), labels.reshape(-1), ways, name, (inner, dy), results
    )


# ---------------------------------------------------------------- HSoftmaxSearch


@dataclass(frozen=True)
class _Tree:
    """A TreeProto made flat, and the names of its entries."""

    branches: Branches
    names: tuple[bytes, ...]

    @property
    def widest(self) -> int:
        """The entries of its largest node."""
        return int(np.diff(self.branches.begins).max(initial=0))


@functools.lru_cache(maxsize=64)
def _tree(text: str | bytes) -> _Tree:
    """The nodes in order, a node's children behind all nodes that were found before."""
    root = _message("TreeProto", text, "tree").root_node
    if not root.HasField("offset"):
        raise ArgumentError("argument 'tree' must be a serialized TreeProto with offsets")
    nodes, first, begins = [root], [], [0]
    names: list[bytes] = []
    child: list[int] = []
    for node in nodes:
        if node.offset < 0:
            raise ArgumentError(f"argument 'tree' has a node at row {node.offset}")
        first.append(node.offset)
        for below in node.children:
            child.append(len(nodes))
            nodes.append(below)
            names.append(below.name.encode())
        child += [-1] * len(node.word_ids)
        names += [str(word).encode() for word in node.word_ids]
        begins.append(len(names))
    arrays = (np.array(column, np.int64) for column in (first, begins, child))
    return _Tree(Branches(*arrays), tuple(names))


def _infer_search(query: Query) -> Sequence[TensorType]:
    dtype, rows = _require_layer(query)
    most = query.args.topN
    if most < 0:
        raise ArgumentError(f"topN must be at least 0, found {most}")
    nodes = _tree(query.args.tree).branches
    _require_rows(query, int((nodes.first + np.diff(nodes.begins)).max()), "the tree")
    shape = (None if rows is None else rows[0], most)
    return [TensorType(STRING, shape), TensorType(dtype, shape)]


search = operator(
    "HSoftmaxSearch",
    "X, W, b -> Y_names, Y_scores",
    infer=_infer_search,
    doc="""
    The topN nodes and classes with the smallest scores, (N, topN) both: a score is the sum of
    -log p over the turns from the root on, p as HSoftmax has it. A turn is taken where its own
    -log p is below `beam`. Classes are named by their numbers; where fewer are found the rest are
    empty names and 0.

    X (N, D) or (D,), W (R, D), b (R,); every node of the tree tells by its offset where its rows of
    W begin. Of equal scores the first on the way through the tree comes first.
    """,
    example="""
    X = [[1]]; W = [[2], [0]]; b = [0, 0]; tree = classes 7 and 8; topN = 1, beam = 1
    Y_names = [["7"]]; Y_scores = [[0.1269]]
    """,
    arguments={
        "tree": Arg(bytes, "", "a serialized TreeProto"),
        "beam": Arg(float, 0.01, "the largest -log p of a turn"),
        "topN": Arg(int, 5, "how many are wanted"),
        "hierarchy": Arg(bytes, "", "not read"),
    },
)


@search.cpu
def _launch_search(call: Call) -> list[Launch]:
    x, w, b = call.inputs
    names, scores = call.outputs
    tree = _tree(call.args.tree)
    nodes = len(tree.branches.first)
    found = call.scratch(scores.shape, np.int64)
    room = (
        call.scratch((2 * tree.widest,), x.dtype),
        call.scratch((nodes,), np.int64),
        call.scratch((nodes,), x.dtype),
    )
    # the last name is that of number -1
    known = np.array([*tree.names, b""], object)

    def name() -> None:
        names[...] = known[found]

    results = (scores, found)
    looked = launch_search(_rows(x), _rows(w), b, tree.branches, call.args.beam, room, results)
    return [looked, launch_python(name)]


# ---------------------------------------------------------------- HuffmanTreeHierarchy


class _Counted:
    """A node of a growing tree; a heap asks only which is rarer."""

    __slots__ = ("count", "label", "left", "right")

    def __init__(
        self,
        count: int,
        label: int,
        left: _Counted | None = None,
        right: _Counted | None = None,
    ) -> None:
        self.count = count
        self.label = label
        self.left = left
        self.right = right

    def __lt__(self, other: _Counted) -> bool:
        return self.count < other.count


def _grow(counts: Sequence[int]) -> _Counted:
    """Join the two rarest until one is left; of equal ones a binary heap decides."""
    rest: list[_Counted] = []
    for label, count in enumerate(counts):
        heapq.heappush(rest, _Counted(count, label))
    while len(rest) > 1:
        left, right = heapq.heappop(rest), heapq.heappop(rest)
        heapq.heappush(rest, _Counted(left.count + right.count, -1, left, right))
    return rest[0]


def _write(root: _Counted) -> bytes:
    """The tree as a TreeProto. A node takes two rows, and a class on its right side one more."""
    from caffe2py.proto import hsm_pb2

    tree = hsm_pb2.TreeProto()
    row = 0
    waiting: list[tuple[_Counted | None, Any, bool]] = [(root, tree.root_node, False)]
    while waiting:
        node, parent, is_right = waiting.pop()
        if node is None:
            continue
        if node.left is None and node is not root:
            parent.word_ids.append(node.label)
            row += is_right
            continue
        message = parent if node is root else parent.children.add()
        message.offset = row
        row += 2
        waiting += [(node.right, message, True), (node.left, message, False)]
    return bytes(tree.SerializeToString())


#: What two nodes of a tree take while it grows.
_BYTES_OF_A_CLASS = 1 << 10


def _infer_huffman(query: Query) -> Sequence[TensorType]:
    if query.args.num_classes < 1:
        raise ArgumentError(f"num_classes must be positive, found {query.args.num_classes}")
    require_dtype(query, 0, "int32", "int64")
    require_rank(query, 0, 1)
    return [TensorType(STRING, (1,))]


huffman = operator(
    "HuffmanTreeHierarchy",
    "Labels -> Hierarch",
    infer=_infer_huffman,
    doc="""
    A binary tree of the classes 0 ... num_classes - 1 in which frequent ones are near to the root:
    the two rarest nodes are joined until one is left. Hierarch, one string, is a serialized
    TreeProto; its offsets leave a row unused behind some classes, as Caffe2's do. Raises
    ValueRangeError for a label, int32 or int64 (N,), that is no class. Of a single class the tree
    is empty.
    """,
    example="""
    Labels = [0, 1, 1, 2]; num_classes = 3
    Hierarch = node(node(0, 2), 1)
    """,
    num_classes=Arg(int, -1, "how many classes there are"),
)


@huffman.cpu_dynamic()
def _build(call: Call) -> None:
    labels, most = call.inputs[0], call.args.num_classes
    wrong = (labels < 0) | (labels >= most)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueRangeError(
            f"'{call.input_blob(0)}'[{at}] is {int(labels[at])}, and there are {most} classes"
        )
    require_memory(most * _BYTES_OF_A_CLASS, f"a tree of {most} classes")
    counts = np.bincount(labels, minlength=most)
    call.outputs[0][0] = _write(_grow([int(n) for n in counts]))
