"""What `bench`, `profile` and `warmup` share: options, threads, a net ready to be timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from caffe2py.cli import common
from caffe2py.cli.given import given_inputs
from caffe2py.errors import UsageError
from caffe2py.executor.net import CreatedNet
from caffe2py.kernels import inventory
from caffe2py.predictor.inputs import Invented
from caffe2py.predictor.load import Model, load_model
from caffe2py.predictor.session import Session
from caffe2py.tensor.device import Device

F = TypeVar("F", bound=Callable[..., Any])

_COUNT = click.IntRange(min=1)


class Historical(click.Command):
    """A command that takes its options as Caffe2's programs do: --run_individual=true."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write underscores in names of options as hyphens, and flags without their values."""
        flags = {o for p in self.params if getattr(p, "is_flag", False) for o in p.opts}
        made: list[str] = []
        for position, arg in enumerate(args):
            if arg == "--":
                made += args[position:]
                break
            if not arg.startswith("--"):
                made.append(arg)
                continue
            name, equals, value = arg.partition("=")
            name = name.replace("_", "-")
            if name in flags and equals and value.lower() in ("true", "1", "false", "0"):
                made += [name] if value.lower() in ("true", "1") else []
            else:
                made.append(f"{name}{equals}{value}")
        return super().parse_args(ctx, made)


def timing_options(function: F) -> F:
    """The net, its inputs, and how long to run it; NET may also be said with --net."""
    options = (
        click.argument("net", metavar="[NET]", required=False),
        click.option("--net", "net_option", metavar="FILE", help="The same as NET."),
        click.option("--init", "--init-net", "init", metavar="FILE", help="The init net."),
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="[NAME=]VALUE",
            help="As for `caffe2py run`; or names, separated by commas, that --input-dims or "
            "--input-file tells more about. Random values where none are given.",
        ),
        click.option(
            "--input-dims",
            metavar="1,3,224,224;...",
            help="Shapes of the inputs in their order, which get random values.",
        ),
        click.option(
            "--input-type",
            default="float",
            metavar="TYPE;...",
            help="Their types, or one for all: float (default), uint8_t, int, int64, ...",
        ),
        click.option(
            "--input-file",
            metavar="FILE,...",
            help="Files of the inputs in their order: .npy, .npz, or a BlobProto.",
        ),
        click.option("--warmup", type=click.IntRange(min=0), default=3, help="Runs before. [3]"),
        click.option("--iter", "iterations", type=_COUNT, default=20, help="Runs, timed.  [20]"),
        common.threads_option,
        click.option("--device", help="cpu or cuda:N; overrides the devices in the net."),
        click.option("--no-optimize", is_flag=True, help="Run every operator as the net has it."),
    )
    for option in reversed(options):
        function = option(function)
    return function


# ---------------------------------------------------------------- a net ready to be timed


class Clock:
    """Milliseconds between stops."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}
        self._since = time.perf_counter()

    def stop(self, name: str) -> None:
        """Note how long it was since the last stop, or the beginning."""
        now = time.perf_counter()
        self.found[name], self._since = (now - self._since) * 1000, now


@dataclass
class Ready:
    """A model with its inputs, bound and run once, and the milliseconds that this took.

    `compiled` and `cached` count the kernels that were made, and those found in the cache.
    """

    session: Session
    inputs: dict[str, Any]
    milliseconds: dict[str, float] = field(default_factory=dict)
    compiled: int = 0
    cached: int = 0

    @property
    def net(self) -> CreatedNet | None:
        """The bound net; None for a plan."""
        return self.session.created

    def require_net(self) -> CreatedNet:
        """The bound net; UsageError for a plan, whose nets are bound anew in every run."""
        if self.net is None:
            raise UsageError("this is a plan: its operators cannot be timed one by one")
        return self.net


def get_ready(
    net: str, init: str | None, options: dict[str, Any], keep: Sequence[str] = ()
) -> Ready:
    """Load, make weights, feed, bind, and run once; each with its time.

    `options` are those of `timing_options`; what is left out there has its default.
    """
    clock = Clock()
    model = load_model(net, init, trust=common.given_trust())
    clock.stop("load")
    return run_once(model, options, keep, clock)


def run_once(
    model: Model,
    options: dict[str, Any],
    keep: Sequence[str] = (),
    clock: Clock | None = None,
) -> Ready:
    """The same for a model that is loaded."""
    before, used = inventory.cache().names, inventory.linked()
    clock = clock or Clock()
    device = Device.parse(options["device"]) if options.get("device") else None
    optimize = not options.get("no_optimize")
    session = Session(model, device, keep=keep, optimize=optimize)
    clock.stop("init")
    ready = Ready(session, given_inputs(model, options), clock.found)
    for name, value in ready.inputs.items():
        session.feed(name, value.array(name) if isinstance(value, Invented) else value)
    session.require_inputs()
    clock.stop("inputs")
    session.prepare()
    clock.stop("bind")
    session.run()
    clock.stop("first_run")
    new = inventory.linked() - used
    ready.compiled, ready.cached = len(new - before), len(new & before)
    return ready


def chosen_net(net: str | None, option: str | None) -> str:
    """The net that was named in one of two ways; UsageError for none, or two."""
    if (net is None) == (option is None):
        raise UsageError("name one net", hint="caffe2py bench NET, or --net FILE")
    return net or option or ""
