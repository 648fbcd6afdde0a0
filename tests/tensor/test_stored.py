"""Saved nets whose weights go from the file to arrays."""

import os

import numpy as np
import pytest

from caffe2py import core
from caffe2py.errors import ArgumentError, Error, FileError, ModelFormatError, ShapeError
from caffe2py.executor.workspace import Workspace
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session
from caffe2py.proto.caffe2_pb2 import Argument, NetDef, OperatorDef
from caffe2py.proto.files import read_net
from caffe2py.registry.operator import takes_apart
from caffe2py.tensor import stored
from caffe2py.tensor.stored import read_stored_net

COUNT = 70_000
VALUES = np.random.default_rng(0).standard_normal(COUNT).astype(np.float32)
VALUES[:4] = np.nan, np.inf, -np.inf, -0.0
TAG = 5 << 3 | 5
PACKED = 5 << 3 | 2


def fill(name, values=VALUES, type_="GivenTensorFill", **kwargs):
    return core.CreateOperator(type_, [], [name], shape=[len(values)], values=values, **kwargs)


def init(*ops):
    return NetDef(name="init", op=ops)


NET = init(fill("a"), fill("short", VALUES[4:20]), fill("b", VALUES[::-1]))


def varint(value):
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def message(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def by_hand(values):
    """A net of one fill whose argument `values` has these bytes."""
    shape = Argument(name="shape", ints=[COUNT]).SerializeToString()
    op = message(2, b"a") + message(4, b"GivenTensorFill") + message(5, shape)
    return message(2, op + message(5, message(1, b"values") + values)) + message(1, b"init")


def records(values):
    out = np.full((len(values), 5), TAG, np.uint8)
    out[:, 1:] = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4)
    return out.tobytes()


def run(found):
    workspace = Workspace()
    workspace.run_net_once(found.net, found.values)
    return workspace


def same(workspace, name, values):
    found = workspace.fetch(name)
    return np.array_equal(found.view(np.uint32), np.ascontiguousarray(values).view(np.uint32))


@pytest.fixture(params=["file", "bytes", "memoryview"])
def source(request, tmp_path):
    def give(data):
        if request.param == "file":
            path = tmp_path / "net.pb"
            path.write_bytes(data)
            return path
        return data if request.param == "bytes" else memoryview(data)

    return give


def test_long_lists_are_arrays(source):
    found = read_stored_net(source(NET.SerializeToString()), takes_apart)
    assert sorted(found.values) == [(0, "values"), (2, "values")]
    assert [len(op.arg[1].floats) for op in found.net.op] == [0, 16, 0]
    workspace = run(found)
    assert same(workspace, "a", VALUES)
    assert same(workspace, "b", VALUES[::-1])
    assert same(workspace, "short", VALUES[4:20])


def test_blobs_own_their_arrays(source):
    found = read_stored_net(source(NET.SerializeToString()), takes_apart)
    tensor = run(found).blob("a").tensor()
    assert tensor.array.ctypes.data % 64 == 0
    assert np.shares_memory(tensor.array, found.values[0, "values"])
    assert not tensor.lent


@pytest.mark.parametrize(
    "values",
    [
        records(VALUES),
        varint(PACKED) + varint(VALUES.nbytes) + VALUES.tobytes(),
    ],
    ids=["records", "packed"],
)
def test_both_forms_of_lists(source, values):
    found = read_stored_net(source(by_hand(values)), takes_apart)
    assert (0, "values") in found.values
    assert same(run(found), "a", VALUES)


ODD = {
    "a name behind": records(VALUES) + message(1, b"values"),
    "in two parts": b"".join(
        varint(PACKED) + varint(part.nbytes) + part.tobytes() for part in np.split(VALUES, 2)
    ),
    "both forms": records(VALUES[:9])
    + varint(PACKED)
    + varint(4 * (COUNT - 9))
    + VALUES[9:].tobytes(),
    "another field between": records(VALUES[:9]) + message(1, b"values") + records(VALUES[9:]),
    "a long tag": bytes([TAG | 0x80, 0]) + VALUES[:1].tobytes() + records(VALUES[1:]),
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD.keys())
def test_lists_out_of_the_ordinary_are_left_to_protobuf(source, values):
    found = read_stored_net(source(by_hand(values)), takes_apart)
    assert found.values == {}
    assert same(run(found), "a", VALUES)


def test_five_byte_fields_of_another_number_are_not_taken_for_floats(source):
    """They have the length of records of floats: only their tags tell."""
    other = np.frombuffer(records(VALUES), np.uint8).reshape(-1, 5).copy()
    other[COUNT // 2, 0] = 2 << 3 | 5  # the argument's f
    found = read_stored_net(source(by_hand(other.tobytes())), takes_apart)
    assert found.values == {}
    assert len(found.net.op[0].arg[1].floats) == COUNT - 1


def test_operators_that_want_the_message_get_it(source):
    argument = Argument(name="values", floats=VALUES[4:])
    net = init(OperatorDef(type="Unheard", arg=[argument]), fill("a"))
    found = read_stored_net(source(net.SerializeToString()), takes_apart)
    assert list(found.values) == [(1, "values")]
    assert found.net.op[0] == net.op[0]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"op {" + b" " * 300_000, bytes(300_000), b"\xff" * 300_000],
    ids=["nothing", "one byte", "text", "zeros", "ones"],
)
def test_errors_are_those_of_any_net(source, data):
    with pytest.raises(ModelFormatError) as expected:
        read_net(source(data))
    with pytest.raises(ModelFormatError) as found:
        read_stored_net(source(data), takes_apart)
    assert str(found.value) == str(expected.value)


def test_text_is_read_as_ever(tmp_path):
    path = tmp_path / "net.pbtxt"
    path.write_text(f"# {'x' * 300_000}\nname: 'n' op {{ type: 'Relu' }}")
    assert read_stored_net(path, takes_apart).net.name == "n"


@pytest.mark.parametrize("cut", [1, 5, 1000, 300_000])
def test_truncated_files(source, cut):
    data = NET.SerializeToString()[:-cut]
    with pytest.raises(ModelFormatError) as expected:
        read_net(source(data))
    with pytest.raises(ModelFormatError) as found:
        read_stored_net(source(data), takes_apart)
    assert str(found.value) == str(expected.value)


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "net.pb"
    path.write_bytes(NET.SerializeToString())
    arrays = stored._arrays

    def shrunk(sizes):
        os.truncate(path, 1000)
        return arrays(sizes)

    monkeypatch.setattr(stored, "_arrays", shrunk)
    with pytest.raises(ModelFormatError):
        read_stored_net(path, takes_apart)


@pytest.mark.parametrize("what", ["absent", "folder", "pipe"])
def test_what_is_no_file(tmp_path, what):
    path = tmp_path / "net.pb"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    with pytest.raises(FileError):
        read_stored_net(path, takes_apart)


def test_every_flipped_byte_around_the_lists_is_survived():
    """Either it is read as protobuf reads it, or refused."""
    data = NET.SerializeToString()
    for at in [*range(60), *range(COUNT * 5 + 20, COUNT * 5 + 90)]:
        broken = data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :]
        try:
            expected = read_net(broken)
        except Error:
            with pytest.raises(Error):
                read_stored_net(broken, takes_apart)
            continue
        found = read_stored_net(broken, takes_apart)
        for (index, _), array in found.values.items():
            wanted = np.array(expected.op[index].arg[1].floats, np.float32)
            assert np.array_equal(array[4:], wanted[4:], equal_nan=True)


def test_other_types(source):
    double = init(fill("a", type_="GivenTensorDoubleFill"))
    made = run(read_stored_net(source(double.SerializeToString()), takes_apart)).fetch("a")
    assert made.dtype == np.float64
    assert np.array_equal(made, VALUES.astype(np.float64), equal_nan=True)
    whole = init(fill("a", type_="GivenTensorIntFill"))
    with pytest.raises(ArgumentError, match="expected a list of ints, found a list of floats"):
        run(read_stored_net(source(whole.SerializeToString()), takes_apart))


def test_a_shape_for_another_number_of_values(source):
    net = init(fill("a"))
    net.op[0].arg[0].ints[0] += 1
    with pytest.raises(ShapeError, match=f"has {COUNT} value"):
        run(read_stored_net(source(net.SerializeToString()), takes_apart))


def test_a_model_on_disk_gives_the_same_either_way(tmp_path):
    predict = NetDef(
        name="predict",
        op=[core.CreateOperator("Add", ["x", "a"], ["y"])],
        external_input=["x", "a"],
        external_output=["y"],
    )
    (tmp_path / "predict_net.pb").write_bytes(predict.SerializeToString())
    (tmp_path / "init_net.pb").write_bytes(NET.SerializeToString())
    results = []
    for apart in (False, True):
        model = load_model(tmp_path, apart=apart)
        assert model.inputs == ("x",)
        assert bool(model.weights) == apart
        session = Session(model)
        session.feed("x", np.ones(COUNT, np.float32))
        session.run()
        results.append(session.fetch(["y"])["y"])
    assert np.array_equal(*results, equal_nan=True)
