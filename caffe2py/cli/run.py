"""`caffe2py run`: a net on given inputs; outputs shown, saved, timed or compared."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common
from caffe2py.cli.common import log, plain
from caffe2py.cli.isolate import IsolatedCommand, isolate_options
from caffe2py.errors import FileError, UsageError
from caffe2py.predictor.inputs import ImageOptions, Invented, parse_inputs, read_arrays
from caffe2py.predictor.load import load_model
from caffe2py.predictor.report import Difference, compare, ranking, statistics
from caffe2py.predictor.save import write_arrays
from caffe2py.predictor.session import Session
from caffe2py.tensor.device import Device
from caffe2py.tensor.types import dtype_name, shape_text

_SHOWN_VALUES = 8
_COUNT = click.IntRange(min=0)


@common.command("run", IsolatedCommand)
@common.model_options
@common.trust_options
@isolate_options
@common.input_option
@click.option("--output", "outputs", multiple=True, metavar="BLOB", help="Instead of the net's.")
@click.option("-o", "--out", metavar="FILE", help="Save the outputs: .npz, or .npy for one.")
@click.option("--expect", metavar="FILE", help="Compare with .npz (by name) or .npy (one output).")
@click.option("--atol", type=float, default=1e-5, show_default=True, help="Allowed error,")
@click.option(
    "--rtol", type=float, default=1e-4, show_default=True, help="plus this times |value|."
)
@click.option("--iter", "iterations", type=click.IntRange(min=1), help="Run so often, and time it.")
@click.option("--warmup", type=_COUNT, default=1, help="Runs before that, not timed.  [1]")
@common.threads_option
@click.option("--device", help="cpu or cuda:N; overrides the devices in the net.")
@click.option("--no-optimize", is_flag=True, help="Run every operator as the net has it.")
@click.option("--labels", metavar="FILE", help="Names of classes, one a line.")
@common.image_options
@common.json_option
def run(net: str, init: str | None, inputs: tuple[str, ...], **options: Any) -> int:
    """Run NET once and show what it computes.

    NET is a folder, a .pb or a .pbtxt; a plan is run as a plan. Its init net is found by name
    (init_net.pb beside predict_net.pb, x_init.pb beside x.pb) or given with --init. Or NET is a
    predictor that was saved in a database: a .minidb, or an lmdb (.mdb, or its folder).
    """
    image = ImageOptions.parse(
        *(options[key] for key in ("size", "mean", "scale", "order", "filter_name"))
    )
    labels = _read_labels(options["labels"])
    expected = read_arrays(options["expect"]) if options["expect"] else None
    device = Device.parse(options["device"]) if options["device"] else None
    model = load_model(net, init, apart=True, trust=common.given_trust())
    with common.using_threads(options["threads"]):
        optimize = not options["no_optimize"]
        session = Session(model, device, keep=options["outputs"], optimize=optimize)
        _feed(session, inputs, image)
        timing = _run(session, options["iterations"], options["warmup"])
    values = session.fetch(options["outputs"] or _made(session))
    if options["out"]:
        write_arrays(options["out"], _tensors(values))
    differences = _compare(values, expected, options["atol"], options["rtol"])
    if options["json_"]:
        common.print_json(_as_json(values, timing, differences, labels))
    else:
        _print(values, timing, differences, labels)
    return 0 if all(d.fits for d in differences.values()) else 1


COMMANDS = {"run": run}


# ---------------------------------------------------------------- before and during the run


def _read_labels(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        return Path(path).read_text("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", where=path) from None


def _feed(session: Session, inputs: tuple[str, ...], image: ImageOptions) -> None:
    model = session.model
    given = parse_inputs(inputs, model, image)
    for name, value in given.items():
        session.feed(name, value.array(name) if isinstance(value, Invented) else value)
    session.require_inputs()
    for name in model.stand_ins:
        if name not in session.fed:
            log.warning("input '%s' is not given: it is what the init net makes", plain(name))


def _run(session: Session, iterations: int | None, warmup: int) -> dict[str, float]:
    """Run; milliseconds of one run if asked to repeat it."""
    session.prepare()
    if iterations is None:
        session.run()
        return {}
    started = time.perf_counter()
    for _ in range(warmup):
        session.run()
    warm = time.perf_counter() - started
    times = []
    for _ in range(iterations):
        started = time.perf_counter()
        session.run()
        times.append((time.perf_counter() - started) * 1e3)
    p50, p90 = (float(np.percentile(times, p)) for p in (50, 90))
    return {
        "iterations": iterations,
        "warmup_ms": warm * 1e3,
        "mean": sum(times) / len(times),
        "p50": p50,
        "p90": p90,
        "min": min(times),
        "max": max(times),
    }


# ---------------------------------------------------------------- after the run


def _made(session: Session) -> list[str]:
    found = session.made_outputs()
    for name in session.model.outputs:
        if name not in found:
            log.warning("output '%s' holds nothing", plain(name))
    return found


def _tensors(values: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if not isinstance(value, np.ndarray):
            log.warning("'%s' holds a %s and is not saved", plain(name), type(value).__name__)
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _compare(
    values: Mapping[str, Any], expected: Mapping[str, Any] | None, atol: float, rtol: float
) -> dict[str, Difference]:
    if expected is None:
        return {}
    if "" in expected:  # an .npy has no name: it is for the first output
        expected = {next(iter(values), ""): expected[""]}
    missing = [name for name in expected if name not in values]
    if missing or not expected:
        have = ", ".join(values) or "none"
        what = f"names '{missing[0]}', which is no output" if missing else "holds no array"
        raise UsageError(f"--expect {what} (outputs: {have})", hint="--output BLOB")
    return {name: compare(values[name], array, atol, rtol) for name, array in expected.items()}


def _describe(value: Any, labels: list[str]) -> dict[str, Any]:
    """One output as figures."""
    if not isinstance(value, np.ndarray):
        return {"type": type(value).__name__}
    found = statistics(value)
    top = [
        {
            "index": index,
            "value": float(number),
            **({"label": labels[index]} if index < len(labels) else {}),
        }
        for index, number in ranking(value)
    ]
    figures = {
        "min": found.minimum,
        "max": found.maximum,
        "mean": found.mean,
        "std": found.std,
        "non_finite": found.non_finite,
    }
    described = {"dtype": dtype_name(value.dtype), "shape": list(value.shape), **figures}
    if value.size <= _SHOWN_VALUES:
        described["values"] = value.reshape(-1).tolist()
    return {**described, "top": top} if top else described


def _as_json(
    values: Mapping[str, Any],
    timing: Mapping[str, float],
    differences: Mapping[str, Difference],
    labels: list[str],
) -> dict[str, Any]:
    made: dict[str, Any] = {"outputs": {n: _describe(v, labels) for n, v in values.items()}}
    if timing:
        made["milliseconds"] = dict(timing)
    if differences:
        made["expect"] = {
            name: {
                "fits": d.fits,
                "max_abs": d.max_abs,
                "max_rel": d.max_rel,
                "mismatches": d.mismatches,
                **({"reason": d.reason} if d.reason else {}),
            }
            for name, d in differences.items()
        }
    return made


def _print(
    values: Mapping[str, Any],
    timing: Mapping[str, float],
    differences: Mapping[str, Difference],
    labels: list[str],
) -> None:
    for name, value in values.items():
        click.echo(_output_text(plain(name), value, labels))
    if not values:
        click.echo("the net names no outputs (try: --output BLOB)")
    if timing:
        click.echo(
            f"milliseconds per iter: mean {timing['mean']:.3f}, p50 {timing['p50']:.3f}, "
            f"p90 {timing['p90']:.3f}, min {timing['min']:.3f}, max {timing['max']:.3f} "
            f"({timing['iterations']:.0f} iterations)"
        )
    for name, difference in differences.items():
        click.echo(_difference_text(plain(name), difference))


def _output_text(name: str, value: Any, labels: list[str]) -> str:
    if not isinstance(value, np.ndarray):
        return f"{name}: {type(value).__name__}"
    found = _describe(value, labels)
    lines = [f"{name}: {found['dtype']} {shape_text(value.shape)}"]
    if found["min"] is not None:
        names = ("min", "max", "mean", "std")
        lines.append("  " + "  ".join(f"{n} {found[n]:.6g}" for n in names))
    if found["non_finite"]:
        lines.append(f"  {found['non_finite']} of {value.size} elements are not finite")
    for entry in found.get("top", ()):
        label = plain(entry.get("label", ""))
        lines.append(f"  {entry['index']:>6}  {entry['value']:<12.6g} {label}".rstrip())
    if "values" in found and "top" not in found:
        lines.append(f"  values {', '.join(_value_text(v) for v in found['values'])}".rstrip())
    return "\n".join(lines)


def _value_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return repr(value)[:60] if isinstance(value, bytes) else str(value)


def _difference_text(name: str, difference: Difference) -> str:
    verdict = "equals" if difference.fits else "DIFFERS FROM"
    if difference.reason:
        return f"{name} {verdict} what is expected: it {difference.reason}"
    return (
        f"{name} {verdict} what is expected: largest error {difference.max_abs:.3g}, relative "
        f"{difference.max_rel:.3g}; {difference.mismatches} of {difference.size} beyond tolerance"
    )
