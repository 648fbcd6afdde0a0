"""Nets and plans from files and to files."""

import contextlib
import io
import logging
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe2py.errors import Error, FileError, ModelFormatError, UsageError
from caffe2py.proto import files, metanet_pb2
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import (
    BackendOptions,
    BlobProto,
    ExecutionStep,
    NetDef,
    OperatorDef,
    PartitionInfo,
    PlanDef,
    TensorProto,
    TensorProtos,
)
from caffe2py.proto.files import read_net, read_net_or_plan, write_message
from caffe2py.proto.text import to_text

NET = NetDef(
    name="net",
    type="dag",
    num_workers=2,
    external_input=["X"],
    op=[
        OperatorDef(type="Relu", input=["X"], output=["Y"]),
        OperatorDef(type="Conv", input=["Y"], output=["Z"], arg=[make_argument("kernel", 3)]),
    ],
)
PLAN = PlanDef(
    name="plan", network=[NET], execution_step=[ExecutionStep(name="step", network=["net"])]
)
STEPS_ONLY = PlanDef(execution_step=PLAN.execution_step)
BINARY = NET.SerializeToString()
TENSOR = TensorProto(dims=[2, 3], float_data=[0.5] * 6, name="W")


def saved(tmp_path, data, name="model.pb"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def deep_net(levels, through_operators):
    net = NET
    for _ in range(levels):
        outer = NetDef()
        owner = outer.op.add(type="If") if through_operators else outer
        owner.arg.add(name="body").n.CopyFrom(net)
        net = outer
    return net


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("net.pb", b"x")
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


# What reads, whatever the file is called.


@pytest.mark.parametrize("name", ["net.pb", "net.pbtxt", "net"])
@pytest.mark.parametrize(
    "data", [BINARY, to_text(NET).encode(), b"\xef\xbb\xbf" + to_text(NET).encode()]
)
def test_content_decides_not_the_name(tmp_path, name, data):
    path = saved(tmp_path, data, name)
    assert read_net(path) == NET
    assert read_net(str(path)) == NET
    assert read_net_or_plan(path) == NET


@pytest.mark.parametrize("source", [BINARY, bytearray(BINARY), memoryview(BINARY)])
def test_bytes(source):
    assert read_net(source) == NET


@pytest.mark.parametrize("message", [NET, NetDef()])
def test_a_net_is_returned_as_it_is(message):
    assert read_net(message) is message
    assert read_net_or_plan(message) is message


@pytest.mark.parametrize("plan", [PLAN, STEPS_ONLY], ids=["nets", "steps"])
@pytest.mark.parametrize("form", ["object", "binary", "text"])
def test_plans(plan, form):
    source = {"object": plan, "binary": plan.SerializeToString(), "text": to_text(plan).encode()}
    assert read_net_or_plan(source[form]) == plan
    with pytest.raises(ModelFormatError, match=r"expected a NetDef, found a PlanDef with \d nets"):
        read_net(source[form])


def test_empty_nets_read_on_request():
    empty = NetDef(name="init", external_input=["X"])
    assert read_net(empty.SerializeToString(), allow_empty=True) == empty
    assert read_net(to_text(empty).encode(), allow_empty=True) == empty


@pytest.mark.parametrize(("levels", "through_operators"), [(32, True), (49, False)])
def test_nets_as_deep_as_allowed(levels, through_operators):
    net = deep_net(levels, through_operators)
    outer = NetDef()
    outer.CopyFrom(net)
    outer.op.add(type="Relu")
    if not through_operators:  # the nets between have no operators, and need none
        net = outer
    assert read_net(net.SerializeToString()) == net


# What does not, and what is said.


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", r"nothing \(0 bytes\) \(try: download or export it again\)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            r"a Git-LFS pointer, .* \(try: git lfs pull\)",
        ),
        (b"<!DOCTYPE html>\n<html></html>", "a web page .*download the file itself"),
        (b"\n <HTML><body>404", "a web page"),
        (b"<?xml version='1.0'?><Error/>", "a web page"),
        (npy(), r"a NumPy array \(.npy\) \(try: give it as an input\)"),
        (zipped(), "a zip archive"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x80\x04\x95\x00", "a Python pickle"),
        (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
        (b"\x08\x07\x12\x07pytorch", "what looks like an ONNX model"),
        (TENSOR.SerializeToString(), r"a TensorProto of shape \(2, 3\) .*give it as an input"),
        (TensorProtos(protos=[TENSOR] * 2).SerializeToString(), "a TensorProtos with 2 tensors"),
        (
            BlobProto(name="W", type="Tensor", tensor=TENSOR).SerializeToString(),
            r"a saved blob \(BlobProto\) named 'W'",
        ),
        (NetDef(name="n").SerializeToString(), "a net named 'n' that holds no operators"),
        (b'name: "n"', "a net named 'n' that holds no operators"),
        (b"# nothing\n", "a net that holds no operators"),
        (b"\x98\x06\x01", "another kind of message: it holds no operators"),
        (b"\xa2\x06\x02\x0a\x00", "a message without operators .*looks like a Caffe 1 model"),
        (NetDef(op=[{"input": ["X"]}] * 2).SerializeToString(), "2 operators of which none has"),
        (b'name: "x"\nlayer {\n}', "text that is none; line 2: .*looks like a Caffe 1 model"),
        (b'{"a": 1}', "text that is none; line 1: not a text NetDef"),
        (b"Not found", "text that is none; line 1: caffe2.NetDef has no field 'Not'"),
        (b'name: "\xff"', "text that is not UTF-8, at byte 7"),
        (b"\x00" * 64, "64 bytes that are no protobuf message from byte 0 on"),
        (b"\x0a\x01a\x07" + b"\x00" * 9, "13 bytes that are no protobuf message from byte 3 on"),
        (b"\x0a\x01a\x32\x02\x0a\x09", "a damaged one: field 'arg' in bytes 3 to 7 of 7 cannot"),
        (b"\x0a\x01a" + b"\xff" * 12, "15 bytes that are no protobuf message from byte 3 on"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_net(tmp_path, data, found):
    path = saved(tmp_path, data)
    with pytest.raises(ModelFormatError, match=rf"model\.pb: expected a NetDef, found {found}"):
        read_net(path)


@pytest.mark.parametrize(
    ("size", "field", "byte", "missing"),
    [
        (1 + len(BINARY) // 2, "field 'op'", 19, 17),
        (3, "field 'name'", 0, 2),
        (len(BINARY) - 1, "field 'external_input'", len(BINARY) - 3, 1),
        (len(BINARY) - 2, "field 'external_input'", len(BINARY) - 3, 1),
    ],
)
def test_truncated_files(tmp_path, size, field, byte, missing):
    with pytest.raises(ModelFormatError) as caught:
        read_net(saved(tmp_path, BINARY[:size]))
    assert str(caught.value) == (
        f"{tmp_path}/model.pb: expected a NetDef, found a truncated one: it ends after {size} "
        f"bytes, and {field} at byte {byte} needs at least {missing} more "
        "(try: download or copy it again)"
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (deep_net(34, True), "expected a NetDef, found messages nested more than 100 deep"),
        (deep_net(300, False), "expected a NetDef, found messages nested more than 100 deep"),
        (NetDef(op=[NET.op[0], OperatorDef(input=["X"])]), "operator #1 has no type"),
        (NetDef(op=[OperatorDef(type="A" * 4097)]), "operator #0: a name of 4097 characters, and"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nets_that_are_refused(message, reason):
    with pytest.raises(ModelFormatError, match=f"bytes: {reason}"):
        read_net(message.SerializeToString())


def test_names_must_be_utf8():
    data = BINARY.replace(b"Relu", b"Re\xffu")
    with pytest.raises(ModelFormatError, match=r"operator #0: the name b'Re\\xffu' is not UTF-8"):
        read_net(data)


def test_nested_nets_are_checked_too():
    net = NetDef(op=[OperatorDef(type="If", arg=[make_argument("then", NetDef(op=[{}]))])])
    with pytest.raises(ModelFormatError, match="operator #0 has no type"):
        read_net(net.SerializeToString())


def test_required_fields():
    net = NetDef(op=NET.op, partition_info=[PartitionInfo(backend_options=[BackendOptions()])])
    with pytest.raises(ModelFormatError, match=r"a required field is missing: partition_info\[0\]"):
        read_net(net.SerializePartialToString())


def test_too_deep_a_net_object():
    with pytest.raises(ModelFormatError, match="message: nets are nested 60 deep, and 50 is the"):
        read_net(deep_net(60, False))


def test_another_type_of_source():
    with pytest.raises(UsageError, match="expected a path, bytes or a NetDef, found int"):
        read_net(3)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("absent.pb", r"absent\.pb: no such file \(try: check the path\)"),
        ("absent/net.pb", r"absent/net\.pb: no such file"),
        (".", "expected a file, found a folder"),
        ("/dev/null", "/dev/null: expected a file, found a device, pipe or socket"),
        ("a\0b", "cannot be read: embedded null"),
        ("x" * 5000, "cannot be read: File name too long"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_files_that_cannot_be_read(tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=reason):
        read_net(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission(tmp_path):
    path = saved(tmp_path, BINARY)
    path.chmod(0)
    with pytest.raises(FileError, match=r"model\.pb: cannot be read: Permission denied"):
        read_net(path)


def test_a_file_over_2_gb_is_not_even_read(tmp_path):
    path = tmp_path / "huge.pb"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ModelFormatError, match="found 2147483648 bytes, more than a protobuf"):
        read_net(path)


def test_unknown_fields_are_reported(caplog):
    with caplog.at_level(logging.WARNING, logger="caffe2py"):
        assert read_net(BINARY + b"\xd8\x07\x01").op == NET.op
    assert caplog.messages == ["bytes: ignoring unknown fields, numbers [123]"]


# Nothing but our own errors, whatever the bytes.


def only_our_errors(data):
    with contextlib.suppress(Error):
        read_net_or_plan(data)


@pytest.mark.parametrize("size", range(len(BINARY)))
def test_every_truncation(size):
    only_our_errors(BINARY[:size])
    only_our_errors(PLAN.SerializeToString()[:size])
    only_our_errors(to_text(NET).encode()[:size])


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes(data):
    only_our_errors(data)


@settings(deadline=None)
@given(st.data())
def test_damaged_bytes(data):
    damaged = bytearray(data.draw(st.sampled_from([BINARY, PLAN.SerializeToString()])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    only_our_errors(bytes(damaged))


# Writing.


@pytest.mark.parametrize("message", [NET, PLAN, TENSOR], ids=["net", "plan", "tensor"])
def test_write_binary(tmp_path, message):
    write_message(tmp_path / "m.pb", message)
    assert (tmp_path / "m.pb").read_bytes() == message.SerializeToString()
    assert names_in(tmp_path) == ["m.pb"]


@pytest.mark.parametrize("name", ["m.pbtxt", "m.PROTOTXT"])
def test_write_text(tmp_path, name):
    write_message(str(tmp_path / name), NET)
    assert (tmp_path / name).read_text() == to_text(NET)
    assert read_net(tmp_path / name) == NET


def test_write_replaces_a_file_and_keeps_a_link(tmp_path):
    real, link = tmp_path / "real.pb", tmp_path / "link.pb"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_message(link, NET)
    assert link.is_symlink()
    assert read_net(real) == NET


@pytest.mark.parametrize("suffix", ["pb", "pbtxt"])
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (deep_net(51, False), "nets are nested 51 deep, and 50 is the limit"),
        (deep_net(34, True), "messages are nested 104 deep, and 100 is the limit"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, message, reason, suffix):
    path = saved(tmp_path, b"old", f"m.{suffix}")
    with pytest.raises(ModelFormatError, match=rf"m\.{suffix}: {reason}"):
        write_message(path, message)
    assert path.read_bytes() == b"old"


def test_a_required_field_is_missing_on_writing(tmp_path):
    with pytest.raises(ModelFormatError, match=r"m\.pb: cannot be written: .*required fields"):
        write_message(tmp_path / "m.pb", metanet_pb2.BlobsMap())
    assert names_in(tmp_path) == []


def test_a_message_over_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    with pytest.raises(
        ModelFormatError, match=f"{len(BINARY)} bytes, more than a protobuf message"
    ):
        write_message(tmp_path / "m.pb", NET)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("absent/m.pb", "cannot be written: No such file or directory"),
        (".", "cannot be written"),
        ("a\0b", "cannot be written: embedded null"),
    ],
)
def test_files_that_cannot_be_written(tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=reason):
        write_message(path, NET)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = saved(tmp_path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(FileError, match=r"model\.pb: cannot be written: No space left on device"):
        write_message(path, NET)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["model.pb"]
