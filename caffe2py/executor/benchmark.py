"""How long a created net takes, and each of its operators."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from caffe2py.executor.bind import BoundOperator
from caffe2py.executor.inputs import net_name
from caffe2py.executor.net import CreatedNet
from caffe2py.executor.session import CreateNet, current
from caffe2py.registry.cost import bytes_moved, multiply_adds
from caffe2py.registry.infer import Query
from caffe2py.tensor.types import UNKNOWN, TensorType

log = logging.getLogger(__name__)


@dataclass
class OperatorRecord:
    """What was seen of one operator: the types of its blobs as it left them, and its runs.

    `starts` and `seconds` have one entry a run; starts are those of time.perf_counter.
    """

    operator: BoundOperator
    inputs: tuple[TensorType, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    starts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Seconds of one run, on average."""
        return sum(self.seconds) / max(len(self.seconds), 1)

    @property
    def multiply_adds(self) -> int | None:
        """The multiply-adds of one run; None where they cannot be told."""
        bound = self.operator
        query = Query(bound.schema, self.inputs, bound.args, len(self.outputs))
        try:
            return multiply_adds(query, self.outputs)
        except (IndexError, AttributeError, TypeError):
            return None  # an operator that its inference rejects in another form than this

    @property
    def bytes_moved(self) -> int | None:
        """The bytes that one run reads and writes at least; 0 for one that makes views."""
        if self.operator.shares:
            return 0
        return bytes_moved(self.operator.op.type, self.inputs, self.outputs)

    def see(self, start: float, end: float) -> None:
        """Note one run."""
        if not self.seconds:
            bound = self.operator
            self.inputs = bound.input_types or (UNKNOWN,) * bound.input_count
            self.outputs = tuple(
                UNKNOWN if blob.array is None else TensorType.of(blob.array, blob.quantum)
                for blob in bound.output_blobs
            )
        self.starts.append(start)
        self.seconds.append(end - start)


def time_runs(net: CreatedNet, count: int, together: int = 1) -> list[float]:
    """Seconds of one run, `count` times; each is the average of so many in a row."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        net.run(together)
        times.append((time.perf_counter() - start) / together)
    return times


def time_operators(
    net: CreatedNet, iterations: int, before: Callable[[], None] = lambda: None
) -> list[OperatorRecord]:
    """Run a net so often, one operator after another, and time each of them.

    Every operator goes through Python here, which a run of the whole net avoids. `before` is
    called before every iteration.
    """
    records = [OperatorRecord(operator) for operator in net.operators]
    upcoming = iter(records)
    start = 0.0

    def after(operator: BoundOperator) -> None:
        nonlocal start
        end = time.perf_counter()
        next(upcoming).see(start, end)
        start = time.perf_counter()

    for _ in range(iterations):
        upcoming = iter(records)
        before()
        start = time.perf_counter()
        net.run_watched(after)
    return records


def BenchmarkNet(
    name: Any, warmup_runs: int, main_runs: int, run_individual: bool = False
) -> list[float]:
    """Milliseconds per run of a created net, then, with `run_individual`, of each operator.

    The net runs `warmup_runs` times before that.
    """
    net = current().net(net_name(name))
    net.run(warmup_runs)
    runs = max(main_runs, 1)
    found = [time_runs(net, 1, main_runs)[0] * 1000 if main_runs > 0 else 0.0]
    rate = 1000 / found[0] if found[0] else float("inf")
    log.info(
        "Main run finished. Milliseconds per iter: %.6g. Iters per second: %.6g", found[0], rate
    )
    if not run_individual:
        return found
    totals = [sum(r.seconds) * 1000 / runs for r in time_operators(net, main_runs)]
    for index, (operator, total) in enumerate(zip(net.operators, totals, strict=True)):
        log.info("Operator #%d (%s) %.6g ms/iter", index, operator.op.type, total)
    return found + totals


def BenchmarkNetOnce(net: Any) -> float:
    """Milliseconds of one run of a net that is created for it."""
    CreateNet(net, overwrite=True)
    return BenchmarkNet(net_name(net), 0, 1)[0]
