"""What people give by mistake: each has its exit status and a message that says what to do."""

import numpy as np
import pytest

from tests.toy import INIT, PREDICT, fill, nested, net, op

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
PAGE = b"<!DOCTYPE html>\n<html><body>404: not found</body></html>\n"


def written(tmp_path, content):
    path = tmp_path / "predict_net.pb"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


FILES = {
    "missing": (None, 5, "no such file (try: check the path)"),
    "lfs pointer": (POINTER, 3, "a Git-LFS pointer"),
    "web page": (PAGE, 3, "found a web page"),
    "text": (b"hello world\n", 3, "found text that is none"),
    "empty": (b"", 3, "nothing (0 bytes)"),
    "no operators": (net(), 3, "holds no operators"),
    "truncated": (PREDICT.SerializeToString()[:25], 3, "truncated"),
    "random bytes": (bytes(range(7, 200)), 3, "expected a NetDef"),
    "pickle": (b"\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00].", 3, "a Python pickle"),
    "not text, though named so": (b"\xff\xfe\x00", 3, "expected a NetDef"),
}

COMMANDS = ["run", "check", "print", "summary", "infer-shapes"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FILES)
def test_files(failing, tmp_path, command, name):
    content, code, match = FILES[name]
    path = tmp_path / "predict_net.pb" if content is None else written(tmp_path, content)
    line = failing(code, command, path)
    assert match in line
    assert "predict_net.pb" in line


def test_a_text_net_in_a_pb_is_fine(cli, tmp_path):
    path = written(tmp_path, b'name: "n" op { type: "Relu" input: "x" output: "y" }')
    assert cli("run", path, "--input", "3").exit_code == 0


def test_a_broken_partner(failing, save):
    path = save("predict_net.pb", PREDICT)
    path.with_name("init_net.pb").write_bytes(POINTER)
    line = failing(3, "run", path)
    assert "init_net.pb: expected a NetDef, found a Git-LFS pointer" in line
    assert "git lfs pull" in line


def test_swapped(failing, save):
    predict, init = save("a.pb", PREDICT), save("b.pb", INIT)
    line = failing(3, "run", init, "--init", predict)
    assert "swapped" in line
    assert f"(try: {predict} --init {init})" in line


def test_unfed(failing, save):
    path = save("x.pb", net(op("Relu", "x", "y")))
    line = failing(1, "run", path)
    assert line.startswith("net 'toy': input 'x' is not given (try: --input x=")


def test_missing_init_net(failing, save):
    path = save("predict_net.pb", PREDICT)
    line = failing(1, "run", path, "--input", "x=3")
    assert "the init net is missing (looked for init_net with" in line
    assert "(try: --init FILE)" in line


NETS = {
    "unknown operator": (op("Rellu", "x", "y"), 4, "op #0 Rellu: 'Rellu' is not a Caffe2 operator"),
    "lacking operator": (op("Onnxifi", "x", "y"), 4, "a Caffe2 operator that caffe2py lacks"),
    "misspelt argument": (op("Add", "x x", "y", broadcst=1), 3, "did you mean 'broadcast'?"),
    "argument of another type": (op("Add", "x x", "y", broadcast="a"), 3, "'broadcast': expected"),
    "too few inputs": (op("Add", "x", "y"), 3, "expected 2 input(s) (A, B), found 1: x"),
    "too many inputs": (op("Relu", "x x", "y"), 3, "expected 1 input(s) (X), found 2"),
    "too many outputs": (op("Relu", "x", "y z"), 3, "expected 1 output(s) (Y), found 2"),
    "forbidden in place": (op("LRN", "x", "x", size=3), 3, "does not allow that pair in place"),
    "missing argument": (op("Dropout", "x", "y"), 3, "argument 'is_test' (int) is required"),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("command", ["run", "check"])
def test_nets(cli, save, name, command):
    operator, code, match = NETS[name]
    result = cli(command, save("x.pb", net(operator)), "--input", "1x2x3x4")
    assert result.exit_code == code
    text = result.stderr if command == "run" else result.stdout
    assert match in text
    assert f"op #0 {operator.type}" in text


def test_wrong_shape(failing, save):
    path = save("x.pb", net(op("Add", "x w", "z"), op("Add", "w x", "u")))
    line = failing(1, "run", path, "--input", "x=3", "--input", "w=4")
    assert "op #0 Add: shapes (3) and (4) cannot be broadcast together" in line


def test_wrong_type(failing, save):
    path = save("x.pb", net(op("Sigmoid", "x", "z")))
    line = failing(1, "run", path, "--input", "3:i64")
    assert "op #0 Sigmoid: input 0 'X' is int64; supported: float32" in line


def test_types_that_no_tensor_holds(failing, save):
    path = save("x.pb", net(op("Relu", "x", "z")))
    np.save(path.with_suffix(".npy"), np.ones(2, np.complex64))
    line = failing(1, "run", path, "--input", path.with_suffix(".npy"))
    assert "no tensor holds complex64" in line


def test_shapes_that_overflow(failing, cli, save):
    path = save("x.pb", net(op("Relu", "x", "y")))
    assert "bytes" in failing(5, "run", path, "--input", "99999999999x99999999999")
    outer = save("y.pb", net(op("Add", "a b", "y"), op("Add", "b a", "z")))
    sides = ("--input", "a=9999999999x1", "--input", "b=1x9999999999")
    result = cli("check", outer, *sides)
    assert result.exit_code == 5
    assert "MemoryBudgetError: net 'toy', op #0 Add: shape" in result.stdout


def test_a_fill_that_overflows(failing, save):
    save("init_net.pb", net(op("ConstantFill", "", "w", shape=[2**40, 2**40]), name="init"))
    line = failing(5, "run", save("predict_net.pb", PREDICT), "--input", "x=3")
    assert "net 'init', op #0 ConstantFill" in line


@pytest.mark.parametrize("suffix", ["pb", "pbtxt"])
@pytest.mark.parametrize("depth", [51, 300])
def test_nesting(failing, tmp_path, suffix, depth):
    deep = nested(depth)
    path = tmp_path / f"x.{suffix}"
    if suffix == "pb":
        path.write_bytes(deep.SerializeToString())
    else:
        inner = 'op { type: "If" arg { name: "then_net" n {' * depth + "} } }" * depth
        path.write_text(inner)
    assert "nested" in failing(3, "run", path)


def test_a_net_nested_deeply_but_not_too_deeply(cli, save):
    assert "nested" not in cli("print", save("x.pb", nested(30))).stderr


def test_given_values_that_do_not_fit_their_shape(failing, save):
    save("init_net.pb", net(fill("w", [1, 2, 3], [2, 2]), name="init"))
    line = failing(1, "run", save("predict_net.pb", PREDICT), "--input", "x=3")
    assert "net 'init', op #0 GivenTensorFill" in line
