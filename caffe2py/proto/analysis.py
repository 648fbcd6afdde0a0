"""Questions about a NetDef that need no operator: versions, uses, names, nesting.

All walks are loops and take time linear in the size of the net, whatever a file contains. An
operator's argument may hold a net (the branches of If, the step of a recurrent operator). Which of
its blobs are the outer ones only the operator knows, so each function says what it does with them.
"""

from collections.abc import Iterator, Mapping, MutableSequence

from google.protobuf.message import Message

from caffe2py.errors import ModelFormatError
from caffe2py.proto.caffe2_pb2 import Argument, NetDef, OperatorDef, PlanDef

__all__ = [
    "MAX_MESSAGE_DEPTH",
    "MAX_NET_DEPTH",
    "Versioned",
    "check_depth",
    "clone",
    "external_inputs",
    "last_use",
    "message_depth",
    "nested_nets",
    "nesting_depth",
    "produced",
    "rename_blobs",
    "ssa",
    "written_blobs",
]

#: Nets inside nets, as arguments; more are neither read nor written.
MAX_NET_DEPTH = 50
#: Messages inside messages. Protobuf's binary reader stops here, so nothing deeper is written.
MAX_MESSAGE_DEPTH = 100

#: A blob's name, and how many writes it has seen.
Versioned = tuple[str, int]


def ssa(net: NetDef) -> list[tuple[list[Versioned], list[Versioned]]]:
    """For each operator its inputs and outputs, each blob with its version.

    A blob has version 0 before its first write in this net, and each write adds 1. An operator
    reads before it writes, so in place X goes in as version n and comes out as n + 1. Control
    inputs and nested nets are not looked at.
    """
    versions: dict[str, int] = {}
    rows = []
    for op in net.op:
        inputs = [(blob, versions.get(blob, 0)) for blob in op.input]
        for blob in op.output:
            versions[blob] = versions.get(blob, 0) + 1
        rows.append((inputs, [(blob, versions[blob]) for blob in op.output]))
    return rows


def external_inputs(net: NetDef) -> list[str]:
    """The blobs that some operator reads before any wrote them, in order of that reading.

    What the net declares as external_input does not matter, nor do control inputs and nested nets.
    """
    written: set[str] = set()
    found: dict[str, None] = {}  # a set that keeps its order
    for op in net.op:
        found.update(dict.fromkeys(blob for blob in op.input if blob not in written))
        written.update(op.output)
    return list(found)


def produced(net: NetDef) -> dict[str, list[int]]:
    """Each blob that the net writes -> the indices of the operators that write it, ascending."""
    writers: dict[str, list[int]] = {}
    for index, op in enumerate(net.op):
        for blob in dict.fromkeys(op.output):
            writers.setdefault(blob, []).append(index)
    return writers


def written_blobs(net: NetDef) -> frozenset[str]:
    """Every name that an operator of the net writes, or one of a net nested in it."""
    nets = (net, *(inner for inner, _ in nested_nets(net)))
    return frozenset(blob for inner in nets for op in inner.op for blob in op.output)


def last_use(net: NetDef) -> dict[str, int]:
    """Each blob -> the index of the last operator that names it in any way.

    Reading, writing and waiting (control_input) count, and so does every name inside a nested
    net, for it may mean the outer blob. After that operator nothing in this net needs the blob;
    whether it is wanted outside, external_output tells.
    """
    last: dict[str, int] = {}
    for index, op in enumerate(net.op):
        for names in _names_of_operator(op):
            last.update(dict.fromkeys(names, index))
        for inner, _ in nested_nets(op):
            for names in _name_lists(inner):
                last.update(dict.fromkeys(names, index))
    return last


def rename_blobs(net: NetDef, mapping: Mapping[str, str]) -> None:
    """Rename blobs of the net, in place: old name -> new name, all at once.

    So ``{"a": "b", "b": "a"}`` swaps two blobs. Several blobs may get one name, and become one
    blob. Covers the lists of external blobs, control inputs, and nets nested in arguments; blob
    names that an operator keeps in string arguments are that operator's business.
    """
    for inner in (net, *(inner for inner, _ in nested_nets(net))):
        for names in _name_lists(inner):
            for index, name in enumerate(names):
                if name in mapping:
                    names[index] = mapping[name]


def clone(net: NetDef, name: str) -> NetDef:
    """An independent copy of the net under another name."""
    copy = NetDef()
    copy.CopyFrom(net)
    copy.name = name
    return copy


def nested_nets(owner: NetDef | OperatorDef) -> Iterator[tuple[NetDef, int]]:
    """Every net in the arguments of an operator or a net, outer before inner, with its depth.

    The depth is 1 for a net in an argument of the owner itself.
    """
    todo = [(net, 1) for net in _inner(owner)]
    while todo:
        net, depth = todo.pop()
        yield net, depth
        todo.extend((inner, depth + 1) for inner in _inner(net))


def nesting_depth(net: NetDef) -> int:
    """How many nets deep the deepest nested net lies; 0 for a net with none in it."""
    return max((depth for _, depth in nested_nets(net)), default=0)


def message_depth(message: Message) -> int:
    """How many messages deep the deepest message lies; 0 where no field holds a message."""
    deepest = 0
    todo = [(message, 0)]
    while todo:
        current, depth = todo.pop()
        deepest = max(deepest, depth)
        for field, value in current.ListFields():
            if field.message_type is None:
                continue
            children = [value] if isinstance(value, Message) else value
            todo.extend((child, depth + 1) for child in children)
    return deepest


def check_depth(message: Message) -> None:
    """Raise ModelFormatError where nets or messages nest deeper than this module's limits."""
    nets: list[NetDef] = []
    if isinstance(message, NetDef):
        nets = [message]
    elif isinstance(message, PlanDef):
        nets = list(message.network)
    depth = max((nesting_depth(net) for net in nets), default=0)
    if depth > MAX_NET_DEPTH:
        raise ModelFormatError(f"nets are nested {depth} deep, and {MAX_NET_DEPTH} is the limit")
    depth = message_depth(message)
    if depth > MAX_MESSAGE_DEPTH:
        raise ModelFormatError(
            f"messages are nested {depth} deep, and {MAX_MESSAGE_DEPTH} is the limit"
        )


def _inner(owner: NetDef | OperatorDef) -> Iterator[NetDef]:
    """The nets one level down."""
    for argument in _arguments(owner):
        if argument.HasField("n"):
            yield argument.n
        yield from argument.nets


def _arguments(owner: NetDef | OperatorDef) -> Iterator[Argument]:
    yield from owner.arg
    if isinstance(owner, NetDef):
        for op in owner.op:
            yield from op.arg


def _names_of_operator(op: OperatorDef) -> tuple[MutableSequence[str], ...]:
    return op.input, op.output, op.control_input


def _name_lists(net: NetDef) -> Iterator[MutableSequence[str]]:
    """Every list of blob names in a net, but not in the nets inside it."""
    yield net.external_input
    yield net.external_output
    for op in net.op:
        yield from _names_of_operator(op)
