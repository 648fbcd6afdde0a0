"""The table of translations: ONNX operator -> function that emits Caffe2's."""

from __future__ import annotations

from collections.abc import Callable

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node

__all__ = ["Rule", "Table"]

#: Emits what a node means. Raises UnsupportedError, with the reason, for what cannot be said.
Rule = Callable[[Emitter, Node], None]


class Table(dict[str, Rule]):
    """A family of rules; called with names it is the decorator that adds one for each."""

    def __call__(self, *names: str) -> Callable[[Rule], Rule]:
        """The decorator for the rule of these operators."""

        def add(rule: Rule) -> Rule:
            self.update(dict.fromkeys(names, rule))
            return rule

        return add
