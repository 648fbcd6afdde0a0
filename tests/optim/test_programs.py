"""The programs build the updates that the real Caffe2 builds, message for message.

tests/golden/optimizers.json holds its answers; `python -m tools.golden` makes the file.
"""

import json
from pathlib import Path

import pytest

from tests.modeling.test_programs import c2  # noqa: F401  (a fixture)
from tests.optim.programs import PROGRAMS, text

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "optimizers.json").read_text("utf-8"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_program(program, c2):  # noqa: F811
    assert [text(value) for value in program(c2)] == GOLDEN[program.__name__]


def test_every_program_has_an_answer():
    assert [program.__name__ for program in PROGRAMS] == list(GOLDEN)
