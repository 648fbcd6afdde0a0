"""Every file that was ever found to be trouble, and one at least of every kind that could be."""

import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import Error, ModelFormatError
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.files import write_message
from caffe2py.tensor.memory import set_memory_budget
from tests.robustness import files, nets_rules, nets_sizes, nets_windows
from tests.toy import nested, net, op

NETS = [*nets_windows.ROWS, *nets_sizes.ROWS, *nets_rules.ROWS]


@pytest.fixture(autouse=True)
def small_memory():
    """So that sizes are refused by what they are, on every machine."""
    before = set_memory_budget(1 << 28)
    yield
    set_memory_budget(before)


def refused(error, message, call):
    with pytest.raises(Error) as caught:
        call()
    assert type(caught.value) is error, caught.value
    assert message in str(caught.value)


def run(net, feeds):
    session = Session(load_model(net.SerializeToString()))
    for name, value in feeds.items():
        session.feed(name, value)
    session.require_inputs()
    session.run()


@pytest.mark.parametrize("row", NETS, ids=lambda row: row.name)
def test_nets(row):
    refused(row.error, row.message, lambda: run(row.net, row.feeds))


@pytest.mark.parametrize("row", files.ROWS, ids=lambda row: row.name)
def test_files(row, tmp_path):
    path = tmp_path / f"predict_net{row.suffix}"
    path.write_bytes(row.content)
    refused(row.error, row.message, lambda: row.read(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # and nothing is left over


@pytest.mark.parametrize("name", ["n.pb", "n.pbtxt"])
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (NetDef(op=[op("Relu", "x", "x")] * 100_001), "100001 operators, and 100000 is the limit"),
        (net(op("Relu", "x" * 4097, "y")), "a name of 4097 characters, and 4096 is the limit"),
        (net(op("", "x", "y")), "#0 has no type"),
        (nested(51), "nets are nested 51 deep, and 50 is the limit"),
    ],
    ids=["operators", "name", "type", "depth"],
)
def test_what_could_not_be_read_is_not_written(tmp_path, made, message, name):
    refused(ModelFormatError, message, lambda: write_message(tmp_path / name, made))
    assert list(tmp_path.iterdir()) == []


def test_there_are_enough_of_them():
    names = [row.name for row in (*NETS, *files.ROWS)]
    assert len(names) == len(set(names)) >= 150
