"""Command: regenerate tests/golden from the real Caffe2."""

import argparse
from collections import Counter
from pathlib import Path

from tools.golden.backward import generate_graphs
from tools.golden.families import FAMILIES
from tools.golden.oracle import (
    generate,
    generate_predictors,
    generate_programs,
    generate_scripts,
    generate_wire,
)

TARGET = Path(__file__).parents[2] / "tests" / "golden"
OTHERS = {
    "wire": generate_wire,
    "predictors": generate_predictors,
    "programs": generate_programs,
    "scripts": generate_scripts,
    "graphs": generate_graphs,
}


def summarize(report: list[list], verbose: bool) -> None:
    """Counts per operator, and where the oracle did not do what the table's author expected."""
    counts = {}
    for key, refused, error, skipped in report:
        count = counts.setdefault(key.split("/")[0], Counter())
        kind = "skipped" if skipped else "error" if error else "ok"
        count["crash" if (error or "").startswith("crash") else kind] += 1
        if skipped or (verbose and refused != bool(error)):
            print(f"  {key}: {'refused' if error else 'accepted'}: {skipped or error}")
    for op, count in counts.items():
        print(f"  {op}: " + ", ".join(f"{number} {kind}" for kind, number in count.items()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.golden", description=__doc__)
    parser.add_argument(
        "--oracle",
        metavar="PYTHON",
        required=True,
        help="interpreter that can import caffe2.python: an environment with torch==1.8.1 "
        "(the last wheel that contains Caffe2), Python 3.8",
    )
    parser.add_argument("--family", choices=[*FAMILIES, *OTHERS], action="append")
    parser.add_argument("--verbose", action="store_true", help="list unexpected answers")
    options = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    for family in options.family or [*FAMILIES, *OTHERS]:
        print(family)
        if family in OTHERS:
            OTHERS[family](options.oracle, TARGET)
        else:
            summarize(generate(options.oracle, family, TARGET), options.verbose)


if __name__ == "__main__":
    main()
