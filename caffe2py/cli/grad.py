"""`caffe2py grad`: a net with its backward operators."""

from __future__ import annotations

from pathlib import Path

import click

from caffe2py import core
from caffe2py.cli import common
from caffe2py.cli.common import plain
from caffe2py.errors import Error, UsageError
from caffe2py.predictor.load import SUFFIXES
from caffe2py.proto.analysis import external_inputs
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import read_net, write_message
from caffe2py.proto.text import to_text


@common.command("grad")
@click.argument("net", metavar="NET")
@click.option("--loss", "losses", multiple=True, required=True, metavar="BLOB", help="Repeatable.")
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Leave the first N operators out of the backward pass.",
)
@click.option("-o", "--out", metavar="FILE", help="Write the net here instead of on stdout.")
@common.json_option
def grad(net: str, losses: tuple[str, ...], skip: int, out: str | None, json_: bool) -> None:
    """Append to NET the operators that compute the gradients of the losses.

    The gradient of a blob x is x_grad, or another name if the list says so. What updates the
    parameters is not added.
    """
    if out is not None and Path(out).suffix.lower() not in SUFFIXES:
        raise UsageError(f"'{out}' ends in none of {', '.join(SUFFIXES)}")
    before = read_net(net)
    if skip > len(before.op):
        raise UsageError(f"--skip {skip}: the net has {len(before.op)} operators")
    made, gradients = _differentiated(before, net, losses, skip)
    if out is not None:
        write_message(out, made)
    elif not json_:
        click.echo(to_text(made), nl=False)
        return
    inputs = {name: gradients[name] for name in external_inputs(before) if name in gradients}
    if json_:
        found = {"forward": len(before.op), "operators": len(made.op), "gradients": inputs}
        common.print_json(found)
        return
    click.echo(f"{len(before.op)} operators and {len(made.op) - len(before.op)} backward ones")
    for name, gradient in inputs.items():
        click.echo(plain(f"  {name}: {gradient}"))


def _differentiated(
    net: NetDef, path: str, losses: tuple[str, ...], skip: int
) -> tuple[NetDef, dict[str, str]]:
    """The net with its backward operators, and the gradients by blob."""
    builder = core.Net(net)
    builder.Proto().name = net.name  # made unique, which a file needs not be
    try:
        found = builder.AddGradientOperators(list(losses), skip=skip)
    except Error as error:
        raise error.with_where(path) from None
    return builder.Proto(), {str(blob): _text(gradient) for blob, gradient in found.items()}


def _text(gradient: core.BlobReference | core.GradientSlice) -> str:
    if isinstance(gradient, core.GradientSlice):
        return f"{gradient.values} at the rows {gradient.indices}"
    return str(gradient)


COMMANDS = {"grad": grad}
