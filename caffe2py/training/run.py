"""A training from beginning to end: iterations, tests, log and checkpoints, in a folder or not.

A run's folder holds what it needs to go on: its nets, its settings (run.json), its log and the last
checkpoints. Whatever kills the process, the folder stays sound, and what is done again from the
newest checkpoint gives the same bits.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from caffe2py.errors import Error, FileError, MissingBlobError, ModelFormatError, UsageError
from caffe2py.predictor.load import Model, load_model
from caffe2py.predictor.weights import weights_net
from caffe2py.proto.analysis import external_inputs
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import read_net, replace_file, write_message
from caffe2py.registry.trust import Trust
from caffe2py.training.checkpoint import newest, remove_litter, write_checkpoint
from caffe2py.training.data import Source, open_source
from caffe2py.training.log import Log
from caffe2py.training.trainer import Task, Trainer, required_inputs

__all__ = ["Outcome", "Run", "Settings", "begin", "go_on"]

_SETTINGS = "run.json"
_LOCK = ".lock"
_LOG = "log.jsonl"
_INIT, _TRAIN, _TEST = "init_net.pb", "train_net.pb", "test_net.pb"
#: The folder of the model that predicts with what was learnt.
_MODEL, _PREDICT = "model", "predict_net.pb"


@dataclass(frozen=True)
class Settings:
    """How to train; all of it is in run.json. Numbers of iterations, `save_every` and others."""

    iterations: int | None = None
    epochs: int | None = None
    batch: int = 32
    seed: int = 0
    losses: list[str] = field(default_factory=list)
    data: str | None = None
    test_data: str | None = None
    log: str | None = None
    save_every: int | None = None
    test_every: int | None = None
    keep: int = 3
    digest: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after how many iterations, the last record, what was written last."""

    iteration: int
    total: int
    seconds: float
    record: dict[str, Any]
    checkpoint: Path | None
    model: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.iteration >= self.total


#: What a setting of a type may be in JSON.
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int | None": (int, type(None)),
    "str": (str,),
    "str | None": (str, type(None)),
    "list[str]": (list,),
}

#: Asked after each iteration, with the record: true to stop.
Watcher = Callable[[dict[str, Any]], bool]


class Run:
    """A training that has not ended yet."""

    def __init__(
        self, trainer: Trainer, settings: Settings, folder: Path | None = None, done: float = 0.0
    ) -> None:
        self.trainer = trainer
        self.folder = folder
        self.settings = settings
        self.per_epoch = trainer.batches.per_epoch if trainer.batches else 0
        self.total = _total(settings, self.per_epoch)
        self._before = done
        self._started = time.perf_counter()
        self._saved: Path | None = None
        self._save_every = settings.save_every or self.per_epoch or 1000
        self._test_every = settings.test_every or self.per_epoch or 1000

    @property
    def seconds(self) -> float:
        """The time that iterations have taken, in all processes."""
        return self._before + time.perf_counter() - self._started

    def run(self, watch: Watcher) -> Outcome:
        """Train until all is done or `watch` says stop, which saves the state.

        Raises what Trainer.step raises, and FileError where log or checkpoint cannot be written.
        """
        record: dict[str, Any] = {}
        log = self._open_log()
        stopped = False
        try:
            while self.trainer.iteration < self.total and not stopped:
                record = self._iteration(log)
                stopped = watch(record)
                last = stopped or self.trainer.iteration == self.total
                if last or self.trainer.iteration % self._save_every == 0:
                    self._save()
        finally:
            if log is not None:
                log.close()
        model = self._write_model() if self.trainer.iteration >= self.total else None
        return Outcome(self.trainer.iteration, self.total, self.seconds, record, self._saved, model)

    def _write_model(self) -> Path | None:
        """The net that predicts, with an init net of all it reads that was learnt."""
        if self.folder is None or not (self.folder / _MODEL / _PREDICT).is_file():
            return None
        folder = self.folder / _MODEL
        net = read_net(folder / _PREDICT)
        state = self.trainer.checkpoint(0.0).values
        values = {name: state[name] for name in external_inputs(net) if name in state}
        write_message(folder / _INIT, weights_net(f"{net.name}_init", values))
        return folder

    def _iteration(self, log: Log | None) -> dict[str, Any]:
        record = self.trainer.step()
        number = self.trainer.iteration
        if self.per_epoch:
            record["epoch"] = number / self.per_epoch
        finite = math.isfinite(record["loss"])
        if finite and (number % self._test_every == 0 or number == self.total):
            record.update(self.trainer.test())
        record["seconds"] = round(self.seconds, 6)
        if log is not None:
            log.write(record)
        self.trainer.require_finite(record["loss"])
        return record

    def _open_log(self) -> Log | None:
        path = self.log_path
        return None if path is None else Log(path, after=self.trainer.iteration)

    @property
    def log_path(self) -> str | None:
        """Where the log is; None without one."""
        return self.settings.log or (str(self.folder / _LOG) if self.folder else None)

    def _save(self) -> None:
        if self.folder is not None:
            state = self.trainer.checkpoint(self.seconds)
            self._saved = write_checkpoint(self.folder, state, self.settings.keep)


def _total(settings: Settings, per_epoch: int) -> int:
    if settings.iterations is not None:
        return settings.iterations
    if settings.epochs is None:
        raise UsageError("how long to train is not said", hint="--epochs 10, or --iterations 1000")
    if not per_epoch:
        raise UsageError(
            "without --data there are no epochs: the net reads its rows by itself",
            hint="--iterations",
        )
    return settings.epochs * per_epoch


# ---------------------------------------------------------------- the beginning


@contextmanager
def begin(
    init: str,
    train: str,
    test: str | None,
    settings: Settings,
    *,
    folder: Path | None = None,
    predict: str | None = None,
    check_finite: bool = False,
    trust: Trust | None = None,
) -> Iterator[Run]:
    """A new run of the nets in these files. With a `folder` it can go on after an interruption.

    `predict` is a net that uses the weights; at the end both are in the folder `model`. `trust` is
    as for `load_model`.

    Raises UsageError for a folder that holds a run, FileError for one that cannot be written.
    """
    with _claimed(folder) if folder is not None else nullcontext():
        if folder is not None and (folder / _SETTINGS).exists():
            raise UsageError(
                "holds a run already",
                where=str(folder),
                hint=f"caffe2py resume {folder}, or another folder",
            )
        _refuse_swapped(init, train)
        paths = [path for path in (train, test) if path is not None]
        models = [load_model(path, init, trust=trust) for path in paths]
        task = _task(models, settings, check_finite=check_finite)
        settings = _with_digest(settings, task)
        run = Run(Trainer(task), settings, folder)
        if folder is not None:
            _write_run(folder, models, settings, predict)
        yield run


@contextmanager
def go_on(
    folder: Path,
    changes: dict[str, Any],
    *,
    check_finite: bool = False,
    trust: Trust | None = None,
) -> Iterator[tuple[Run, list[str]]]:
    """The run in a folder, from its newest sound checkpoint, or else from the beginning.

    `changes` are settings that are to be others from now on. Comes with what was wrong with newer
    checkpoints. Raises FileError and ModelFormatError where there is no sound run, UsageError for
    data that is not what the run began with.
    """
    if not (folder / _SETTINGS).is_file():
        raise FileError(
            f"holds no run: there is no {_SETTINGS}", where=str(folder), hint="caffe2py train"
        )
    with _claimed(folder):
        remove_litter(folder)
        settings = _changed(_read_settings(folder), changes)
        paths = [folder / _TRAIN, *([folder / _TEST] if (folder / _TEST).exists() else [])]
        models = [load_model(path, folder / _INIT, trust=trust) for path in paths]
        task = _task(models, settings, check_finite=check_finite)
        if _with_digest(settings, task).digest != settings.digest:
            raise UsageError(
                f"'{settings.data}' is not what the run began with",
                where=str(folder),
                hint="--data with the file that it was, or a new run",
            )
        path, checkpoint, wrong = newest(folder)
        trainer = Trainer(task)
        if checkpoint is not None:
            try:
                trainer.restore(checkpoint)
            except Error as error:
                raise error.with_where(str(path)) from None
        run = Run(trainer, settings, folder, checkpoint.seconds if checkpoint else 0.0)
        _write_settings(folder, settings)
        yield run, wrong


def _refuse_swapped(init: str, train: str) -> None:
    reads = external_inputs(read_net(init, allow_empty=True))
    if reads:
        raise ModelFormatError(
            f"as an init net it makes all from nothing, and this one reads '{reads[0]}'",
            where=init,
            hint=f"caffe2py train {train} {init} ..., if the two are swapped",
        )


def _task(models: list[Model], settings: Settings, *, check_finite: bool) -> Task:
    train, test = models[0], (models[1] if len(models) > 1 else None)
    source = _source(train, settings.data, "train")
    tests = _source(test, settings.test_data or settings.data, "test") if test else None
    return Task(
        train,
        source,
        test,
        tests,
        batch=settings.batch,
        seed=settings.seed,
        losses=settings.losses,
        check_finite=check_finite,
    )


def _source(model: Model, path: str | None, part: str) -> Source | None:
    """The rows that a net needs; None if it needs none."""
    required, optional = required_inputs(model)
    required = tuple(name for name in required if not name.endswith("_grad"))
    if path is not None and (required or optional):
        return open_source(path, part, required, optional)
    if required:
        raise MissingBlobError(
            f"the {part} net reads {', '.join(map(repr, required))}, which nothing makes",
            where=f"net '{model.name}'",
            hint="--data FILE.npz",
        )
    return None


# ---------------------------------------------------------------- the folder


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep other processes from the folder; one that dies lets it go."""
    lock = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                "another process trains here", where=str(folder), hint="wait, or another folder"
            ) from None
        yield
    finally:
        os.close(handle)
        if not (folder / _SETTINGS).exists():  # nothing has begun: leave no trace
            with suppress(OSError):
                lock.unlink()
                folder.rmdir()


def _write_run(folder: Path, models: list[Model], settings: Settings, predict: str | None) -> None:
    """What the run is; the settings come last, so that where they are, all is."""
    write_message(folder / _INIT, models[0].init or NetDef(name="init"))
    for model, name in zip(models, (_TRAIN, _TEST), strict=False):
        write_message(folder / name, model.predict)
    if predict is not None:
        net = read_net(predict)
        (folder / _MODEL).mkdir(exist_ok=True)
        write_message(folder / _MODEL / _PREDICT, net)
    _write_settings(folder, settings)


def _write_settings(folder: Path, settings: Settings) -> None:
    replace_file(folder / _SETTINGS, json.dumps(asdict(settings), indent=1).encode())


def _read_settings(folder: Path) -> Settings:
    path = folder / _SETTINGS
    try:
        found = json.loads(path.read_bytes())
        known = {f.name for f in fields(Settings)}
        strange = sorted(set(found) - known)
        if strange:
            raise ModelFormatError(f"unknown setting '{strange[0]}'", where=str(path))
        for item in fields(Settings):
            if item.name in found and not isinstance(found[item.name], _KINDS[str(item.type)]):
                raise ModelFormatError(
                    f"setting '{item.name}': expected {item.type}, found {found[item.name]!r:.80}",
                    where=str(path),
                )
        return Settings(**found)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, TypeError) as error:
        raise ModelFormatError(f"is no run: {error}", where=str(path)) from None


def _changed(settings: Settings, changes: dict[str, Any]) -> Settings:
    if changes.get("epochs") is not None or changes.get("iterations") is not None:
        settings = Settings(**{**asdict(settings), "epochs": None, "iterations": None})
    given = {name: value for name, value in changes.items() if value is not None}
    return Settings(**{**asdict(settings), **given})


def _with_digest(settings: Settings, task: Task) -> Settings:
    """The settings with the hash of all rows."""
    sources = [s for s in (task.source, task.test_source) if s is not None]
    return Settings(**{**asdict(settings), "digest": " ".join(s.digest() for s in sources)})
