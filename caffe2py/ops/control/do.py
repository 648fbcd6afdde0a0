"""Do: a net in a workspace of its own, whose blobs are bound to some outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caffe2py.errors import ArgumentError, MissingBlobError
from caffe2py.ops.control.common import (
    backward_net,
    copy_op,
    distinct_gradients,
    gradient_of_nets,
    required_net,
)
from caffe2py.ops.control.stack import stack_in
from caffe2py.proto.args import find, make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import Gradient, GradientName, NamesBlobs, gradient_name
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Blob

#: What the names of gradients inside end in: given from outside, and handed out.
_INNER = "/_DO_OPERATOR_INNER_GRAD_"
_HANDED_OUT = "/_DO_OPERATOR_INNER_GRAD_COPY_"


@dataclass(frozen=True)
class Bindings:
    """Which blob inside is which outside, and the blob with the workspaces."""

    outer_of: Mapping[str, str]
    workspaces: str

    @property
    def inner_of(self) -> dict[str, str]:
        """The other way around."""
        return {outer: inner for inner, outer in self.outer_of.items()}


def read_bindings(
    inputs: Sequence[str], outputs: Sequence[str], inner: Sequence[str], places: Sequence[int]
) -> Bindings:
    """What the arguments inner_blobs and outer_blobs_idx say; ArgumentError if it makes no sense.

    Each name inside stands for one blob outside, each blob outside (but the last input, which is
    the last output: the workspaces) for one name inside.
    """
    if not inputs or not outputs or inputs[-1] != outputs[-1]:
        raise ArgumentError(
            "the last input and the last output must be one blob, from CreateScope; found "
            f"'{inputs[-1] if inputs else ''}' and '{outputs[-1] if outputs else ''}'"
        )
    for what, names in (("inputs", inputs[:-1]), ("outputs", outputs[:-1])):
        if len(set(names)) < len(names):
            raise ArgumentError(f"a blob is twice among the {what}: {', '.join(names)}")
    if len(inner) != len(places):
        raise ArgumentError(
            f"inner_blobs has {len(inner)} name(s), outer_blobs_idx {len(places)} number(s)"
        )
    outer = [*inputs[:-1], *outputs[:-1]]
    found: dict[str, str] = {}
    for name, place in zip(inner, places, strict=True):
        if not 0 <= place < len(outer):
            raise ArgumentError(f"outer_blobs_idx {place} is none of the {len(outer)} blobs")
        if name in found or outer[place] in found.values():
            raise ArgumentError(f"'{name}' or '{outer[place]}' is bound twice")
        found[name] = outer[place]
    unbound = sorted(set(outer) - set(found.values()))
    if unbound:
        raise ArgumentError(f"outer_blobs_idx must bind every blob; {', '.join(unbound)} is not")
    return Bindings(found, inputs[-1])


def _bindings_of(op: OperatorDef) -> Bindings:
    inner, places = find(op, "inner_blobs"), find(op, "outer_blobs_idx")
    names = [] if inner is None else [name.decode() for name in inner.strings]
    numbers = [] if places is None else list(places.ints)
    return read_bindings(op.input, op.output, names, numbers)


# ---------------------------------------------------------------- gradient


def do_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """The backward net of the net, in the workspace that the forward one has left.

    Gradients from outside are known inside as "<blob>/_DO_OPERATOR_INNER_GRAD_", those of inputs
    leave as "<blob>/_DO_OPERATOR_INNER_GRAD_COPY_". What it reads and neither gets nor makes is
    found in the workspace.
    """
    bindings = _bindings_of(op)
    inner_of = bindings.inner_of
    before, given = distinct_gradients(op, output_grads)
    outer_gradient = {inner_of[o] + _INNER: g for o, g in given.items() if o in inner_of}
    starts = {inner_of[o]: inner_of[o] + _INNER for o in given if o in inner_of}
    backward = backward_net(required_net(op, "net"), starts)
    if not backward.net.op:
        return Gradient((), (None,) * len(op.input))
    gradients: list[str | None] = []
    bound: dict[str, str] = {}
    last: list[OperatorDef] = []
    for name in op.input[:-1]:
        found = backward.gradients.get(inner_of[name])
        if found is None:
            gradients.append(None)
            continue
        gradients.append(gradient_name(name))
        _hand_out(
            found, inner_of[name], gradient_name(name), outer_gradient, bound, last, backward.net
        )
    backward.net.op.extend(last)
    reads, saved = _reads(backward.reads, bindings, outer_gradient, bound)
    made = _gradient_do(op, backward.net, reads, [g for g in gradients if g], bound, saved)
    return Gradient((*before, made), (*gradients, None), frozenset(op.input))


def _hand_out(
    found: str,
    name: str,
    outer: str,
    given: Mapping[str, str],
    bound: dict[str, str],
    last: list[OperatorDef],
    net: NetDef,
) -> None:
    """Copy a gradient to the blob outside that is to hold it.

    That may be the very blob that a gradient came in by; it is written at the end then.
    """
    same = [inner for inner, blob in given.items() if blob == outer]
    target = same[0] if same else name + _HANDED_OUT
    bound[target] = outer
    if found != target:
        (last if same else net.op).append(copy_op(found, target))


def _reads(
    names: Sequence[str], bindings: Bindings, given: Mapping[str, str], bound: dict[str, str]
) -> tuple[list[str], list[str]]:
    """The outer blobs that a backward net reads, which it binds, and the names it finds inside."""
    reads: list[str] = []
    saved: list[str] = []
    for name in names:
        outer = bindings.outer_of.get(name) or given.get(name)
        if outer is None:
            saved.append(name)
            continue
        if outer not in reads:
            reads.append(outer)
        bound[name] = outer
    return reads, saved


def _gradient_do(
    op: OperatorDef,
    net: NetDef,
    reads: Sequence[str],
    writes: Sequence[str],
    bound: Mapping[str, str],
    saved: Sequence[str],
) -> OperatorDef:
    outer = [*reads, *writes]
    workspaces = op.input[-1]
    return gradient_of_nets(
        op,
        input=[*reads, workspaces],
        output=[*writes, workspaces],
        arg=[
            make_argument("net", net),
            make_argument("inner_blobs", list(bound)),
            make_argument("outer_blobs_idx", [outer.index(blob) for blob in bound.values()]),
            make_argument("saved_fwd_blobs", list(saved)),
        ],
    )


# ---------------------------------------------------------------- the operator

_do = operator(
    "Do",
    "inputs+ -> outputs+",
    gradient=NamesBlobs(do_gradient),
    inplace=lambda i, o: True,
    doc="""
    Runs net in a new workspace, which it leaves on the stack in the last input (the same blob as
    the last output, from CreateScope).

    The net sees none of the outer blobs but these: its inner_blobs[k] is the blob at position
    outer_blobs_idx[k] among the other inputs and outputs. Every one of them is bound exactly once.
    A gradient Do runs in the workspace on top of the stack, and takes it away. Raises ArgumentError
    for bindings that make no sense, ValueRangeError when no workspace is left for a gradient.
    """,
    example="""
    a = [1, 2]; net: Y = Negative(X); inner_blobs = [X, Y]; outer_blobs_idx = [0, 1]
    Do([a, scope], [b, scope]): b = [-1, -2]
    """,
    net=Arg(NetDef, None, "the net"),
    inner_blobs=Arg(list[str], (), "names of blobs in the net that are blobs outside"),
    outer_blobs_idx=Arg(list[int], (), "which ones: positions among inputs and then outputs"),
    saved_fwd_blobs=Arg(list[str], (), "blobs that a gradient finds in the workspace; accepted"),
    reuse_workspace=Arg(bool, False, "run in the workspace on top of the stack, if there is one"),
    copy_external_blobs=Arg(
        bool, False, "let the workspace keep copies of the outer blobs, for the gradient"
    ),
)


def run_do(call: Call) -> None:
    """Run the net."""
    net = call.args.net
    if net is None:
        raise ArgumentError("argument 'net' (net) is required")
    if "bindings" not in call.kept:
        call.kept["bindings"] = _outer_blobs(call)
    workspaces, blobs = call.kept["bindings"]
    stack = stack_in(call, workspaces.value, workspaces.name)
    if call.op.is_gradient_op:
        frame = stack.pop()
        frame.show(blobs)
    elif call.args.reuse_workspace and not stack.empty:
        frame = stack.last()
        frame.show(blobs)
    else:
        frame = stack.push(call, blobs)
    frame.run(call, net)
    if call.args.copy_external_blobs and not call.op.is_gradient_op:
        frame.save(blobs)


_do.cpu_dynamic(takes_nothing=True)(run_do)
_do.cuda_dynamic(run_do, takes_nothing=True, host_inputs=None)


def _outer_blobs(call: Call) -> tuple[Blob, dict[str, Blob]]:
    """The blob with the workspaces, and for each name inside the blob outside."""
    bindings = read_bindings(
        call.op.input, call.op.output, call.args.inner_blobs, call.args.outer_blobs_idx
    )
    found = {}
    for name in [bindings.workspaces, *bindings.outer_of.values()]:
        blob = call.scope.find(name)
        if blob is None:
            raise MissingBlobError(f"blob '{name}' does not exist")
        found[name] = blob
    inner = {name: found[outer] for name, outer in bindings.outer_of.items()}
    return found[bindings.workspaces], inner
