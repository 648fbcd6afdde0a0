"""Our messages load whatever another Caffe2 did to the default descriptor pool before."""

import subprocess
import sys
from pathlib import Path

import pytest

import caffe2py

ROOT = Path(caffe2py.__file__).parents[1]

# Puts a foreign file into the default pool, as another package's caffe2_pb2 would.
FOREIGN = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
def register(name, message, field):
    file = descriptor_pb2.FileDescriptorProto(name=name, package="caffe2", syntax="proto2")
    file.message_type.add(name=message).field.add(name=field, number=1, type=9, label=1)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    return descriptor_pool.Default().FindMessageTypeByName(f"caffe2.{message}")
"""

IDENTICAL = """
import ast, pathlib, re
from google.protobuf import descriptor_pool, message_factory
source = pathlib.Path("caffe2py/proto/descriptors_pb2.py").read_text()
files = ast.literal_eval(re.search(r"FILES = (.*)", source, re.S)[1])
for file in files[:2]:
    descriptor_pool.Default().AddSerializedFile(file)
theirs = descriptor_pool.Default().FindMessageTypeByName("caffe2.NetDef")
"""

# Ours must work in full, across files too, and be apart from (or the same as) theirs.
OURS = """
from google.protobuf import descriptor_pool
from caffe2py.proto import caffe2_pb2, metanet_pb2, hsm_pb2, prof_dag_pb2, predictor_consts_pb2
from caffe2py.proto.pool import pool
net = caffe2_pb2.NetDef(name="n")
net.op.add(type="Relu", input=["X"], output=["Y"])
meta = metanet_pb2.MetaNetDef()
meta.nets.add(key="k", value=net)
again = metanet_pb2.MetaNetDef.FromString(meta.SerializeToString())
assert again == meta
assert type(again.nets[0].value) is caffe2_pb2.NetDef
assert caffe2_pb2.DESCRIPTOR.name == "caffe2/proto/caffe2.proto"
assert caffe2_pb2.CUDA == 1
private = pool() is not descriptor_pool.Default()
"""


def _run(*parts):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(parts)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_alone_we_use_the_default_pool():
    assert _run(OURS, "print(private)") == ["False"]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("caffe2/proto/caffe2.proto", "NetDef"),  # the same file with other contents
        ("caffe2/proto/caffe2.proto", "Foreign"),
        ("caffe2/proto/metanet.proto", "Foreign"),  # a file that ours import or are imported by
        ("elsewhere/caffe2.proto", "NetDef"),  # the same message from another file
    ],
)
def test_beside_a_different_caffe2_we_use_a_private_pool(file, message):
    theirs = f"theirs = register({file!r}, {message!r}, 'foreign')"
    after = """
cls = message_factory.GetMessageClass(theirs)
assert cls(foreign="f").SerializeToString() == b"\\n\\x01f"
assert theirs is not caffe2_pb2.NetDef.DESCRIPTOR
print(private)
"""
    assert _run(FOREIGN, theirs, OURS, after) == ["True"]


def test_with_an_identical_caffe2_we_share_the_messages():
    after = "print(private, theirs is caffe2_pb2.NetDef.DESCRIPTOR)"
    assert _run(IDENTICAL, OURS, after) == ["False", "True"]


def test_an_unrelated_file_does_not_matter():
    theirs = "register('unrelated.proto', 'SomethingElse', 'x')"
    assert _run(FOREIGN, theirs, OURS, "print(private)") == ["False"]
