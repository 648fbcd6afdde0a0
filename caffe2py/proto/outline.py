"""A net without its weights: where the long lists of floats lie, and all the rest in small.

Nearly all bytes of a saved model are lists of floats in arguments of fills. Protobuf would read
them one by one into objects of its own, which takes ten times as long as to copy them. So they
are cut out by walking over the lengths of the messages around them, a few thousand bytes in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from caffe2py.proto.caffe2_pb2 import Argument, NetDef, OperatorDef
from caffe2py.proto.wire import FIXED32, LENGTH, Bytes, Field, WireError, fields

__all__ = ["RECORD", "Floats", "Text", "outline"]

#: Messages of fewer bytes stay as they are.
LONG = 16384
#: Bytes of a float that is not packed: a tag and four of its own.
RECORD = 5

_OP = NetDef.DESCRIPTOR.fields_by_name["op"].number
_ARG = OperatorDef.DESCRIPTOR.fields_by_name["arg"].number
_FLOATS = Argument.DESCRIPTOR.fields_by_name["floats"].number


class Text(Bytes, Protocol):
    """Bytes that may still be in a file."""

    def part(self, start: int, end: int) -> bytes:
        """Those between two positions."""


class Floats(NamedTuple):
    """A list of floats that was cut out: `size` of them, `step` bytes apart, the first at `start`.

    `op` and `argument` are positions in the net. With a `step` of RECORD the byte in front of each
    has to be the same tag; whoever reads them checks that.
    """

    op: int
    argument: int
    start: int
    size: int
    step: int


def outline(data: Text) -> tuple[bytes, list[Floats]]:
    """The bytes of a net without its long lists of floats, and these lists.

    Raises WireError for anything out of the ordinary, which is better left to protobuf: bytes that
    are no message, or lists with something else behind them.
    """
    cut: list[Floats] = []
    parts: list[bytes] = []
    for index, op in _items(data, 0, len(data), _OP, parts):
        inner: list[bytes] = []
        for position, arg in _items(data, op.value, op.end, _ARG, inner):
            small, found = _without_floats(data, arg)
            inner.append(_message(_ARG, small))
            cut.extend(Floats(index, position, *rest) for rest in found)
        parts.append(_message(_OP, b"".join(inner)))
    return b"".join(parts), cut


def _items(
    data: Text, start: int, end: int, number: int, short: list[bytes]
) -> Iterator[tuple[int, Field]]:
    """The long items of a repeated message, with their positions; all else goes to `short`."""
    index, reached = 0, start
    for field in fields(data, start, end):
        reached = field.end
        is_item = field.number == number and field.wire_type == LENGTH
        if is_item and field.end - field.value >= LONG:
            yield index, field
        else:
            short.append(data.part(field.start, field.end))
        index += is_item
    if reached != end:
        raise WireError(reached)


def _without_floats(data: Text, argument: Field) -> tuple[bytes, Sequence[tuple[int, int, int]]]:
    """An argument without the floats at its end, and where they are."""
    parts = []
    for field in fields(data, argument.value, argument.end):
        if field.number != _FLOATS:
            parts.append(data.part(field.start, field.end))
            continue
        packed = field.wire_type == LENGTH
        first, step = (field.value, 4) if packed else (field.start, RECORD)
        count, rest = divmod(argument.end - first, step)
        if rest or (field.end != argument.end if packed else field.wire_type != FIXED32):
            raise WireError(field.start)
        return b"".join(parts), [(field.value, count, step)]
    return b"".join(parts), []


def _message(number: int, content: bytes) -> bytes:
    """A field that holds a message."""
    return _varint(number << 3 | LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
