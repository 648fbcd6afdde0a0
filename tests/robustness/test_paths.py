"""Where nets from disk may not go: 40 ways out of a folder, and code in fields."""

import os
import pickle
import socket

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.adapters.paths import open_file, permitted
from caffe2py.errors import Error, ShapeError, TrustError
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session
from caffe2py.registry.trust import SAFE, TRUSTED, Trust
from tests.toy import net, op

X = np.arange(3, dtype=np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder `in` that is allowed, a secret beside it, and links from one to the other."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    workspace = Workspace()
    workspace.feed("x", X)
    for target in (outside / "secret", inside / "own"):
        save = op("Save", "x", "", db=str(target), db_type="minidb", absolute_path=1)
        workspace.run_operator_once(save)
    (outside / "words").write_text("a\n")
    (inside / "link").symlink_to(outside / "secret")
    (inside / "to_own").symlink_to(inside / "own")
    (inside / "folder_link").symlink_to(outside)
    (inside / "dangling").symlink_to(outside / "new")
    os.link(outside / "secret", inside / "hard")
    os.mkfifo(inside / "fifo")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(inside)  # a name of a socket is short
    server.bind("sock")
    server.close()
    (inside / "sub").mkdir()
    (inside / "sub" / "up").symlink_to("..")
    (inside / "x.log").symlink_to(outside / "words")
    (inside / "x.summary").symlink_to(outside / "words")
    (inside / "db").mkdir()
    (inside / "db" / "data.mdb").symlink_to(outside / "secret")
    (inside / "store").mkdir()
    (inside / "store" / "kx").symlink_to(outside / "secret")
    return tmp_path


#: Names of files outside, however they are written; OUT stands for the folder beside.
NAMES = [
    "OUT/secret",
    "/etc/passwd",
    "//etc/passwd",
    "../out/secret",
    "sub/../../out/secret",
    "./../out/secret",
    "link",
    "./link",
    "to_own",
    "folder_link/secret",
    "folder_link/../in/own",
    "sub/up/own",
    "hard",
    "fifo",
    "sock",
    "",
    ".",
    "..",
    "own\0",
    "dangling",
]


def outside_of(place):
    return {p.name: p.read_bytes() for p in (place / "out").iterdir()}


def trying(place, operator, **blobs):
    """Run an operator of a net from a file that may have files below `in`."""
    made = net(operator, reads=" ".join(operator.input), gives=" ".join(operator.output))
    model = load_model(made.SerializeToString(), trust=Trust(folders=(str(place / "in"),)))
    run(model, **{name: blobs.get(name, X) for name in operator.input})


def run(model, **blobs):
    session = Session(model)
    for name, value in blobs.items():
        session.feed(name, value)
    session.run()


@pytest.mark.parametrize("writes", [False, True], ids=["read", "written"])
@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out(place, name, writes):
    before = outside_of(place)
    path = name.replace("OUT", str(place / "out"))
    args = {"db_type": "minidb", "db": path, "absolute_path": int(path.startswith("/"))}
    made = op("Save", "x", "", **args) if writes else op("Load", "", "x", **args)
    with pytest.raises(Error):
        trying(place, made)
    assert outside_of(place) == before


@pytest.mark.parametrize(
    "made",
    [
        op("Print", "x", "", to_file=1),
        op("Summarize", "x", "", to_file=1),
        op("CreateDB", "", "r", db="db", db_type="lmdb"),
        op("CreateTextFileReader", "", "r", filename="x.log", field_types=[4]),
        op("ImageInput", "", "d l", db="link", db_type="minidb", batch_size=1, crop=1, scale=1),
        op("DBExists", "", "e", db_name="link", db_type="minidb"),
        op("Snapshot", "i x", "", db="folder_link/%d", db_type="minidb"),
        op("Checkpoint", "i x", "", db="../%d", db_type="minidb"),
        op("FileStoreHandlerCreate", "", "h", path="folder_link"),
        op("FileStoreHandlerCreate", "", "h", path="../store"),
    ],
    ids=lambda made: made.type,
)
def test_operators_that_would_follow(place, made):
    before = outside_of(place)
    with pytest.raises(TrustError, match="the net names the file"):
        trying(place, made, i=np.array([1]))
    assert outside_of(place) == before


@pytest.mark.parametrize("name", ["Checkpoint", "Snapshot"])
def test_a_number_that_is_not_there(place, name):
    made = op(name, "i x", "", db="a%d", db_type="minidb")
    with pytest.raises(ShapeError, match="input 0 must hold the number of the iteration"):
        trying(place, made, i=np.zeros(0, np.int64))


def test_a_store_does_not_follow_links_either(place):
    reads = net(
        op("FileStoreHandlerCreate", "", "h", path="store"),
        op("StoreGet", "h", "y", blob_name="x"),
        gives="y",
    )
    trust = Trust(folders=(str(place / "in"),))
    with pytest.raises(Error, match="Too many levels of symbolic links"):
        Session(load_model(reads.SerializeToString(), trust=trust)).run()


def test_what_is_below_the_folder_works(place):
    trying(place, op("Save", "x", "", db="sub/new", db_type="minidb"))
    trying(place, op("Load", "", "x", db="sub/new", db_type="minidb"))
    trying(place, op("Load", "", "x", db="own", db_type="minidb"))
    assert (place / "in" / "sub" / "new").exists()


def test_of_several_folders_each_is_read_and_the_first_is_written(place):
    (place / "more").mkdir()
    trust = Trust(folders=(str(place / "more"), str(place / "in")))
    assert permitted(trust, "own", trusted_path="", writes=False) == str(place / "in" / "own")
    assert permitted(trust, "new", trusted_path="", writes=True) == str(place / "more" / "new")


def test_a_link_that_comes_later_is_not_followed(place):
    path = permitted(Trust(folders=(str(place / "in"),)), "later", trusted_path="", writes=True)
    (place / "in" / "later").symlink_to(place / "out" / "words")
    for mode in ("rb", "wb", "ab"):
        with pytest.raises((OSError, TrustError)):
            open_file(path, mode)
    assert (place / "out" / "words").read_text() == "a\n"


@pytest.mark.parametrize("trust", [SAFE, TRUSTED], ids=["safe", "trusted"])
def test_pickles_are_never_opened(trust, tmp_path):
    class Planted:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "made"),))

    planted = pickle.dumps(Planted())
    for name in ("pickled_builder", "pickled_grad_builder", "token"):
        made = net(op("Python", "x", "y", **{name: planted}), reads="x", gives="y")
        with pytest.raises(Error):
            run(load_model(made.SerializeToString(), trust=trust), x=X)
    for data in (planted, b"PK\x03\x04" + planted):
        with pytest.raises(Error):
            load_model(data)
    assert not (tmp_path / "made").exists()
