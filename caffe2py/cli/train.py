"""`caffe2py train` and `caffe2py resume`: training from files, with logs and checkpoints."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common
from caffe2py.cli.common import log, plain
from caffe2py.errors import UsageError
from caffe2py.training.run import Outcome, Run, Settings, begin, go_on

#: An interrupted process has this status plus the number of the signal.
_SIGNALLED = 128
_COUNT = click.IntRange(min=1)
_SEED = click.IntRange(0, 2**32 - 1)


def _length(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how long, and what is looked at on the way."""
    for option in (
        common.trust_options,
        common.threads_option,
        click.option("--check-finite", is_flag=True, help="Stop at the first NaN, and say whose."),
        click.option("--keep", type=_COUNT, help="So many checkpoints are kept.  [3]"),
        click.option("--test-every", type=_COUNT, metavar="N", help="Test so often.  [epoch]"),
        click.option("--every", type=_COUNT, metavar="N", help="Save so often.  [epoch]"),
        click.option("--iterations", type=_COUNT, metavar="N", help="How long to train, or"),
        click.option("--epochs", type=_COUNT, metavar="N", help="how often over all rows."),
        click.option("--test-data", metavar="FILE", help="Rows for the test net, if elsewhere."),
        click.option("--data", metavar="FILE", help="Rows: an .npz, or a folder of .npy files."),
    ):
        function = option(function)
    return function


@common.command("train")
@click.argument("init_net")
@click.argument("train_net")
@click.option("--test", metavar="NET", help="A net whose numbers are logged: accuracy, loss.")
@click.option("--predict", metavar="NET", help="A net to save with the weights, in DIR/model.")
@_length
@click.option("--batch", type=_COUNT, default=32, show_default=True, help="Rows an iteration.")
@click.option("--seed", type=_SEED, default=0, help="Of the order of rows and of random fills. [0]")
@click.option("--loss", "losses", multiple=True, metavar="BLOB", help="Instead of the net's own.")
@click.option("--log", "log_file", metavar="FILE", help="One JSON object a line.  [DIR/log.jsonl]")
@click.option("--save", metavar="DIR", help="Keep checkpoints here, for `caffe2py resume DIR`.")
@common.json_option
def train(init_net: str, train_net: str, test: str | None, save: str | None, **options: Any) -> int:
    """Run INIT_NET once and TRAIN_NET over and over, on batches of rows.

    TRAIN_NET holds its backward operators (`caffe2py grad` makes them) and those that update the
    parameters. The arrays of the data are named as the blobs that they are fed to, or
    train/... and test/... if they hold both. The rows have another order in each epoch; a run is
    the same bits each time. Ctrl-C saves the state; so does SIGTERM.
    """
    if options["predict"] and not save:
        raise UsageError("--predict needs --save DIR, where the model goes")
    if not (options["epochs"] or options["iterations"]):
        raise UsageError("how long to train is not said", hint="--epochs 10, or --iterations 1000")
    settings = Settings(
        **_changes(options),
        batch=options["batch"],
        seed=options["seed"],
        losses=list(options["losses"]),
        log=_absolute(options["log_file"]),
    )
    folder = Path(save) if save else None
    with (
        common.using_threads(options["threads"]),
        begin(
            init_net,
            train_net,
            test,
            settings,
            folder=folder,
            predict=options["predict"],
            check_finite=options["check_finite"],
            trust=common.given_trust(),
        ) as run,
    ):
        return _train(run, options["json_"])


@common.command("resume")
@click.argument("folder", metavar="DIR")
@_length
@common.json_option
def resume(folder: str, **options: Any) -> int:
    """Go on with the run in DIR from its newest sound checkpoint, as if it had never stopped.

    The options change the run from now on; --iterations or --epochs beyond its end make it longer.
    """
    changes = _changes(options)
    check, trust = options["check_finite"], common.given_trust()
    with (
        common.using_threads(options["threads"]),
        go_on(Path(folder), changes, check_finite=check, trust=trust) as (run, wrong),
    ):
        for text in wrong:
            log.warning("%s; an older checkpoint is taken", text)
        return _train(run, options["json_"])


COMMANDS = {"train": train, "resume": resume}


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given; UsageError for two that contradict each other."""
    if options["epochs"] and options["iterations"]:
        raise UsageError("--epochs and --iterations exclude each other")
    found = {
        "iterations": options["iterations"],
        "epochs": options["epochs"],
        "data": _absolute(options["data"]),
        "test_data": _absolute(options["test_data"]),
        "save_every": options["every"],
        "test_every": options["test_every"],
        "keep": options["keep"],
    }
    return {name: value for name, value in found.items() if value is not None}


def _absolute(path: str | None) -> str | None:
    """A run may go on from another folder."""
    return None if path is None else str(Path(path).absolute())


# ---------------------------------------------------------------- while it runs


class _Interrupts:
    """The first Ctrl-C or SIGTERM asks to stop, the second one ends the process at once."""

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, self._receive)
        except ValueError:  # not in the main thread, which gets the signals
            pass
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number


class _Progress:
    """A bar on a terminal; elsewhere nothing."""

    def __init__(self, run: Run) -> None:
        self._bar: Any = None
        self._tests = ""
        if sys.stderr.isatty() and log.isEnabledFor(logging.WARNING):
            from tqdm import tqdm

            done = run.trainer.iteration
            self._bar = tqdm(total=run.total, initial=done, unit="it", dynamic_ncols=True)

    def show(self, record: dict[str, Any]) -> None:
        if self._bar is None:
            return
        tests = [f"{name} {value:.4g}" for name, value in record.items() if name[:5] == "test_"]
        self._tests = ", ".join(tests) or self._tests
        text = f"loss {record['loss']:.4g}"
        self._bar.set_postfix_str(f"{text}, {self._tests}" if self._tests else text, refresh=False)
        self._bar.update()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _train(run: Run, as_json: bool) -> int:
    if run.folder is not None:
        for name in run.trainer.not_saved():
            log.warning("no checkpoint holds '%s': it begins anew in resume", plain(name))
    interrupts, progress = _Interrupts(), _Progress(run)

    def watch(record: dict[str, Any]) -> bool:
        progress.show(record)
        return bool(interrupts.received)

    try:
        with interrupts.caught():
            outcome = run.run(watch)
    finally:
        progress.close()
    _print(run, outcome, as_json)
    if outcome.complete:
        return 0
    click.echo(_stopped(run, outcome), err=True)
    return _SIGNALLED + interrupts.received


def _stopped(run: Run, outcome: Outcome) -> str:
    text = f"stopped after iteration {outcome.iteration} of {outcome.total}"
    if run.folder is None:
        return f"{text}; nothing is saved (try: --save DIR)"
    return f"{text}; go on with: caffe2py resume {plain(str(run.folder))}"


def _print(run: Run, outcome: Outcome, as_json: bool) -> None:
    """What came out of it."""
    files = {"saved": outcome.checkpoint, "log": run.log_path, "model": outcome.model}
    written = {name: str(path) for name, path in files.items() if path is not None}
    if as_json:
        found = {"iterations": outcome.iteration, "of": outcome.total, "seconds": outcome.seconds}
        common.print_json({**found, **outcome.record, **written})
        return
    if not outcome.record:
        click.echo(f"nothing is left to do: {outcome.iteration} iterations are done")
    else:
        epochs = f" ({outcome.record['epoch']:.4g} epochs)" if "epoch" in outcome.record else ""
        done = f"{outcome.iteration} iterations{epochs}"
        click.echo(f"trained {done} in {outcome.seconds:.1f} s")
    left_out = ("iteration", "epoch", "seconds")
    for name, value in outcome.record.items():
        if name not in left_out:
            click.echo(f"  {name.ljust(13)}  {value:.6g}")
    for name, path in written.items():
        click.echo(f"  {name.ljust(13)}  {plain(path)}")
