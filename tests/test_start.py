"""What a process imports before it has computed something: as little as possible."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caffe2py.errors import RegistrationError, UnknownOperatorError
from caffe2py.registry import operator as registry

ROOT = Path(__file__).parent.parent
COMPILERS = ("numba", "llvmlite")
NET = """
import sys, numpy as np
from caffe2py import core, workspace
net = core.Net("net")
x = net.GivenTensorFill([], "x", shape=[3], values=[-1.0, 0.0, 2.0])
net.Softmax(net.Relu(x, "y"), "z", axis=0)
workspace.RunNetOnce(net)
assert workspace.FetchBlob("y").tolist() == [0, 0, 2]
"""


def python(program, *arguments, **settings):
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **settings},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(program, *modules, **settings):
    """Those of the modules that a program has loaded."""
    asked = f"\nprint('@', [m for m in {modules} if m in sys.modules])"
    return ast.literal_eval(python(program + asked, **settings).rpartition("@")[2].strip())


def test_where_operators_are_is_written_down():
    program = (
        "from tools.gen_families import text; from caffe2py.ops import FAMILIES\n"
        "print(text() == FAMILIES.read_text('utf-8'), end='')"
    )
    assert python(program) == "True", "run python -m tools.gen_families"


def test_core_imports_no_family():
    program = "import sys, caffe2py.core\nprint([m for m in sys.modules if 'caffe2py.ops.' in m])"
    assert python(program).strip() == "[]"


def test_a_net_imports_its_families_only():
    found = loaded(NET, *(f"caffe2py.ops.{m}" for m in ("activation", "fill", "int8", "queue")))
    assert found == ["caffe2py.ops.activation", "caffe2py.ops.fill"]


def test_a_warm_process_compiles_nothing(tmp_path):
    folder = {"CAFFE2PY_CACHE_DIR": str(tmp_path / "objects")}
    assert "numba" in loaded(NET, *COMPILERS, **folder)
    assert loaded(NET, *COMPILERS, **folder) == []


@pytest.mark.parametrize("command", ["--help", "ops", "ops Relu", "ops --missing", "run --help"])
def test_commands_that_compute_nothing_compile_nothing(command):
    program = (
        "import sys\nfrom caffe2py.cli.entry import main\n"
        f"sys.argv = ['caffe2py', *{command.split()}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
    )
    assert loaded(program, *COMPILERS) == []


# ---------------------------------------------------------------- operators that are declared later


@pytest.mark.parametrize(
    "homes",
    ["{}", "{'Relu': 'caffe2py.ops.gone'}", "{'Relu': 'caffe2py.ops.fill'}"],
    ids=["lacking", "a module that is gone", "another module"],
)
def test_what_is_written_down_need_not_be_right(homes):
    program = (
        "import caffe2py.core\nfrom caffe2py.ops import import_families\n"
        "from caffe2py.registry.operator import declare_later, lookup\n"
        f"declare_later({homes}, import_families)\n"
        "print(lookup('Relu').name)"
    )
    assert python(program).strip() == "Relu"


def test_an_operator_that_does_not_exist():
    assert registry.find("Reluu") is None
    with pytest.raises(UnknownOperatorError, match="did you mean"):
        registry.lookup("Reluu")


def test_a_name_is_taken_before_it_is_declared():
    program = (
        "import caffe2py.core\nfrom caffe2py.errors import RegistrationError\n"
        "from caffe2py.extend import operator\n"
        "try:\n    operator('Relu', 'X -> Y', doc='mine')\n"
        "except RegistrationError as error:\n    print(error)"
    )
    assert "'Relu'" in python(program)
    assert issubclass(RegistrationError, Exception)


def test_threads_that_ask_at_the_same_time_get_whole_operators():
    program = (
        "import threading, caffe2py.core\nfrom caffe2py.registry.operator import lookup\n"
        "names = ['Relu', 'PRelu', 'Conv', 'FC', 'MaxPool', 'Softmax', 'Adam', 'Unique']\n"
        "bad, start = [], threading.Barrier(16)\n"
        "def ask(k):\n    start.wait()\n"
        "    for i in range(len(names)):\n"
        "        found = lookup(names[(i + k) % len(names)])\n"
        "        if not found.kernels: bad.append(found.name)\n"
        "threads = [threading.Thread(target=ask, args=(k,)) for k in range(16)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(bad)"
    )
    assert python(program).strip() == "[]"
