"""Caffe2's net_printer module: nets, steps and plans as text."""

from __future__ import annotations

from typing import Any

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.graph.checking import Analyzer, analyze
from caffe2py.graph.net import Net
from caffe2py.graph.printing import (
    Printer,
    Text,
    call,
    commonprefix,
    factor_prefix,
    format_device_option,
)

__all__ = [
    "Analyzer",
    "Printer",
    "Text",
    "analyze",
    "call",
    "commonprefix",
    "debug_net",
    "factor_prefix",
    "format_device_option",
    "to_string",
]


def to_string(obj: Any, **kwargs: Any) -> str:
    """A Net, NetDef, ExecutionStep or Plan as text; arguments as Printer takes them."""
    printer = Printer(**kwargs)
    printer(obj)
    return str(printer)


def debug_net(net: Net) -> Net:
    """A copy of a net that prints each operator's outputs after it."""
    made = net.Clone(f"{net}_debug")
    operators = list(made.Proto().op)
    del made.Proto().op[:]
    for op in operators:
        made.Proto().op.append(op)
        for blob in op.output:
            made.Print(made.GetBlobRef(blob), [])
    return made
