"""Hands cases to the oracle's interpreter and keeps what comes back."""

import io
import json
import os
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np

from tools.golden.case import Case
from tools.golden.families import FAMILIES

HERE = Path(__file__).parent
FILLS = (0, 77, 190)  # one run each: as the system gives memory, and filled with two bytes


def collect(family: str) -> dict[str, Case]:
    """A family's cases by key. Each operator has a seed of its own, so that editing one table
    leaves the others' files as they were."""
    cases = {}
    for op, table in FAMILIES[family].items():
        rng = np.random.default_rng(zlib.crc32(op.encode()))
        cases |= {f"{op}/{number:02d}": case for number, case in enumerate(table(rng))}
    return cases


def run_worker(
    oracle: str, script: str, folder: Path, *arguments: str, fill: int = 0
) -> dict[str, np.ndarray]:
    """Runs a script of this folder under the oracle's Python and returns the arrays it writes.

    One thread, for sums in a steady order. glibc fills fresh memory with `fill`.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    if fill:
        environment["MALLOC_PERTURB_"] = str(fill)
    start(oracle, script, folder, environment, str(folder), *arguments)
    with np.load(folder / "answers.npz", allow_pickle=False) as answers:
        return dict(answers)


def start(oracle: str, script: str, folder: Path, environment: dict, *arguments: str) -> None:
    """Runs a script of this folder under the oracle's Python; its output is shown if it fails."""
    log = folder / "log.txt"
    with log.open("w") as stream:
        command = [oracle, str(HERE / script), *arguments]
        done = subprocess.run(command, env=environment, stdout=stream, stderr=stream)
    if done.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise SystemExit(f"{script} failed under {oracle}:\n{tail}")


def write_packed(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Keeps an uncompressed npz as the single member of a compressed one: with thousands of tiny
    arrays, member headers would outweigh the data several times."""
    inner = io.BytesIO()
    np.savez(inner, **arrays)
    np.savez_compressed(path, npz=np.frombuffer(inner.getvalue(), dtype=np.uint8))


def agreed(runs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What all runs answered alike.

    Where the real library reads memory that nobody wrote, runs with different fresh memory
    differ; such an answer is left out, and named in the case's "undefined" list.
    """
    first, dropped = dict(runs[0]), {}
    for key in {key for run in runs for key in run}:
        values = [(a.shape, a.tobytes()) for run in runs if (a := run.get(key)) is not None]
        if len(values) < len(runs) or len(set(values)) > 1:
            op, number, part = key.split("/", 2)
            dropped.setdefault(f"{op}/{number}/undefined", []).append(part)
            first.pop(key, None)
    for key, parts in sorted(dropped.items()):
        first[key] = np.frombuffer(json.dumps(sorted(parts)).encode(), dtype=np.uint8)
    return first


def generate(oracle: str, family: str, target: Path) -> list[list]:
    """Writes one family's file; returns (key, refusal expected, error, skipped) per case."""
    cases = collect(family)
    arrays = {}
    for number, case in enumerate(cases.values()):
        arrays |= {f"{number}/{name}": array for name, array in case.feed.items()}
    described = [{"key": key, **case.description()} for key, case in cases.items()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "arrays.npz", **arrays)
        (folder / "cases.json").write_text(json.dumps(described))
        runs = [run_worker(oracle, "worker.py", folder, fill=fill) for fill in FILLS]
        write_packed(target / f"{family}.npz", agreed(runs))
        return json.loads((folder / "report.json").read_text())


def generate_wire(oracle: str, target: Path) -> None:
    """Writes wire.npz: messages and blobs as the oracle serializes them."""
    with tempfile.TemporaryDirectory() as name:
        write_packed(target / "wire.npz", run_worker(oracle, "wire_worker.py", Path(name)))


def generate_predictors(oracle: str, target: Path) -> None:
    """Writes predictors.npz: the cases of tests/predictor/saved.py as the oracle saves them."""
    cases = target.parent / "predictor" / "saved.py"
    with tempfile.TemporaryDirectory() as name:
        found = run_worker(oracle, "predictors_worker.py", Path(name), str(cases))
        write_packed(target / "predictors.npz", found)


def generate_programs(oracle: str, target: Path) -> None:
    """Writes what the programs in tests/*/programs.py yield."""
    for folder, answers in (
        ("graph", "programs.json"),
        ("modeling", "models.json"),
        ("optim", "optimizers.json"),
    ):
        programs = target.parent / folder / "programs.py"
        arguments = (str(programs), str(target / answers))
        with tempfile.TemporaryDirectory() as name:
            start(oracle, "programs_worker.py", Path(name), dict(os.environ), *arguments)


def generate_scripts(oracle: str, target: Path) -> None:
    """Writes scripts.json: what each of tests/scripts prints, line by line."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    printed = {}
    for script in sorted((target.parent / "scripts").glob("*.py")):
        done = subprocess.run(
            [oracle, str(script)], env=environment, capture_output=True, text=True, check=True
        )
        printed[script.name] = done.stdout.splitlines()
    (target / "scripts.json").write_text(json.dumps(printed, indent=1) + "\n")
