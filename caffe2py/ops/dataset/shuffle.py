"""The one order into which Caffe2 shuffles n things: C++'s shuffle with its default generator."""

from __future__ import annotations

_FACTOR, _PRIME = 16807, 2**31 - 1


class _Generator:
    """x = 16807 x mod (2^31 - 1), from 1; numbers below a bound by division, without bias."""

    def __init__(self) -> None:
        self._state = 1

    def below(self, bound: int) -> int:
        width = (_PRIME - 2) // bound
        while True:
            self._state = self._state * _FACTOR % _PRIME
            if (self._state - 1) < bound * width:
                return (self._state - 1) // width


def shuffled(count: int) -> list[int]:
    """The numbers below `count` in that order; the same in every call."""
    order = list(range(count))
    draw = _Generator()

    def swap(a: int, b: int) -> None:
        order[a], order[b] = order[b], order[a]

    if (_PRIME - 2) // max(count, 1) < count:  # too many for two places from one number
        for k in range(1, count):
            swap(k, draw.below(k + 1))
        return order
    first = 1
    if count and count % 2 == 0:
        swap(1, draw.below(2))
        first = 2
    for k in range(first, count, 2):
        both = draw.below((k + 1) * (k + 2))
        swap(k, both // (k + 2))
        swap(k + 1, both % (k + 2))
    return order
