"""The programs build what the real Caffe2 builds, message for message.

tests/golden/models.json holds its answers; `python -m tools.golden` makes the file.
"""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from caffe2py import (
    brew,
    cnn,
    core,
    model_helper,
    optimizer,
    optimizer_context,
    regularizer,
    scope,
    utils,
    workspace,
)
from caffe2py.executor import session
from caffe2py.executor.workspace import Workspace
from caffe2py.graph import naming, plan
from caffe2py.modeling import helper, initializers, parameter_info, parameter_sharing
from caffe2py.optim import base
from caffe2py.proto import caffe2_pb2
from tests.modeling.programs import PROGRAMS, text

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "models.json").read_text("utf-8"))

#: Program -> what Caffe2 says, what is said here, and why.
DIFFERENT = {
    "rms_prop": [
        (
            "name='values' f=0.0",
            "name='value' f=0.0",
            "ConstantFill has no argument `values`, and Caffe2 ignores what it does not know",
        )
    ],
}


def refuses(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except (RuntimeError, LookupError, AttributeError, TypeError):
        return "refused"
    return "accepted"


@pytest.fixture
def c2(monkeypatch):
    """What programs are given, with no names taken yet."""
    monkeypatch.setattr(naming, "_used_net_names", set())
    monkeypatch.setattr(plan, "_unnamed", itertools.count())
    monkeypatch.setattr(session, "_workspaces", {"default": Workspace()})
    monkeypatch.setattr(session, "_current", "default")
    monkeypatch.setattr(helper, "_helpers", helper.helpers())
    base._optimizer_instance_count.clear()
    return SimpleNamespace(
        brew=brew,
        caffe2_pb2=caffe2_pb2,
        cnn=cnn,
        core=core,
        initializers=initializers,
        model_helper=model_helper,
        np=np,
        optimizer=optimizer,
        optimizer_context=optimizer_context,
        parameter_info=parameter_info,
        parameter_sharing=parameter_sharing,
        refuses=refuses,
        regularizer=regularizer,
        scope=scope,
        utils=utils,
        workspace=workspace,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_program(program, c2):
    expected = GOLDEN[program.__name__]
    for real, ours, _ in DIFFERENT.get(program.__name__, ()):
        assert any(real in answer for answer in expected)
        expected = [answer.replace(real, ours) for answer in expected]
    assert [text(value) for value in program(c2)] == expected


def test_every_program_has_an_answer():
    assert [program.__name__ for program in PROGRAMS] == list(GOLDEN)
