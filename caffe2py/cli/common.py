"""What commands share: options, and the way that numbers, names and tables are written."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from caffe2py.errors import UsageError
from caffe2py.registry.threads import set_thread_count, thread_count
from caffe2py.registry.trust import Trust, parse_needs
from caffe2py.tensor.memory import parse_size, set_memory_budget

__all__ = [
    "as_json",
    "bytes_text",
    "command",
    "given_trust",
    "image_options",
    "input_option",
    "json_option",
    "model_options",
    "number",
    "plain",
    "print_json",
    "table",
    "threads_option",
    "trust_options",
    "using_threads",
]

log = logging.getLogger("caffe2py.cli")

F = TypeVar("F", bound=Callable[..., Any])

_LOG = logging.getLogger("caffe2py")


def command(
    name: str, cls: type[click.Command] = click.Command
) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with the options that all have: -h, -v, -q."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        for option in (_verbose, _quiet):
            function = option(function)
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        return click.command(name, cls=cls, context_settings=settings)(function)

    return decorate


def _set_level(level: int) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            _LOG.setLevel(level)

    return callback


_verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set_level(logging.DEBUG),
    help="Log more, on stderr.",
)
_quiet = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_set_level(logging.ERROR),
    help="Log errors only.",
)

json_option = click.option("--json", "json_", is_flag=True, help="Write JSON on stdout.")

input_option = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]VALUE",
    help="An input: x.npy, x.npz, photo.jpg, or a shape such as 1x3x224x224, 1x3x8x8:f32:rand, "
    "10:i64:zeros. NAME may be left out where the model has one input. Repeatable.",
)


def model_options(function: F) -> F:
    """The argument NET and the option --init."""
    function = click.option(
        "--init", metavar="FILE", help="The init net; otherwise found by its name next to NET."
    )(function)
    return click.argument("net", metavar="NET")(function)


#: Where the options of `trust_options` are kept while a command runs.
_TRUST = "caffe2py.trust"


def trust_options(function: F) -> F:
    """What NET may do besides computing, and the memory it may take; see `given_trust`."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value and parameter.name is not None:
            context.meta.setdefault(_TRUST, {})[parameter.name] = value

    options = (
        click.option(
            "--trust",
            metavar="WHAT",
            expose_value=False,
            callback=keep,
            help="Let the net do more than compute: python, files, or both: python,files.",
        ),
        click.option(
            "--allow-dir",
            "folders",
            metavar="DIR",
            multiple=True,
            expose_value=False,
            callback=keep,
            help="Let the net read and write files below DIR. Repeatable.",
        ),
        click.option(
            "--max-memory",
            metavar="SIZE",
            expose_value=False,
            callback=_limit_memory,
            help="Let all arrays together take so much: bytes, or 500M, 4G.  "
            "[CAFFE2PY_MAX_MEMORY, or 75 % of what there is]",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def given_trust() -> Trust | None:
    """What the command line trusts nets with; None where it says nothing.

    Raises UsageError for an unknown word and for a folder that there is not.
    """
    context = click.get_current_context(silent=True)
    given = context.meta.get(_TRUST, {}) if context is not None else {}
    if not given:
        return None
    folders = tuple(given.get("folders", ()))
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsageError(f"--allow-dir {folder}: there is no such folder")
    needs = parse_needs(given["trust"]) if "trust" in given else ()
    return Trust(frozenset(needs), folders)


def _limit_memory(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        before = set_memory_budget(parse_size(value))
        context.call_on_close(lambda: set_memory_budget(before))


def image_options(function: F) -> F:
    """How a picture becomes a tensor; arrives as the keyword arguments of ImageOptions.parse."""
    options = (
        click.option("--size", metavar="N|HxW", help="Resize pictures to this height and width."),
        click.option(
            "--mean",
            metavar="M|A,B,C",
            help="Subtract from the pixels (0 to 255), one number or one per channel.",
        ),
        click.option("--scale", type=float, default=1.0, help="Then multiply by this.  [1]"),
        click.option(
            "--bgr", "order", flag_value="bgr", default="bgr", help="Blue first.  [default]"
        ),
        click.option("--rgb", "order", flag_value="rgb", help="Red first."),
        click.option("--gray", "order", flag_value="gray", help="One channel, the luminance."),
        click.option(
            "--filter",
            "filter_name",
            default="bicubic",
            metavar="NAME",
            help="Resampling: bicubic (default), bilinear, nearest, box, hamming, lanczos.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


# ---------------------------------------------------------------- writing


def plain(text: str | bytes) -> str:
    """A name fit for a terminal: control characters are escaped."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def number(value: int | None) -> str:
    """An integer with commas, "?" if it is unknown."""
    return "?" if value is None else f"{value:,}"


def bytes_text(count: int | None) -> str:
    """A number of bytes in the unit that suits it."""
    if count is None:
        return "?"
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows in columns under a header; the columns numbered in `right` are set to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    made = []
    for line in lines:
        cells = [
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        made.append("  ".join(cells).rstrip())
    return "\n".join(made)


def as_json(value: Any) -> Any:
    """A value for JSON, which has neither bytes nor infinities nor NaN (null, here)."""
    if isinstance(value, dict):
        return {plain(str(k)): as_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_json(value: Any) -> None:
    """Write JSON on stdout."""
    click.echo(json.dumps(as_json(value), indent=2))


# ---------------------------------------------------------------- threads

#: The option --threads.
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Use so many threads.  [CAFFE2PY_THREADS, or all processors up to 16]",
)


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Let kernels and NumPy's BLAS use so many threads; None leaves them as they are."""
    if count is None:
        yield
        return
    import threadpoolctl

    before = thread_count()
    set_thread_count(count)
    try:
        with threadpoolctl.threadpool_limits(count):
            yield
    finally:
        set_thread_count(before)
