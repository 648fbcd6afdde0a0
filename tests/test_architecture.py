"""The contracts of pyproject.toml, the size of files, and what references may know."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: A file that one can read at one sitting.
MOST_LINES = 600
FILES = [
    path
    for folder in ("caffe2py", "tests", "tools", "nets")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.name.endswith("_pb2.py")
]


def test_import_contracts():
    command = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_fits_a_sitting(path):
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: which seam would split it?"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/ops/rows").glob("*.py")), ids=lambda p: p.stem
)
def test_references_know_numpy_and_the_test_kit_only(path):
    allowed = {"numpy", "math", "itertools", "functools", "caffe2py.errors", "caffe2py.testing"}
    allowed |= {"caffe2py.proto", "collections.abc"}
    allowed |= {"tests.toy", "tempfile", "pathlib"}  # operators that make inputs; files
    allowed |= {"io", "struct", "PIL"}  # images and databases as files
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            ok = name in allowed or name.startswith(
                ("tests.ops.rows", "caffe2py.proto.", "caffe2py.testing.")
            )
            assert ok, f"line {node.lineno} imports {name}"
