"""`caffe2py convert`: a net or plan in its other form."""

from __future__ import annotations

from pathlib import Path

import click

from caffe2py.cli import common
from caffe2py.errors import UsageError
from caffe2py.predictor.load import SUFFIXES
from caffe2py.proto.files import read_net_or_plan, write_message


@common.command("convert")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def convert(source: str, target: str) -> None:
    """Read the net or plan FROM and write it as TO, text if TO ends in .pbtxt or .prototxt.

    FROM may be either form, whatever its name is. TO appears in full or not at all.
    """
    if Path(target).suffix.lower() not in SUFFIXES:
        raise UsageError(f"'{target}' ends in none of {', '.join(SUFFIXES)}")
    write_message(target, read_net_or_plan(source))


COMMANDS = {"convert": convert}
