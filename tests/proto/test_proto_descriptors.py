"""The generated modules say what Caffe2's own say, number by number, and are not stale."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from caffe2py import proto
from caffe2py.proto import caffe2_pb2

ROOT = Path(proto.__file__).parents[2]
# File -> message or enum -> its fields as "number label type name = default packed".
WIRE = json.loads((Path(__file__).parent / "wire.json").read_text())

TYPE_NAMES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def _type(field):
    if field.message_type is not None:
        return field.message_type.full_name
    return TYPE_NAMES[field.type] if field.enum_type is None else field.enum_type.full_name


def _default(field):
    if not field.has_default_value:
        return ""
    value = field.default_value
    if field.enum_type is not None:
        value = field.enum_type.values_by_number[value].name
    elif field.type == FieldDescriptor.TYPE_BOOL:
        value = str(value).lower()
    return f" = {value}"


def _row(field):
    label = "repeated" if field.is_repeated else "required" if field.is_required else "optional"
    packed = " packed" if field.is_repeated and field.is_packed else ""
    return f"{field.number} {label} {_type(field)} {field.name}{_default(field)}{packed}"


def _enums(enums, prefix=""):
    for enum in enums:
        rows = [f"{value.name} = {value.number}" for value in enum.values]
        yield f"enum {prefix}{enum.name}", rows


def _contents(file):
    found = dict(_enums(file.enum_types_by_name.values()))
    todo = list(file.message_types_by_name.values())
    for message in todo:  # grows while it is walked
        name = message.full_name.removeprefix("caffe2.")
        found[name] = [_row(field) for field in message.fields]
        found |= _enums(message.enum_types, f"{name}.")
        todo.extend(message.nested_types)
    return found


@pytest.mark.parametrize("file", WIRE)
def test_descriptor_equals_the_table(file):
    module = importlib.import_module(f"caffe2py.proto.{Path(file).stem}_pb2")
    assert module.DESCRIPTOR.name == file
    assert module.DESCRIPTOR.package == "caffe2"
    assert _contents(module.DESCRIPTOR) == WIRE[file]


def test_the_table_is_complete():
    ours = {p.stem for p in (ROOT / "proto").glob("*.proto")} - {"caffe"}  # Caffe 1's, a part of it
    assert {Path(file).stem for file in WIRE} == ours
    assert sum(len(message) for file in WIRE.values() for message in file.values()) > 200


def test_modules_name_themselves():
    assert caffe2_pb2.NetDef.__module__ == "caffe2py.proto.caffe2_pb2"
    assert caffe2_pb2.NetDef.DESCRIPTOR.full_name == "caffe2.NetDef"


def test_predictor_constants_are_readable_as_defaults():
    from caffe2py.proto import predictor_consts_pb2

    consts = predictor_consts_pb2.PredictorConsts()
    assert consts.META_NET_DEF == "!!META_NET_DEF"


@pytest.mark.parametrize(
    ("alias", "number"),
    [
        ("CPU", 0),
        ("CUDA", 1),
        ("MKLDNN", 2),
        ("OPENGL", 3),
        ("OPENCL", 4),
        ("IDEEP", 5),
        ("HIP", 6),
        ("COMPILE_TIME_MAX_DEVICE_TYPES", 10),
    ],
)
def test_short_names_of_devices(alias, number):
    assert getattr(proto, alias) == getattr(caffe2_pb2, alias) == number
    assert getattr(caffe2_pb2, f"PROTO_{alias}") == number


def _gen_proto(*arguments):
    pytest.importorskip("grpc_tools", reason="grpcio-tools generates the modules")
    script = ROOT / "tools" / "gen_proto.py"
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )


def test_generated_code_is_fresh():
    done = _gen_proto("--check")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_stale_code_is_noticed(tmp_path, monkeypatch, capsys):
    pytest.importorskip("grpc_tools", reason="grpcio-tools generates the modules")
    spec = importlib.util.spec_from_file_location("gen_proto", ROOT / "tools" / "gen_proto.py")
    gen_proto = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gen_proto)
    monkeypatch.setattr(gen_proto, "ROOT", tmp_path)
    monkeypatch.setattr(gen_proto, "TARGET", tmp_path)
    (tmp_path / "a_pb2.py").write_text("one\ntwo\n")
    (tmp_path / "old_pb2.py").write_text("gone\n")
    assert gen_proto.check({"a_pb2.py": "one\nthree\n"}) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a_pb2.py: stale, +1 -1 lines",
        "old_pb2.py: stale, +0 -1 lines",
        "run tools/gen_proto.py",
    ]
    assert gen_proto.check({"a_pb2.py": "one\ntwo\n", "old_pb2.py": "gone\n"}) == 0
