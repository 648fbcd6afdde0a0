"""`caffe2py plot`: the log of a training as curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from caffe2py.adapters.plot import FORMATS, Curve, draw_curves
from caffe2py.cli import common
from caffe2py.cli.common import plain
from caffe2py.errors import UsageError
from caffe2py.proto.files import replace_file
from caffe2py.training.log import read_log


@common.command("plot")
@click.argument("log", metavar="LOG")
@click.option("-o", "--out", required=True, metavar="FILE", help="The picture: .png, .svg or .pdf.")
@click.option("--log-scale", "logarithmic", is_flag=True, help="Let the loss have such an axis.")
def plot(log: str, out: str, logarithmic: bool) -> None:
    """Draw the loss and the results of tests in LOG, as `caffe2py train` writes it.

    LOG may also be the folder of a run. Needs `pip install 'caffe2py[plot]'`.
    """
    kind = Path(out).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(f"'{out}' ends in none of {', '.join(f'.{name}' for name in FORMATS)}")
    path = Path(log) / "log.jsonl" if Path(log).is_dir() else Path(log)
    records = read_log(path)
    tests = sorted({name for record in records for name in record if name.startswith("test_")})
    # losses of training and test have one scale, and everything else (accuracies) another
    left = {name: _curve(records, name) for name in ("loss", *tests) if "loss" in name}
    right = {name: _curve(records, name) for name in tests if "loss" not in name}
    picture = draw_curves(left, right, below="iteration", kind=kind, logarithmic=logarithmic)
    replace_file(out, picture)
    count = f"{len(records)} iteration" + "s" * (len(records) != 1)
    click.echo(f"{plain(out)}: {count}, {', '.join([*left, *right])}")


def _curve(records: list[dict[str, Any]], name: str) -> Curve:
    points = [(r["iteration"], r[name]) for r in records if isinstance(r.get(name), int | float)]
    return [x for x, _ in points], [y for _, y in points]


COMMANDS = {"plot": plot}
