"""`caffe2py ops`: the operators that there are, the ones that are missing, one in full."""

from __future__ import annotations

from typing import Any

import click

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common
from caffe2py.cli.common import table
from caffe2py.errors import UsageError
from caffe2py.registry import describe
from caffe2py.registry.absent import absent_operators, absent_reasons
from caffe2py.registry.operator import (
    Operator,
    known_caffe2_operators,
    lookup,
    registered,
)
from caffe2py.registry.schema import Schema

_UNEXPLAINED = "not written yet"


@common.command("ops")
@click.argument("name", required=False)
@click.option("--missing", is_flag=True, help="Caffe2's operators that caffe2py lacks, and why.")
@common.json_option
def ops(name: str | None, missing: bool, json_: bool) -> None:
    """List all operators, or describe the operator NAME: inputs, arguments, formula, example.

    The list holds Caffe2's operators that are not here too; their status says why.
    """
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
    lacking = _lacking()
    if json_:
        common.print_json([_absent_as_json(name) for name in lacking])
        return
    unexplained = sorted(set(lacking) - set(absent_operators()))
    groups = [(f"{reason.label}: {reason.why}", reason.operators) for reason in absent_reasons()]
    for title, names in [*groups, (_UNEXPLAINED, unexplained)]:
        shown = [name for name in names if name in lacking]
        if shown:
            click.echo("\n".join([title, *(f"  {name}" for name in shown)]))
    click.echo(f"{len(lacking)} of Caffe2's {len(known_caffe2_operators())} operators")


def _print_all(json_: bool) -> None:
    found = [operator for _, operator in sorted(registered().items())]
    lacking = _lacking()
    if json_:
        here = [_as_json(operator) for operator in found]
        common.print_json([*here, *map(_absent_as_json, lacking)])
        return
    rows = [
        [o.name, describe.family(o), describe.gradient_word(o), _kinds(o), _status(o)]
        for o in found
    ]
    rows += [[name, "-", "-", "-", _absent_status(name)] for name in lacking]
    click.echo(table(["operator", "family", "gradient", "devices", "status"], sorted(rows)))
    click.echo(f"{len(found)} operators; {len(lacking)} of Caffe2's are not here")


def _lacking() -> list[str]:
    return sorted(known_caffe2_operators() - set(registered()))


def _absent_status(name: str) -> str:
    reason = absent_operators().get(name)
    return f"not here: {reason.label}" if reason else "not here"


def _absent_as_json(name: str) -> dict[str, Any]:
    reason = absent_operators().get(name)
    return {
        "name": name,
        "status": "not here",
        "reason": reason.label if reason else None,
        "why": reason.why if reason else None,
    }


def _status(operator: Operator) -> str:
    return "ready" if operator.kernels else "declared, no kernel"


def _kinds(operator: Operator) -> str:
    return ", ".join(sorted({device for device, _ in operator.kernels}))


# ---------------------------------------------------------------- one operator


def _describe(operator: Operator) -> str:
    schema = operator.schema
    lines = [describe.signature(schema), "", *_indented(_doc(schema))]
    if schema.args:
        rows = [[n, a.type_name, describe.default_text(a), a.doc] for n, a in schema.args.items()]
        lines += ["", *_indented(table(["argument", "type", "default", "meaning"], rows))]
    lines += ["", f"  in place  {describe.pairs_text(schema)}"]
    lines.append(f"  gradient  {describe.gradient_text(operator)}")
    lines.append(f"  ONNX      {schema.onnx or 'no counterpart'}")
    lines.append(f"  devices   {describe.devices(operator) or 'none'}")
    lines.append(f"  family    {describe.family(operator)}")
    if schema.example:
        lines += ["", "  example", *(f"  {line}" for line in _indented(schema.example))]
    return "\n".join(lines)


def _doc(schema: Schema) -> str:
    return "\n\n".join(describe.paragraphs(schema.doc)) or "(not described)"


def _indented(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _as_json(operator: Operator) -> dict[str, Any]:
    schema = operator.schema
    return {
        "name": operator.name,
        "family": describe.family(operator),
        "inputs": [describe.slot_text(slot) for slot in schema.inputs],
        "outputs": [describe.slot_text(slot) for slot in schema.outputs],
        "args": {
            name: {"type": a.type_name, "default": describe.default_text(a), "doc": a.doc}
            for name, a in schema.args.items()
        },
        "inplace": [list(pair) for pair in schema.inplace_pairs()],
        "gradient": describe.gradient_text(operator),
        "onnx": schema.onnx,
        "devices": sorted({device for device, _ in operator.kernels}),
        "status": _status(operator),
        "doc": schema.doc,
        "example": schema.example,
    }
