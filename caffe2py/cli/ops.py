"""`caffe2py ops`: the operators that there are, the ones that are missing, one in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common
from caffe2py.cli.common import table
from caffe2py.errors import UsageError
from caffe2py.registry.gradient import NoGradient, NotDifferentiable, TextRule
from caffe2py.registry.operator import (
    Operator,
    known_caffe2_operators,
    lookup,
    registered,
)
from caffe2py.registry.schema import Arg, Schema, Slot

#: Where the built-in families are; named by path, for only `core` may import them.
_OPS = Path(__file__).parents[1] / "ops"


@common.command("ops")
@click.argument("name", required=False)
@click.option("--missing", is_flag=True, help="Caffe2's operators that caffe2py lacks.")
@common.json_option
def ops(name: str | None, missing: bool, json_: bool) -> None:
    """List all operators, or describe the operator NAME: inputs, arguments, formula, example."""
    if name is not None and missing:
        raise UsageError("NAME and --missing exclude each other")
    if name is not None:
        found = lookup(name)
        if json_:
            common.print_json(_as_json(found))
        else:
            click.echo(_describe(found))
    elif missing:
        _print_missing(json_)
    else:
        _print_all(json_)


COMMANDS = {"ops": ops}


def _print_missing(json_: bool) -> None:
    known = known_caffe2_operators()
    lacking = sorted(known - set(registered()))
    if json_:
        common.print_json(lacking)
        return
    click.echo("\n".join([*lacking, f"{len(lacking)} of Caffe2's {len(known)} operators"]))


def _print_all(json_: bool) -> None:
    found = [operator for _, operator in sorted(registered().items())]
    if json_:
        common.print_json([_as_json(operator) for operator in found])
        return
    rows = [[o.name, _family(o), _gradient_word(o), _devices(o), _status(o)] for o in found]
    click.echo(table(["operator", "family", "gradient", "devices", "status"], rows))
    click.echo(f"{len(rows)} operators")


# ---------------------------------------------------------------- one operator


def _family(operator: Operator) -> str:
    """The module of `caffe2py.ops` that declares it; "extension" for one from elsewhere."""
    file = Path(operator.where.rpartition(":")[0])
    if not file.is_relative_to(_OPS):
        return "extension"
    return file.relative_to(_OPS).parts[0].removesuffix(".py")


def _gradient_word(operator: Operator) -> str:
    if isinstance(operator.gradient, NotDifferentiable):
        return "no"
    return "stops" if isinstance(operator.gradient, NoGradient) else "yes"


def _devices(operator: Operator) -> str:
    return ", ".join(sorted({device for device, _ in operator.kernels}))


def _status(operator: Operator) -> str:
    return "ready" if operator.kernels else "declared, no kernel"


def _gradient_text(operator: Operator) -> str:
    rule = operator.gradient
    if isinstance(rule, NotDifferentiable):
        return f"none: {rule.reason}"
    if isinstance(rule, NoGradient):
        return f"the backward pass ends here: {rule.reason}"
    if isinstance(rule, TextRule):
        lines = (line.strip() for line in rule.text.splitlines())
        return "; ".join(line for line in lines if line)
    return "depends on how the operator is used"


def _slot(slot: Slot) -> str:
    mark = "" if not slot.optional else "?"
    return f"{slot.name}{('*' if slot.optional else '+') if slot.variadic else mark}"


def _signature(schema: Schema) -> str:
    inputs, outputs = (", ".join(map(_slot, slots)) for slots in (schema.inputs, schema.outputs))
    return f"{schema.name}({inputs}) -> {outputs}"


def _default(arg: Arg) -> str:
    if arg.required:
        return "required"
    return "none" if arg.default is None else repr(arg.default)


def _pairs(schema: Schema) -> str:
    forced = [f"input {i} as output {o} (always)" for i, o in schema.enforced.items()]
    free = [
        f"input {i} as output {o}" for i, o in schema.inplace_pairs() if schema.enforced.get(i) != o
    ]
    return ", ".join([*forced, *free]) or "no"


def _describe(operator: Operator) -> str:
    schema = operator.schema
    lines = [_signature(schema), "", *_indented(schema.doc or "(not described)")]
    if schema.args:
        rows = [[n, a.type_name, _default(a), a.doc] for n, a in schema.args.items()]
        lines += ["", *_indented(table(["argument", "type", "default", "meaning"], rows))]
    lines += ["", f"  in place  {_pairs(schema)}"]
    lines.append(f"  gradient  {_gradient_text(operator)}")
    lines.append(f"  ONNX      {schema.onnx or 'no counterpart'}")
    lines.append(f"  devices   {_devices(operator) or 'none'}")
    lines.append(f"  family    {_family(operator)}")
    if schema.example:
        lines += ["", "  example", *(f"  {line}" for line in _indented(schema.example))]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _as_json(operator: Operator) -> dict[str, Any]:
    schema = operator.schema
    return {
        "name": operator.name,
        "family": _family(operator),
        "inputs": [_slot(slot) for slot in schema.inputs],
        "outputs": [_slot(slot) for slot in schema.outputs],
        "args": {
            name: {"type": a.type_name, "default": _default(a), "doc": a.doc}
            for name, a in schema.args.items()
        },
        "inplace": [list(pair) for pair in schema.inplace_pairs()],
        "gradient": _gradient_text(operator),
        "onnx": schema.onnx,
        "devices": sorted({device for device, _ in operator.kernels}),
        "status": _status(operator),
        "doc": schema.doc,
        "example": schema.example,
    }
