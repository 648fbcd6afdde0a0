"""If and While: nets that run under a condition, in the workspace of the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caffe2py.errors import ArgumentError, NetError
from caffe2py.ops.control.common import (
    Backward,
    backward_net,
    copy_op,
    distinct_gradients,
    gradient_of_nets,
    infer_condition,
    net_argument,
    own_net,
    required_net,
    truth,
)
from caffe2py.proto.analysis import external_inputs
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import Gradient, GradientName, NamesBlobs
from caffe2py.registry.operator import operator, service
from caffe2py.registry.schema import Arg
from caffe2py.tensor.tensor import Blob

Gradients = Mapping[str, str]


# ---------------------------------------------------------------- If


def if_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """An If of the backward nets.

    What one branch makes and the other does not gets zeros there, or what came from outside.
    """
    before, given = distinct_gradients(op, output_grads)
    then = _branch_backward(op, required_net(op, "then_net"), given)
    other_net = net_argument(op, "else_net")
    other = None if other_net is None else _branch_backward(op, other_net, given)
    if other is None:
        other = Backward(_without_operators(then.net), dict(given))
    known = {*op.input, *op.output}
    fills_other = _missing(then, other, given, known)
    fills_then = _missing(other, then, given, known)
    other.net.op.extend(fills_other)
    then.net.op.extend(fills_then)
    gradients = _merged(then.gradients, other.gradients, given)
    condition = op.input[0]
    fills = [*fills_then, *fills_other]
    known.update(given.values())
    reads = dict.fromkeys([*then.reads, *other.reads, *(n for o in fills for n in o.input)])
    writes = list(dict.fromkeys([*then.writes, *other.writes]))
    nets = [make_argument("then_net", then.net)]
    if other_net is not None or other.net.op:
        nets.append(make_argument("else_net", other.net))
    made = gradient_of_nets(
        op,
        input=[condition, *(n for n in reads if n in known and n != condition)],
        output=writes,
        arg=nets,
    )
    found = tuple(gradients.get(name) for name in op.input)
    return Gradient((*before, made), found, frozenset(op.input))


def _branch_backward(op: OperatorDef, net: NetDef, given: Gradients) -> Backward:
    """The backward pass of one branch.

    What the branch overwrites has no part in the outcome, so the gradient of what was there before
    is zero. NetError for a gradient of something that If does not name as its input.
    """
    made = backward_net(net, given)
    for name in external_inputs(net):
        if name in made.gradients and name not in (*op.input, *op.output):
            raise NetError(
                f"net '{net.name}' reads '{name}', which is no input of the operator, so its "
                "gradient would be lost",
                hint=f"add '{name}' to the inputs",
            )
    written = {name for inner in net.op for name in inner.output}
    for name, gradient in given.items():
        if name in op.input and name in written and made.gradients.get(name) == gradient:
            made.net.op.append(_zeros(name, gradient))
    return Backward(made.net, made.gradients)


def _zeros(like: str, target: str) -> OperatorDef:
    zeros = OperatorDef(type="ConstantFill", input=[like], output=[target])
    zeros.arg.append(make_argument("value", 0.0))
    return zeros


def _without_operators(net: NetDef) -> NetDef:
    made = NetDef()
    made.CopyFrom(net)
    del made.op[:]
    if made.name:
        made.name += "_auto_else_zero_blobs_"
    return made


def _missing(
    maker: Backward, other: Backward, given: Gradients, known: set[str]
) -> list[OperatorDef]:
    """What gives the other branch the gradients that only the first one makes."""
    found = []
    for blob, gradient in maker.gradients.items():
        if gradient not in maker.writes or gradient in other.writes or blob not in known:
            continue
        if blob not in given:
            found.append(_zeros(blob, gradient))
        elif given[blob] != gradient:
            found.append(copy_op(given[blob], gradient))
    return found


def _merged(then: Gradients, other: Gradients, given: Gradients) -> dict[str, str]:
    """The gradient of each blob after either branch; NetError where they have two names."""
    merged = dict(then)
    for blob, gradient in other.items():
        before = merged.setdefault(blob, gradient)
        if before == gradient or gradient == given.get(blob):
            continue
        if before != given.get(blob):
            raise NetError(
                f"the gradient of '{blob}' is '{before}' in one branch, '{gradient}' in the other"
            )
        merged[blob] = gradient
    return merged


_if = operator(
    "If",
    "condition, inputs* -> outputs*",
    infer=infer_condition,
    gradient=NamesBlobs(if_gradient),
    inplace=lambda i, o: True,
    doc="""
    Runs then_net if condition is true, else else_net, if there is one.

    The nets run in the workspace of the operator: they read and write its blobs by their names.
    Inputs and outputs say which, for those who look at the outer net. A net is checked when it is
    about to run for the first time. In the backward pass the backward net of the same branch runs;
    gradients that only the other branch would make are zeros.
    """,
    example="""
    condition = [true]; then_net: Y = Relu(X)
    Y = Relu(X)
    """,
    then_net=Arg(NetDef, None, "runs if the condition is true"),
    else_net=Arg(NetDef, None, "runs if it is false"),
)


def _condition(call: Call) -> Blob:
    blob = call.scope.find(call.input_blob(0))
    assert blob is not None, "inputs are found when the operator is bound"
    return blob


def run_if(call: Call) -> None:
    """Run one of the nets."""
    net = own_net(call, "then_net" if truth(_condition(call)) else "else_net")
    if net is not None:
        net.run()


_if.cpu_dynamic(takes_nothing=True)(run_if)
_if.cuda_dynamic(run_if, takes_nothing=True, host_inputs=None)


# ---------------------------------------------------------------- While


def while_gradient(op: OperatorDef, output_grads: Sequence[GradientName]) -> Gradient:
    """A While of the backward Do, as long as it finds workspaces of the forward one.

    What goes around in the loop has its gradient go around, too; the gradients of what the loop
    only reads are added up over all rounds. (Caffe2 keeps the one of the first round.)
    """
    before, given = distinct_gradients(op, output_grads)
    body = required_net(op, "loop_net")
    if len(body.op) != 1 or body.op[0].type != "Do":
        raise NetError("the gradient needs a loop_net that is a single Do")
    workspaces = body.op[0].output[-1]
    loop = backward_net(body, given)
    _refuse_hidden(op, loop.gradients, given)
    condition = _condition_net(loop.gradients, given, workspaces)
    start, totals = _totals(op, loop, given)
    first = [condition.op[0], *(_reversed_copy(copy) for copy in condition.op[1:])]
    blob = condition.op[0].output[0]
    reads = [n for n in dict.fromkeys([*loop.reads, *totals]) if n != blob]
    made = gradient_of_nets(
        op,
        input=[blob, *reads],
        output=list(dict.fromkeys([*loop.writes, *totals])),
        arg=[make_argument("loop_net", loop.net), make_argument("cond_net", condition)],
    )
    found = tuple(loop.gradients.get(name) for name in op.input)
    return Gradient((*before, *start, *first, made), found, frozenset(op.input))


def _refuse_hidden(op: OperatorDef, gradients: Gradients, given: Gradients) -> None:
    """What goes around and has no gradient in the end, but one inside, cannot be told apart."""
    for name in op.output:
        if name in gradients and name not in given:
            raise NetError(
                f"'{name}' goes around in the loop and has a gradient there, but no part in the "
                "loss after it",
                hint="let the loss read it, or StopGradient in the loop",
            )


def _condition_net(gradients: Gradients, given: Gradients, workspaces: str) -> NetDef:
    """Whether there is a round left; and what came out of one round goes into the next."""
    names = service("nested nets")
    net = NetDef(name=names.unique_name("gradient_loop_cond_net"))
    blob = names.scoped(f"{net.name}/cond")
    net.op.add(type="HasScope", input=[workspaces], output=[blob])
    net.external_input.append(workspaces)
    for name, gradient in given.items():
        if gradients.get(name, gradient) != gradient:
            net.op.append(copy_op(gradients[name], gradient))
    return net


def _reversed_copy(copy: OperatorDef) -> OperatorDef:
    return copy_op(copy.output[0], copy.input[0])


def _totals(
    op: OperatorDef, loop: Backward, given: Gradients
) -> tuple[list[OperatorDef], list[str]]:
    """Add up the gradients of what the loop only reads: the operators that begin with zeros."""
    start: list[OperatorDef] = []
    totals: list[str] = []
    for name in op.input:
        total = loop.gradients.get(name)
        if total is None or name in given or total in totals or total not in loop.writes:
            continue
        part = f"_{total}_round"
        for backward in loop.net.op:
            backward.output[:] = [part if n == total else n for n in backward.output]
        loop.net.op.add(type="Sum", input=[total, part], output=[total])
        zeros = OperatorDef(type="ConstantFill", input=[name], output=[total])
        zeros.arg.append(make_argument("value", 0.0))
        start.append(zeros)
        totals.append(total)
    return start, totals


_while = operator(
    "While",
    "condition, inputs* -> outputs*",
    infer=infer_condition,
    gradient=NamesBlobs(while_gradient),
    inplace=lambda i, o: True,
    doc="""
    Runs loop_net as long as condition is true; cond_net, if there is one, runs before each look.

    The nets run in the workspace of the operator, as those of If. The gradient needs a loop_net
    that is a Do with copy_external_blobs: its backward net runs once for each round, the last round
    first. Gradients of blobs that the loop only reads are added up over the rounds.
    """,
    example="""
    condition = [true], X = [1]; loop_net: X = Add(X, X); cond_net: condition = LT(X, [5])
    X = [8]
    """,
    loop_net=Arg(NetDef, None, "runs in every round"),
    cond_net=Arg(NetDef, None, "computes the condition before every round"),
)


def run_while(call: Call) -> None:
    """Run the loop."""
    loop, update = own_net(call, "loop_net"), own_net(call, "cond_net")
    if loop is None:
        raise ArgumentError("argument 'loop_net' (net) is required")
    condition = _condition(call)
    while True:
        if update is not None:
            update.run()
        if not truth(condition):
            return
        loop.run()


_while.cpu_dynamic(takes_nothing=True)(run_while)
_while.cuda_dynamic(run_while, takes_nothing=True, host_inputs=None)
