"""Training goes as on the real Caffe2: the same losses from the same weights and batches.

tests/golden/training.json holds its losses; `python tools/training_parity.py golden` makes it.
"""

import json
from pathlib import Path

import pytest

from tools.training_parity import CASES, TOLERANCE, largest_difference, losses

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text("utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_losses(name):
    expected = GOLDEN[name]
    found, _ = losses(name, len(expected), "small")
    error, step = largest_difference(found, expected)
    assert error <= TOLERANCE, f"step {step}: {found[step]}, Caffe2 {expected[step]}"
