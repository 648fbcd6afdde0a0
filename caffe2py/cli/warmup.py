"""`caffe2py warmup`: compile now what nets need, so that later processes start at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import caffe2py
import caffe2py.core  # the operators
from caffe2py.cli import common, measured
from caffe2py.cli.common import bytes_text, plain, table
from caffe2py.errors import FileError, UsageError
from caffe2py.kernels import inventory
from caffe2py.predictor.inputs import Invented
from caffe2py.predictor.load import Model, load_model
from caffe2py.predictor.samples import sample_models

#: Inputs of shipped nets that do not tell what shapes they take.
_SHAPES = {"seed_operators": "data=2x1x3"}


@dataclass(frozen=True)
class _Warmed:
    """What one net brought: kernels compiled, kernels found in the cache, seconds."""

    name: str
    compiled: int
    cached: int
    seconds: float


@common.command("warmup", measured.Historical)
@click.argument("nets", metavar="[NET]...", nargs=-1)
@click.option("--init", "--init-net", "init", metavar="FILE", help="The init net of the only NET.")
@common.input_option
@common.threads_option
@common.json_option
def warmup(
    nets: tuple[str, ...], init: str | None, inputs: tuple[str, ...], **options: Any
) -> None:
    """Compile the kernels of every NET into the cache, so that later runs compile nothing.

    Each NET is bound and run once, optimised and as it is, on random inputs of the shapes that
    --input says or that its layers tell. Without NET: small nets that infer and learn, and the
    nets/ of the source tree if they are there.
    """
    if len(nets) != 1 and (init or inputs):
        raise UsageError("--init and --input are for one NET")
    start = time.perf_counter()
    with common.using_threads(options["threads"]):
        given = _named(nets, init, inputs) if nets else _shipped()
        warmed = [_warm(*one) for one in given]
    seconds = time.perf_counter() - start
    cache = inventory.cache()
    if not inventory.linked() <= cache.names:
        raise FileError(
            "kernels could not be kept", where=str(cache.folder), hint="CAFFE2PY_CACHE_DIR=FOLDER"
        )
    if options["json_"]:
        common.print_json(_as_json(warmed, cache, seconds))
    else:
        click.echo(_text(warmed, cache, seconds))


COMMANDS = {"warmup": warmup}


#: A name, the model, and how `measured.get_ready` gets its inputs.
_Target = tuple[str, Model, dict[str, Any]]


def _named(nets: Sequence[str], init: str | None, inputs: Sequence[str]) -> Iterator[_Target]:
    for net in nets:
        yield net, load_model(net, init), {"inputs": inputs, "guessed": True}


def _shipped() -> Iterator[_Target]:
    for name, (model, values) in sample_models().items():
        yield f"sample of {name}", model, {"inputs": [_text_of(n, v) for n, v in values.items()]}
    folder = Path(caffe2py.__file__).parents[1] / "nets"
    for path in sorted(folder.glob("*/predict_net.pb*")):
        shape = _SHAPES.get(path.parent.name)
        yield (
            f"nets/{path.parent.name}",
            load_model(path),
            {"inputs": [shape] if shape else [], "guessed": True},
        )


def _text_of(name: str, value: Invented) -> str:
    dtype = f"{value.dtype.kind}{value.dtype.itemsize * 8}"
    return f"{name}={'x'.join(map(str, value.shape))}:{dtype}"


def _warm(name: str, model: Model, options: dict[str, Any]) -> _Warmed:
    """Run a model both ways; a user may want either."""
    start = time.perf_counter()
    both = [
        measured.run_once(model, {**options, "no_optimize": plainly}) for plainly in (False, True)
    ]
    return _Warmed(
        name,
        sum(ready.compiled for ready in both),
        sum(ready.cached for ready in both),
        time.perf_counter() - start,
    )


# ---------------------------------------------------------------- figures


def _as_json(warmed: list[_Warmed], cache: inventory.Cache, seconds: float) -> dict[str, Any]:
    return {
        "nets": [
            {"net": w.name, "compiled": w.compiled, "from_cache": w.cached, "seconds": w.seconds}
            for w in warmed
        ],
        "compiled": sum(w.compiled for w in warmed),
        "from_cache": sum(w.cached for w in warmed),
        "seconds": seconds,
        "cache": {
            "folder": str(cache.folder),
            "kernels": len(cache.names),
            "bytes": cache.size,
        },
    }


def _text(warmed: list[_Warmed], cache: inventory.Cache, seconds: float) -> str:
    rows = [[plain(w.name), str(w.compiled), str(w.cached), f"{w.seconds:.2f}"] for w in warmed]
    compiled, cached = (sum(getattr(w, key) for w in warmed) for key in ("compiled", "cached"))
    return "\n".join(
        [
            table(["net", "compiled", "there already", "seconds"], rows, right=(1, 2, 3)),
            f"{compiled} kernels compiled, {cached} were there already, {seconds:.1f} s",
            f"cache  {plain(str(cache.folder))}: {len(cache.names)} kernels, "
            f"{bytes_text(cache.size)}",
        ]
    )
