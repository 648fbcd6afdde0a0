"""Backward passes are the real Caffe2's, message for message, on random graphs and our own nets.

tests/golden/graphs.npz holds its answers; `python -m tools.golden` makes the file.
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from caffe2py import core
from caffe2py.errors import Error, NetError
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import read_net
from caffe2py.registry.operator import registered
from tests.graph.sparse import STAND_INS

ROOT = Path(__file__).parents[2]


def load():
    with np.load(ROOT / "tests" / "golden" / "graphs.npz") as packed:
        parts = dict(np.load(io.BytesIO(packed["npz"].tobytes())))
    cases = {}
    for key, value in parts.items():
        name, _, part = key.partition("/")
        cases.setdefault(name, {})[part] = value.tobytes()
    return cases


CASES = load()
GRAPHS = [name for name in CASES if name.isdigit()]

#: Reason -> the graphs that we differentiate in another way than the real Caffe2.
DIFFERENT = {
    # A part of Split without a gradient counts as zeros: Caffe2 leaves it out, and the gradient of
    # the input has another shape than the input.
    "Split": "014 028 065 106 159 161 217 251 263 384 385 440",
    # The gradient given for a blob that the net reads is added: Caffe2 drops it.
    "given": "108 133 148 156 220 267 393 396 419",
}
#: Reason -> the graphs that we differentiate and the real Caffe2 refuses.
WIDER = {
    # A gradient passes through a Sum in place and meets another of the same name.
    "passed": "007 048 298",
}
#: Reason -> the graphs that we refuse, as Caffe2's gradient would be wrong.
NARROWER = {
    # Mul and SpatialBN in place: their gradients read what was in X before.
    "in place": "064 124 241 445",
    # A blob is written twice and the first version has no gradient: Caffe2 lets that of the last
    # version pass through the Sum or Gather that made the first. (It refuses others like these.)
    "leak": "072 200",
    # The zeros for a part of Split need its shape, and the part is overwritten.
    "Split": "326",
}


def listed(reasons):
    return {name for names in reasons.values() for name in names.split()}


def stand_in(net):
    """Sparse operators that are not registered become the tests' own."""
    for op in net.op:
        if op.type in STAND_INS and op.type not in registered():
            op.type = STAND_INS[op.type]
    return net


def scopes(call):
    stack = contextlib.ExitStack()
    stack.enter_context(core.NameScope(call["scope"]))
    if call["device"] is not None:
        stack.enter_context(core.DeviceScope(core.DeviceOption(call["device"], 2)))
    return stack


def differentiate(net, call):
    """The operators that AddGradientOperators adds, and its answer as JSON pairs."""
    before = len(net.Proto().op)
    given = {core.BlobReference(loss): gradient for loss, gradient in call["ys"].items()}
    with scopes(call):
        found = net.AddGradientOperators(list(given) if call["list"] else given, call["skip"])
    pairs = [
        [str(blob), [str(part) for part in grad] if isinstance(grad, tuple) else str(grad)]
        for blob, grad in found.items()
    ]
    return list(net.Proto().op[before:]), pairs


def check(name, net):
    """Whether we make of the net what the real Caffe2 made; None where both refuse."""
    case = CASES[name]
    try:
        added, pairs = differentiate(net, json.loads(case["call"]))
    except Error:
        return "refused" if "added" in case else None
    if "error" in case:
        return "accepted"
    expected = stand_in(NetDef.FromString(case["added"]))
    same = added == list(expected.op) and pairs == json.loads(case["map"])
    return "same" if same else "different"


@pytest.mark.parametrize("name", GRAPHS)
def test_random_graph(name):
    net = core.Net(stand_in(NetDef.FromString(CASES[name]["net"])))
    kinds = {"different": DIFFERENT, "accepted": WIDER, "refused": NARROWER}
    expected = {key for key, reasons in kinds.items() if name in listed(reasons)}
    assert {check(name, net)} <= (expected or {"same", None})


def test_there_are_enough():
    answered = [name for name in GRAPHS if "added" in CASES[name]]
    text = [str(NetDef.FromString(CASES[name]["added"])) for name in answered]
    assert len(answered) > 350
    assert sum("autosplit" in each for each in text) > 200
    assert sum("indices_concat" in each for each in text) > 40
    exceptions = [listed(reasons) for reasons in (DIFFERENT, WIDER, NARROWER)]
    assert sum(map(len, exceptions)) == len(set().union(*exceptions)) < 35


@pytest.mark.parametrize("name", [name for name in CASES if not name.isdigit()])
def test_net(name):
    """Our own nets; Dropout in place destroys what AveragePool and Relu need, for Caffe2 too."""
    folder, _, number = name.partition(".")
    proto = read_net(ROOT / "nets" / folder / "predict_net.pbtxt")
    assert list(json.loads(CASES[name]["call"])["ys"]) == [proto.external_output[int(number)]]
    found = check(name, core.Net(proto))
    assert found in ("same", None)
    if folder in ("mlp", "lenet", "squeezenet", "resnet50"):
        assert found == "same"


def test_every_net_is_there():
    names = {path.parent.name for path in (ROOT / "nets").glob("*/predict_net.pbtxt")}
    assert {name.partition(".")[0] for name in CASES if not name.isdigit()} == names


@pytest.mark.parametrize("name", ["alexnet.0", "inception_v1.0"])
def test_dropout_in_place_is_refused_with_the_history(name):
    net = core.Net(read_net(ROOT / "nets" / name.partition(".")[0] / "predict_net.pbtxt"))
    with pytest.raises(NetError, match=r"which op #\d+ Dropout has overwritten; '\w+' has version"):
        net.AddGradientOperators(json.loads(CASES[name]["call"])["ys"])
