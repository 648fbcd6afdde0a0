"""If and While operators around nets: which blobs they bind, and the workspaces of their Do's."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from caffe2py.errors import NetError
from caffe2py.graph.net import Net
from caffe2py.graph.paths import PathError, get_undefined_blobs, versions
from caffe2py.graph.reference import BlobReference
from caffe2py.proto.caffe2_pb2 import TensorProto


def get_external_blob_names(net: Net, lexical_scope: Collection[str]) -> tuple[set[str], set[str]]:
    """What a net reads from outside, and what it writes of the blobs in `lexical_scope`.

    PathError for a blob that it reads and that is not in `lexical_scope`.
    """
    proto = net.Proto()
    reads = get_undefined_blobs(versions(proto, {})[0])
    unknown = sorted(reads - set(lexical_scope))
    if unknown:
        raise PathError(f"Input blob {', '.join(unknown)} is undefined", where=f"net '{net}'")
    writes = {name for op in proto.op for name in op.output if name in lexical_scope}
    return reads, writes


@dataclass
class _Body:
    """A net that holds one Do, and the blobs that the Do reads and writes."""

    net: Net
    reads: list[BlobReference]
    writes: list[BlobReference]
    workspace: BlobReference


def _body(
    name: str,
    owner: Net,
    what: str,
    inner: Net,
    reads: Iterable[str],
    writes: Iterable[str],
    **settings: Any,
) -> _Body:
    """A net called `name` with a Do around `inner`, whose workspaces are a new blob of `owner`."""
    inputs = [BlobReference(blob) for blob in sorted(reads)]
    outputs = [BlobReference(blob) for blob in sorted(writes)]
    order = [str(blob) for blob in (*inputs, *outputs)]
    bound = list(dict.fromkeys(order))
    workspace = owner.NextScopedBlob(f"{owner.Name()}/{what}")
    net = Net(name)
    net.Do(
        [*inputs, workspace],
        [*outputs, workspace],
        net=inner.Proto(),
        inner_blobs=bound,
        outer_blobs_idx=[order.index(blob) for blob in bound],
        **settings,
    )
    net.AddExternalOutput(*outputs, workspace)
    return _Body(net, inputs, outputs, workspace)


def _united(*lists: Iterable[BlobReference]) -> list[BlobReference]:
    return list({str(blob): blob for blobs in lists for blob in blobs}.values())


def add_if_op(
    if_net: Net,
    cond_blob: Any,
    lexical_scope: Collection[str],
    then_net: Net,
    else_net: Net | None = None,
) -> None:
    """Add to `if_net` an If that runs `then_net` if the bool `cond_blob` is true, else `else_net`.

    What the nets read first, and what they write of the blobs named in `lexical_scope`, are blobs
    of `if_net`; all others live in workspaces of their own. PathError for a blob in neither.
    """
    bodies = []
    for kind, inner in (("then", then_net), ("else", else_net)):
        if inner is not None:
            reads, writes = get_external_blob_names(inner, lexical_scope)
            what = f"workspace_if_{kind}"
            bodies.append(_body(f"do_{kind}_net", if_net, what, inner, reads, writes))
    spaces = [body.workspace for body in bodies]
    inputs = [cond_blob, *_united(*(body.reads for body in bodies)), *spaces]
    outputs = [*_united(*(body.writes for body in bodies)), *spaces]
    nets = {f"{kind}_net": b.net.Proto() for kind, b in zip(("then", "else"), bodies, strict=False)}
    for space in spaces:
        if_net.CreateScope([], [space])
    if_net.If(inputs, outputs, **nets)
    if_net.AddExternalOutput(*outputs)


def add_while_op(
    while_net: Net,
    cond_blob: Any,
    lexical_scope: Collection[str],
    loop_body_net: Net,
    condition_body_net: Net | None = None,
) -> None:
    """Add to `while_net` a While that runs `loop_body_net` as long as `cond_blob` is true.

    `condition_body_net` runs before each look, and has to write `cond_blob`. Blobs are inside or
    outside as in add_if_op. PathError for a blob that is undefined, NetError for a condition net
    that does not write the condition.
    """
    reads, writes = get_external_blob_names(loop_body_net, lexical_scope)
    # the loop may not run at all: what it writes has to be there before
    loop = _body(
        "do_loop_body_net",
        while_net,
        "workspace_loop_body",
        loop_body_net,
        reads | writes,
        writes,
        copy_external_blobs=True,
    )
    bodies, nets = [loop], {"loop_net": loop.net.Proto()}
    if condition_body_net is not None:
        name = str(cond_blob)
        if not any(name in op.output for op in condition_body_net.Proto().op):
            raise NetError(f"the condition net '{condition_body_net}' does not write '{name}'")
        reads, writes = get_external_blob_names(condition_body_net, lexical_scope)
        what = "workspace_loop_cond"
        bodies.append(
            _body(
                "do_loop_condition_net", while_net, what, condition_body_net, reads, writes | {name}
            )
        )
        nets["cond_net"] = bodies[1].net.Proto()
        if name not in lexical_scope:
            while_net.ConstantFill([], cond_blob, dtype=TensorProto.BOOL, value=False)
    inputs = [cond_blob, *_united(*([*b.reads, b.workspace] for b in bodies))]
    outputs = _united(*([*b.writes, b.workspace] for b in bodies))
    for body in bodies:
        while_net.CreateScope([], [body.workspace])
    while_net.While(inputs, outputs, **nets)
    while_net.AddExternalOutput(*outputs)
