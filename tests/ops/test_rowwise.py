"""Rows of small integers: the engine GREEDY, against what Caffe2 makes of the same rows."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

ROWS = [
    [-0.5, -1.8125, 1.5, 9.0, -0.6875, -0.8125, 0.5625, -1.375, -0.6875, 0.375, -0.75, 0.75],
    [0.4375, -1.125, -0.375, -0.625, -1.875, 1.9375, 1.75, -1.9375, 1.1875, -0.1875, -0.5, 1.875],
]
ANSWERS = {
    2: [[208, 16, 68, 23, 66, 78, 189], [82, 60, 214, 140, 60, 91, 190]],
    4: [[2, 245, 18, 19, 50, 66, 167, 57, 64, 191], [57, 86, 240, 14, 124, 245, 23, 52, 152, 191]],
}


def _quantized(rows, bits, engine):
    workspace = Workspace()
    workspace.feed("x", np.array(rows, "float32"))
    kind = f"FloatToFused{bits}BitRowwiseQuantized"
    op = OperatorDef(type=kind, input=["x"], output=["y"], engine=engine)
    workspace.run_net_once(NetDef(name="rows", op=[op]))
    return workspace.fetch_array("y")


@pytest.mark.parametrize("bits", [2, 4])
def test_greedy_draws_the_ends_in(bits):
    assert _quantized(ROWS, bits, "GREEDY").tolist() == ANSWERS[bits]
    assert _quantized(ROWS, bits, "").tolist() != ANSWERS[bits]


@pytest.mark.parametrize("rows", [[[1.0, np.nextafter(np.float32(1), 2)] * 2], [[1e-45, 0] * 2]])
def test_greedy_ends_where_steps_are_too_small_to_move(rows):
    assert _quantized(rows, 4, "GREEDY").shape == (1, 6)
