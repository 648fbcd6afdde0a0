"""What Print writes, where and when."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import FileError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef

LINES = [
    (np.array([[0, 1 / 3, 2 / 3], [1, 4 / 3, 5 / 3]], np.float32),
     "float. Dims: (2,3,): 0,0.333333,0.666667,1,1.33333,1.66667"),
    (np.array(3, np.int64), "long int. Dims: (): 3"),
    (np.array([-7, 8], np.int32), "int. Dims: (2,): -7,8"),
    (np.array([True, False]), "bool. Dims: (2,): 1,0"),
    (np.array([b"x", b"yz", b"\xff"], object), "std::string. Dims: (3,): x,yz,\\xff"),
    (np.zeros((0, 3), np.float64), "double. Dims: (0,3,): "),
    (np.array([1e10, 1e-10, np.nan, -np.inf, -0.0, 0.1, 123456789.0]),
     "double. Dims: (7,): 1e+10,1e-10,nan,-inf,-0,0.1,1.23457e+08"),
    (np.array([1, 200], np.uint8), "unsigned char. Dims: (2,): 1,200"),
    (np.array([0.5], np.float16), "half. Dims: (1,): 0.5"),
]  # fmt: skip


def net(blob, **args):
    arg = [make_argument(name, value) for name, value in args.items()]
    return NetDef(name="net", op=[OperatorDef(type="Print", input=[blob], arg=arg)])


def show(value, capsys, blob="x", **args):
    workspace = Workspace()
    workspace.feed(blob, value)
    workspace.run_net_once(net(blob, **args))
    return capsys.readouterr().out


@pytest.mark.parametrize(("value", "text"), LINES, ids=lambda v: str(getattr(v, "dtype", "")))
def test_the_line_is_caffe2s(value, text, capsys):
    assert show(value, capsys) == f"Tensor x of type {text}\n"


def test_limit(capsys):
    many = np.arange(1500, dtype=np.int32)
    assert show(many, capsys, limit=3).endswith("Dims: (1500,): 0,1,2\n")
    assert show(many, capsys).endswith(",998,999\n")
    assert show(many, capsys, limit=2000).endswith(",1499\n")


def test_what_is_no_tensor(capsys):
    assert show("text", capsys) == "Blob x of type bytes: b'text'\n"


def test_every_n_counts_the_runs_of_one_operator(capsys):
    workspace = Workspace()
    workspace.feed("x", np.array(0.0, np.float32))
    workspace.create_net(net("x", every_n=3))
    for step in range(7):
        workspace.feed("x", np.array(step, np.float32))
        workspace.run_net("net")
    shown = [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["0", "3", "6"]


def test_to_a_file(tmp_path, capsys):
    workspace = Workspace()
    workspace.reset(str(tmp_path))
    workspace.feed("scope/x", np.array([1, 2], np.int32))
    workspace.create_net(net("scope/x", to_file=1))
    for _ in range(2):
        workspace.run_net("net")
    line = "Tensor scope/x of type int. Dims: (2,): 1,2\n"
    path = tmp_path / "scope" / "x.log"
    assert path.read_text() == 2 * line
    workspace.run_net_once(net("scope/x", to_file=1))
    assert path.read_text() == line, "a new operator begins the file anew"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("blob", ["../x", "/tmp/x", "a/../../x"])
def test_no_file_outside_the_root_folder(blob, tmp_path):
    workspace = Workspace()
    workspace.reset(str(tmp_path / "root"))
    workspace.feed(blob, np.zeros(1))
    with pytest.raises(FileError, match="lies outside the root folder"):
        workspace.run_net_once(net(blob, to_file=1))


def test_a_file_that_cannot_be_written(tmp_path):
    workspace = Workspace()
    workspace.reset(str(tmp_path))
    (tmp_path / "x.log").mkdir()
    workspace.feed("x", np.zeros(1))
    with pytest.raises(FileError, match="cannot be written"):
        workspace.run_net_once(net("x", to_file=1))
