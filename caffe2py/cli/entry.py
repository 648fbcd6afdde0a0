"""The command `caffe2py`: finds its commands when they are used, and turns errors into one line."""

from __future__ import annotations

import difflib
import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from caffe2py import __version__
from caffe2py.errors import Error, UsageError
from caffe2py.registry.threads import thread_count

__all__ = ["Program", "main", "program"]

#: Exit statuses that no class of error has.
FAILED, IO_FAILED, INTERRUPTED, PIPE_CLOSED = 1, 5, 130, 141

_TRACEBACK = "CAFFE2PY_TRACEBACK"

#: Command -> module and line of help. The module is imported when the command is used.
COMMANDS = {
    "run": ("caffe2py.cli.run", "Run a net on given inputs; show, save or compare the outputs."),
    "bench": ("caffe2py.cli.bench", "Time a net: percentiles, and each operator beside peaks."),
    "profile": ("caffe2py.cli.profile", "Time each operator, and write a trace to look at."),
    "warmup": ("caffe2py.cli.warmup", "Compile what nets need, so that they start at once."),
    "check": ("caffe2py.cli.check", "Find all that is wrong with a net, without running it."),
    "print": ("caffe2py.cli.show", "Print a net, one line an operator."),
    "draw": ("caffe2py.cli.draw", "Draw a net or a plan: .svg, or .dot for Graphviz."),
    "view": ("caffe2py.cli.view", "Show a net in the browser, with Netron."),
    "summary": ("caffe2py.cli.summary", "Shapes, parameters, multiply-adds and memory of a net."),
    "infer-shapes": ("caffe2py.cli.summary", "The type and shape of every blob of a net."),
    "convert": (
        "caffe2py.cli.convert",
        "Write a net as binary or text (pb, pbtxt); models from and to ONNX, from Caffe 1.",
    ),
    "extract-weights": ("caffe2py.cli.extract", "Write the weights of a model as arrays."),
    "db": ("caffe2py.cli.db", "Databases: make them of photos, convert, split, count."),
    "grad": ("caffe2py.cli.grad", "Append the backward operators to a net."),
    "train": ("caffe2py.cli.train", "Train a net on rows from files, with log and checkpoints."),
    "resume": ("caffe2py.cli.train", "Go on with a training that was stopped or killed."),
    "plot": ("caffe2py.cli.plot", "Draw the log of a training."),
    "tensorboard": (
        "caffe2py.cli.board",
        "Write a net, or the log of a training, for TensorBoard.",
    ),
    "exec": ("caffe2py.cli.exec", "Run a Python script that was written for Caffe2."),
    "ops": ("caffe2py.cli.ops", "List the operators, or describe one."),
    "doctor": (
        "caffe2py.cli.doctor",
        "Versions, processor, memory, caches: what to put in a report.",
    ),
}

EPILOG = """\b
Exit status:
  0    all went well
  1    it ran and failed: an operator's error, or other values than --expect
  2    a wrong command line
  3    the model is invalid or cannot be read as one
  4    an operator, device or extra that is not supported
  5    a file cannot be read or written, or memory is short
  130  interrupted (143: by SIGTERM)
"""


class Program(click.Group):
    """The group of all commands. `main` ends the process with the documented exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        found: click.Command = module.COMMANDS[cmd_name]
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with near names in the error."""
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, 2, 0.5)
            guess = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"there is no command '{name}'{guess}", hint="caffe2py --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, which needs none of their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(  # type: ignore[override]  # it never returns, whatever standalone_mode says
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command line and end the process."""
        extra.pop("standalone_mode", None)
        arguments = list(sys.argv[1:] if args is None else args)
        sys.exit(_guarded(self, arguments, prog_name or "caffe2py", extra))


@click.command(
    "caffe2py",
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="caffe2py", message="%(prog)s %(version)s")
def program() -> None:
    """Run and examine Caffe2 nets, which Numba executes."""


def main() -> NoReturn:
    """The entry of the script `caffe2py`."""
    program.main()


def _guarded(group: click.Group, args: list[str], name: str, extra: dict[str, Any]) -> int:
    """Run a command line; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of blobs may hold what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        with _logging_to_stderr():
            status = _run(group, args, name, extra)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has left, as in `caffe2py ops | head -1`
        _discard_stdout()
        return PIPE_CLOSED
    return status


def _run(group: click.Group, args: list[str], name: str, extra: dict[str, Any]) -> int:
    try:
        thread_count()  # an environment that says nonsense is nobody else's fault later
        with group.make_context(name, args, **extra) as context:
            status = group.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except (KeyboardInterrupt, EOFError, click.Abort):
        click.echo("error: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        return _report(error)
    return status if isinstance(status, int) else 0


def _report(error: Exception) -> int:
    """Say what went wrong, on one line; the exit status."""
    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
    text, status = _described(error)
    click.echo(f"error: {' '.join(text.split())}", err=True)
    return status


def _described(error: Exception) -> tuple[str, int]:
    if isinstance(error, Error):
        return str(error), error.exit_code
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f" (try: {context.command_path} --help)" if context is not None else ""
        return f"{error.format_message()}{hint}", error.exit_code
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory", IO_FAILED
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", IO_FAILED
    kind = type(error).__name__
    return f"unexpected {kind}: {error} (try: {_TRACEBACK}=1 shows where; please report it)", FAILED


def _discard_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's end does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class _Lowercase(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}"


@contextmanager
def _logging_to_stderr() -> Iterator[None]:
    """Warnings of the package on stderr, while a command runs."""
    logger = logging.getLogger("caffe2py")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lowercase())
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
