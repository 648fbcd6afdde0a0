"""What a row of the corpus is, and the parts that rows are made of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.toy import net, op

NAN, INF = float("nan"), float("inf")


def ones(*shape):
    return np.ones(shape, np.float32)


def array(values, dtype):
    return np.array(values, dtype)


IMAGE, FILTER = ones(1, 3, 8, 8), ones(4, 3, 3, 3)
TEXT = np.array([b"a"], object)


def one(type_, reads, gives, **args):
    """A net of one operator."""
    return net(op(type_, reads, gives, **args), reads=reads, gives=gives)


@dataclass(frozen=True)
class Row:
    """A net from a file that must fail: with just this class, and this in the message."""

    name: str
    net: Any
    error: type[Exception]
    message: str
    feeds: dict[str, Any] = field(default_factory=dict)


def altered(made, change):
    """A net after a change that has no argument for it."""
    change(made)
    return made
