"""What operators declare that they need, and who is asked for it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import caffe2py.core  # noqa: F401
from caffe2py import workspace as api
from caffe2py.cli import program
from caffe2py.errors import RegistrationError, TrustError, UsageError
from caffe2py.executor.predictor import Predictor
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.check import problems
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session
from caffe2py.proto.files import write_message
from caffe2py.registry.operator import registered
from caffe2py.registry.trust import SAFE, TRUSTED, Need, Trust, parse_needs
from caffe2py.registry.trusted import require_trusted
from tests.toy import net, op

ROOT = Path(__file__).parents[2]
SAVE = net(op("Save", "x", "", db="a", db_type="minidb"), reads="x")
PYTHON = net(op("Python", "x", "y", token="t"), reads="x", gives="y")

DECLARED = {
    "python": {"Python", "PythonDLPack", "PythonGradient", "PythonDLPackGradient"},
    "files": {
        "Checkpoint",
        "CreateDB",
        "CreateTextFileReader",
        "DBExists",
        "FileStoreHandlerCreate",
        "Save",
        "Snapshot",
    },
    "files if db": {"ImageInput"},
    "files if db or dbs": {"Load"},
    "files if to_file": {"Print", "Summarize"},
}


def test_what_is_declared():
    found = {}
    for name, operator in registered().items():
        need = operator.schema.need
        if need is not None:
            key = " if ".join([need.what, *filter(None, [" or ".join(need.arguments)])])
            found.setdefault(key, set()).add(name)
    assert found == DECLARED


AUDIT = """
import json, os, sys
import numpy as np
sys.path.insert(0, {root!r})
import caffe2py.core
from caffe2py.errors import Error
from caffe2py.executor.workspace import Workspace
from caffe2py.kernels.cache import cache_folder
from caffe2py.registry.operator import lookup
from tests.ops.table import CASES, samples
from tests.toy import op

opened, current = {{}}, [None]
known = (str(cache_folder()), "/proc/", "/sys/", sys.prefix, sys.base_prefix, {root!r})

def hook(event, args):
    if current[0] is None or event != "open" or not isinstance(args[0], (str, bytes)):
        return
    path = os.fsdecode(args[0])
    if path.startswith(known) or not path.startswith("/"):
        return
    opened.setdefault(current[0], []).append(path)

sys.addaudithook(hook)
ran = 0
for name, case in CASES.items():
    for sample in samples(case)[:1]:
        workspace, names = Workspace(), []
        for k, value in enumerate(sample.inputs):
            if not isinstance(value, np.ndarray):
                break
            names.append(f"x{{k}}")
            workspace.feed(names[-1], value)
        if len(names) < len(sample.inputs):
            continue
        count = sample.outputs if isinstance(sample.outputs, int) else 1
        outs = " ".join(f"y{{k}}" for k in range(count))
        current[0] = name
        try:
            workspace.run_operator_once(op(name, " ".join(names), outs, **sample.args))
            ran += 1
        except Error:
            pass
        current[0] = None
print(json.dumps([ran, opened]))
"""


def test_no_other_operator_opens_files(tmp_path):
    """Of each operator a sample is run while an audit hook listens."""
    done = subprocess.run(
        [sys.executable, "-c", AUDIT.format(root=str(ROOT))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    ran, opened = json.loads(done.stdout.splitlines()[-1])
    declared = set().union(*DECLARED.values())
    assert {name: paths[:3] for name, paths in opened.items() if name not in declared} == {}
    assert ran > 300


# ---------------------------------------------------------------- who is asked


@pytest.mark.parametrize(("made", "what"), [(SAVE, "opens files"), (PYTHON, "calls a Python")])
def test_nets_from_files_are_refused_before_anything_runs(made, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_message(tmp_path / "n.pb", made)
    with pytest.raises(TrustError, match=rf"op #0 \w+: \w+ {what}.*\(try: --"):
        Session(load_model(tmp_path / "n.pb"))
    with pytest.raises(TrustError, match=what):
        Session(load_model(made.SerializeToString()))


def test_check_says_so_too(tmp_path):
    write_message(tmp_path / "n.pb", SAVE)
    (error,) = problems(load_model(tmp_path / "n.pb"))
    assert type(error) is TrustError
    assert problems(load_model(tmp_path / "n.pb", trust=Trust(folders=(".",)))) == []


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 4, "op #0 Save: Save opens files"),
        (["--allow-dir", "in"], 0, ""),
        (["--trust", "files"], 0, ""),
        (["--trust", "python"], 4, "op #0 Save: Save opens files"),
        (["--trust", "all"], 2, "--trust takes python and files, found 'all'"),
        (["--allow-dir", "out"], 2, "--allow-dir out: there is no such folder"),
    ],
)
def test_the_command_line(options, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    write_message(tmp_path / "n.pb", SAVE)
    done = CliRunner().invoke(program, ["run", "n.pb", "--input", "3", *options])
    assert (done.exit_code, message in done.stderr) == (status, True)
    written = [path for path in ("a", "in/a") if Path(path).exists()]
    expected = {"--allow-dir": ["in/a"], "--trust": ["a"]}[options[0]] if not status else []
    assert written == expected


def test_nets_that_are_built_here_may_do_everything(tmp_path):
    workspace = Workspace()
    workspace.root_folder = str(tmp_path)
    workspace.feed("x", np.ones(2, np.float32))
    workspace.run_net_once(SAVE)
    assert (tmp_path / "a").exists()
    assert load_model(SAVE).trust is TRUSTED


def test_children_may_do_what_their_parents_may(tmp_path):
    parent = Workspace(trust=SAFE)
    assert parent.child().trust is parent.apart().trust is SAFE
    for workspace in (parent.child(), parent.apart()):
        workspace.feed("x", np.ones(2, np.float32))
        with pytest.raises(TrustError):
            workspace.run_net_once(SAVE)


def test_a_need_that_an_argument_decides():
    quiet = net(op("Print", "x", ""), reads="x")
    require_trusted(quiet, SAFE)
    loud = net(op("Print", "x", "", to_file=1), reads="x")
    with pytest.raises(TrustError, match="op #0 Print: Print opens files"):
        require_trusted(loud, SAFE)
    require_trusted(loud, Trust(folders=(".",)))
    require_trusted(loud, Trust(frozenset({"files"})))


def test_predictors_of_bytes():
    init = net(op("ConstantFill", "", "w", shape=[1]))
    with pytest.raises(TrustError, match="calls a Python"):
        Predictor(init.SerializeToString(), PYTHON.SerializeToString())
    Predictor(init, PYTHON)
    Predictor(init.SerializeToString(), PYTHON.SerializeToString(), trust=TRUSTED)


def test_saved_predictors(tmp_path):
    from caffe2py.predictor import predictor_exporter as exporter

    with api.WorkspaceGuard("saved"):
        api.FeedBlob("w", np.ones(3, np.float32))
        meta = exporter.PredictorExportMeta(
            net(op("Mul", "x w", "y"), op("Print", "y", "", to_file=1), reads="x w", gives="y"),
            ["w"],
            ["x"],
            ["y"],
            shapes={"x": (3,), "y": (3,)},
        )
        path = str(tmp_path / "p.minidb")
        exporter.save_to_db("minidb", path, meta)
        with pytest.raises(TrustError, match="Print opens files"):
            exporter.prepare_prediction_net(path, "minidb")
        with pytest.raises(TrustError, match="Print opens files"):
            Session(load_model(path))
        exporter.prepare_prediction_net(path, "minidb", trust=TRUSTED)
        assert api.current().trust is TRUSTED


def test_words_and_declarations():
    assert parse_needs("python, files") == ["python", "files"]
    for text in ("", "everything", "python,nets"):
        with pytest.raises(UsageError, match="--trust takes python and files"):
            parse_needs(text)
    assert Need.parse("files if to_file") == Need("files", ("to_file",))
    with pytest.raises(RegistrationError, match="an operator cannot need 'network'"):
        Need.parse("network")
