"""`caffe2py check`: all that is wrong with a net, at once."""

from __future__ import annotations

import click

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common
from caffe2py.cli.common import plain
from caffe2py.predictor.check import problems
from caffe2py.predictor.inputs import parse_inputs, types_of
from caffe2py.predictor.load import load_model


@common.command("check")
@common.model_options
@common.trust_options
@common.input_option
@common.json_option
def check(net: str, init: str | None, inputs: tuple[str, ...], json_: bool) -> int:
    """Find every reason why NET would not run: nothing is run.

    Unknown operators, wrong arguments, blobs that nothing makes, types and shapes that cannot fit,
    a missing init net. The exit status is that of the first. With --input more shapes are known.
    """
    model = load_model(net, init, trust=common.given_trust())
    found = problems(model, types_of(parse_inputs(inputs, model)))
    if json_:
        common.print_json(
            [
                {"class": type(e).__name__, "message": str(e), "exit_code": e.exit_code}
                for e in found
            ]
        )
    else:
        for error in found:
            click.echo(plain(f"{type(error).__name__}: {error}"))
        operators = sum(len(n.op) for n in model.nets)
        click.echo(f"{operators} operators, {len(found)} problem(s)")
    return found[0].exit_code if found else 0


COMMANDS = {"check": check}
