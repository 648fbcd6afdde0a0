"""Compile every kernel that a CUDA device is ever asked for, for all kinds of devices, without one.

    tools/cuda_proof.py                 compile, print what spills, write tests/cuda/KERNELS.tsv
    tools/cuda_proof.py --check         compile, fail where the table and what comes out differ
    tools/cuda_proof.py --op Relu ...   these operators only, and print their kernels

Each row of the operator table is run on a device that compiles kernels and does not run them.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tests" / "cuda" / "KERNELS.tsv"
TARGETS = ((7, 5), (8, 0), (9, 0), (10, 0))
HEAD = "kernel\tparameters\tform\tregisters\tspilled\tstack"

os.environ["CAFFE2PY_CUDA"] = "compile"
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from caffe2py.errors import Error  # noqa: E402
from caffe2py.kernels.cuda import functions  # noqa: E402
from caffe2py.kernels.cuda.code import Code  # noqa: E402
from caffe2py.registry.operator import registered  # noqa: E402
from caffe2py.tensor.device import Device  # noqa: E402
from caffe2py.testing.checks import make_op  # noqa: E402
from caffe2py.testing.parity import run_on  # noqa: E402
from tests.ops.table import CASES, samples  # noqa: E402


def codes_of(names: list[str]) -> tuple[dict[Code, str], dict[str, str]]:
    """The code that operators need, with an operator that does; and operators that ask for none."""
    seen: dict[Code, str] = {}
    without: dict[str, str] = {}
    for name in names:
        kernel = registered()[name].kernels.get(("cuda", ""))
        if kernel is None or kernel.by_host:
            continue
        before, failure = len(seen), ""
        for sample in samples(CASES[name]):
            if any(getattr(x, "dtype", np.dtype(bool)).hasobject for x in sample.inputs):
                continue  # strings are the host's, and go by indices that nobody computes here
            try:
                run_on(make_op(name, sample), sample.inputs, Device("cuda"))
            except Error as error:
                failure = str(error)
            for code in functions.codes():
                seen.setdefault(code, name)
        if len(seen) == before and failure:
            without[name] = failure
    return seen, without


def compiled(job: tuple[Code, tuple[int, int]]) -> str:
    return functions.compile_code(*job).report


def figures(report: str) -> tuple[int, int, int]:
    """Registers, bytes spilled and bytes of stack, as the assembler says."""
    registers = re.search(r"Used (\d+) registers", report)
    stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", report)
    if registers is None or stack is None:
        raise SystemExit(f"the assembler's report has another form: {report}")
    return int(registers[1]), int(stack[2]), int(stack[1])


def rows_of(seen: dict[Code, str]) -> list[str]:
    """A line for each kernel and its parameters: the figures of all targets."""
    rows = []
    jobs = [(code, target) for code in seen for target in TARGETS]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reports = list(pool.map(compiled, jobs))
    by_code = collections.defaultdict(list)
    for (code, _), report in zip(jobs, reports, strict=True):
        by_code[code].append(figures(report))
    for code, all_figures in by_code.items():
        form = "blocks" if code.cooperative else "parts" if code.moving else "one thread"
        columns = (",".join(map(str, column)) for column in zip(*all_figures, strict=True))
        params = " ".join(map(str, code.params))
        rows.append("\t".join([code.function.__name__, params, form, *columns]))
    return sorted(set(rows))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--op", nargs="*")
    options = parser.parse_args()
    names = options.op or sorted(CASES)
    seen, without = codes_of(names)
    for name, failure in without.items():
        print(f"{name}: no kernel was asked for: {failure}")
    rows = rows_of(seen)
    spilling = [row for row in rows if set(row.split("\t")[4].split(",")) != {"0"}]
    print(f"{len(rows)} kernels for {len(TARGETS)} targets, {len(spilling)} spill")
    for row in rows if options.op else spilling:
        print(row)
    if options.op:
        return 0
    text = "\n".join([HEAD, *rows]) + "\n"
    if options.check:
        return int(text != TABLE.read_text("utf-8") or bool(without))
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
