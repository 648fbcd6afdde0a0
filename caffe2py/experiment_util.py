"""Caffe2's experiment_util module: a log file for a training run."""

from __future__ import annotations

import abc
import logging
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["ExternalLogger", "ModelTrainerLog"]

log = logging.getLogger("experiment_logger")


class ExternalLogger(abc.ABC):
    """Where a ModelTrainerLog reports besides its file."""

    @abc.abstractmethod
    def set_runtime_args(self, runtime_args: Mapping[str, Any]) -> None:
        """Take note of the arguments of the run."""

    @abc.abstractmethod
    def log(self, log_dict: Mapping[str, Any]) -> None:
        """Take note of one line of the log."""


class ModelTrainerLog:
    """Writes `<expname>_<date>_<time>.log` in the current folder: comma separated values.

    The first line, after "# ", holds the arguments of the run, the second the column names.
    """

    def __init__(
        self, expname: str, runtime_args: Any, external_loggers: Iterable[ExternalLogger] = ()
    ) -> None:
        self.experiment_id = f"{expname}_{time.strftime('%Y%m%d_%H%M%S')}"
        self.filename = f"{self.experiment_id}.log"
        self.headers: list[str] | None = None
        self.start_time = self.last_time = time.time()
        self.last_input_count = 0
        self.external_loggers = list(external_loggers or ())
        self.logstr(f"# {runtime_args}")
        if self.external_loggers:
            given = runtime_args if isinstance(runtime_args, Mapping) else vars(runtime_args)
            facts = {"experiment_id": self.experiment_id, "hostname": socket.gethostname()}
            for logger in self.external_loggers:
                logger.set_runtime_args({**given, **facts})

    def logstr(self, str: str) -> None:
        """Append a line."""
        with Path(self.filename).open("a", encoding="utf-8") as file:
            file.write(str + "\n")
        log.info("%s", str)

    def log(self, input_count: int, batch_count: int, additional_values: Mapping[str, Any]) -> None:
        """Append a line of values: times, counts, and those given, in alphabetical order.

        `input_count` and `batch_count` count from the start of the run.
        """
        now = time.time()
        spent, inputs = now - self.last_time, input_count - self.last_input_count
        self.last_time, self.last_input_count = now, input_count
        row: dict[str, Any] = {
            "time_spent": spent,
            "cumulative_time_spent": now - self.start_time,
            "input_count": inputs,
            "cumulative_input_count": input_count,
            "cumulative_batch_count": batch_count,
            "inputs_per_sec": inputs / spent if spent > 0 else 0.0,
        }
        row.update(sorted(additional_values.items()))
        if self.headers is None:
            self.headers = list(row)
            self.logstr(",".join(self.headers))
        self.logstr(",".join(str(value) for value in row.values()))
        for logger in self.external_loggers:
            try:
                logger.log(row)
            except Exception as error:  # a report that fails does not end the training
                logging.getLogger(__name__).warning("an external logger failed: %s", error)
