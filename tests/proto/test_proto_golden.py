"""Messages that the real Caffe2 serialised: read, and written again, byte for byte."""

import io
from pathlib import Path

import numpy as np
import pytest

from caffe2py.proto import caffe2_pb2
from caffe2py.proto.text import from_text, to_text

WIRE = Path(__file__).parents[1] / "golden" / "wire.npz"


def _messages():
    with np.load(WIRE) as packed:
        members = dict(np.load(io.BytesIO(packed["npz"].tobytes())))
    kinds = {"msg": None, "blob": {"BlobProto", "TensorProtos"}}
    for key, value in members.items():
        group, number, part = key.split("/")
        if part.startswith("chunk"):
            part = "BlobProto"
        if hasattr(caffe2_pb2, part) and (kinds[group] is None or part in kinds[group]):
            yield pytest.param(part, value.tobytes(), id=f"{group}-{number}-{part}")


MESSAGES = list(_messages())


def test_there_are_enough():
    assert len(MESSAGES) >= 200


@pytest.mark.parametrize(("kind", "raw"), MESSAGES)
def test_binary_and_text_give_the_same_bytes(kind, raw):
    message = getattr(caffe2_pb2, kind)()
    message.ParseFromString(raw)
    assert message.SerializeToString() == raw
    again = from_text(to_text(message), type(message))
    assert again.SerializeToString() == raw
