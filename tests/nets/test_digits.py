"""nets/digits: the trained net tells digits, and the script beside it makes the files."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import caffe2py.core  # noqa: F401
from caffe2py.cli import program
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session
from caffe2py.proto.files import read_net
from caffe2py.training.checkpoint import newest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "nets" / "digits"
#: What the net must reach on digits that it was not trained on.
GOOD = 0.985

TRAIN = [
    "train", FOLDER / "train_init_net.pbtxt", FOLDER / "train_net.pbtxt",
    "--test", FOLDER / "test_net.pbtxt", "--data", FOLDER / "digits.npz",
]  # fmt: skip


def cli(*args):
    result = CliRunner().invoke(program, [str(a) for a in args])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def data():
    with np.load(FOLDER / "digits.npz") as found:
        return dict(found)


def accuracy(session, data):
    session.feed("data", data["test/data"])
    session.run()
    found = session.fetch(["prob"])["prob"].argmax(axis=1)
    return float(np.mean(found == data["test/label"]))


def test_the_trained_net_is_good(data):
    assert accuracy(Session(load_model(FOLDER)), data) >= GOOD


def test_training_and_test_digits_are_different_pictures(data):
    train, test = ({a.tobytes() for a in data[f"{part}/data"]} for part in ("train", "test"))
    assert len(data["train/data"]) + len(data["test/data"]) == 1797
    assert not train & test
    counts = np.bincount(data["test/label"], minlength=10)
    assert counts.min() > 20, "every digit is tested"


@pytest.mark.parametrize("digit", range(10))
def test_pictures(data, digit):
    path = FOLDER / f"{digit}.png"
    lines = cli("run", FOLDER, "--input", path, "--gray", "--size", 8).splitlines()
    best, probability = lines[2].split()
    assert int(best) == digit
    assert float(probability) > 0.95
    with Image.open(path) as picture:
        small = np.asarray(picture.resize((8, 8), Image.Resampling.BOX), np.float32)
    assert any(np.array_equal(small, row[0]) for row in data["test/data"])


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 500_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the script makes now, in a folder of its own."""
    folder = tmp_path_factory.mktemp("digits")
    program = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r})\n"
        "import pathlib, train\n"
        f"train.HERE = pathlib.Path({str(folder)!r})\n"
        "train.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_script_makes_these_files(made, data):
    folder, _ = made
    ours = {p.name for p in FOLDER.iterdir() if p.suffix not in (".py", "") and p.is_file()}
    assert {p.name for p in folder.iterdir()} == ours
    for path in sorted(folder.glob("*.pbtxt")):
        assert path.read_text() == (FOLDER / path.name).read_text(), path.name
    assert read_net(folder / "predict_net.pb") == read_net(FOLDER / "predict_net.pb")
    with np.load(folder / "digits.npz") as found:
        assert sorted(found) == sorted(data)
        for name, array in data.items():
            assert (found[name].dtype, found[name].tolist()) == (array.dtype, array.tolist())
    for path in folder.glob("*.png"):
        with Image.open(path) as new, Image.open(FOLDER / path.name) as old:
            assert np.array_equal(np.asarray(new), np.asarray(old)), path.name


def test_the_script_trains_a_good_net(made, data):
    """Not the same bits as the files on every processor: the width of vectors orders sums."""
    folder, text = made
    assert float(re.search(r"accuracy on 360 test digits: (\S+)", text)[1]) >= GOOD
    assert accuracy(Session(load_model(folder)), data) >= GOOD


def test_two_trainings_are_the_same_bits(tmp_path):
    found = []
    for name in "ab":
        cli(*TRAIN, "--epochs", 2, "--save", tmp_path / name)
        _, checkpoint, _ = newest(tmp_path / name)
        found.append({n: np.asarray(v).tobytes() for n, v in checkpoint.values.items()})
    assert found[0] == found[1]
    assert {"conv1_w", "fc4_b", "optimizer_iteration"} <= set(found[0])


def test_the_init_net_is_what_the_training_begins_with():
    workspace = Workspace()
    workspace.run_net_once(read_net(FOLDER / "train_init_net.pbtxt"))
    trained = Workspace()
    trained.run_net_once(read_net(FOLDER / "init_net.pb"))
    for name in trained.blobs():
        before, after = workspace.fetch(name), trained.fetch(name)
        assert before.shape == after.shape
        assert not np.array_equal(before, after), name


# ---------------------------------------------------------------- what the README says


def commands():
    """The command lines of the README that are about digits."""
    text = (ROOT / "README.md").read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"caffe2py ((?:run|train|plot) .*(?:digits|run/).*)", text)
    return [shlex.split(line) for line in found]


def test_the_commands_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").symlink_to(ROOT / "nets")
    first, train, plot, again = commands()
    lines = cli(*first).splitlines()
    assert lines[0] == "prob: float32 (1,10)"
    assert lines[2].split()[0] == "7"
    report = cli(*train)
    assert float(re.search(r"test_accuracy  (\S+)", report)[1]) > 0.9
    cli(*plot)
    assert (tmp_path / plot[-1]).read_bytes().startswith(b"\x89PNG")
    assert cli(*again).splitlines()[2].split()[0] == "3"
