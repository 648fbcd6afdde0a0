"""`caffe2py grad`."""

import json

import pytest

from caffe2py.proto.files import read_net
from tests.toy import net, op

LEARN = net(
    op("FC", "x w b", "y"),
    op("Relu", "y", "y"),
    op("AveragedLoss", "y", "loss"),
    name="learn",
    reads="x w b",
)


def test_backward_operators_are_appended(cli, save, tmp_path):
    path, out = save("x.pbtxt", LEARN), tmp_path / "train.pbtxt"
    result = cli("grad", path, "--loss", "loss", "-o", out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "3 operators and 4 backward ones",
        "  x: x_grad",
        "  w: w_grad",
        "  b: b_grad",
    ]
    made = read_net(out)
    assert [o.type for o in made.op] == [
        "FC", "Relu", "AveragedLoss",
        "ConstantFill", "AveragedLossGradient", "ReluGradient", "FCGradient",
    ]  # fmt: skip
    assert made.name == "learn"
    assert read_net(path) == LEARN


def test_text_and_json(cli, save, tmp_path):
    path = save("x.pb", LEARN)
    text = cli("grad", path, "--loss", "loss").stdout
    (tmp_path / "again.pbtxt").write_text(text)
    assert len(read_net(tmp_path / "again.pbtxt").op) == 7
    found = json.loads(cli("grad", path, "--loss", "loss", "--json").stdout)
    assert found == {
        "forward": 3,
        "operators": 7,
        "gradients": {"x": "x_grad", "w": "w_grad", "b": "b_grad"},
    }


def test_several_losses_and_skipped_operators(cli, save, tmp_path):
    two = net(op("Relu", "x", "y"), op("Sqr", "y", "a"), op("Relu", "y", "b"), name="two")
    path, out = save("x.pb", two), tmp_path / "t.pb"
    assert cli("grad", path, "--loss", "a", "--loss", "b", "-o", out).exit_code == 0
    assert [o.type for o in read_net(out).op].count("ConstantFill") == 2
    assert cli("grad", path, "--loss", "a", "--skip", 1, "-o", out).exit_code == 0
    assert "x_grad" not in {name for o in read_net(out).op for name in o.output}


def test_sparse_gradients_are_shown_as_such(cli, save, tmp_path):
    rows = net(op("Gather", "table rows", "y"), op("AveragedLoss", "y", "loss"), name="rows")
    result = cli("grad", save("x.pb", rows), "--loss", "loss", "-o", tmp_path / "t.pb")
    assert "  table: y_grad at the rows rows" in result.stdout


CASES = {
    "a misspelt loss": (LEARN, "lss", 3, "there is no blob 'lss'", "did you mean 'loss'?"),
    "a loss from outside": (LEARN, "w", 3, "the loss 'w' comes from outside: no operator makes it"),
    "an integer loss": (
        net(op("ArgMax", "x", "best"), name="n"), "best", 1,
        "the loss 'best' is int64, and only floats have gradients",
    ),
    "an operator without gradient": (
        net(op("FC", "x w b", "y"), op("Floor", "y", "z"), op("AveragedLoss", "z", "loss"),
            name="n"), "loss", 4,
        "net 'n', loss 'loss' <- op #2 AveragedLoss <- op #1 Floor: Floor has no gradient",
    ),
    "in place over what a gradient reads": (
        net(op("Sqr", "x", "y"), op("Sin", "x", "x"), op("AveragedLoss", "y", "loss"), name="n"),
        "loss", 3,
        "net 'n', loss 'loss' <- op #2 AveragedLoss <- op #0 Sqr: its gradient ",
        "reads 'x' in version 0, which op #1 Sin has overwritten",
        "(try: another name for what op #1 Sin writes)",
    ),
    "an operator that is none": (
        net(op("Rellu", "x", "loss"), name="n"), "loss", 4, "'Rellu' is not a Caffe2 operator",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_nets_that_have_no_gradient(failing, save, tmp_path, name):
    made, loss, code, *parts = CASES[name]
    path, out = save("x.pb", made), tmp_path / "out.pb"
    line = failing(code, "grad", path, "--loss", loss, "-o", out)
    assert line.startswith(f"{path}: net '{made.name}'")
    for part in parts:
        assert part in line
    assert not out.exists()


def test_usage(failing, save):
    path = save("x.pb", LEARN)
    assert "Missing option '--loss'" in failing(2, "grad", path)
    assert "ends in none of" in failing(2, "grad", path, "--loss", "loss", "-o", "x.onnx")
    assert "--skip 4: the net has 3 operators" in failing(
        2, "grad", path, "--loss", "loss", "--skip", 4
    )
    assert "cannot be written" in failing(
        5, "grad", path, "--loss", "loss", "-o", path.parent / "no" / "x.pb"
    )
