"""The importer against ONNX's own node tests: all that the rule expects pass."""

import pytest

from tests.interop.onnx_cases import OPSET, causes, check, expected

#: The share of the cases up to this opset that are expected, and pass.
BAR = 0.85


def test_the_rule_leaves_few_out():
    found = causes()
    older = sum(found.values()) - found[f"newer than opset {OPSET}"]
    assert older > 850
    assert found["expected"] >= BAR * older, found


@pytest.mark.parametrize("name", expected())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinities are part of the cases
def test_node(name):
    check(name)
