"""What a script uses of Caffe2 that this package lacks, found without running the script."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any, NamedTuple

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.compat.alias import names
from caffe2py.registry.operator import known_caffe2_operators, registered

_ROOTS = ("caffe2.python", "caffe2.proto", "caffe2")


class Lacking(NamedTuple):
    """One thing that is used and lacking."""

    line: int
    name: str
    what: str


def lacking(source: str, file: str = "<script>") -> list[Lacking]:
    """The modules, names and operators that a script needs and that are lacking, each once.

    SyntaxError for a script that is no Python 3.
    """
    reader = _Reader()
    reader.visit(ast.parse(source, file))
    found: dict[str, Lacking] = {}
    for line, path in reader.used:
        what = _missing_path(path)
        if what is not None:
            found.setdefault(what[0], Lacking(line, *what))
    known = known_caffe2_operators() - registered().keys()
    for line, op_type in reader.operators:
        if op_type in known:
            found.setdefault(op_type, Lacking(line, op_type, "operator"))
    return sorted(found.values())


class _Reader(ast.NodeVisitor):
    """Collects dotted names that begin with a module of Caffe2's, and names of operators."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.used: list[tuple[int, str]] = []
        self.operators: list[tuple[int, str]] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if _is_caffe2(alias.name):
                self.used.append((node.lineno, alias.name))
                if alias.asname:
                    self.aliases[alias.asname] = alias.name
                else:
                    self.aliases["caffe2"] = "caffe2"

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or not _is_caffe2(module):
            return
        for alias in node.names:
            path = module if alias.name == "*" else f"{module}.{alias.name}"
            self.used.append((node.lineno, path))
            self.aliases[alias.asname or alias.name] = path

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = _dotted(node)
        head, _, rest = path.partition(".")
        if head in self.aliases and rest:
            self.used.append((node.lineno, f"{self.aliases[head]}.{rest}"))
            return
        self.operators.append((node.lineno, node.attr))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = _dotted(node.func).rpartition(".")[2]
        first = node.args[0] if node.args else None
        if name == "CreateOperator" and isinstance(first, ast.Constant):
            self.operators.append((node.lineno, str(first.value)))
        self.generic_visit(node)


def _dotted(node: ast.AST) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def _is_caffe2(module: str) -> bool:
    return module == "caffe2" or module.startswith("caffe2.")


def _missing_path(path: str) -> tuple[str, str] | None:
    """The shortest part of a dotted name that is lacking, and what it is."""
    module, rest = _module_of(path)
    if module is None:
        return rest, "module"
    value: Any = module
    name = path.removesuffix(rest).rstrip(".")
    for part in filter(None, rest.split(".")):
        name = f"{name}.{part}"
        try:
            value = getattr(value, part)
        except AttributeError:
            return name, "name"
        if not isinstance(value, type) and not hasattr(value, "__path__"):
            return None  # what objects have is known at run time only
    return None


def _module_of(path: str) -> tuple[Any, str]:
    """The module that a dotted name begins with and the rest; or None and the missing module."""
    known = names()
    for module in _prefixes(path):
        if module in known:
            return importlib.import_module(known[module]), path[len(module) + 1 :]
    for root in _ROOTS:
        if path == root:
            return importlib.import_module("caffe2py"), ""
        if path.startswith(f"{root}."):
            return None, f"{root}.{path[len(root) + 1 :].split('.')[0]}"
    return None, path


def _prefixes(path: str) -> Iterator[str]:
    """A dotted name and all that it begins with, longest first."""
    while path:
        yield path
        path = path.rpartition(".")[0]
