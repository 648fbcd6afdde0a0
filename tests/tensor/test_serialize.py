"""Tensors and blobs as messages: the bytes of the real Caffe2, all forms of storage, refusals."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from caffe2py.errors import (
    ArgumentError,
    BlobTypeError,
    Error,
    MemoryBudgetError,
    ModelFormatError,
    ShapeError,
    UnsupportedError,
)
from caffe2py.proto.caffe2_pb2 import BlobProto, TensorProto, TensorProtos
from caffe2py.tensor.serialize import (
    assemble,
    blob_from_proto,
    blob_to_protos,
    chunks,
    parse_blob,
    put_chunk,
    serialize_blob,
    tensor_from_proto,
    tensor_to_proto,
)
from caffe2py.tensor.types import DTYPE_OF, STRING

WIRE = Path(__file__).parents[1] / "golden" / "wire.npz"
DTYPES = sorted({dtype for dtype in DTYPE_OF.values() if dtype != STRING}, key=str)


def _golden():
    with np.load(WIRE) as file:
        return dict(np.load(io.BytesIO(file["npz"].tobytes())))


GOLDEN = _golden()


def _value(key):
    if key in GOLDEN:
        return GOLDEN[key]
    texts = np.array(json.loads(GOLDEN[f"{key}_str"].tobytes()), dtype="U")
    return np.array([text.encode() for text in texts.reshape(-1)], object).reshape(texts.shape)


def _prefixes(part):
    return sorted(key.removesuffix(part) for key in GOLDEN if key.endswith(f"/{part}"))


def _same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tolist() == expected.tolist() or found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("prefix", _prefixes("BlobProto"))
def test_blobs_as_caffe2_writes_them(prefix):
    data, value = GOLDEN[f"{prefix}BlobProto"].tobytes(), _value(f"{prefix}value")
    _same(blob_from_proto(parse_blob(data)), value)
    assert serialize_blob("blob", value) == data


@pytest.mark.parametrize("prefix", _prefixes("chunk0"))
def test_chunks_as_caffe2_writes_them(prefix):
    value = _value(f"{prefix}value")
    count = sum(key.startswith(f"{prefix}chunk") for key in GOLDEN)
    records = [GOLDEN[f"{prefix}chunk{k}"].tobytes() for k in range(count)]
    protos = [parse_blob(record) for record in records]
    size = protos[0].tensor.segment.end
    assert [b.SerializeToString() for b in blob_to_protos("blob", value, size)] == records
    _same(assemble(proto.tensor for proto in reversed(protos)), value)
    before = None
    for proto in protos:
        before = blob_from_proto(proto, before)
    _same(before, value)


@pytest.mark.parametrize("prefix", _prefixes("TensorProtos"))
def test_tensor_protos_of_caffe2(prefix):
    message = TensorProtos.FromString(GOLDEN[f"{prefix}TensorProtos"].tobytes())
    assert len(message.protos) == 3
    for index, proto in enumerate(message.protos):
        _same(tensor_from_proto(proto), _value(f"{prefix}value{index}"))


@given(st.data())
def test_round_trip(data):
    dtype = data.draw(st.sampled_from(DTYPES))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
    proto = tensor_to_proto(array, "name")
    assert proto.name == "name"
    _same(tensor_from_proto(TensorProto.FromString(proto.SerializeToString())), array)
    size = data.draw(st.integers(1, 5))
    parts = list(chunks(array, "name", size))
    assert len(parts) == max(-(-array.size // size), 1)
    _same(assemble(data.draw(st.permutations(parts))), array)


@given(hnp.arrays(object, hnp.array_shapes(min_dims=0, max_side=3), elements=st.binary()))
def test_round_trip_of_strings(array):
    _same(tensor_from_proto(tensor_to_proto(array)), array)
    _same(assemble(chunks(array, size=2)), array)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_raw(dtype):
    array = np.array([[0, 1, 2]]).astype(dtype)
    number = tensor_to_proto(array).data_type
    raw = TensorProto(dims=[1, 3], data_type=number, raw_data=array.tobytes())
    _same(tensor_from_proto(raw), array)
    raw.storage_type = TensorProto.RAW
    _same(tensor_from_proto(raw), array)
    raw.raw_data += b"\0"
    with pytest.raises(ModelFormatError, match="Incorrect proto field size: raw_data holds"):
        tensor_from_proto(raw)


def test_small_types_as_bytes():
    for number, dtype in [
        (TensorProto.BYTE, "uint8"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.INT8, "int8"),
        (TensorProto.FLOAT16, "float16"),
    ]:
        array = np.array([1, 2]).astype(dtype)
        proto = TensorProto(dims=[2], data_type=number, byte_data=array.tobytes())
        _same(tensor_from_proto(proto), array)


def test_what_becomes_an_array():
    assert tensor_to_proto(2.5).double_data == [2.5]
    assert tensor_to_proto([[1, 2]]).dims == [1, 2]
    assert tensor_to_proto(["a", b"b"]).string_data == [b"a", b"b"]
    assert tensor_to_proto(np.arange(6).reshape(2, 3)[:, ::2]).int64_data == [0, 2, 3, 5]
    assert tensor_to_proto(np.array([1.0], ">f4")).float_data == [1.0]


def _tensor(run=None, **fields):
    proto = TensorProto(name="who", **fields)
    if run is not None:
        proto.segment.begin, proto.segment.end = run
    return proto


REFUSED = [
    (
        _tensor(dims=[2], float_data=[1]),
        ModelFormatError,
        r"float_data holds 1 value\(s\), .* need 2",
    ),
    (_tensor(dims=[1], float_data=[1, 2]), ModelFormatError, "float_data holds 2"),
    (_tensor(dims=[2], int64_data=[1, 2]), ModelFormatError, "float_data holds 0"),
    (_tensor(dims=[1], data_type=4), ModelFormatError, "string_data holds 0"),
    (
        _tensor(dims=[1], data_type=4, raw_data=b"x"),
        ModelFormatError,
        "raw_data cannot hold strings",
    ),
    (_tensor(dims=[1], data_type=6, int32_data=[256]), ModelFormatError, "holds 256, .* no uint8"),
    (_tensor(dims=[1], data_type=7, int32_data=[-129]), ModelFormatError, "holds -129, .* no int8"),
    (_tensor(dims=[1], data_type=12, int32_data=[65536]), ModelFormatError, "no float16"),
    (_tensor(dims=[-1]), ShapeError, "negative dimension -1"),
    (_tensor(dims=[2**40, 2**40]), MemoryBudgetError, "needs"),
    (_tensor(dims=[1], data_type=0), ModelFormatError, "string_data holds 0"),
    (_tensor(dims=[1], data_type=0, string_data=[b"\x01"]), ModelFormatError, "Cannot parse"),
    (
        _tensor(dims=[1], data_type=0, string_data=[b"\x12\x06Tensor"]),
        ModelFormatError,
        "an element has the type 'Tensor'",
    ),
    (_tensor(dims=[1], data_type=14), ArgumentError, "14 is not a data type"),
    (_tensor(dims=[1], storage_type=3), UnsupportedError, "storage_type EXTERNAL"),
    (_tensor(dims=[1], storage_type=4), UnsupportedError, "storage_type NO_CONTENT"),
    (_tensor(dims=[2], float_data=[1], run=(0, 1)), ModelFormatError, "0 to 1 of"),
    (_tensor(dims=[2], run=(1, 3)), ModelFormatError, "segment 1 to 3"),
    (_tensor(dims=[2], run=(-1, 1)), ModelFormatError, "segment -1 to 1"),
]


@pytest.mark.parametrize(("proto", "error", "match"), REFUSED)
def test_refused(proto, error, match):
    with pytest.raises(error, match=match) as caught:
        tensor_from_proto(proto)
    assert str(caught.value).startswith("tensor 'who': ")


def test_incomplete_chunks():
    first, second, third = chunks(np.arange(5), "t", 2)
    with pytest.raises(ModelFormatError, match="tensor 't': elements 2 to 4 are missing"):
        assemble([first, third])
    with pytest.raises(ModelFormatError, match="elements from 4 on are missing"):
        assemble([first, second])
    with pytest.raises(ModelFormatError, match="elements 0 to 2 overlap"):
        assemble([first, first, second, third])
    with pytest.raises(ModelFormatError, match=r"is a chunk of int64\(5\), not of int64\(4\)"):
        assemble([next(chunks(np.arange(4), "t", 2)), second])
    with pytest.raises(ModelFormatError, match="no chunk"):
        assemble([])
    assert put_chunk(None, second).tolist() == [0, 0, 2, 3, 0]


def test_a_chunk_goes_into_what_is_there():
    parts = list(blob_to_protos("b", np.arange(4, dtype=np.int32), 2))
    before = np.full(4, 9, np.int32)
    assert blob_from_proto(parts[1], before) is before
    assert before.tolist() == [9, 9, 2, 3]
    assert blob_from_proto(parts[1], np.full(4, 9, np.int64)).tolist() == [0, 0, 2, 3]


def test_blobs_that_cannot_be_kept():
    with pytest.raises(BlobTypeError, match="blob 'b' holds a dict"):
        serialize_blob("b", {})
    with pytest.raises(ModelFormatError, match="Cannot parse content into a BlobProto"):
        parse_blob(b"junk")
    with pytest.raises(ModelFormatError, match=r"blob 'b' has the type 'other'; known: Tensor"):
        blob_from_proto(BlobProto(name="b", type="other"))
    with pytest.raises(ModelFormatError, match="has the type 'Tensor'"):
        blob_from_proto(BlobProto(name="b", type="Tensor"))
    with pytest.raises(Error):
        tensor_to_proto(np.array([1j]))
