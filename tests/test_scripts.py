"""Whole scripts in the old style, written against `caffe2.python` alone, run unchanged.

`tests/golden/scripts.json` holds what each prints on the real Caffe2.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PRINTED = json.loads((HERE / "golden" / "scripts.json").read_text())
SCRIPTS = sorted((HERE / "scripts").glob("*.py"))


def test_every_script_has_an_answer():
    assert {script.name for script in SCRIPTS} == set(PRINTED)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_it_prints_what_it_printed_on_caffe2(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "caffe2py", "exec", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTED[script.name]
