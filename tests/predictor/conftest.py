"""Saved predictors: what the real Caffe2 wrote, and modules as a script finds them."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from caffe2py import core, utils, workspace
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.graph import naming
from caffe2py.predictor import mobile_exporter, predictor_exporter

GOLDEN = Path(__file__).parents[1] / "golden" / "predictors.npz"


@pytest.fixture(scope="session")
def golden():
    """Case -> part -> what Caffe2 answered: arrays, and bytes where they are files and nets."""
    with np.load(GOLDEN) as outer, np.load(io.BytesIO(outer["npz"].tobytes())) as packed:
        found = {}
        for key in packed:
            case, _, part = key.partition("/")
            value = packed[key]
            if part.endswith("_str"):
                texts = [text.encode() for text in json.loads(value.tobytes())]
                part, value = part.removesuffix("_str"), np.array(texts, object)
            elif part == "file" or part.startswith("mobile/"):
                value = value.tobytes()
            found.setdefault(case, {})[part] = value
    return found


@pytest.fixture
def c2(monkeypatch):
    """The modules that tests/predictor/saved.py asks for, an empty workspace, no names taken."""
    monkeypatch.setattr(naming, "_used_net_names", set())
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")
    return SimpleNamespace(
        core=core,
        utils=utils,
        workspace=workspace,
        exporter=predictor_exporter,
        mobile=mobile_exporter,
    )
