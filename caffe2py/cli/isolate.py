"""A command in a child process with limits: whatever ends it, its parent says so and goes on.

Checks before a net runs are no wall: a mistake in a kernel, in LLVM or in a driver ends the process
that made it. Here that is the child.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import click

from caffe2py.errors import Error
from caffe2py.tensor.memory import memory_budget

__all__ = ["IsolatedCommand", "isolate_options", "run_isolated"]

#: What the interpreter, its libraries, compiled kernels and stacks take besides arrays.
_OVERHEAD = 2 << 30
#: Seconds if nothing else is said.
_SECONDS = 600
_FLAG = "--isolate"
_RAW = "caffe2py.raw_arguments"
_SET_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


class IsolatedCommand(click.Command):
    """A command that runs itself in a child process where --isolate is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in click; the arguments are kept for the child."""
        ctx.meta[_RAW] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, here or there."""
        isolate, seconds = ctx.params.pop("isolate"), ctx.params.pop("max_seconds")
        if not isolate:
            return super().invoke(ctx)
        arguments = [text for text in ctx.meta[_RAW] if text != _FLAG]
        return run_isolated([str(ctx.info_name), *arguments], seconds)


def isolate_options(function: Any) -> Any:
    """--isolate and --max-seconds."""
    function = click.option(
        "--max-seconds",
        type=click.IntRange(min=1),
        default=_SECONDS,
        show_default=True,
        help="With --isolate: processor seconds, and as many by the clock.",
    )(function)
    return click.option(
        _FLAG,
        is_flag=True,
        help="Run in a child process with limits: whatever ends it, this one says so.",
    )(function)


def run_isolated(arguments: Sequence[str], seconds: int) -> int:
    """Run a command line of ours in a child; its exit status.

    The child has this process's files and screen. Raises Error where it did not end by itself.
    """
    command = [sys.executable, "-m", __name__, str(memory_budget()), str(seconds), *arguments]
    with subprocess.Popen(command) as child:
        try:
            status = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            raise Error(
                f"the isolated process was ended after {seconds} s", hint="--max-seconds"
            ) from None
        except KeyboardInterrupt:
            child.wait()  # it was told, too
            raise
    if status >= 0:
        return status
    if -status == signal.SIGXCPU:
        raise Error(
            f"the isolated process took more than {seconds} s of processor time",
            hint="--max-seconds",
        )
    raise Error(f"the isolated process died: {_signal_name(-status)}")


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{signal.Signals(number).name}, {signal.strsignal(number)}"
    return f"signal {number}"


def _limit(memory: int, seconds: int) -> None:
    """Limit this process, before it has looked at anything that is not trusted."""
    # memory of its own: file mappings and what drivers reserve are not counted
    _lower(resource.RLIMIT_DATA, memory + _OVERHEAD, 0)
    _lower(resource.RLIMIT_CPU, seconds, 1)
    _lower(resource.RLIMIT_CORE, 0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _lower(which: int, value: int, more: int) -> None:
    """Set a limit, and the one that cannot be passed `more` above, unless lower ones are there."""
    _, hard = resource.getrlimit(which)
    highest = value + more if hard == resource.RLIM_INFINITY else min(hard, value + more)
    resource.setrlimit(which, (min(value, highest), highest))


def _main(arguments: Sequence[str]) -> None:
    """In the child: limits, then the command line."""
    from caffe2py.cli import program

    memory, seconds, *rest = arguments
    _limit(int(memory), int(seconds))
    program.main(rest)


if __name__ == "__main__":
    _main(sys.argv[1:])
