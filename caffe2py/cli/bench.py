"""`caffe2py bench`: how long a net takes, and where the time goes."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common, figures, measured
from caffe2py.cli.common import bytes_text, log, plain
from caffe2py.cli.memory import memory_json, memory_text
from caffe2py.errors import FileError
from caffe2py.executor.benchmark import time_operators, time_runs
from caffe2py.executor.ceilings import Ceilings, measure_ceilings
from caffe2py.predictor.timing import OperatorTime, by_type, operator_times, percentiles
from caffe2py.registry.threads import thread_count
from caffe2py.tensor.serialize import serialize_blob

#: A sample shorter than this is mostly the clock: then several runs make one sample.
_LEAST_SECONDS = 1e-4
_MOST_TOGETHER = 1000


@common.command("bench", measured.Historical)
@measured.timing_options
@common.trust_options
@click.option("--run-individual", is_flag=True, help="Then time every operator by itself.")
@click.option("--output", "outputs", metavar="BLOB,...|*", help="Outputs to keep and to save,")
@click.option("--output-folder", metavar="DIR", help="here, each as BlobProto in a file NAME.pb,")
@click.option("--text-output", is_flag=True, help="or its numbers as text in a file NAME.txt.")
@click.option("--backend", hidden=True, help="Accepted; there is one.")
@common.json_option
def bench(net: str | None, net_option: str | None, init: str | None, **options: Any) -> int:
    """Time NET: percentiles of a run, what came before the first, peak memory.

    The options are also those of Caffe2's speed_benchmark, with _ or - between words. GFLOP/s
    count two operations for a multiply-add of the plain formula, whatever algorithm is used; GB/s
    count every input and output once.
    """
    names = [name for name in (options["outputs"] or "").split(",") if name]
    if options["output_folder"] and not names:
        names = ["*"]
    with common.using_threads(options["threads"]):
        ready = measured.get_ready(
            measured.chosen_net(net, net_option), init, options, [n for n in names if n != "*"]
        )
        if options["run_individual"]:
            ready.require_net()
        seconds, together = _time(ready, options["warmup"], options["iterations"])
        # the ceilings need memory of their own, which is not the net's
        peak = _peak_memory()
        operators, ceilings = (
            _individual(ready, options) if options["run_individual"] else ([], None)
        )
    if options["output_folder"]:
        _save(ready, names, Path(options["output_folder"]), text=options["text_output"])
    found = _figures(ready, seconds, together, peak)
    arrays = "" if ready.net is None else f"\n              {memory_text(ready.net.memory())}"
    if options["json_"]:
        common.print_json(found | _individual_json(operators, ceilings))
    else:
        click.echo(_text(found) + arrays)
        if ceilings is not None:
            click.echo(_individual_text(operators, ceilings))
    return 0


COMMANDS = {"bench": bench}


def _time(ready: measured.Ready, warmup: int, iterations: int) -> tuple[list[float], int]:
    """Seconds of one run in every sample, and how many runs a sample is."""
    net = ready.net
    if net is None:  # a plan, which makes its nets in every run
        clock = measured.Clock()
        for _ in range(warmup):
            ready.session.run()
        clock.stop("warmup")
        for k in range(iterations):
            ready.session.run()
            clock.stop(str(k))
        ready.milliseconds["warmup"] = clock.found.pop("warmup")
        return [ms / 1000 for ms in clock.found.values()], 1
    warm = time_runs(net, warmup)
    ready.milliseconds["warmup"] = sum(warm) * 1000
    probe = min(time_runs(net, 1 if warm else 2) + warm[1:])
    together = min(max(1, int(np.ceil(_LEAST_SECONDS / max(probe, 1e-9)))), _MOST_TOGETHER)
    return time_runs(net, iterations, together), together


def _individual(
    ready: measured.Ready, options: dict[str, Any]
) -> tuple[list[OperatorTime], Ceilings]:
    net = ready.require_net()
    time_operators(net, 1)
    records = time_operators(net, options["iterations"])
    return operator_times(records), measure_ceilings(options["threads"] or thread_count())


def _peak_memory() -> int:
    """The most memory in RAM that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---------------------------------------------------------------- outputs


def _save(ready: measured.Ready, names: Sequence[str], folder: Path, *, text: bool) -> None:
    session = ready.session
    chosen = session.made_outputs() if "*" in names else list(names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in session.fetch(chosen).items():
            target = folder / f"{name.replace('/', '_')}{'.txt' if text else '.pb'}"
            if not text:
                target.write_bytes(serialize_blob(name, value))
            elif isinstance(value, np.ndarray):
                np.savetxt(target, value.reshape(-1), fmt="%.9g")
            else:
                log.warning("'%s' holds no tensor and is not saved", plain(name))
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", where=str(folder)) from None


# ---------------------------------------------------------------- figures


def _figures(
    ready: measured.Ready, seconds: list[float], together: int, peak: int
) -> dict[str, Any]:
    run = percentiles(seconds)
    return {
        "net": ready.session.model.name,
        "iterations": len(seconds),
        "runs_per_sample": together,
        "milliseconds": run,
        "iterations_per_second": 1000 / run["mean"] if run["mean"] else None,
        "before": dict(ready.milliseconds),
        "compile_and_plan_ms": max(ready.milliseconds["first_run"] - run["median"], 0.0),
        "kernels": {"compiled": ready.compiled, "from_cache": ready.cached},
        "peak_memory_bytes": peak,
        "array_bytes": None if ready.net is None else memory_json(ready.net.memory()),
    }


def _individual_json(operators: list[OperatorTime], ceilings: Ceilings | None) -> dict[str, Any]:
    if ceilings is None:
        return {}
    return {
        "ceilings": {"gflops": ceilings.gflops, "gigabytes_per_second": ceilings.gigabytes},
        "operators": [figures.time_json(one) for one in operators],
        "types": [figures.time_json(one) for one in by_type(operators)],
    }


def _text(found: dict[str, Any]) -> str:
    run, before = found["milliseconds"], found["before"]
    kernels = found["kernels"]
    names = ("min", "median", "mean", "p90", "p95", "p99", "max")
    many = found["runs_per_sample"]
    note = f", each the average of {many} runs" if many > 1 else ""
    # the first line is the one that Caffe2's own program writes
    return "\n".join(
        [
            f"Main run finished. Milliseconds per iter: {run['mean']:.6g}. "
            f"Iters per second: {found['iterations_per_second'] or 0:.6g}",
            "milliseconds  " + "  ".join(f"{name} {run[name]:.6g}" for name in names),
            f"              {found['iterations']} samples{note}",
            "before that   "
            + ", ".join(f"{k.replace('_', ' ')} {v:.1f}" for k, v in before.items()),
            f"              compiling and planning {found['compile_and_plan_ms']:.1f}: "
            f"{kernels['compiled']} kernels compiled, {kernels['from_cache']} from the cache",
            f"peak memory   {bytes_text(found['peak_memory_bytes'])}",
        ]
    )


def _individual_text(operators: list[OperatorTime], ceilings: Ceilings) -> str:
    total = sum(one.seconds for one in operators) * 1000
    return "\n".join(
        [
            "",
            figures.operator_table(operators, ceilings),
            "",
            figures.type_table(by_type(operators), ceilings),
            "",
            f"one by one, through Python: {total:.4f} ms in all",
            figures.ceilings_text(ceilings),
        ]
    )
