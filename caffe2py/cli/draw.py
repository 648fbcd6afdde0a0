"""`caffe2py draw`: a net or a plan as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from caffe2py.cli import common
from caffe2py.cli.common import bytes_text, plain
from caffe2py.cli.show import Message, read_messages
from caffe2py.errors import UsageError
from caffe2py.graph.drawing import minimal_graph, net_graph, plan_graph
from caffe2py.graph.drawing_svg import drawing_svg, plan_svg
from caffe2py.graph.svg import net_svg
from caffe2py.proto.caffe2_pb2 import PlanDef
from caffe2py.proto.files import replace_file

_KINDS = (".svg", ".dot", ".gv")


@common.command("draw")
@click.argument("net", metavar="NET")
@click.option("-o", "--out", required=True, metavar="FILE", help="The picture: .svg, or .dot.")
@click.option("--init", "of_init", is_flag=True, help="Of the init net, if there are two.")
@click.option("--blobs", is_flag=True, help="Every blob is a node, once for each time it is made.")
@click.option("--minimal", is_flag=True, help="Operators and the arrows that no others imply.")
def draw(net: str, out: str, of_init: bool, blobs: bool, minimal: bool) -> None:
    """Draw the net or plan in NET: a file, a folder or a saved predictor.

    An .svg needs no other program: any browser shows it, with the operators in full where the
    pointer is. A .dot is for Graphviz.
    """
    suffix = Path(out).suffix.lower()
    if suffix not in _KINDS:
        raise UsageError(f"'{out}' ends in none of {', '.join(_KINDS)}")
    if blobs and minimal:
        raise UsageError("--blobs and --minimal exclude each other")
    messages = read_messages(net)
    if of_init and len(messages) < 2:
        raise UsageError(f"'{net}' has one net only, and no init net")
    message = messages[0] if of_init else messages[-1]
    text = (_svg if suffix == ".svg" else _dot)(message, blobs, minimal)
    replace_file(out, text.encode())
    click.echo(f"{plain(out)}: {bytes_text(len(text.encode()))}")


def _svg(message: Message, blobs: bool, minimal: bool) -> str:
    if isinstance(message, PlanDef):
        return plan_svg(message)
    if minimal:
        return drawing_svg(minimal_graph(message, minimal_dependency=True))
    return drawing_svg(net_graph(message)) if blobs else net_svg(message)


def _dot(message: Message, blobs: bool, minimal: bool) -> str:
    if isinstance(message, PlanDef):
        return plan_graph(message).to_string()
    if minimal or not blobs:
        return minimal_graph(message, rankdir="TB", minimal_dependency=minimal).to_string()
    return net_graph(message, rankdir="TB").to_string()


COMMANDS = {"draw": draw}
