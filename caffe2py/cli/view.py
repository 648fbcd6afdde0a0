"""`caffe2py view`: a net in Netron."""

from __future__ import annotations

import signal
import sys
import tempfile
from dataclasses import replace
from typing import Any

import click

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.adapters import netron
from caffe2py.cli import common
from caffe2py.predictor.load import load_model
from caffe2py.predictor.pair import init_net, plain_init, write_pair


@common.command("view")
@common.model_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port.  [any]")
@click.option("--no-browser", is_flag=True, help="Only say the address.")
def view(net: str, init: str | None, port: int, no_browser: bool) -> None:
    """Show NET and its weights in Netron, until interrupted; to this machine only.

    NET is a file, a folder or a saved predictor. Needs `pip install 'caffe2py[netron]'`.
    """
    model = load_model(net, init)
    made = init_net(model)
    if made is not None:
        model = replace(model, init=plain_init(made), blobs={})
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="caffe2py-view-") as folder:
        address = netron.serve(write_pair(folder, model), port, browse=not no_browser)
        click.echo(f"{common.plain(net)}: {address} (Ctrl-C ends it)")
        try:
            netron.wait()
        finally:
            netron.stop()


def _end(*_: Any) -> None:
    """Leave as after Ctrl-C, so that the folder does not stay."""
    sys.exit(143)


COMMANDS = {"view": view}
