"""`caffe2py profile`: every operator of every iteration, as a table and as a trace."""

from __future__ import annotations

from typing import Any

import click

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common, figures, measured
from caffe2py.executor.benchmark import time_operators
from caffe2py.executor.ceilings import measure_ceilings
from caffe2py.predictor.timing import by_type, operator_times
from caffe2py.predictor.trace import resident_bytes, trace_events, write_trace
from caffe2py.registry.threads import thread_count


@common.command("profile", measured.Historical)
@measured.timing_options
@common.trust_options
@click.option("--trace", metavar="FILE", help="Write a trace for ui.perfetto.dev: .json.")
@common.json_option
def profile(net: str | None, net_option: str | None, init: str | None, **options: Any) -> int:
    """Time every operator of NET by itself; with --trace, every single run of it.

    The trace is Chrome's format: ui.perfetto.dev and chrome://tracing show it. GFLOP/s and GB/s
    are as `caffe2py bench --run-individual` counts them.
    """
    with common.using_threads(options["threads"]):
        ready = measured.get_ready(measured.chosen_net(net, net_option), init, options)
        bound = ready.require_net()
        bound.run(options["warmup"])
        time_operators(bound, 1)
        resident: list[int] = []
        records = time_operators(
            bound, options["iterations"], lambda: resident.append(resident_bytes())
        )
        ceilings = measure_ceilings(options["threads"] or thread_count())
    if options["trace"]:
        name = ready.session.model.name
        write_trace(options["trace"], trace_events(name, records, resident))
    times = operator_times(records)
    types = by_type(times)
    if options["json_"]:
        found = {"gflops": ceilings.gflops, "gigabytes_per_second": ceilings.gigabytes}
        common.print_json(
            {
                "net": ready.session.model.name,
                "iterations": options["iterations"],
                "ceilings": found,
                "operators": [figures.time_json(one) for one in times],
                "types": [figures.time_json(one) for one in types],
                "trace": options["trace"],
            }
        )
        return 0
    click.echo(figures.operator_table(times, ceilings))
    click.echo("")
    click.echo(figures.type_table(types, ceilings))
    click.echo("")
    total = sum(one.seconds for one in times) * 1000
    click.echo(f"one by one, through Python: {total:.4f} ms, {options['iterations']} iterations")
    click.echo(figures.ceilings_text(ceilings))
    if options["trace"]:
        click.echo(f"trace  {common.plain(options['trace'])} (open it at ui.perfetto.dev)")
    return 0


COMMANDS = {"profile": profile}
