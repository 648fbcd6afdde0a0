"""`caffe2py exec`: runs a script that was written for Caffe2."""

from __future__ import annotations

from pathlib import Path

import click

from caffe2py.cli import common
from caffe2py.cli.common import plain


@common.command("exec")
@click.option("--report", is_flag=True, help="First list, on stderr, what the script lacks.")
@click.option("--force", is_flag=True, help="Even if a real Caffe2 is installed: hide it.")
@click.argument("script", metavar="SCRIPT")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def execute(report: bool, force: bool, script: str, args: tuple[str, ...]) -> int:
    """Run SCRIPT, a Python program that imports caffe2, with its own arguments ARGS.

    `caffe2.python.core` and the other modules are then caffe2py's. Options for this command stand
    before SCRIPT. The exit status is the script's; 1 if it ends with an exception.
    """
    from caffe2py.compat.script import run_script

    if report and Path(script).is_file():
        _report(script)
    return run_script(script, args, force)


def _report(script: str) -> None:
    from caffe2py.compat.report import lacking

    try:
        found = lacking(Path(script).read_text("utf-8", errors="replace"), script)
    except SyntaxError as error:
        click.echo(f"{script}:{error.lineno or 1}: not Python 3: {error.msg}", err=True)
        return
    for item in found:
        click.echo(f"{plain(script)}:{item.line}: no {item.what} {plain(item.name)}", err=True)
    click.echo(f"{len(found)} thing(s) that this script uses are lacking", err=True)


execute.allow_interspersed_args = False  # what follows the script's name is the script's

COMMANDS = {"exec": execute}
