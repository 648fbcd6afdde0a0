"""`caffe2py print`: a net or plan for people, or as text in protobuf's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from caffe2py.cli import common
from caffe2py.errors import UsageError
from caffe2py.predictor.database import database_type
from caffe2py.predictor.load import load_model
from caffe2py.proto.caffe2_pb2 import ExecutionStep, NetDef, PlanDef
from caffe2py.proto.files import read_net_or_plan
from caffe2py.proto.text import short, short_net, to_text

Message = NetDef | PlanDef


@common.command("print")
@click.argument("net", metavar="NET")
@click.option("--text", "as_text", is_flag=True, help="All of it, in protobuf's text form.")
@click.option("--op", "index", type=click.IntRange(min=0), help="Only this operator, in full.")
@common.json_option
def print_(net: str, as_text: bool, index: int | None, json_: bool) -> None:
    """Print the net in the file NET; both nets if it is a folder or a saved predictor.

    An operator is one line, `Y = Conv(X, W, b; kernel=3)`, long lists are cut short.
    """
    nets = read_messages(net)
    if index is not None:
        click.echo(to_text(_operator(nets[-1], index)), nl=False)
    elif json_:
        common.print_json([_as_json(message) for message in nets])
    else:
        for message in nets:
            click.echo(to_text(message) if as_text else _short(message), nl=not as_text)


COMMANDS = {"print": print_}


def read_messages(source: str) -> list[Message]:
    """The nets of a folder or a saved predictor, the one that predicts last; or of one file."""
    if not Path(source).is_dir() and database_type(source) is None:
        return [read_net_or_plan(source)]
    model = load_model(source)
    return [*([model.init] if model.init is not None else []), model.predict]


def _operator(message: Message, index: int) -> Any:
    if isinstance(message, PlanDef):
        raise UsageError("--op is for a net, and this is a plan")
    if index >= len(message.op):
        raise UsageError(f"there is no op #{index}: the net has {len(message.op)}, from #0")
    return message.op[index]


def _short(message: Message) -> str:
    if isinstance(message, NetDef):
        return short_net(message)
    lines = [f"plan '{common.plain(message.name)}': {len(message.network)} net(s)"]
    for step in message.execution_step:
        lines += _step_lines(step, "  ")
    return "\n".join([*lines, *(short_net(net) for net in message.network)])


def _step_lines(step: ExecutionStep, indent: str) -> list[str]:
    nets = ", ".join(common.plain(name) for name in step.network)
    what = f" runs {nets}" if nets else ""
    times = f", {step.num_iter} times" if step.HasField("num_iter") else ""
    until = f", until {common.plain(step.should_stop_blob)}" if step.should_stop_blob else ""
    lines = [f"{indent}step '{common.plain(step.name)}'{what}{times}{until}"]
    for inner in step.substep:  # the reader has limited the depth
        lines += _step_lines(inner, indent + "  ")
    return lines


def _as_json(message: Message) -> dict[str, Any]:
    if isinstance(message, PlanDef):
        return {"plan": message.name, "nets": [_as_json(net) for net in message.network]}
    return {
        "net": message.name,
        "external_input": list(message.external_input),
        "external_output": list(message.external_output),
        "op": [
            {
                "type": op.type,
                "name": op.name,
                "input": list(op.input),
                "output": list(op.output),
                "text": short(op),
            }
            for op in message.op
        ],
    }
