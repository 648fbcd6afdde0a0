"""`caffe2` as another name of this package, and scripts that use it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from caffe2py import compat
from caffe2py.compat import report
from caffe2py.compat.report import lacking

ROOT = Path(__file__).parents[1]


def python(program, *paths):
    """What a program prints, in a process of its own."""
    path = ":".join([str(ROOT), *map(str, paths)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": path, "HOME": str(Path.home())},
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


def test_modules_are_the_same_objects():
    program = """
import sys
import caffe2py.compat as compat
compat.install(); compat.install()
import caffe2, caffe2.python, caffe2.proto
from caffe2.python import core
from caffe2.python.core import Net
import caffe2py.core
wrong = [name for name, ours in compat.names().items()
         if __import__(name, fromlist=["x"]) is not sys.modules[ours]]
print([wrong, core is caffe2py.core is sys.modules["caffe2.python.core"], Net is core.Net,
       core.__spec__.name, core.__name__,
       [type(p.__path__).__name__ for p in (caffe2, caffe2.python, caffe2.proto)]])
"""
    expected = [[], True, True, "caffe2py.core", "caffe2py.core", ["list"] * 3]
    assert python(program) == expected


def test_folders_can_be_added(tmp_path):
    (tmp_path / "python" / "modeling").mkdir(parents=True)
    (tmp_path / "python" / "other.py").write_text("from caffe2.python import core\nx = 1\n")
    (tmp_path / "python" / "core.py").write_text("raise ImportError\n")
    (tmp_path / "python" / "modeling" / "more.py").write_text("y = 2\n")
    program = f"""
import caffe2py.compat; caffe2py.compat.install()
import caffe2.python
caffe2.python.__path__.append({str(tmp_path / "python")!r})
from caffe2.python import other
from caffe2.python.modeling import more, initializers
print([other.x, more.y, other.core.__name__, initializers.__name__])
"""
    assert python(program) == [1, 2, "caffe2py.core", "caffe2py.modeling.initializers"]


def test_it_is_not_there_unless_asked_for():
    program = """
import importlib.util, sys
import caffe2py.core, caffe2py.compat as compat
before = importlib.util.find_spec("caffe2")
compat.install()
import caffe2.python.core
compat.uninstall(); compat.uninstall()
left = [name for name in sys.modules if name.split(".")[0] == "caffe2"]
print([before, compat.installed(), left, importlib.util.find_spec("caffe2")])
"""
    assert python(program) == [None, False, [], None]


def test_a_real_caffe2_is_respected(tmp_path):
    python_folder = tmp_path / "caffe2" / "python"
    python_folder.mkdir(parents=True)
    (tmp_path / "caffe2" / "__init__.py").touch()
    program = """
import caffe2py.compat as compat
try:
    compat.install()
except RuntimeError as error:
    text = str(error)
    print([type(error).__name__, text.count("there is a real Caffe2 in"), "force" in text])
    compat.install(force=True)
    import caffe2.python.core
else:
    print([])
"""
    assert python(program, tmp_path) == []
    (python_folder / "caffe2_pybind11_state.so").touch()
    assert python(program, tmp_path) == ["UsageError", 1, True]


def test_missing_modules_are_import_errors():
    program = """
import caffe2py.compat; caffe2py.compat.install()
found = []
for name in ["caffe2.python.nothing", "caffe2.nothing", "caffe2.proto.nothing_pb2",
             "caffe2.python.modeling.nothing"]:
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        found.append(error.name)
print(found)
"""
    found = python(program)
    assert found == [
        "caffe2.python.nothing",
        "caffe2.nothing",
        "caffe2.proto.nothing_pb2",
        "caffe2.python.modeling.nothing",
    ]


SCRIPT = """
import numpy, caffe2.python.nothing
from caffe2.python import core, workspace as ws
from caffe2.python import lost
from caffe2.python.core import Net, Missing
import caffe2.python.brew as b
import caffe2.proto.caffe2_pb2
net = core.Net("n")
net.Relu("x", "y")
net.FC_Dec("x", "y")
net.LackingOne("x", "y")
core.CreateOperator("LackingTwo", [], ["a"])
ws.FeedBlob("x", numpy.nothing); ws.Absent; core.DataType.FLOAT; core.DataType.LOST
b.fc(0, 1).anything; caffe2.proto.caffe2_pb2.NetDef().nothing
"""


def test_the_report_names_what_is_lacking(monkeypatch):
    known = frozenset({"Relu", "LackingOne", "LackingTwo"})
    monkeypatch.setattr(report, "known_caffe2_operators", lambda: known)
    found = [(item.line, item.name, item.what) for item in lacking(SCRIPT)]
    assert found == [
        (2, "caffe2.python.nothing", "module"),
        (4, "caffe2.python.lost", "module"),
        (5, "caffe2.python.core.Missing", "name"),
        (11, "LackingOne", "operator"),
        (12, "LackingTwo", "operator"),
        (13, "caffe2.python.core.DataType.LOST", "name"),
        (13, "caffe2.python.workspace.Absent", "name"),
    ]


def test_the_report_of_a_script_without_caffe2_is_empty():
    assert lacking("import os\nos.nothing\nfrom . import core\n") == []
    with pytest.raises(SyntaxError):
        lacking("print 'Python 2'\n")


@pytest.fixture
def execute(tmp_path):
    def run(source, *args, options=()):
        script = tmp_path / "script.py"
        script.write_text(source)
        return subprocess.run(
            [sys.executable, "-m", "caffe2py", "exec", *options, str(script), *args],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )

    return run


def test_a_script_runs_as_the_main_program(execute, tmp_path):
    (tmp_path / "beside.py").write_text("value = 5\n")
    source = """
import sys
import numpy as np
import beside
from caffe2.python import core, workspace
if __name__ == "__main__":
    workspace.FeedBlob("x", np.array([-1, 2], dtype=np.float))
    workspace.RunOperatorOnce(core.CreateOperator("Negative", "x", "y"))
    print(workspace.FetchBlob("y").tolist(), sys.argv[1:], beside.value)
"""
    done = execute(source, "--report", "-x", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[1.0, -2.0] ['--report', '-x', '3'] 5\n"


def test_failures_are_shown_from_the_script_on(execute, tmp_path):
    done = execute("def f():\n    raise KeyError('what')\nf()\n")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "script.py" in lines[1]
    assert lines[-1] == "KeyError: 'what'"
    assert "runpy" not in done.stderr
    assert execute("import sys; sys.exit(7)").returncode == 7
    assert execute("def broken(:").stderr.splitlines()[-1].startswith("SyntaxError")


def test_the_report_comes_before_the_script(execute):
    source = "from caffe2.python import lost\n"
    done = execute(source, options=["--report"])
    assert done.returncode == 1
    assert "script.py:1: no module caffe2.python.lost" in done.stderr
    assert "1 thing(s) that this script uses are lacking" in done.stderr
    assert "ImportError" in done.stderr


def test_exec_refuses(execute):
    done = subprocess.run(
        [sys.executable, "-m", "caffe2py", "exec", "no_such_script.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 5
    assert done.stderr == "error: no_such_script.py: there is no such file\n"


def test_names():
    assert compat.names()["caffe2.python.core"] == "caffe2py.core"
    assert not compat.installed()
