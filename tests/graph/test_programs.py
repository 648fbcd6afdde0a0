"""The programs build what the real Caffe2 builds, message for message.

tests/golden/programs.json holds its answers; `python -m tools.golden` makes the file.
"""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from caffe2py import core, utils, workspace
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.graph import naming, plan, scope
from caffe2py.proto import caffe2_pb2
from tests.graph.programs import PROGRAMS, text

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "programs.json").read_text("utf-8"))


def refuses(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except (RuntimeError, LookupError, AttributeError):
        return "refused"
    return "accepted"


@pytest.fixture
def c2(monkeypatch):
    """What programs are given, with no names taken yet."""
    monkeypatch.setattr(naming, "_used_net_names", set())
    monkeypatch.setattr(plan, "_unnamed", itertools.count())
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")
    return SimpleNamespace(
        core=core,
        workspace=workspace,
        scope=scope,
        utils=utils,
        caffe2_pb2=caffe2_pb2,
        np=np,
        refuses=refuses,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_program(program, c2):
    found = [text(value) for value in program(c2)]
    assert found == GOLDEN[program.__name__]


def test_every_program_has_an_answer():
    assert [program.__name__ for program in PROGRAMS] == list(GOLDEN)
