"""Declarations: complete, consistent with each other, and with the facts about Caffe2's own.

`declared.json` holds those facts: arity, in-place pairs, arguments, gradient status.
"""

import json
from pathlib import Path

import pytest

from caffe2py.registry.gradient import NoGradient, NotDifferentiable, TextRule
from caffe2py.registry.operator import registered
from tests.ops.table import CASES

OPERATORS = {name: op for name, op in registered().items() if not name.startswith("Test")}
FACTS = json.loads(Path(__file__).with_name("declared.json").read_text())

#: (operator, fact) -> why we differ from Caffe2 on purpose.
DIFFERENT: dict[tuple[str, str], str] = {
    ("IsMemberOf", "value"): "there is no default: nothing is found",
    ("DiagonalFill", "value"): "a number, where Caffe2 has its text",
    ("MaxPoolWithIndexGradient", "inputs"): "Caffe2 does not say, and takes X, dY and Index",
    ("MaxPoolWithIndexGradient", "outputs"): "Caffe2 does not say, and makes dX",
    ("Reciprocal", "onnx"): "ONNX has the same operator; Caffe2 did not say so",
    **{
        (op, arg): "float32's own limits"
        for op in ("Clip", "ClipGradient", "EnsureClipped")
        for arg in ("min", "max")
    },
}

#: Arguments that gradients of elementwise operators inherit in Caffe2: their inputs have one shape.
IDLE = {"broadcast", "axis", "axis_str", "order"}


def test_every_operator_has_a_row_and_every_row_an_operator():
    assert set(CASES) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_it_is_documented(name):
    schema = OPERATORS[name].schema
    assert schema.doc, "no formula"
    if not name.endswith(("Gradient", "Grad")) or name in ("StopGradient", "ZeroGradient"):
        assert schema.example, "no example"
    for arg, declared in schema.args.items():
        assert declared.doc, f"argument '{arg}' has no meaning"


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_its_gradient_exists(name):
    rule = OPERATORS[name].gradient
    if isinstance(rule, NoGradient | NotDifferentiable):
        assert rule.reason
    elif isinstance(rule, TextRule):
        for step in rule.steps:
            backward = OPERATORS[step.type].schema
            slots = len(backward.inputs)
            variadic = bool(slots and backward.inputs[-1].variadic)
            assert len(step.inputs) <= slots or variadic, f"{step.type} takes {slots} inputs"
            assert set(step.args) <= set(backward.args), f"{step.type} lacks an argument"


@pytest.mark.parametrize("name", sorted(set(OPERATORS) & set(FACTS)))
def test_it_agrees_with_caffe2(name):
    schema = OPERATORS[name].schema
    facts = FACTS[name]
    found = {
        "inputs": _arity(schema.inputs),
        "outputs": _arity(schema.outputs),
        "enforced": sorted([i, o] for i, o in schema.enforced.items()),
        "required": sorted(a for a, declared in schema.args.items() if declared.required),
        "onnx": schema.onnx,
    }
    expected = {key: facts[key] for key in found}
    expected["required"] = sorted(expected["required"])
    for key, value in found.items():
        assert value == expected[key] or (name, key) in DIFFERENT, f"{key}: {value}"
    for i, o in facts["inplace"]:
        assert schema.allows_inplace(i, o), f"Caffe2 lets input {i} be output {o}"
    missing = set(facts["args"]) - set(schema.args)
    if schema.identical and name.endswith("Gradient"):
        missing -= IDLE
    assert not missing or (name, "args") in DIFFERENT, f"arguments not declared: {missing}"
    for arg, default in facts["args"].items():
        if arg in schema.args and default is not None:
            ours = schema.args[arg].default
            assert ours == default or (name, arg) in DIFFERENT, f"{arg} = {ours}, Caffe2 {default}"


@pytest.mark.parametrize("name", sorted(set(OPERATORS) & set(FACTS)))
def test_its_gradient_status_agrees_with_caffe2(name):
    rule = OPERATORS[name].gradient
    status = FACTS[name]["gradient"]
    if (name, "gradient") in DIFFERENT:
        return
    assert isinstance(rule, NoGradient) == (status == "NoGradient"), status
    raises = status != "NoGradient" and not status.startswith("has_gradient")
    assert isinstance(rule, NotDifferentiable) == raises, status


def _arity(slots):
    least = sum(not s.optional for s in slots)
    return [least, None if slots and slots[-1].variadic else len(slots)]
