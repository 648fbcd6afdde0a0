#!/usr/bin/env python3
"""Compile the kernels that CUDA devices run, for all kinds of devices, without one.

    tools/cuda_proof.py                 compile, print what spills, write tests/cuda/KERNELS.tsv
    tools/cuda_proof.py --check         compile, fail where the table and what comes out differ
    tools/cuda_proof.py --all           every combination of types, and no table
    tools/cuda_proof.py --op Relu ...   these operators only, and print all of their kernels

The tiny samples of the operator table run in Numba's simulator, and what they ask for is noted;
then each kernel is compiled (of several combinations of types the first) for every target, and the
assembler says how many registers it takes, and how many bytes of them it had to put into memory.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "cuda" / "KERNELS.tsv"
TARGETS = ((7, 5), (8, 0), (9, 0), (10, 0))
HEAD = "kernel\tform\tparameters\tregisters\tspilled\tstack"

os.environ["CAFFE2PY_CUDA"] = "simulator"
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numba import cuda  # noqa: E402
from numba.cuda.simulator import api as simulator  # noqa: E402

import caffe2py.core  # noqa: E402, F401  (the operators)
from caffe2py.kernels.cuda import functions, simulated  # noqa: E402
from caffe2py.kernels.cuda.code import Code  # noqa: E402
from caffe2py.registry.operator import registered  # noqa: E402
from caffe2py.tensor.device import Device  # noqa: E402
from caffe2py.testing.checks import make_op  # noqa: E402
from caffe2py.testing.parity import run_on  # noqa: E402
from tests.ops.table import CASES, samples  # noqa: E402

#: Elements of all inputs together of a sample that is run; samples of a row.
TINY, MOST = 900, 12

_jobs: list[tuple[Code, tuple[int, int]]] = []


@contextlib.contextmanager
def simulating() -> Iterable[None]:
    """Run kernels in the simulator, in a process whose compiler is the real one."""
    real, asked = cuda.jit, simulated.numba_cuda
    cuda.jit, simulated.numba_cuda = simulator.jit, lambda: cuda
    try:
        yield
    finally:
        cuda.jit, simulated.numba_cuda = real, asked


def codes_of(names: Iterable[str]) -> list[Code]:
    """The code that the samples of operators need."""
    seen: dict[Code, None] = {}
    with simulating():
        for name in names:
            kernel = registered()[name].kernels.get(("cuda", ""))
            if kernel is None or kernel.by_host:
                continue
            for sample in [s for s in samples(CASES[name]) if small(s)][:MOST]:
                with contextlib.suppress(Exception):  # whether it is right is the tests' affair
                    run_on(make_op(name, sample), sample.inputs, Device("cuda"))
                seen.update(dict.fromkeys(functions.codes()))
    return list(seen)


def small(sample) -> bool:
    arrays = [x for x in sample.inputs if isinstance(x, np.ndarray)]
    return sum(x.size for x in arrays) <= TINY and not any(x.dtype.hasobject for x in arrays)


def name_of(code: Code) -> str:
    module = (code.function.__module__ or "").rpartition("kernels.")[2]
    return f"{module}.{code.function.__name__}"


def form_of(code: Code) -> str:
    return "blocks" if code.cooperative else "parts" if code.moving else "one thread"


def chosen(codes: list[Code]) -> list[Code]:
    """One for each kernel and form; loops that have parts need no proof as one thread's."""
    found: dict[tuple[str, str], Code] = {}
    for code in codes:
        found.setdefault((name_of(code), form_of(code)), code)
    parted = {name for name, form in found if form == "parts"}
    return [
        code for (name, form), code in found.items() if form != "one thread" or name not in parted
    ]


def report(number: int) -> tuple[int, int, int] | str:
    """Registers, bytes spilled and bytes of stack of a job; or what fails."""
    try:
        text = functions.compile_code(*_jobs[number]).report
    except Exception as error:
        code, target = _jobs[number]
        return (
            f"{name_of(code)} for sm_{target[0]}{target[1]}: {type(error).__name__}: {error!s:.300}"
        )
    registers = re.search(r"Used (\d+) registers", text)
    stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", text)
    if registers is None or stack is None:
        raise SystemExit(f"the assembler's report has another form: {text}")
    return int(registers[1]), int(stack[2]), int(stack[1])


def rows_of(codes: list[Code]) -> list[str]:
    """A line for each kernel: the figures of all targets."""
    _jobs[:] = [(code, target) for code in codes for target in TARGETS]
    with multiprocessing.get_context("fork").Pool() as pool:
        figures = pool.map(report, range(len(_jobs)), chunksize=len(TARGETS))
    failed = [each for each in figures if isinstance(each, str)]
    if failed:
        raise SystemExit("\n".join(failed))
    rows = []
    for k, code in enumerate(codes):
        columns = zip(*figures[k * len(TARGETS) : (k + 1) * len(TARGETS)], strict=True)
        params = " ".join(map(str, code.params))
        numbers = (",".join(map(str, column)) for column in columns)
        rows.append("\t".join([name_of(code), form_of(code), params, *numbers]))
    return sorted(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--op", nargs="*")
    options = parser.parse_args()
    codes = codes_of(options.op or sorted(CASES))
    rows = rows_of(codes if options.op or options.all else chosen(codes))
    spilling = [row for row in rows if row.split("\t")[4] != ",".join(["0"] * len(TARGETS))]
    alone = sum(row.split("\t")[1] == "one thread" for row in rows)
    print(f"{len(rows)} kernels of {len(codes)}, {len(TARGETS)} targets: {len(spilling)} spill, "
          f"{alone} are one thread's")  # fmt: skip
    for row in rows if options.op else spilling:
        print(row)
    if options.op or options.all:
        return 0
    text = "\n".join([HEAD, *rows]) + "\n"
    if options.check:
        return compared(text)
    TABLE.write_text(text, "utf-8")
    return 0


def compared(text: str) -> int:
    """1, and what differs, where the table is another one.

    Registers depend on the compiler's version; what counts is which kernels there are, and spills.
    """

    def facts(table: str) -> set[tuple[str, ...]]:
        lines = (line.split("\t") for line in table.splitlines()[1:])
        return {(name, form, spilled) for name, form, _, _, spilled, _ in lines}

    have, wanted = facts(TABLE.read_text("utf-8")), facts(text)
    for fact in sorted(have ^ wanted):
        print("only in the table:" if fact in have else "not in the table:", *fact)
    return int(have != wanted)


if __name__ == "__main__":
    sys.exit(main())
