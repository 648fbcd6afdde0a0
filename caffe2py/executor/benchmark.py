"""How long a created net takes, and each of its operators."""

from __future__ import annotations

import logging
import time
from typing import Any

from caffe2py.executor.inputs import net_name
from caffe2py.executor.session import CreateNet, current

log = logging.getLogger(__name__)


def BenchmarkNet(
    name: Any, warmup_runs: int, main_runs: int, run_individual: bool = False
) -> list[float]:
    """Milliseconds per run of a created net, then, with `run_individual`, of each operator.

    The net runs `warmup_runs` times before that.
    """
    net = current().net(net_name(name))
    net.run(warmup_runs)
    start = time.perf_counter()
    net.run(main_runs)
    found = [_milliseconds(start, main_runs)]
    rate = 1000 / found[0] if found[0] else float("inf")
    log.info(
        "Main run finished. Milliseconds per iter: %.6g. Iters per second: %.6g", found[0], rate
    )
    if not run_individual:
        return found
    totals = [0.0] * len(net.operators)
    for _ in range(main_runs):
        for index, operator in enumerate(net.operators):
            start = time.perf_counter()
            operator.run()
            totals[index] += _milliseconds(start, main_runs)
    for index, (operator, total) in enumerate(zip(net.operators, totals, strict=True)):
        log.info("Operator #%d (%s) %.6g ms/iter", index, operator.op.type, total)
    return found + totals


def BenchmarkNetOnce(net: Any) -> float:
    """Milliseconds of one run of a net that is created for it."""
    CreateNet(net, overwrite=True)
    return BenchmarkNet(net_name(net), 0, 1)[0]


def _milliseconds(start: float, runs: int) -> float:
    return (time.perf_counter() - start) * 1000 / max(runs, 1)
