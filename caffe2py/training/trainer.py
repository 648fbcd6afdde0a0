"""One training: a workspace, the nets in it, and the rows that are fed to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2py.errors import (
    BlobTypeError,
    Error,
    MissingBlobError,
    ModelFormatError,
    UsageError,
    ValueRangeError,
)
from caffe2py.executor.net import CreatedNet
from caffe2py.predictor.load import Model
from caffe2py.proto.analysis import clone, produced
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import TensorType
from caffe2py.training.checkpoint import Checkpoint
from caffe2py.training.checks import (
    check_model,
    check_types,
    losses_of,
    non_finite,
    refuse_non_finite,
)
from caffe2py.training.data import Batches, Source
from caffe2py.training.workspace import TrainingWorkspace

__all__ = ["Task", "Trainer", "required_inputs"]

#: Operators that make objects without a state, which the init net makes again.
_STATELESS = {"CreateMutex"}


@dataclass(frozen=True)
class Task:
    """What to train: nets, rows and how they are fed.

    `train` and `test` hold the same init net. Without `losses` they are what the backward pass of
    the train net begins at. `source` is None for a net that reads its rows by itself.
    """

    train: Model
    source: Source | None = None
    test: Model | None = None
    test_source: Source | None = None
    batch: int = 32
    seed: int = 0
    losses: Sequence[str] = field(default=())
    check_finite: bool = False


def required_inputs(model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The blobs that data must give, and those that it may give in place of the init net's."""
    required = tuple(name for name in model.inputs if name not in model.stand_ins)
    return required, model.stand_ins


class Trainer:
    """The state of a training. `step` does one iteration."""

    def __init__(self, task: Task) -> None:
        """Check everything that can be checked before, run the init net, create the nets.

        Raises UsageError, MissingBlobError, ShapeError, DTypeError, ... with what is wrong, and
        what the init net raises.
        """
        self.task = task
        self.iteration = 0
        self.net = _net(task.train, "train")
        self.batches = Batches(task.source, task.batch, task.seed) if task.source else None
        self._check()
        self.losses = list(task.losses) or losses_of(self.net)
        self._refuse_losses()
        self.workspace = TrainingWorkspace(seed=task.seed, trust=task.train.trust)
        if task.train.init is not None:
            self.workspace.run_once(task.train.init)
        self._train = self._create(self.net, self._first(task.source, task.batch))
        self._test = self._create_test()
        self._rates = [op.output[0] for op in self.net.op if op.type == "LearningRate"]
        self.state = self._state_blobs()

    # ---- before

    def _check(self) -> None:
        task = self.task
        for model, source, size in (
            (task.train, task.source, task.batch),
            (task.test, task.test_source, _test_size(task)),
        ):
            if model is None:
                continue
            check_model(model)
            required, _ = required_inputs(model)
            if required and source is None:
                raise MissingBlobError(
                    f"the net reads {', '.join(map(repr, required))}, which nothing makes",
                    where=f"net '{model.name}'",
                    hint="--data FILE",
                )
            given = source.types(size) if source else {}
            types = check_types(model, given, source.label if source else "")
            if model is task.test and all(_elements(types.get(n)) != 1 for n in model.outputs):
                raise _no_figure(model)

    def _refuse_losses(self) -> None:
        made = produced(self.net)
        if not self.losses:
            raise UsageError(
                "the net has no backward pass, so it says nothing of a loss",
                where=f"net '{self.net.name}'",
                hint="caffe2py grad NET --loss LOSS -o TRAIN_NET, or --loss LOSS",
            )
        for loss in self.losses:
            if loss not in made:
                raise UsageError(
                    f"--loss '{loss}': the net makes no such blob",
                    where=f"net '{self.net.name}'",
                    hint=" ".join(f"--loss {name}" for name in losses_of(self.net)) or None,
                )

    def _create(self, net: NetDef, first: Iterable[tuple[str, Array]]) -> CreatedNet:
        for name, array in first:
            self.workspace.feed(name, array)
        self.workspace.create_net(net)
        return self.workspace.net(net.name)

    def _create_test(self) -> CreatedNet | None:
        task = self.task
        if task.test is None:
            return None
        net = _net(task.test, "test")
        if net.name == self.net.name:
            net = clone(net, f"{net.name}_test")
        return self._create(net, self._first(task.test_source, _test_size(task)))

    @staticmethod
    def _first(source: Source | None, size: int) -> Iterable[tuple[str, Array]]:
        return source.take(np.arange(size)).items() if source else ()

    def _state_blobs(self) -> list[str]:
        """All blobs that the init net makes or a net reads first, but no rows."""
        models = [m for m in (self.task.train, self.task.test) if m is not None]
        names = dict.fromkeys(produced(self.task.train.init or NetDef()))
        names.update((name, None) for model in models for name in model.reads)
        fed = {n for s in (self.task.source, self.task.test_source) if s for n in s.names}
        return [name for name in names if name not in fed]

    # ---- iterations

    def step(self) -> dict[str, Any]:
        """One iteration; its number, loss and learning rate.

        Raises ValueRangeError for a loss that is not finite, and what operators raise, with the
        number of the iteration.
        """
        number = self.iteration + 1
        try:
            if self.batches is not None:
                for name, array in self.batches.take(self.iteration).items():
                    self.workspace.feed(name, array)
            if self.task.check_finite:
                self._refuse_inputs()
                self._train.run_watched(refuse_non_finite)
            else:
                self._train.run()
        except Error as error:
            raise error.with_where(f"iteration {number}") from None
        self.iteration = number
        record: dict[str, Any] = {"iteration": number, "loss": self._loss()}
        if self._rates:
            record["learning_rate"] = abs(_number(self.workspace.fetch(self._rates[0])))
        return record

    def _loss(self) -> float:
        """The sum of the losses."""
        total = 0.0
        for name in self.losses:
            value = self.workspace.fetch(name)
            if not isinstance(value, np.ndarray) or value.size != 1:
                raise BlobTypeError(f"the loss '{name}' is not one number")
            total += _number(value)
        return total

    def require_finite(self, loss: float) -> None:
        """Raise ValueRangeError for a loss that is not finite."""
        if not math.isfinite(loss):
            raise ValueRangeError(
                f"the loss {' + '.join(map(repr, self.losses))} is {loss:g}",
                where=f"iteration {self.iteration}",
                hint="--check-finite, which names the operator that began it",
            )

    def _refuse_inputs(self) -> None:
        """What is not finite before the first operator was not made by any."""
        for name in self.task.train.reads:
            blob = self.workspace.find(name)
            found = non_finite(blob.array) if blob else ""
            if found:
                raise ValueRangeError(f"'{name}' holds {found} before the net has run")

    # ---- tests

    def test(self) -> dict[str, float]:
        """What the test net gives, each number as the mean over the test rows.

        Raises UsageError if it gives none.
        """
        task = self.task
        if self._test is None or task.test is None:
            return {}
        totals: dict[str, float] = {}
        rows = 0
        for size in self._feed_tests():
            self._test.run()
            rows += size
            for name, value in self._figures(task.test).items():
                totals[name] = totals.get(name, 0.0) + value * size
        if not totals:
            raise _no_figure(task.test)
        return {f"test_{name}": total / rows for name, total in totals.items()}

    def _feed_tests(self) -> Iterator[int]:
        """Feed the test rows, batch by batch; the number of rows of each."""
        source = self.task.test_source
        if source is None:
            yield 1
            return
        size = _test_size(self.task)
        for begin in range(0, source.rows, size):
            rows = np.arange(begin, min(begin + size, source.rows))
            for name, array in source.take(rows).items():
                self.workspace.feed(name, array)
            yield len(rows)

    def _figures(self, model: Model) -> dict[str, float]:
        values = {name: self.workspace.find(name) for name in model.outputs}
        arrays = {name: blob.array for name, blob in values.items() if blob is not None}
        return {n: _number(a) for n, a in arrays.items() if a is not None and a.size == 1}

    # ---- the whole state

    def checkpoint(self, seconds: float) -> Checkpoint:
        """The state, as it is now."""
        values = {}
        for name in self.state:
            blob = self.workspace.find(name)
            if blob is not None and isinstance(blob.value, bytes):
                values[name] = blob.value
            elif blob is not None and blob.array is not None:
                values[name] = self.workspace.fetch(name)
        return Checkpoint(self.iteration, seconds, values, self.workspace.random_states())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; ModelFormatError for one of another training."""
        strange = [name for name in checkpoint.values if name not in self.state]
        if strange:
            raise ModelFormatError(f"is of another training: it holds '{strange[0]}'")
        for name, value in checkpoint.values.items():
            self.workspace.feed(name, value)
        self.workspace.set_random_states(checkpoint.random)
        self.iteration = checkpoint.iteration

    def not_saved(self) -> list[str]:
        """The blobs with a state that no checkpoint holds: readers, queues, counters."""
        init = self.task.train.init or NetDef()
        fresh = {name for op in init.op if op.type in _STATELESS for name in op.output}
        blobs = [self.workspace.find(name) for name in self.state if name not in fresh]
        return [
            blob.name
            for blob in blobs
            if blob is not None
            and blob.array is None
            and blob.value is not None
            and not isinstance(blob.value, bytes)
        ]


def _net(model: Model, name: str) -> NetDef:
    """The net of a model, with a name."""
    net = model.predict
    if not isinstance(net, NetDef):
        raise UsageError(
            "is a plan, and training takes a net", where=model.predict_file, hint="caffe2py run"
        )
    return net if net.name else clone(net, name)


def _test_size(task: Task) -> int:
    return min(task.batch, task.test_source.rows) if task.test_source else task.batch


def _elements(type_: TensorType | None) -> int:
    """How many elements a blob has; 1 where that is not known, for it may be so."""
    shape = None if type_ is None else type_.full_shape
    return 1 if shape is None else math.prod(shape)


def _no_figure(model: Model) -> UsageError:
    return UsageError(
        "the test net gives no single number",
        where=f"net '{model.name}'",
        hint="an external_output that is an accuracy or a loss",
    )


def _number(value: Array) -> float:
    return float(np.asarray(value).reshape(-1)[0])
