"""The commands that run nothing: check, print, summary, infer-shapes, convert, ops, doctor."""

import json
import re

import pytest

import caffe2py.core  # noqa: F401
from caffe2py.proto.caffe2_pb2 import PlanDef
from caffe2py.proto.files import read_net
from caffe2py.registry.operator import known_caffe2_operators, registered
from tests.toy import INIT, PREDICT, net, op


def test_check_finds_nothing(cli, save):
    path = save("x.pb", net(op("Relu", "x", "y")))
    result = cli("check", path)
    assert (result.exit_code, result.stdout) == (0, "1 operators, 0 problem(s)\n")
    assert json.loads(cli("check", path, "--json").stdout) == []


def test_check_finds_all_and_exits_as_the_first(cli, save):
    path = save("x.pb", net(op("Rellu", "x", "y"), op("Add", "y", "z"), op("Nope", "z", "u")))
    result = cli("check", path)
    assert result.exit_code == 4
    kinds = [line.partition(":")[0] for line in result.stdout.splitlines()]
    assert kinds[:3] == ["UnknownOperatorError", "ArityError", "UnknownOperatorError"]
    assert result.stdout.endswith("3 operators, 3 problem(s)\n")
    found = json.loads(cli("check", path, "--json").stdout)
    assert [f["exit_code"] for f in found] == [4, 3, 4]


def test_check_with_inputs(cli, save):
    path = save("x.pb", net(op("Add", "x y", "z"), op("Add", "y x", "u")))
    assert cli("check", path, "--input", "x=2", "--input", "y=2").exit_code == 0
    result = cli("check", path, "--input", "x=2", "--input", "y=3")
    assert result.exit_code == 1
    assert "ShapeError: net 'toy', op #0 Add" in result.stdout


def test_check_of_a_missing_partner(cli, save):
    result = cli("check", save("predict_net.pb", PREDICT))
    assert result.exit_code == 3
    assert "init net is missing" in result.stdout


def test_print(cli, save, tmp_path):
    save("init_net.pb", INIT)
    path = save("predict_net.pb", PREDICT)
    text = cli("print", path).stdout
    assert text == (
        "net 'toy': 2 operators\n  reads x, w\n  gives z\n  #0 y = Relu(x)\n  #1 z = Add(y, w)\n"
    )
    both = cli("print", tmp_path).stdout
    assert both.startswith("net 'toy_init': 1 operator")
    assert both.endswith(text)
    assert 'type: "Add"' in cli("print", path, "--text").stdout
    assert 'type: "Add"' in cli("print", path, "--op", "1").stdout
    assert 'type: "Relu"' not in cli("print", path, "--op", "1").stdout
    found = json.loads(cli("print", path, "--json").stdout)
    assert [o["text"] for o in found[0]["op"]] == ["y = Relu(x)", "z = Add(y, w)"]


def test_print_text_can_be_read_again(cli, save, tmp_path):
    path = save("predict_net.pb", PREDICT)
    (tmp_path / "again.pbtxt").write_text(cli("print", path, "--text").stdout)
    assert read_net(tmp_path / "again.pbtxt") == PREDICT


def test_print_refuses(failing, save):
    path = save("predict_net.pb", PREDICT)
    assert "there is no op #2: the net has 2" in failing(2, "print", path, "--op", "2")
    plan = PlanDef(name="p", network=[PREDICT])
    plan.execution_step.add(name="s", num_iter=3, should_stop_blob="stop").network.append("toy")
    path = save("plan.pb", plan)
    assert "this is a plan" in failing(2, "print", path, "--op", "0")


def test_print_plan(cli, save):
    plan = PlanDef(name="p", network=[PREDICT])
    outer = plan.execution_step.add(name="outer")
    outer.substep.add(name="s", num_iter=3, should_stop_blob="stop").network.append("toy")
    text = cli("print", save("plan.pb", plan)).stdout
    assert text.startswith(
        "plan 'p': 1 net(s)\n  step 'outer'\n    step 's' runs toy, 3 times, until stop\nnet 'toy'"
    )


def test_summary(cli, save):
    path = save("x.pb", net(op("Relu", "x", "y"), op("Relu", "y", "z")))
    lines = cli("summary", path, "--input", "1x3x100").stdout.splitlines()
    assert lines[0].split() == ["#", "type", "output", "parameters", "multiply-adds", "memory"]
    assert lines[1].split() == ["0", "Relu", "y", "float32(1,3,100)", "1.2", "KiB"]
    assert lines[-1] == "  activations    2.3 KiB in all, 2.3 KiB at most at one time"
    found = json.loads(cli("summary", path, "--input", "3", "--json").stdout)[0]
    assert found["activation_bytes"] == 24
    assert found["op"][1]["outputs"] == {"z": {"dtype": "float32", "shape": [3]}}


def test_summary_of_memory(cli, save):
    path = save("predict_net.pb", PREDICT)
    save("init_net.pb", INIT)
    *_, plain, better = cli("summary", path, "--input", "3", "--memory").stdout.splitlines()
    assert plain.startswith("  as it is ")
    assert better.startswith("  optimised ")
    found = json.loads(cli("summary", path, "--input", "3", "--memory", "--json").stdout)[-1]
    bytes_ = found["array_bytes"]["optimised"]
    assert bytes_["weights"] >= 12
    assert bytes_["total"] == bytes_["weights"] + bytes_["packed"] + bytes_["storage"]


def test_summary_of_what_is_unknown(cli, save):
    path = save("x.pb", net(op("Relu", "x", "y")))
    assert "1 operator(s) are not fully known" in cli("summary", path).stdout


def test_infer_shapes(cli, save):
    path = save("x.pb", net(op("Relu", "x", "y"), op("Add", "y w", "z")))
    result = cli("infer-shapes", path, "--input", "x=2x3", "--input", "w=3")
    assert result.stdout == "w: float32(3)\nx: float32(2,3)\ny: float32(2,3)\nz: float32(2,3)\n"
    found = json.loads(cli("infer-shapes", path, "--input", "x=2x3", "--json", "-q").stdout)
    assert found["w"] == {"dtype": None, "shape": None}
    assert found["y"] == {"dtype": "float32", "shape": [2, 3]}


def test_infer_shapes_says_what_contradicts(cli, save):
    path = save("x.pb", net(op("Add", "x w", "z"), op("Relu", "x", "y")))
    result = cli("infer-shapes", path, "--input", "x=2", "--input", "w=3")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: net 'toy', op #0 Add: ")
    assert "y: float32(2)" in result.stdout


@pytest.mark.parametrize(
    "names", [("a.pb", "b.pbtxt"), ("a.pbtxt", "b.pb"), ("a.pb", "b.prototxt")]
)
def test_convert(cli, save, tmp_path, names):
    path = save(names[0], PREDICT)
    assert cli("convert", path, tmp_path / names[1]).exit_code == 0
    assert read_net(tmp_path / names[1]) == PREDICT
    is_text = (tmp_path / names[1]).read_bytes().isascii()
    assert is_text == (not names[1].endswith(".pb")) or is_text


def test_convert_refuses(failing, save, tmp_path):
    path = save("a.pb", PREDICT)
    assert "ends in none of .pb, .pbtxt" in failing(2, "convert", path, tmp_path / "b.txt")
    assert "no such file" in failing(5, "convert", tmp_path / "none.pb", tmp_path / "b.pb")


def test_ops_lists_all(cli):
    lines = cli("ops").stdout.splitlines()
    assert lines[0].split() == ["operator", "family", "gradient", "devices", "status"]
    rows = [re.split(r"  +", line.strip()) for line in lines[1:-1]]
    assert ["Relu", "activation", "yes", "cpu, cuda", "ready"] in rows
    assert ["StringJoin", "strings", "no", "cpu", "ready"] in rows
    assert ["NCCLReduce", "-", "-", "-", "not here: NCCL"] in rows
    assert [row[0] for row in rows] == sorted({*registered(), *known_caffe2_operators()})
    assert lines[-1] == f"{len(registered())} operators; {len(_lacking())} of Caffe2's are not here"


def test_ops_lists_all_as_json(cli):
    found = json.loads(cli("ops", "--json").stdout)
    status = {f["name"]: f["status"] for f in found}
    assert len(status) == len(found)
    assert {name for name, text in status.items() if text == "not here"} == _lacking()
    assert status.keys() == {*registered(), *known_caffe2_operators()}


def test_ops_missing(cli):
    lines = cli("ops", "--missing").stdout.splitlines()
    assert {line.strip() for line in lines if line.startswith(" ")} == _lacking()
    above = lines[: lines.index("  NCCLReduce")]
    title = [line for line in above if not line.startswith(" ")][-1]
    assert title.startswith("NCCL: several GPUs exchange data")
    assert lines[-1] == f"{len(_lacking())} of Caffe2's {len(known_caffe2_operators())} operators"
    found = json.loads(cli("ops", "--missing", "--json").stdout)
    assert [f["name"] for f in found] == sorted(_lacking())
    assert all(f["reason"] and f["why"] for f in found)


def test_ops_missing_without_a_reason(cli, monkeypatch):
    import caffe2py.cli.ops as module

    monkeypatch.setattr(module, "known_caffe2_operators", lambda: {*registered(), "Unheard"})
    assert cli("ops", "--missing").stdout.splitlines()[:2] == ["not written yet", "  Unheard"]
    assert json.loads(cli("ops", "--missing", "--json").stdout)[0]["why"] is None
    assert ["Unheard", "-", "-", "-", "not", "here"] in [
        line.split() for line in cli("ops").stdout.splitlines()
    ]


def test_ops_says_why_one_is_not_here(failing):
    message = failing(4, "ops", "NCCLReduce")
    assert "a Caffe2 operator that caffe2py lacks: several GPUs exchange data" in message


def _lacking():
    return known_caffe2_operators() - set(registered())


def test_ops_describes_one(cli):
    text = cli("ops", "Add").stdout
    assert text.startswith("Add(A, B) -> C\n")
    for part in (
        "broadcast  bool",
        "in place  input 0 as output 0",
        "AddGradient",
        "ONNX",
        "example",
    ):
        assert part in text
    found = json.loads(cli("ops", "Relu", "--json").stdout)
    assert found["inputs"] == ["X"]
    assert found["inplace"] == [[0, 0]]


@pytest.mark.parametrize("name", sorted(registered()))
def test_ops_describes_every_operator(cli, name):
    result = cli("ops", name)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{name}(")
    assert cli("ops", name, "--json").exit_code == 0


def test_ops_of_another_name(failing):
    assert "did you mean Relu" in failing(4, "ops", "Rellu")


def test_doctor(cli):
    text = cli("doctor").stdout
    for name in ("caffe2py", "python", "numba", "processor", "kernel cache", "objects", "gpu"):
        assert name in text
    assert "error" not in text
    found = json.loads(cli("doctor", "--json").stdout)
    assert found["packages"]["numba"] != "not installed"


def test_doctor_survives_a_broken_part(cli, monkeypatch):
    import caffe2py.cli.doctor as module

    def broken():
        raise OSError("no such thing")

    monkeypatch.setitem(module._SECTIONS, "memory", broken)
    result = cli("doctor")
    assert result.exit_code == 0
    assert "memory        error: OSError: no such thing" in result.stdout


def test_doctor_does_not_import_numba(process):
    code = (
        "import sys\nfrom caffe2py.cli import main\nsys.argv = ['caffe2py', 'doctor']\n"
        "try: main()\nexcept SystemExit: pass\nprint('numba' in sys.modules)"
    )
    out, _ = process(code=code).communicate()
    assert out.splitlines()[-1] == "False"
