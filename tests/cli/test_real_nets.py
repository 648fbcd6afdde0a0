"""Models that people saved with the real Caffe2, through the command line.

CAFFE2PY_REAL_NETS names a folder of models. A model is a folder with its two nets, inputs as
`input_<blob>.npy` and what the real Caffe2 answered as `output_<blob>.npy`; where the input was a
photo, `photo.jpg` is beside it.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from caffe2py.predictor.inputs import ImageOptions, picture

FOLDER = Path(os.environ.get("CAFFE2PY_REAL_NETS", "/nowhere"))
MODELS = sorted(p.parent for p in FOLDER.glob("*/output_*.npy"))

pytestmark = pytest.mark.skipif(not MODELS, reason="CAFFE2PY_REAL_NETS names no folder of models")


@pytest.mark.parametrize("folder", MODELS, ids=lambda p: p.name)
def test_the_answer_is_caffe2s(cli, folder):
    inputs = [f"{p.stem.removeprefix('input_')}={p}" for p in folder.glob("input_*.npy")]
    (expected,) = folder.glob("output_*.npy")
    name = expected.stem.removeprefix("output_")
    args = [arg for text in inputs for arg in ("--input", text)]
    result = cli("run", folder, *args, "--output", name, "--expect", expected)
    assert result.exit_code == 0, result.stdout + result.stderr


@pytest.mark.parametrize("folder", MODELS, ids=lambda p: p.name)
def test_check_finds_nothing(cli, folder):
    result = cli("check", folder)
    assert result.exit_code == 0, result.stdout


def test_a_photo_becomes_what_it_was():
    photo = FOLDER / "traffic_light" / "photo.jpg"
    found = picture(photo, ImageOptions.parse(size="227", mean="128"))
    assert np.array_equal(found, np.load(photo.with_name("input_data.npy")))
