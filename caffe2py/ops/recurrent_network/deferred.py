"""Gradients of weights for all steps at once, after the last step.

What a step adds to the gradient of a weight matrix is a product of a few rows, and adding it reads
and writes the whole matrix: with N rows a step and weights M x K that is 12 M K bytes for N M K
multiply-adds. The sum over T steps is one product of T N rows, if all the steps' rows are still
there in the end. Where they are parts of one outer blob they are read there, else put together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from caffe2py.ops.recurrent_network.arguments import Link
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.context import BoundNet, Scope
from caffe2py.registry.operator import verify
from caffe2py.tensor.device import Device
from caffe2py.tensor.tensor import Array

#: Layers whose gradients can wait; whether their weights are transposed.
_LAYERS = {"FCGradient": False, "FCTransposedGradient": True}

#: Operators whose outputs are never views of their inputs.
_COPY = frozenset(
    {
        *("LSTMUnit", "LSTMUnitGradient", "GRUUnit", "GRUUnitGradient", "FC", "FCGradient"),
        *("Sum", "Add", "Sub", "Mul", "MulGradient", "Split", "Concat", "Sigmoid", "Tanh", "Relu"),
        *("SigmoidGradient", "TanhGradient", "ReluGradient", "FCTransposed", "MatMul"),
        *("FCTransposedGradient", "rnn_internal_accumulate_gradient_input", "Scale"),
    }
)


@dataclass(frozen=True)
class Kept:
    """What a step leaves in its workspace: its blobs, and the outer ones they are parts of.

    `shared` blobs are those that all steps have in common, `accumulated` outer ones that steps add
    to, and `forward` is the net that was run before.
    """

    blobs: Collection[str]
    links: Sequence[Link]
    shared: Collection[str]
    accumulated: Collection[str]
    forward: NetDef

    def link(self, name: str) -> Link | None:
        """The link that makes a blob a part of an outer one."""
        return next((link for link in self.links if link.internal == name), None)


class Deferred:
    """Products that run once, after all steps."""

    def __init__(self, ops: Sequence[OperatorDef], sources: Mapping[str, Link | None]) -> None:
        """`ops` read whole blobs, named by `_whole`; `sources` are the steps' blobs."""
        self.ops = tuple(ops)
        self.sources = dict(sources)
        #: The links to outer blobs, by which the sources are found there.
        self.links = tuple(link for link in self.sources.values() if link is not None)

    def bind(
        self, outer: Scope, steps: Sequence[Scope], arrays: Sequence[Array], device: Device
    ) -> BoundNet:
        """Bind the products for these steps on a device; `arrays` are the blobs of `links`."""
        scope = outer.child()
        net = NetDef(name="gradients of all steps", device_option=device.to_option())
        found = iter(arrays)
        for name, link in self.sources.items():
            whole = scope.create_local_blob(_whole(name))
            if link is not None:
                whole.lend(next(found)[link.offset : link.offset + len(steps)])
                continue
            for number, step in enumerate(steps):
                blob = step.find(name)
                if blob is not None:
                    scope.lend(f"{name}[{number}]", blob)
            sizes = f"{name} sizes"
            scope.create_local_blob(sizes)
            net.op.add(
                type="Concat",
                input=[f"{name}[{number}]" for number in range(len(steps))],
                output=[_whole(name), sizes],
                arg=[make_argument("axis", 0)],
            )
        net.op.extend(self.ops)
        return scope.bind(net)


def _whole(name: str) -> str:
    return f"{name}[:]"


def defer_products(net: NetDef, totals: Mapping[str, str], kept: Kept) -> Deferred:
    """Take the gradients of weights from a backward step net where they can wait.

    `totals`: the sum over all steps for each gradient that a step makes. The net keeps the gradient
    of the layer's input, if there is one.
    """
    sources: dict[str, Link | None] = {}
    late: list[OperatorDef] = []
    step: list[OperatorDef] = []
    for index, op in enumerate(net.op):
        if not _can_wait(net, index, totals, kept):
            step.append(op)
            continue
        x, _, dy = op.input
        sources.update((name, kept.link(name)) for name in (x, dy))
        late.append(_weights_gradient(op, [totals[name] for name in op.output[:2]]))
        if len(op.output) > 2:
            step.append(_input_gradient(op))
    step = [OperatorDef.FromString(op.SerializeToString()) for op in step]
    del net.op[:]
    net.op.extend(step)
    return Deferred(late, sources)


def _weights_gradient(op: OperatorDef, outputs: Sequence[str]) -> OperatorDef:
    args, (x, w, dy) = verify(op), op.input
    return OperatorDef(
        type="FCGradientOfWeights",
        input=[_whole(x), w, _whole(dy)],
        output=outputs,
        arg=[
            make_argument("axis_w", args.axis_w),
            make_argument("transposed", _LAYERS[op.type]),
        ],
        device_option=op.device_option,
    )


def _input_gradient(op: OperatorDef) -> OperatorDef:
    args = verify(op)
    return OperatorDef(
        type="FCGradientOfInput",
        input=op.input,
        output=op.output[2:],
        arg=[
            make_argument("axis", args.axis),
            make_argument("axis_w", args.axis_w),
            make_argument("transposed", _LAYERS[op.type]),
        ],
        device_option=op.device_option,
    )


def _can_wait(net: NetDef, index: int, totals: Mapping[str, str], kept: Kept) -> bool:
    """Whether nobody needs the result before the end, and what it is made of stays until then."""
    op = net.op[index]
    if op.type not in _LAYERS or len(op.input) != 3 or len(op.output) not in (2, 3):
        return False
    made = list(op.output[:2])
    if len({*made}) < 2 or not all(name in totals and kept.link(name) is None for name in made):
        return False
    others = [o for k, o in enumerate(net.op) if k != index]
    if any(name in made for o in others for name in (*o.input, *o.output)):
        return False
    if set(op.output) & set(op.input) or op.input[1] in {*kept.blobs, *kept.shared}:
        return False
    return all(_stays(net, index, name, kept) for name in (op.input[0], op.input[2]))


def _stays(net: NetDef, index: int, name: str, kept: Kept) -> bool:
    """Whether no operator from `index` on, and no later step, writes to a step's blob."""
    late = {blob for op in net.op[index:] for blob in op.output}
    views = _views([*kept.forward.op, *net.op], name)
    if name not in kept.blobs or views & (late | set(kept.shared)):
        return False
    return all(_has_its_place(net, each, kept) for each in views)


def _has_its_place(net: NetDef, name: str, kept: Kept) -> bool:
    """Whether a blob is no part of an outer one, or a part that only its own step writes to."""
    links = [link for link in kept.links if link.internal == name]
    if not links:
        return True
    written = {blob for op in net.op for blob in op.output} | set(kept.accumulated)
    outer = links[0].external
    beside = {link.internal for link in kept.links if link.external == outer} - {name}
    return len(links) == links[0].window == 1 and outer not in written and not beside & written


def _views(ops: Sequence[OperatorDef], name: str) -> set[str]:
    """The blobs that may share memory with one."""
    found = {name}
    while True:
        more = set(found)
        for op in ops:
            touched = {*op.input, *op.output}
            if op.type not in _COPY and touched & found:
                more |= touched
        if more == found:
            return found
        found = more
