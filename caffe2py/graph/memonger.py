"""Nets that need less memory: blobs that live one after the other become one blob."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from caffe2py.errors import NetError
from caffe2py.graph.liveness import (
    AssignmentAlgorithm,
    Assignments,
    OperatorGraph,
    compute_assignments,
    compute_blob_assignments,
    compute_interference_graph,
    compute_ranges,
    topological_sort_traversal,
)
from caffe2py.proto.analysis import nested_nets
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import DeviceOption, NetDef, OperatorDef
from caffe2py.registry.operator import find, verify
from caffe2py.tensor.types import dtype_from_number

#: The outputs of these are views of their inputs.
_VIEWS = frozenset({"Alias", "AliasWithName"})


class ShareError(NetError, AssertionError):
    """A net that cannot be changed so."""


class Optimization(NamedTuple):
    """A net, which blobs share memory, and the new names."""

    net: NetDef
    assignments: Assignments
    blob_assignments: dict[str, str]


# ---------------------------------------------------------------- sharing along dependencies


def recycle(
    net: NetDef, shareable: Collection[str], prefix: str, sizes: Mapping[str, int] | None = None
) -> NetDef:
    """A copy of the net in which shareable blobs are few blobs, "<prefix>__m0_shared", ...

    A blob takes the place of another only if whatever touches that one has run before the operator
    that makes it, in whatever order the net allows. What nothing reads is a result, and keeps its
    name, and so does what nets of operators and views of memory may know.
    """
    made = _copied(net)
    lives = _lives(net, shareable)
    renamed: dict[str, str] = {}
    places: list[_Place] = []
    ancestors = _ancestors(net.op)
    for name, life in sorted(lives.items(), key=lambda item: item[1][0]):
        first, users = life[0], life[1]
        size = (sizes or {}).get(name, 0)
        device = _device(net.op[first])
        free = [p for p in places if p.device == device and p.users <= ancestors[first]]
        if free:
            place = min(free, key=lambda p: abs(p.size - size))
        else:
            place = _Place(f"{prefix}__m{len(places)}_shared", device)
            places.append(place)
        place.users, place.size = users, max(place.size, size)
        place.count += 1
        renamed[name] = place.name
    used = {place.name for place in places if place.count > 1}
    apply_assignments(made, {n: new for n, new in renamed.items() if new in used})
    return made


class _Place:
    """A shared blob: who touches what it holds now, and how large it is."""

    def __init__(self, name: str, device: tuple[int, int]) -> None:
        self.name = name
        self.device = device
        self.users: frozenset[int] = frozenset()
        self.size = 0
        self.count = 0


def _device(op: OperatorDef) -> tuple[int, int]:
    return op.device_option.device_type, op.device_option.device_id


def _lives(net: NetDef, shareable: Collection[str]) -> dict[str, tuple[int, frozenset[int]]]:
    """For each blob that may be shared its maker, and all who touch it."""
    fixed = {*net.external_input, *net.external_output}
    touched: defaultdict[str, set[int]] = defaultdict(set)
    maker: dict[str, int] = {}
    read: set[str] = set()
    for index, op in enumerate(net.op):
        fixed.update(name for name in op.input if name not in maker)
        read.update(op.input)
        if op.type in _VIEWS or any(True for _ in nested_nets(op)) or _is_recurrent(op):
            fixed.update((*op.input, *op.output))
        for name in (*op.input, *op.output):
            touched[name].add(index)
        for name in op.output:
            maker.setdefault(name, index)
    return {
        name: (maker[name], frozenset(touched[name]))
        for name in shareable
        if name in maker and name in read and name not in fixed
    }


def _is_recurrent(op: OperatorDef) -> bool:
    return op.type.startswith("RecurrentNetwork")


def _ancestors(ops: Sequence[OperatorDef]) -> list[frozenset[int]]:
    """For each operator all that have to run before it, by what it reads."""
    makers: dict[str, int] = {}
    found: list[frozenset[int]] = []
    for index, op in enumerate(ops):
        parents = {makers[name] for name in op.input if name in makers}
        found.append(frozenset(parents.union(*(found[p] for p in parents))))
        makers.update(dict.fromkeys(op.output, index))
    return found


def share_grad_blobs(
    net: Any,
    losses: Iterable[Any],
    param_grads: Collection[Any],
    namescope: str,
    dont_share_blobs: Collection[str] | None = None,
    share_activations: bool = False,
    blob_shapes: Mapping[str, Sequence[int]] | None = None,
) -> NetDef:
    """A copy of a Net's NetDef in which gradients that pass between layers share memory.

    Gradients are blobs in the name scope that end in "_grad", those of parameters excepted. With
    `share_activations` so do inputs of layers with weights, but the last two. `losses` is accepted.
    `blob_shapes` helps to share what has about one size.
    """
    scope = f"{namescope}/" if namescope and not namescope.endswith("/") else namescope
    kept = {*map(str, param_grads), *map(str, dont_share_blobs or ())}
    proto = net.Proto()
    names = {name for op in proto.op for name in (*op.input, *op.output)}
    shareable = {
        name
        for name in names
        if name.endswith("_grad") and name.startswith((scope, f"_{scope}")) and name not in kept
    }
    if share_activations:
        shareable |= set(_activations(proto)) - kept
    sizes = {name: _product(dims) for name, dims in (blob_shapes or {}).items()}
    return _verified(proto, recycle(proto, shareable, scope, sizes))


def _activations(net: NetDef) -> list[str]:
    """Outputs of layers, which are called like their weights, but for the last two."""
    outputs = set(net.external_output)
    found = [
        name
        for op in net.op
        for name in op.output
        if f"{name}_w" in op.input and name not in outputs
    ]
    return found[:-2]


def _product(dims: Sequence[int]) -> int:
    total = 1
    for dim in dims:
        total *= int(dim)
    return total


def optimize_inference_for_dag(net: Any, input_blobs: Iterable[Any], namescope: str = "") -> NetDef:
    """A copy of a Net's NetDef, without gradients, in which blobs between its ends share memory.

    `input_blobs` are accepted: the whole net is looked at. Raises SchemaError for an operator that
    contradicts its declaration, ShareError for a net with gradient operators, or with inputs that
    are neither made nor external.
    """
    proto = net.Proto()
    ends = {*proto.external_input, *proto.external_output}
    made: set[str] = set()
    for op in proto.op:
        if op.is_gradient_op:
            raise ShareError(f"{op.type} is a gradient operator; inference nets have none")
        missing = [name for name in op.input if name not in ends and name not in made]
        if missing:
            raise ShareError(f"{missing[0]} not in external input")
        if find(op.type) is not None:
            verify(op)
        made.update(op.output)
    return _verified(proto, recycle(proto, made - ends, namescope))


def optimize_inference_fast(net: NetDef, static_blobs: Iterable[Any]) -> NetDef:
    """A copy of a NetDef in which all blobs but `static_blobs` share memory where they can."""
    static = set(map(str, static_blobs))
    names = {name for op in net.op for name in op.output}
    return _verified(net, recycle(net, names - static, ""))


def _verified(before: NetDef, after: NetDef) -> NetDef:
    """The new net; ShareError if it does not do the same, which would be a mistake here."""
    if not verify_graph_equality(before, after) or not verify_inplace_blobs(before, after):
        raise ShareError(f"net '{before.name}' would compute something else with shared blobs")
    return after


# ---------------------------------------------------------------- sharing along one order


def optimize_interference(
    net: NetDef,
    static_blobs: Collection[Any],
    ordering_function: Callable[[OperatorGraph], Sequence[int]] = topological_sort_traversal,
    blob_sizes: Mapping[str, int] | None = None,
    algo: AssignmentAlgorithm = AssignmentAlgorithm.GREEDY,
) -> Optimization:
    """Put the operators in one order, and let blobs that live one after the other be one.

    `static_blobs` keep their names and memory; so does what nothing reads. The new net must run
    in this order: as a net of type "simple". With `blob_sizes` like goes with like.
    """
    made = _copied(net)
    order = ordering_function(compute_interference_graph(net.op))
    ops = [net.op[index] for index in order]
    del made.op[:]
    made.op.extend(ops)
    ranges = compute_ranges(ops, blob_sizes)
    assignments = compute_assignments(ranges, list(map(str, static_blobs)), algo)
    names = compute_blob_assignments(assignments)
    apply_assignments(made, names)
    return Optimization(made, assignments, names)


def apply_assignments(net: NetDef, blob_assignments: Mapping[str, str]) -> None:
    """Rename blobs, in the step nets of recurrent operators too; those note it in arguments."""
    for op in net.op:
        if _is_recurrent(op):
            _rename_steps(op, blob_assignments)
        op.input[:] = [blob_assignments.get(name, name) for name in op.input]
        op.output[:] = [blob_assignments.get(name, name) for name in op.output]


def _rename_steps(op: OperatorDef, names: Mapping[str, str]) -> None:
    touched = {*op.input, *op.output}
    for argument in op.arg:
        if argument.name.endswith("step_net") and argument.HasField("n"):
            apply_assignments(argument.n, names)
            external = argument.n.external_input
            external[:] = [names.get(name, name) for name in external]
    op.arg.extend(make_argument(f"{n}.rename", new) for n, new in names.items() if n in touched)


# ---------------------------------------------------------------- giving blobs up


def release_blobs_when_used(
    netproto: NetDef,
    dont_free_blobs: Collection[str],
    selector_fun: Callable[[str], bool] | None = None,
) -> NetDef:
    """A copy in which a Free follows the last reader of each blob that the net makes.

    Not of external outputs, of `dont_free_blobs`, of blobs with aliases, nor of those for which
    `selector_fun` is false.
    """
    aliased = {op.input[0] for op in netproto.op if op.type in _VIEWS}
    kept = {*netproto.external_output, *dont_free_blobs, *aliased}
    made: set[str] = set()
    seen: set[str] = set()
    last: dict[str, int] = {}
    for index, op in enumerate(netproto.op):
        seen.update(op.input)
        made.update(name for name in op.output if name not in seen)
        last.update((name, index) for name in (*op.input, *op.output) if name in seen)
    released: defaultdict[int, list[str]] = defaultdict(list)
    for name, index in last.items():
        if name in made and name not in kept and (selector_fun is None or selector_fun(name)):
            released[index].append(name)
    net = _copied(netproto)
    del net.op[:]
    for index, op in enumerate(netproto.op):
        net.op.append(op)
        net.op.extend(OperatorDef(type="Free", input=[n], output=[n]) for n in released[index])
    return net


def estimate_memory_usage(
    protos: Iterable[NetDef],
    shapes: Mapping[str, Sequence[int]],
    types: Mapping[str, int],
    devicescope: DeviceOption | None,
) -> tuple[int, int, dict[str, int]]:
    """Bytes that nets allocate on a device: in all, at most at once, and by operator type.

    Blobs without a shape or a type count as nothing; Free and Alias give memory back.
    """
    option = devicescope or DeviceOption()
    now = most = total = 0
    alive: dict[str, int] = {}
    by_type: defaultdict[str, int] = defaultdict(int)
    for op in (op for net in protos for op in net.op):
        if op.type in ("Free", "Alias"):
            now -= sum(alive.pop(name, 0) for name in op.output)
            continue
        if op.device_option != option:
            continue
        for name in op.output:
            if name in alive:
                continue
            alive[name] = _bytes_of(name, shapes, types)
            now += alive[name]
            total += alive[name]
            most = max(most, now)
            by_type[op.type] += alive[name]
    return total, most, dict(by_type)


def _bytes_of(name: str, shapes: Mapping[str, Sequence[int]], types: Mapping[str, int]) -> int:
    if name not in shapes or name not in types:
        return 0
    return _product(shapes[name]) * dtype_from_number(types[name]).itemsize


# ---------------------------------------------------------------- checks


def verify_inplace_blobs(net_a: NetDef, net_b: NetDef) -> bool:
    """Whether the same inputs and outputs are one blob in the operators of both nets."""
    return all(
        a.type == b.type and _inplace(a) == _inplace(b)
        for a, b in zip(net_a.op, net_b.op, strict=False)
    )


def _inplace(op: OperatorDef) -> list[tuple[int, int]]:
    outputs = list(op.output)
    return [(k, outputs.index(name)) for k, name in enumerate(op.input) if name in outputs]


def verify_graph_equality(net_a: NetDef, net_b: NetDef) -> bool:
    """Whether both nets have the same operators, and each reads what the same ones write."""
    if len(net_a.op) != len(net_b.op):
        return False
    pairs = zip(net_a.op, net_b.op, strict=True)
    same = all(
        (a.type, a.engine) == (b.type, b.engine) and a.device_option == b.device_option
        for a, b in pairs
    )
    return same and _parents(net_a.op) == _parents(net_b.op)


def _parents(ops: Iterable[OperatorDef]) -> list[list[int]]:
    makers: dict[str, int] = {}
    found = []
    for index, op in enumerate(ops):
        found.append([makers[name] for name in op.input if name in makers])
        makers.update(dict.fromkeys(op.output, index))
    return found


def _copied(net: NetDef) -> NetDef:
    made = NetDef()
    made.CopyFrom(net)
    return made
