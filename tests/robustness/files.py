"""Files that are damaged, or something else than their name says: one row each."""

import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.adapters.db import Mode, open_database
from caffe2py.errors import (
    FileError,
    MemoryBudgetError,
    ModelFormatError,
    ShapeError,
    TrustError,
    UnsupportedError,
)
from caffe2py.predictor.inputs import read_arrays
from caffe2py.predictor.load import load_model
from caffe2py.predictor.load_weights import load_weights
from caffe2py.proto.caffe2_pb2 import (
    Argument,
    BlobProto,
    DBReaderProto,
    NetDef,
    OperatorDef,
    PlanDef,
    TensorProto,
    TensorProtos,
)
from caffe2py.proto.text import to_text
from caffe2py.tensor.serialize import blob_from_proto, parse_blob, tensor_from_proto
from caffe2py.training.checkpoint import read_checkpoint
from tests.toy import INIT, PREDICT, net, op


@dataclass(frozen=True)
class File:
    """Bytes in a file of this name, what reads it, and how that must end."""

    name: str
    content: bytes
    read: Callable[[Any], Any]
    error: type[Exception]
    message: str
    suffix: str = ".pb"


def _net(name, content, message, suffix=".pb"):
    content = content if isinstance(content, bytes) else content.SerializeToString()
    return File(name, content, load_model, ModelFormatError, message, suffix)


def _deep(levels):
    made = net(op("Relu", "x", "y"))
    for _ in range(levels):
        outer = NetDef()
        outer.arg.add(name="body").n.CopyFrom(made)
        made = outer
    return made


def _packed_deep(levels):
    """A net nested so deeply that no protobuf library writes it: made of bytes."""
    data = net(op("Relu", "x", "y")).SerializeToString()
    for _ in range(levels):
        argument = _field(Argument, "n") + _varint(len(data)) + data
        data = _field(NetDef, "arg") + _varint(len(argument)) + argument
    return data


def _field(message, name):
    """The tag of a field that has a length."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2)


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def _zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _long_name(length):
    return net(op("Relu", "x" * length, "y"))


BINARY = PREDICT.SerializeToString()
NETS = [
    _net("nothing", b"", "found nothing (0 bytes)"),
    _net("LFS pointer", b"version https://git-lfs.github.com/spec/v1\n", "a Git-LFS pointer"),
    _net("web page", b"<!DOCTYPE html>\n<html>", "found a web page"),
    _net("error page", b"<?xml version='1.0'?><Error/>", "found a web page"),
    _net("npy", _npy(np.zeros(3)), "found a NumPy array"),
    _net("npz", _npz(a=np.zeros(3)), "found a zip archive"),
    _net("gzip", b"\x1f\x8b\x08\x00\x00", "found a gzip archive"),
    _net("jpeg", b"\xff\xd8\xff\xe0", "found a JPEG image"),
    _net("png", b"\x89PNG\r\n\x1a\n", "found a PNG image"),
    _net("gif", b"GIF89a", "found a GIF image"),
    _net("hdf5", b"\x89HDF\r\n\x1a\n", "found an HDF5 file"),
    _net("pickle", b"\x80\x04\x95\x01\x00", "found a Python pickle"),
    _net("old pickle", b"\x80\x02}q\x00.", "found a Python pickle"),
    _net("tflite", b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
    _net("onnx", b"\x08\x07\x12\x07pytorch", "what looks like an ONNX model"),
    _net("prose", b"hello world\n", "found text that is none"),
    _net("text cut off", to_text(PREDICT).encode()[:40], "found text that is none"),
    _net("text, strange field", b'op { type: "Relu" colour: 3 }', "has no field 'colour'"),
    _net("text, not UTF-8", b'name: "\xff"\n', "text that is not UTF-8, at byte"),
    _net("text, deep", b"arg { n { " * 300 + b"} } " * 300, "nested"),
    _net("text, a number too large", b"num_workers: 99999999999999999999", "num_workers"),
    _net("Caffe 1, text", b'layer { name: "a" }', "Caffe 1 model"),
    _net("Caffe 1, old", b'layers { name: "a" }', "Caffe 1 model"),
    _net("truncated early", BINARY[:9], "truncated"),
    _net("truncated late", BINARY[:-2], "truncated"),
    _net("random", bytes(range(7, 200)), "expected a NetDef"),
    _net("zeros", bytes(64), "expected a NetDef"),
    _net("all ones", b"\xff" * 64, "expected a NetDef"),
    _net("a length of 2^63", b"\x12" + b"\xff" * 9 + b"\x01", "expected a NetDef"),
    _net("no operators", NetDef(name="n", external_input=["x"]), "holds no operators"),
    _net("operators without types", NetDef(op=[OperatorDef(output=["y"])]), "none has a type"),
    _net("one without a type", net(op("Relu", "x", "y"), op("", "y", "z")), "#1 has no type"),
    _net("a tensor", TensorProto(dims=[2], float_data=[1, 2], name="W"), "a TensorProto"),
    _net("tensors", TensorProtos(protos=[TensorProto(dims=[1], float_data=[1])]), "tensor"),
    _net("a blob", BlobProto(name="w", type="Tensor", content=b"a"), "a saved blob"),
    _net("51 nets deep", _packed_deep(51), "nested"),
    _net("5000 nets deep", _packed_deep(5000), "nested"),
    _net("a name of 4097", _long_name(4097), "a name of 4097 characters, and 4096 is the limit"),
    _net("a name of 1 MB", _long_name(1 << 20), "characters, and 4096 is the limit"),
    _net(
        "a name not UTF-8",
        BINARY.replace(b"Relu", b"\xff\xfe\xfd\xfc"),
        "is not UTF-8",
    ),
    _net("100 001 operators", NetDef(op=[op("Relu", "x", "x")] * 100_001), "100000 is the limit"),
    _net("a plan without nets", PlanDef(name="p"), "expected a NetDef"),
]

SWAPPED = [
    File(
        "an init net in the place of the other",
        INIT.SerializeToString(),
        lambda path: load_model(path, PREDICT),
        ModelFormatError,
        "swapped",
    ),
    File(
        "two init nets",
        INIT.SerializeToString(),
        lambda path: load_model(path, INIT),
        ModelFormatError,
        "is it an init net?",
    ),
]


# ---------------------------------------------------------------- tensors and blobs


def _tensor(name, error, message, **fields):
    proto = TensorProto(name="w", **fields)

    def read(path):
        found = TensorProto()
        found.ParseFromString(path.read_bytes())
        return tensor_from_proto(found)

    return File(f"tensor, {name}", proto.SerializeToString(), read, error, message)


def _blob(name, proto, error, message):
    def read(path):
        return blob_from_proto(parse_blob(path.read_bytes()), opens=False)

    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    return File(f"blob, {name}", content, read, error, message)


def _chunk(begin, end, count, dims):
    proto = TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT, float_data=[1] * count)
    proto.segment.begin, proto.segment.end = begin, end
    return BlobProto(name="w", type="Tensor", tensor=proto)


def _objects(levels):
    """Objects in the elements of tensors of objects."""
    inner = BlobProto(name="m", type="std::unique_ptr<std::mutex>")
    keys = TensorProto(dims=[1], data_type=TensorProto.INT64, int64_data=[1])
    for _ in range(levels):
        element = inner.SerializeToString()
        table = TensorProto(dims=[1], data_type=TensorProto.UNDEFINED, string_data=[element])
        content = TensorProtos(protos=[keys, table]).SerializeToString()
        inner = BlobProto(name="d", type=MAP, content=content)
    return inner


MAP = "(std::unordered_map<int64_t, int64_t>)"
READER = DBReaderProto(name="r", source="/etc/passwd", db_type="minidb")
TENSORS = [
    _tensor("too few values", ModelFormatError, "float_data", dims=[3], float_data=[1, 2]),
    _tensor("too many values", ModelFormatError, "float_data", dims=[1], float_data=[1, 2]),
    _tensor("no values", ModelFormatError, "float_data", dims=[3]),
    _tensor("negative dimension", ShapeError, "negative", dims=[-3], float_data=[1]),
    _tensor("dimensions overflow", MemoryBudgetError, "needs", dims=[2**40, 2**40]),
    _tensor("32 GB of nothing", ModelFormatError, "its dims need 8589934592", dims=[2**33]),
    _tensor("65 dimensions", ShapeError, "more than 64 dimensions", dims=[1] * 65, float_data=[1]),
    _tensor(
        "raw data of another length",
        ModelFormatError,
        "raw_data",
        dims=[2],
        raw_data=b"abc",
        storage_type=TensorProto.RAW,
    ),
    _tensor(
        "kept elsewhere",
        UnsupportedError,
        "not in the message",
        dims=[2],
        storage_type=TensorProto.EXTERNAL,
    ),
    _tensor(
        "integers too large",
        ModelFormatError,
        "which is no uint8",
        dims=[1],
        data_type=TensorProto.UINT8,
        int32_data=[256],
    ),
    _blob("nonsense", b"\xff\xff\xff", ModelFormatError, "Cannot parse content"),
    _blob("no type", BlobProto(name="w"), ModelFormatError, "has the type ''"),
    _blob("no tensor", BlobProto(name="w", type="Tensor"), ModelFormatError, "has the type"),
    _blob("unknown type", BlobProto(name="w", type="Queue"), ModelFormatError, "has the type"),
    _blob("60 objects deep", _objects(60), ModelFormatError, "nested more than 50 deep"),
    _blob("a chunk outside", _chunk(2, 9, 7, [4]), ModelFormatError, "lies outside of 4 elements"),
    _blob("a chunk backwards", _chunk(3, 1, 2, [4]), ModelFormatError, "lies outside"),
    _blob("a chunk too short", _chunk(0, 4, 3, [4]), ModelFormatError, "float_data"),
    _blob(
        "a reader of another file",
        BlobProto(name="r", type="DBReader", content=READER.SerializeToString()),
        TrustError,
        "is a DBReader, which would open a file that it names",
    ),
    _blob(
        "a reader of another file, as an element",
        BlobProto(
            name="r",
            type="Tensor",
            tensor=TensorProto(
                dims=[1],
                data_type=TensorProto.UNDEFINED,
                string_data=[
                    BlobProto(
                        name="r", type="DBReader", content=READER.SerializeToString()
                    ).SerializeToString()
                ],
            ),
        ),
        TrustError,
        "would open a file that it names",
    ),
]


# ---------------------------------------------------------------- databases, archives, weights


def _records(path):
    with open_database("minidb", str(path), Mode.read) as database:
        cursor = database.new_cursor()
        while cursor.valid():
            cursor.next()


def _minidb(name, content, message, error=ModelFormatError):
    return File(f"minidb, {name}", content, _records, error, message, ".minidb")


def _record(key, value):
    return struct.pack("<ii", len(key), len(value)) + key + value


META = b"!!META_NET_DEF"
DATABASES = [
    _minidb("half a header", b"\x01\x00\x00", "expected a header of 8 bytes, found 3 byte(s)"),
    _minidb("a negative key", struct.pack("<ii", -1, 4) + b"abcd", "found -1, 4"),
    _minidb("a negative value", struct.pack("<ii", 4, -9) + b"abcd", "found 4, -9"),
    _minidb("a value of 2 GB", struct.pack("<ii", 1, 2**31 - 1) + b"a", "a value of 2147483647"),
    _minidb("a key of 2 GB", struct.pack("<ii", 2**31 - 1, 1) + b"a", "a key of 2147483647"),
    _minidb("the second record", _record(b"a", b"b") + b"\x01", "record 1 at byte 10"),
    File(
        "predictor, not a table of contents",
        _record(META, b"\xff\xff"),
        load_model,
        ModelFormatError,
        "Cannot parse content",
        ".minidb",
    ),
    File(
        "predictor, a text for a table",
        _record(META, BlobProto(name="m", type="std::string", content=b"a").SerializeToString()),
        load_model,
        ModelFormatError,
        "is no MetaNetDef, or a damaged one",
        ".minidb",
    ),
    File(
        "predictor, a reader for a table",
        _record(
            META,
            BlobProto(
                name="m", type="DBReader", content=READER.SerializeToString()
            ).SerializeToString(),
        ),
        load_model,
        TrustError,
        "would open a file that it names",
        ".minidb",
    ),
    File(
        "predictor without anything",
        _record(b"other", b"x"),
        load_model,
        ModelFormatError,
        "is no saved predictor: no record '!!META_NET_DEF'",
        ".minidb",
    ),
    File("lmdb, zeros", bytes(8192), load_model, ModelFormatError, "is no lmdb", ".mdb"),
    File(
        "npz with a pickle",
        _npy(np.array([{}], object), allow_pickle=True),
        read_arrays,
        FileError,
        "holds Python objects (a pickle), which are never loaded",
        ".npy",
    ),
    File(
        "npz member with a pickle",
        _npz(a=np.array([print], object)),
        load_weights,
        FileError,
        "holds Python objects (a pickle), which are never loaded",
        ".npz",
    ),
    File("npz, not a zip", b"PK\x03\x04abc", read_arrays, FileError, "cannot be read", ".npz"),
    File("npy cut off", _npy(np.zeros(9))[:100], read_arrays, FileError, "cannot", ".npy"),
    File(
        "npy, a shape beyond the file",
        _npy(np.zeros(9)).replace(b"(9,)", b"(9000000000000,)")[:128],
        read_arrays,
        FileError,
        "cannot be read",
        ".npy",
    ),
    File(
        "checkpoint, no manifest",
        _zipped(a=b"a"),
        read_checkpoint,
        ModelFormatError,
        "is no sound checkpoint",
        ".npz",
    ),
    File(
        "checkpoint, a manifest of its own",
        _zipped(**{"manifest.json": b"{}"}),
        read_checkpoint,
        ModelFormatError,
        "its manifest is not what was written",
        ".npz",
    ),
    File(
        "checkpoint, no zip",
        b"\x00" * 100,
        read_checkpoint,
        ModelFormatError,
        "is no sound checkpoint",
        ".npz",
    ),
]


def _safetensors(name, message, header, body=b"", length=None):
    text = header if isinstance(header, bytes) else header.encode()
    size = struct.pack("<Q", len(text) if length is None else length)
    content = size + text + body
    return File(f"safetensors, {name}", content, load_weights, FileError, message, ".safetensors")


def _entry(begin, end, shape="[1]", dtype="F32"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


WEIGHTS = [
    _safetensors("empty", "invalid JSON", b"", length=0),
    _safetensors("a header of 2^63", "header too large", b"{}", length=2**63),
    _safetensors("a header beyond the file", "invalid header length", b"{}", length=1000),
    _safetensors("no JSON", "invalid JSON", b"{abc"),
    _safetensors("a list", "invalid JSON", b"[]"),
    _safetensors(
        "offsets beyond the file",
        "file not fully covered",
        f'{{"w":{_entry(0, 400, "[100]")}}}',
        b"abcd",
    ),
    _safetensors("offsets backwards", "invalid offset", f'{{"w":{_entry(4, 0)}}}', b"abcd"),
    _safetensors(
        "overlapping", "invalid offset", f'{{"w":{_entry(0, 4)},"v":{_entry(2, 6)}}}', b"abcdef"
    ),
    _safetensors(
        "a hole", "invalid offset", f'{{"w":{_entry(0, 4)},"v":{_entry(8, 12)}}}', bytes(12)
    ),
    _safetensors(
        "a shape of another size", "invalid shape", f'{{"w":{_entry(0, 4, "[9]")}}}', b"abcd"
    ),
    _safetensors(
        "a shape that overflows", "overflow", f'{{"w":{_entry(0, 4, f"[{2**62},8]")}}}', b"abcd"
    ),
    _safetensors(
        "a type there is not", "unknown variant", f'{{"w":{_entry(0, 4, dtype="Q7")}}}', b"abcd"
    ),
    _safetensors("a negative shape", "invalid value", f'{{"w":{_entry(0, 4, "[-1]")}}}', b"abcd"),
]

ROWS = [*NETS, *SWAPPED, *TENSORS, *DATABASES, *WEIGHTS]
