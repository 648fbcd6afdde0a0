"""The reference of operators: whole, fresh, and with a reason for whatever is not there."""

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.registry import describe
from caffe2py.registry.absent import absent_operators, absent_reasons
from caffe2py.registry.operator import known_caffe2_operators, lookup, registered

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "gen_docs.py"
FILE = ROOT / "caffe2py" / "ops" / "OPERATORS.md"
MOST_BYTES = 900_000


@pytest.fixture(scope="module")
def text():
    return FILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("gen_docs", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gen_docs"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def _built_in():
    """The package's operators, without those that other tests of this process register."""
    found = registered().items()
    return {name for name, operator in found if describe.family(operator) != describe.EXTENSION}


def _check(seed):
    return subprocess.run(
        [sys.executable, TOOL, "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )


@pytest.mark.parametrize("seed", ["1", "2"])  # whatever the order of sets
def test_the_reference_is_fresh(seed):
    done = _check(seed)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_stale_reference_is_noticed(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "TARGET", tmp_path / "OPERATORS.md")
    assert tool.check("one\n") == 1
    tool.TARGET.write_text("one\ntwo\n")
    assert tool.check("one\nthree\n") == 1
    assert capsys.readouterr().out.splitlines() == [
        "OPERATORS.md: stale, +1 -0 lines",
        "run tools/gen_docs.py",
        "OPERATORS.md: stale, +1 -1 lines",
        "run tools/gen_docs.py",
    ]
    assert tool.check("one\ntwo\n") == 0


def test_every_operator_occurs_once(text):
    found = re.findall(r"^### (\w+)$|^- backward: `(\w+)\(", text, re.M)
    count = Counter(own or backward for own, backward in found)
    assert set(count) == _built_in()
    assert {name for name, times in count.items() if times > 1} == set()


def test_links_lead_somewhere(text):
    headings = [h.lower().replace(" ", "-") for h in re.findall(r"^##+ (.+)$", text, re.M)]
    assert max(Counter(headings).values()) == 1
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= set(headings)


def test_the_size_is_sane(text):
    assert len(text.encode()) < MOST_BYTES


def test_every_absent_operator_has_one_reason(text):
    absent = known_caffe2_operators() - set(registered())
    count = Counter(name for reason in absent_reasons() for name in reason.operators)
    assert set(count) == absent == set(absent_operators())
    assert max(count.values()) == 1
    assert all(reason.label and reason.why for reason in absent_reasons())
    coverage = text.partition("## Coverage")[2].partition("## Index")[0]
    assert set(re.findall(r"`(\w+)`", coverage)) == absent


def test_a_section_says_all(text):
    section = text.partition("\n### SpatialBN\n")[2].partition("\n### ")[0]
    schema = lookup("SpatialBN").schema
    for name, arg in schema.args.items():
        assert f"| `{name}` | {arg.type_name} |" in section
    for part in (
        f"`{describe.signature(schema)}`",
        schema.doc.splitlines()[0],
        schema.example,
        "- gradient: `SpatialBNGradient(X, scale, dY, saved_mean, saved_inv_std) -> dX, dscale",
        "- in place: X as Y, mean as running_mean (always)",
        "- ONNX: BatchNormalization",
        "- devices: cpu",
        "- backward: `SpatialBNGradient(",
    ):
        assert part in section


@pytest.mark.parametrize(
    ("plain", "safe"),
    [
        ("C = A * B, C = 2 ** 3", "C = A * B, C = 2 \\*\\* 3"),
        ("(N, *image) and `*image`", "(N, \\*image) and `*image`"),
        ("sum_i w_i, _x", "sum_i w_i, \\_x"),
        ("i < n, <name>", "i < n, \\<name>"),
        ("x = a\n- b\n1. c\n> d\n-log p", "x = a\n\\- b\n1\\. c\n\\> d\n-log p"),
        ("[a](b) ~ $1", "[a]\\(b) \\~ \\$1"),
        ("one ` and *no other", "one \\` and \\*no other"),
    ],
)
def test_prose_is_no_markup(tool, plain, safe):
    assert tool.prose(plain) == safe


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("Relu", "ReluGradient(Y, dY) -> dX"),
        ("SumInt", "none: it is meant for integers; Sum has a gradient"),
        ("Conv", "ConvGradient(X, filter, dY) -> dfilter, dbias, dX (where all inputs are used)"),
        ("Gather", "dDATA = slice(INDICES, dOUTPUT) (where all inputs are used)"),
        ("EnsureDense", "dinput = doutput (where all inputs are used)"),
        ("If", "depends on how the operator is used"),
    ],
)
def test_gradient_rules_in_words(name, rule):
    assert describe.gradient_text(lookup(name)) == rule


def test_paragraphs_have_even_lines():
    ragged = "    one\n  two\n\n\nthree " + "word " * 30
    first, second = describe.paragraphs(ragged, 40)
    assert first == "one two"
    assert max(map(len, second.splitlines())) <= 40


def test_engines_are_named():
    greedy = [o for o in registered().values() if ("cpu", "GREEDY") in o.kernels]
    assert {describe.devices(o) for o in greedy} == {
        "cpu (engines: GREEDY), cuda",
    }
