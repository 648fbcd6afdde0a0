"""Serializes random nets and tensors with the real Caffe2; runs under the oracle's Python 3.8.

wire_worker.py FOLDER: writes FOLDER/answers.npz in the form tests/golden/README.md describes.
"""

import json
import random
import struct
import sys
from pathlib import Path

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

NETS = 120
NAMES = [
    "",
    "x",
    "data",
    "conv1_w",
    "größe",
    "日本",
    "a/b:0",
    "name with space",
    "\u0001",
    "X" * 70,
]
INTEGERS = [0, 1, -1, 127, 128, -128, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.0, -2.5, 0.1, 1e-45, 3.4e38, float("inf"), float("-inf"), float("nan")]
BYTES = [b"", b"text", "größe".encode(), bytes(range(256)), b"\xff\xfe\x00"]
FLOAT_TYPES = ("float32", "float64", "float16")
INTEGER_TYPES = ("int32", "int64", "int8", "uint8", "int16", "uint16")
SHAPES = [(), (0,), (3,), (2, 3), (2, 0, 4), (1, 1, 2, 2), (33,)]


def some(choose, values, most=5):
    return [choose.choice(values) for _ in range(choose.randrange(most))]


def set_optional(choose, message, **values):
    """Sets each field with even odds: an unset field and a default one differ on the wire."""
    for name, value in values.items():
        if choose.random() < 0.5:
            setattr(message, name, value)


def fill_tensor(choose, tensor):
    """A TensorProto as a net's author may write it, in any of the data fields."""
    tensor.dims.extend(some(choose, [0, 1, 2, 2**40]))
    set_optional(choose, tensor, name=choose.choice(NAMES), data_type=choose.choice([0, 1, 2, 10]))
    kind = choose.randrange(7)
    if kind < 2:
        tensor.float_data.extend(some(choose, FLOATS))
        tensor.double_data.extend(some(choose, FLOATS))
    elif kind < 4:
        tensor.int32_data.extend(some(choose, INTEGERS[:8]))
        tensor.int64_data.extend(some(choose, INTEGERS))
    elif kind == 4:
        tensor.byte_data = choose.choice(BYTES)
    elif kind == 5:
        tensor.string_data.extend(some(choose, BYTES))
    else:
        tensor.raw_data = choose.choice(BYTES)
        tensor.segment.begin = 2
        tensor.segment.end = choose.choice(INTEGERS)


def fill_argument(choose, argument, depth):
    set_optional(choose, argument, name=choose.choice(NAMES))
    kind = choose.randrange(12)
    if kind == 0:
        argument.f = choose.choice(FLOATS)
    elif kind == 1:
        argument.i = choose.choice(INTEGERS)
    elif kind == 2:
        argument.s = choose.choice(BYTES)
    elif kind == 3:
        argument.floats.extend(some(choose, FLOATS, 9))
    elif kind == 4:
        argument.ints.extend(some(choose, INTEGERS, 9))
    elif kind == 5:
        argument.strings.extend(some(choose, BYTES))
    elif kind == 6:
        fill_tensor(choose, argument.t)
    elif kind == 7:
        for _ in range(choose.randrange(3)):
            fill_tensor(choose, argument.tensors.add())
    elif kind == 8 and depth < 3:
        fill_net(choose, argument.n, depth + 1)
    elif kind == 9 and depth < 3:
        for _ in range(choose.randrange(3)):
            fill_net(choose, argument.nets.add(), depth + 1)
    elif kind == 10:
        quantized = argument.qtensors.add()
        quantized.dims.extend(some(choose, INTEGERS))
        quantized.precision, quantized.scale, quantized.bias = 8, choose.choice(FLOATS), -0.5
        quantized.is_signed = choose.random() < 0.5
        quantized.data.extend(some(choose, INTEGERS[:8]))


def fill_device(choose, device):
    set_optional(
        choose,
        device,
        device_type=choose.choice([0, 1, 6, -1]),
        device_id=choose.choice([0, 1, -1]),
        random_seed=choose.choice([0, 1, 2**32 - 1]),
        node_name=choose.choice(NAMES),
        numa_node_id=choose.choice([0, -1]),
    )
    device.extra_info.extend(some(choose, NAMES, 3))


def fill_operator(choose, operator, depth):
    operator.input.extend(some(choose, NAMES))
    operator.output.extend(some(choose, NAMES))
    for _ in range(choose.randrange(4)):
        fill_argument(choose, operator.arg.add(), depth)
    set_optional(
        choose,
        operator,
        name=choose.choice(NAMES),
        type=choose.choice(["Conv", "Relu", "größe", ""]),
        engine=choose.choice(["", "CUDNN"]),
        is_gradient_op=choose.random() < 0.5,
        debug_info=choose.choice(["", "line 1\nline 2", "日本"]),
        domain=choose.choice(["", "ai.onnx"]),
        op_version=choose.choice(INTEGERS),
    )
    if choose.random() < 0.4:
        fill_device(choose, operator.device_option)
    operator.control_input.extend(some(choose, NAMES, 3))


def fill_net(choose, net, depth=0):
    set_optional(
        choose,
        net,
        name=choose.choice(NAMES),
        type=choose.choice(["simple", "dag", "async_scheduling", ""]),
        num_workers=choose.choice([0, 4, -1]),
    )
    for _ in range(choose.randrange(4 - depth)):
        fill_operator(choose, net.op.add(), depth)
    for _ in range(choose.randrange(3)):
        fill_argument(choose, net.arg.add(), depth)
    if choose.random() < 0.4:
        fill_device(choose, net.device_option)
    net.external_input.extend(some(choose, NAMES))
    net.external_output.extend(some(choose, NAMES, 3))


def messages(choose):
    """(type name, bytes) of nets and operators."""
    for number in range(NETS):
        if number % 3 == 2:
            message = caffe2_pb2.OperatorDef()
            fill_operator(choose, message, 1)
        else:
            message = caffe2_pb2.NetDef()
            fill_net(choose, message)
        yield message.DESCRIPTOR.name, message.SerializePartialToString()


def values(seeded):
    """Arrays of every type in several shapes."""
    for dtype in (*FLOAT_TYPES, "bool", *INTEGER_TYPES):
        for shape in SHAPES:
            if dtype == "bool":
                yield seeded.randint(0, 2, shape).astype(dtype)
            elif np.dtype(dtype).kind == "f":
                yield np.asarray(seeded.randint(-64, 64, shape) / 16, dtype)
            else:
                limits = np.iinfo(dtype)
                drawn = seeded.randint(limits.min, limits.max, shape, dtype=dtype)
                yield np.asarray(drawn, dtype)
    for texts in ([], ["one"], ["", "größe", "日本"], [["a", "b"], ["c", "d"]]):
        yield np.array(texts, dtype="U")
    yield np.array("scalar", dtype="U")
    yield np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], "float32")
    yield np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324], "float64")
    yield np.array([np.nan, np.inf, -np.inf, -0.0, 6e-8], "float16")


def feed(name, array):
    workspace.ResetWorkspace()  # strings fed into a blob that held none crash the process
    if array.dtype.kind == "U":
        texts = [text.encode("utf-8") for text in array.ravel()]
        array = np.array(texts, dtype=object).reshape(array.shape)
    workspace.FeedBlob(name, array)


def as_bytes(data):
    return np.frombuffer(data, dtype=np.uint8)


def store_value(answers, key, array):
    if array.dtype.kind == "U":
        answers[key + "_str"] = as_bytes(json.dumps(array.tolist()).encode("utf-8"))
    else:
        answers[key] = array


def large():
    """(array, chunk size) of blobs that come out in several chunks, the last one shorter."""
    count = np.arange(2500)
    yield (count % 97 / 16).astype("float32"), 1000
    yield (count * 12345678901).reshape(50, 50), 600
    yield count.reshape(2500, 1) % 3 == 0, 2000
    yield np.array(["word", "größe", ""] * 5, dtype="U"), 4


def chunks(name, size, folder):
    """A blob's chunks in order, read from the records that the Save operator leaves in a minidb."""
    path = folder / "chunks.minidb"
    if path.exists():
        path.unlink()
    save = core.CreateOperator(
        "Save", [name], [], absolute_path=1, db=str(path), db_type="minidb", chunk_size=size
    )
    workspace.RunOperatorOnce(save)
    data, position, records = path.read_bytes(), 0, {}
    while position < len(data):
        key, value = struct.unpack_from("<ii", data, position)
        position += 8 + key + value
        record = data[position - value : position]
        blob = caffe2_pb2.BlobProto()
        blob.ParseFromString(record)
        records[blob.tensor.segment.begin] = record
    return [records[begin] for begin in sorted(records)]


def tensor_protos(seeded):
    """Three tensors in one message, as data base records hold an image and its label."""
    arrays = [
        seeded.randint(0, 256, (2, 3, 3)).astype("uint8"),
        np.array([7], "int32"),
        np.array(["größe"], dtype="U"),
    ]
    message = caffe2_pb2.TensorProtos()
    for array in arrays:
        feed("blob", array)
        blob = caffe2_pb2.BlobProto()
        blob.ParseFromString(workspace.SerializeBlob("blob"))
        message.protos.add().CopyFrom(blob.tensor)
    return message.SerializeToString(), arrays


def main(folder):
    answers = {}
    for number, (name, data) in enumerate(messages(random.Random(2021))):
        answers[f"msg/{number:03d}/{name}"] = as_bytes(data)
    seeded = np.random.RandomState(2021)
    number = 0
    for array in values(seeded):
        prefix = f"blob/{number:03d}"
        feed("blob", array)
        answers[f"{prefix}/BlobProto"] = as_bytes(workspace.SerializeBlob("blob"))
        store_value(answers, f"{prefix}/value", array)
        number += 1
    for array, size in large():
        prefix = f"blob/{number:03d}"
        feed("blob", array)
        for index, record in enumerate(chunks("blob", size, folder)):
            answers[f"{prefix}/chunk{index}"] = as_bytes(record)
        store_value(answers, f"{prefix}/value", array)
        number += 1
    data, arrays = tensor_protos(seeded)
    answers[f"blob/{number:03d}/TensorProtos"] = as_bytes(data)
    for index, array in enumerate(arrays):
        store_value(answers, f"blob/{number:03d}/value{index}", array)
    np.savez(folder / "answers.npz", **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
