"""`caffe2py tensorboard`: nets and logs of trainings as files for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from caffe2py.cli import common
from caffe2py.cli.common import plain
from caffe2py.cli.show import read_messages
from caffe2py.errors import UsageError
from caffe2py.predictor.tensorboard import write_graph, write_scalars
from caffe2py.proto.caffe2_pb2 import PlanDef
from caffe2py.training.log import read_log


@common.command("tensorboard")
@click.option("--net", metavar="NET", help="Write this net as a graph.")
@click.option("--log", metavar="LOG", help="Write the log of a training, or of a run's folder.")
@click.option("-o", "--out", required=True, metavar="FOLDER", help="Where: tensorboard --logdir.")
def tensorboard(net: str | None, log: str | None, out: str) -> None:
    """Write a net, a log that `caffe2py train` wrote, or both, for TensorBoard.

    Needs `pip install 'caffe2py[tensorboard]'`.
    """
    if net is None and log is None:
        raise UsageError("name a net or a log", hint="--net NET, --log LOG")
    if log is not None:
        path = Path(log) / "log.jsonl" if Path(log).is_dir() else Path(log)
        records = read_log(path)
    if net is not None:
        message = read_messages(net)[-1]
        if isinstance(message, PlanDef):
            raise UsageError("TensorBoard shows a net, and this is a plan")
        write_graph(out, message)
        click.echo(f"{plain(out)}: a graph of {len(message.op)} operators")
    if log is not None:
        write_scalars(out, _curves(records))
        click.echo(f"{plain(out)}: {len(records)} iterations")


def _curves(records: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    for record in records:
        values = {
            name: float(value)
            for name, value in record.items()
            if name != "iteration" and isinstance(value, int | float)
        }
        yield record["iteration"], values


COMMANDS = {"tensorboard": tensorboard}
