"""`caffe2py summary` and `caffe2py infer-shapes`: a net in figures, without running it."""

from __future__ import annotations

from typing import Any

import click

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common
from caffe2py.cli.common import bytes_text, log, number, plain, table
from caffe2py.cli.memory import memory_json, memory_text
from caffe2py.errors import Error
from caffe2py.executor.memory import MemoryReport
from caffe2py.predictor.inputs import Invented, parse_inputs, types_of
from caffe2py.predictor.load import Model, load_model
from caffe2py.predictor.session import Session
from caffe2py.predictor.summary import Row, Summary, known_before, summarize
from caffe2py.tensor.types import TensorType, dtype_name

_MAX_OUTPUT = 48


@common.command("summary")
@common.model_options
@common.trust_options
@common.input_option
@click.option("--memory", is_flag=True, help="Run NET once, and tell what its arrays take.")
@common.json_option
def summary(net: str, init: str | None, inputs: tuple[str, ...], memory: bool, json_: bool) -> int:
    """Output shapes, parameters, multiply-adds and memory of NET, each operator and in total.

    Nothing is run: the shapes follow from those of the inputs (--input data=1x3x224x224) and
    weights. "?" marks what cannot be told. With --memory NET is run, as it is and optimised: only
    then is known what operators keep beside their blobs.
    """
    model, given = _load(net, init, inputs)
    made = [summarize(model, one, given) for one in model.nets]
    found = _measured(model, inputs) if memory else {}
    if json_:
        reports = {name: memory_json(report) for name, report in found.items()}
        extra = [{"array_bytes": reports}] if memory else []
        common.print_json([*(_as_json(one) for one in made), *extra])
    else:
        click.echo("\n\n".join(_text(one) for one in made))
        for name, report in found.items():
            click.echo(f"  {name:<13}  {memory_text(report)}")
    return _first_error([row.error for one in made for row in one.rows])


@common.command("infer-shapes")
@common.model_options
@common.trust_options
@common.input_option
@common.json_option
def infer_shapes(net: str, init: str | None, inputs: tuple[str, ...], json_: bool) -> int:
    """The type and shape of every blob of NET, as far as they follow from those of the inputs."""
    model, given = _load(net, init, inputs)
    walk = known_before(model, given)
    errors = [step.error for one in model.nets for step in walk.steps(one)]
    used = {n for one in model.nets for op in one.op for n in (*op.input, *op.output)}
    types = {name: type_ for name, type_ in walk.types.items() if name in used}
    types |= {name: TensorType() for name in used if name not in types}
    if json_:
        common.print_json({name: _type_json(types[name]) for name in sorted(types)})
    else:
        for name in sorted(types):
            click.echo(f"{plain(name)}: {types[name]}")
    return _first_error(errors)


COMMANDS = {"summary": summary, "infer-shapes": infer_shapes}


def _load(
    net: str, init: str | None, inputs: tuple[str, ...]
) -> tuple[Model, dict[str, TensorType]]:
    model = load_model(net, init, trust=common.given_trust())
    given = types_of(parse_inputs(inputs, model))
    if not set(model.missing_weights) <= set(given):
        for note in model.notes:
            log.warning(note)
    return model, given


def _measured(model: Model, inputs: tuple[str, ...]) -> dict[str, MemoryReport]:
    """What the arrays take, without and with the passes over the net and shared storage."""
    found: dict[str, MemoryReport] = {}
    for name, optimize in {"as it is": False, "optimised": True}.items():
        session = Session(model, optimize=optimize)
        for blob, value in parse_inputs(inputs, model).items():
            session.feed(blob, value.array(blob) if isinstance(value, Invented) else value)
        session.require_inputs()
        session.run()
        if session.created is not None:
            found[name] = session.created.memory()
    return found


def _first_error(errors: list[Error | None]) -> int:
    """Log the errors that were met on the way; the exit status of the first."""
    found = [error for error in errors if error is not None]
    for error in found:
        log.error(str(error))
    return found[0].exit_code if found else 0


def _type_json(type_: TensorType) -> dict[str, Any]:
    shape = None if type_.shape is None else list(type_.shape)
    return {"dtype": None if type_.dtype is None else dtype_name(type_.dtype), "shape": shape}


def _text(made: Summary) -> str:
    header = ["#", "type", "output", "parameters", "multiply-adds", "memory"]
    rows = [_cells(row) for row in made.rows]
    totals = [
        f"net '{plain(made.name)}': {len(made.rows)} operators",
        f"  parameters     {number(made.parameters)} ({bytes_text(made.parameter_bytes)})",
        f"  multiply-adds  {number(made.multiply_adds)}",
        f"  activations    {bytes_text(made.activation_bytes)} in all, "
        f"{bytes_text(made.peak_bytes)} at most at one time",
    ]
    if made.unknown:
        totals.append(
            f"  {made.unknown} operator(s) are not fully known, and the totals lack them "
            "(try: --input NAME=1x3x224x224)"
        )
    return "\n".join([table(header, rows, right=(0, 3, 4, 5)), *totals])


def _cells(row: Row) -> list[str]:
    outputs = ", ".join(
        f"{_clip(plain(name))} {type_}"
        for name, type_ in zip(row.op.output, row.outputs, strict=True)
    )
    return [
        str(row.index),
        plain(row.op.type),
        outputs if row.error is None else f"{outputs} ({type(row.error).__name__})",
        number(row.parameters) if row.parameters != 0 else "",
        number(row.multiply_adds) if row.multiply_adds != 0 else "",
        bytes_text(row.output_bytes),
    ]


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_OUTPUT else f"{text[: _MAX_OUTPUT - 3]}..."


def _as_json(made: Summary) -> dict[str, Any]:
    return {
        "net": made.name,
        "parameters": made.parameters,
        "parameter_bytes": made.parameter_bytes,
        "multiply_adds": made.multiply_adds,
        "activation_bytes": made.activation_bytes,
        "peak_bytes": made.peak_bytes,
        "incomplete_operators": made.unknown,
        "op": [
            {
                "index": row.index,
                "type": row.op.type,
                "outputs": {
                    name: _type_json(type_)
                    for name, type_ in zip(row.op.output, row.outputs, strict=True)
                },
                "parameters": row.parameters,
                "parameter_bytes": row.parameter_bytes,
                "multiply_adds": row.multiply_adds,
                "error": None if row.error is None else str(row.error),
            }
            for row in made.rows
        ],
    }
