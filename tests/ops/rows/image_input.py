"""Rows: images from databases."""

import io
import struct
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from caffe2py.errors import (
    ArgumentError,
    BlobTypeError,
    MemoryBudgetError,
    ModelFormatError,
    ShapeError,
    UnsupportedError,
    ValueRangeError,
)
from caffe2py.proto.caffe2_pb2 import TensorProto, TensorProtos
from caffe2py.testing import Bad, Case, Made, Sample
from tests.toy import op

FOLDER = tempfile.TemporaryDirectory(prefix="caffe2py-images-")


def png(image, kind="PNG"):
    """The file of an image with blue first."""
    file = io.BytesIO()
    Image.fromarray(image[:, :, ::-1] if image.ndim == 3 else image).save(file, kind)
    return file.getvalue()


def encoded(data):
    return TensorProto(data_type=TensorProto.STRING, string_data=[data])


def pixels(image):
    return TensorProto(data_type=TensorProto.BYTE, dims=image.shape, byte_data=image.tobytes())


def ints(*values):
    return TensorProto(data_type=TensorProto.INT32, int32_data=values)


def floats(*values):
    return TensorProto(data_type=TensorProto.FLOAT, float_data=values)


def record(*protos):
    return TensorProtos(protos=protos).SerializeToString()


def database(name, *values):
    """The path of a minidb with these records."""
    path = Path(FOLDER.name, name)
    parts = [
        struct.pack("<ii", 4, len(value)) + b"%04d" % number + value
        for number, value in enumerate(values)
    ]
    path.write_bytes(b"".join(parts))
    return str(path)


def reader(name, *values):
    return Made([op("CreateDB", "", "made", db=database(name, *values), db_type="minidb")])


RNG = np.random.default_rng(11)
IMAGES = [RNG.integers(0, 256, (24, 24 + 8 * k, 3), dtype=np.uint8) for k in range(3)]
GRAY = RNG.integers(0, 256, (24, 30), dtype=np.uint8)
PLAIN = reader("plain", *(record(encoded(png(x)), ints(k)) for k, x in enumerate(IMAGES)))
ARGS = {"batch_size": 3, "crop": 8, "scale": 24, "is_test": 1}


def datum(channels, height, width, data, label, coded=0):
    """The bytes of a Datum, whose fields all fit into one byte each but the data."""

    def field(number, value):
        return bytes([number << 3, value])

    size = bytes([0x80 | len(data) & 0x7F, len(data) >> 7])
    head = field(1, channels) + field(2, height) + field(3, width)
    return head + b"\x22" + size + data + field(5, label) + field(7, coded)


def _squares(image, args):
    """What the operator shows of an image whose shorter side is `scale` or twice as long."""
    y = image.astype(np.float64)
    if args.get("scale", 0) * 2 == min(y.shape[:2]):
        y = np.rint((y[::2, ::2] + y[1::2, ::2] + y[::2, 1::2] + y[1::2, 1::2]) / 4)
    crop = args["crop"]
    top, left = ((size - crop) // 2 for size in y.shape[:2])
    y = y[top : top + crop, left : left + crop]
    mean = args.get("mean_per_channel", [args.get("mean", 0)])
    std = args.get("std_per_channel", [args.get("std", 1)])
    return ((y - np.array(mean)) / np.array(std)).astype(np.float32)


def _samples(rng):
    yield Sample([PLAIN], ARGS, 2)
    yield Sample([PLAIN], {**ARGS, "scale": 12, "mean": 128.0, "std": 2.0}, 2)
    bgr = {"mean_per_channel": [100.0, 110.0, 120.0], "std_per_channel": [1.0, 2.0, 4.0]}
    yield Sample([PLAIN], {**ARGS, **bgr, "decode_threads": 1, "mirror": 1, "color_jitter": 1}, 2)


def _shown(made, **args):
    found = [_squares(image, args) for image in IMAGES]
    return np.stack(found), np.arange(3, dtype=np.int32)


ONE = {"batch_size": 1, "crop": 8, "scale": 24, "is_test": 1}
GOOD = encoded(png(IMAGES[0]))


def _bad(value, error, match, outputs=2, **args):
    made = reader(f"bad{len(BAD)}", *(value if isinstance(value, list) else [value]))
    BAD.append(Bad([made], error, match, {**ONE, **args}, outputs))


BAD = [
    Bad([PLAIN], ArgumentError, "'batch_size' must be at least 1", {"crop": 2, "scale": 2}, 2),
    Bad([PLAIN], ArgumentError, "one of 'scale' and 'minsize'", {"batch_size": 1, "crop": 2}, 2),
    Bad([PLAIN], ArgumentError, "one of 'scale' and 'minsize'", {**ONE, "minsize": 9}, 2),
    Bad([PLAIN], ArgumentError, "must not be smaller than crop, 8", {**ONE, "scale": 7}, 2),
    Bad([PLAIN], ArgumentError, "'crop' must be at least 1", {**ONE, "crop": 0}, 2),
    Bad([PLAIN], ArgumentError, "'decode_threads'", {**ONE, "decode_threads": 0}, 2),
    Bad([PLAIN], ArgumentError, "'label_type' is 0 to 5", {**ONE, "label_type": 6}, 2),
    Bad([PLAIN], ArgumentError, "'num_labels' must be given", {**ONE, "label_type": 1}, 2),
    Bad([PLAIN], ArgumentError, "'use_caffe_datum'", {**ONE, "use_caffe_datum": 1}, 3),
    Bad(
        [PLAIN],
        ArgumentError,
        "'output_sizes' must name 1 size",
        {**ONE, "output_sizes": [1, 2]},
        3,
    ),
    Bad([PLAIN], ArgumentError, "'scale_jitter_type'", {**ONE, "scale_jitter_type": 2}, 2),
    Bad([PLAIN], ArgumentError, "least and the largest", {**ONE, "random_scale": [9, 8]}, 2),
    Bad([PLAIN], ArgumentError, "1 or both have 3", {**ONE, "mean_per_channel": [1.0, 2.0]}, 2),
    Bad([PLAIN], ArgumentError, "must not be 0", {**ONE, "std": 0.0}, 2),
    Bad([PLAIN], UnsupportedError, "runs on CUDA only", {**ONE, "use_gpu_transform": 1}, 2),
    Bad([PLAIN], MemoryBudgetError, "bytes", {**ONE, "label_type": 2, "num_labels": 2**62}, 2),
    Bad([PLAIN], MemoryBudgetError, "bytes", {**ONE, "batch_size": 2**40}, 2),
    Bad([], ArgumentError, "'db' must be given", ONE, 2),
    Bad([GRAY], BlobTypeError, "expected what CreateDB makes", ONE, 2),
]
_bad(b"\xff\xff", ModelFormatError, "record '0000': is no TensorProtos")
_bad(record(GOOD), ModelFormatError, "holds 1 tensor.s., expected 2")
_bad(record(GOOD, ints(1)), ModelFormatError, "holds 2 tensor.s., expected 3", 3)
_bad(record(ints(1), ints(1)), ModelFormatError, "STRING or BYTE, found INT32")
_bad(
    record(encoded(b"no image"), ints(1)),
    ModelFormatError,
    "1 of 1 images cannot be decoded.*record '0000'.*not an image",
    max_decode_error_ratio=0.5,
)
_bad(record(pixels(GRAY[:, :0]), ints(1)), ModelFormatError, "an image of shape")
_bad(
    record(TensorProto(data_type=3, dims=[9, 9, 3], byte_data=b"abc"), ints(1)),
    ModelFormatError,
    "takes 243 bytes, found 3",
)
_bad(
    record(TensorProto(data_type=3, dims=[2**31, 2**31, 3], byte_data=b"abc"), ints(1)),
    ModelFormatError,
    "bytes, found 3",
)
_bad(record(GOOD, ints(1, 2)), ModelFormatError, "expected one label, found 2")
_bad(record(GOOD, TensorProto(data_type=10)), ModelFormatError, "INT32, FLOAT, found INT64")
_bad(record(GOOD, ints(3)), ValueRangeError, "no label 3: there are 3", label_type=1, num_labels=3)
_bad(
    record(GOOD, floats(float("nan"))), ValueRangeError, "no label nan", label_type=1, num_labels=3
)
_bad(
    record(GOOD, ints(1), floats()),
    ModelFormatError,
    "1 labels have 0 weight",
    label_type=3,
    num_labels=3,
)
_bad(record(GOOD, ints(1)), ModelFormatError, "expected 3 numbers", label_type=2, num_labels=3)
_bad(record(GOOD, ints(1), ints(0, 0, 0, 9)), ModelFormatError, "a box is top, left")
_bad([record(GOOD, ints(1)), record(GOOD, floats(1))], ShapeError, "expected int32", batch_size=2)
_bad(record(GOOD, ints(1), ints(1, 2)), ShapeError, r"expected int32 \(1\)", 3)
_bad(b"\x08", ModelFormatError, "is no Caffe datum: wrong at byte 0", use_caffe_datum=1)
_bad(b"\x08\x01", ModelFormatError, "it has no data", use_caffe_datum=1)
_bad(datum(2, 3, 4, bytes(24), 1), ModelFormatError, "no 1 or 3 channels", use_caffe_datum=1)
_bad(datum(3, 3, 4, bytes(24), 1), ModelFormatError, "takes 36 bytes, found 24", use_caffe_datum=1)

CASES = [
    Case(
        "ImageInput",
        _shown,
        _samples,
        BAD,
        tolerance=1e-5,
        tolerance_reason="it multiplies by 1 / std in float32, where the reference divides",
        skip={"infer_full": "the labels in a file are not known before"},
    ),
]
