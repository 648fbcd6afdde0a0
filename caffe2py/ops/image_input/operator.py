"""ImageInput: batches of images from a database."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

import caffe2py.adapters.lmdb_file
import caffe2py.adapters.minidb  # noqa: F401  (both register their types)
from caffe2py.adapters.db import Mode, Reader, open_database
from caffe2py.adapters.image import decode_image
from caffe2py.adapters.paths import permitted
from caffe2py.errors import (
    ArgumentError,
    Error,
    FileError,
    ModelFormatError,
    ShapeError,
    UnsupportedError,
)
from caffe2py.kernels.random import advance, split, stream
from caffe2py.ops.image_input.photo import Draws, least_size, means, transform
from caffe2py.ops.image_input.records import (
    EMBEDDING,
    SINGLE,
    SINGLE_WEIGHTED,
    Box,
    Record,
    read_record,
)
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.held import held
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.registry.threads import thread_count
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import UNKNOWN, TensorType, checked_numel, dtype_name, shape_text

log = logging.getLogger(__name__)

_FLOAT = np.dtype(np.float32)

#: What takes the place of an image that cannot be decoded.
_BLACK = np.zeros((224, 224, 3), np.uint8)

_BOX_ARGS = ("bounding_ymin", "bounding_xmin", "bounding_height", "bounding_width")


def _infer(query: Query) -> Sequence[TensorType]:
    args = query.args
    _check(args, query.outputs)
    shape = (args.batch_size, args.crop, args.crop, 3 if args.color else 1)
    return [TensorType(_FLOAT, shape), *[UNKNOWN] * (query.outputs - 1)]


def _check(args: Args, outputs: int) -> None:
    """Raise ArgumentError for arguments that contradict each other or are missing."""
    _check_sizes(args)
    if not SINGLE <= args.label_type <= EMBEDDING:
        raise ArgumentError(f"argument 'label_type' is 0 to 5, found {args.label_type}")
    several = args.label_type not in (SINGLE, SINGLE_WEIGHTED)
    if several and args.num_labels < 1:
        raise ArgumentError("argument 'num_labels' must be given for labels that are several")
    checked_numel((args.batch_size, max(args.num_labels, 1)), _FLOAT.itemsize)
    if args.use_caffe_datum and (several or outputs != 2):
        raise ArgumentError("argument 'use_caffe_datum': it holds an image and one label only")
    if args.output_sizes and len(args.output_sizes) != outputs - 2:
        raise ArgumentError(
            f"argument 'output_sizes' must name {outputs - 2} sizes, one for each additional "
            f"output, found {len(args.output_sizes)}"
        )
    if args.scale_jitter_type not in (0, 1):
        raise ArgumentError(
            f"argument 'scale_jitter_type' is 0 or 1, found {args.scale_jitter_type}"
        )
    if args.use_gpu_transform:
        raise UnsupportedError("ImageInput with use_gpu_transform runs on CUDA only")
    counts = {len(args.mean_per_channel or [0]), len(args.std_per_channel or [0])}
    if counts not in ({1}, {3}):
        raise ArgumentError(
            "arguments 'mean_per_channel' and 'std_per_channel' must both have 1 "
            "or both have 3 numbers"
        )
    if not means(args)[1].all():
        raise ArgumentError("arguments 'std' and 'std_per_channel' must not be 0")


def _check_sizes(args: Args) -> None:
    if args.batch_size < 1:
        raise ArgumentError(f"argument 'batch_size' must be at least 1, found {args.batch_size}")
    if args.decode_threads < 1:
        raise ArgumentError(
            f"argument 'decode_threads' must be at least 1, found {args.decode_threads}"
        )
    given = args.random_scale
    if given is not None and (len(given) != 2 or given[0] > given[1]):
        raise ArgumentError(
            f"argument 'random_scale' is the least and the largest size, found {given!s:.60}"
        )
    smaller = least_size(args)
    if (args.scale > 0) == (smaller > 0):
        raise ArgumentError("one of 'scale' and 'minsize' (or 'random_scale') must be given")
    if args.crop < 1:
        raise ArgumentError(f"argument 'crop' must be at least 1, found {args.crop}")
    if max(args.scale, smaller) < args.crop:
        raise ArgumentError(
            f"'scale' or 'minsize' must not be smaller than crop, {args.crop}; found "
            f"{max(args.scale, smaller)}"
        )


image_input = operator(
    "ImageInput",
    "reader? -> data, label, additional*",
    infer=_infer,
    gradient=NoGradient("it reads a file"),
    batch_size=Arg(int, 0, "images in one batch"),
    color=Arg(int, 1, "1: blue, green and red; 0: gray"),
    crop=Arg(int, -1, "height and width of data"),
    scale=Arg(int, -1, "the shorter side is resized to this"),
    minsize=Arg(int, -1, "images whose shorter side is smaller are enlarged to this"),
    random_scale=Arg(list[int], None, "[least, largest]: a minsize drawn for each image"),
    warp=Arg(int, 0, "1: both sides are resized alike, whatever that does to the shape"),
    mirror=Arg(int, 0, "1: every other image, by chance, is mirrored"),
    is_test=Arg(int, 0, "1: nothing is left to chance: crops are central, colors as they are"),
    mean=Arg(float, 0.0, "subtracted from the values, which are 0 to 255"),
    std=Arg(float, 1.0, "then they are divided by this"),
    mean_per_channel=Arg(list[float], None, "the same for blue, green and red"),
    std_per_channel=Arg(list[float], None, "the same for blue, green and red"),
    color_jitter=Arg(int, 0, "1: saturation, brightness and contrast change by chance"),
    img_saturation=Arg(float, 0.4, "by so much of themselves at most"),
    img_brightness=Arg(float, 0.4, "the same"),
    img_contrast=Arg(float, 0.4, "the same"),
    color_lighting=Arg(int, 0, "1: a color is added by chance, as the light of photos varies"),
    color_lighting_std=Arg(float, 0.1, "how much of it"),
    scale_jitter_type=Arg(int, 0, "1: a part of 8 to 100 % of the area, drawn, becomes the crop"),
    bounding_ymin=Arg(int, -1, "part of every image, in pixels, if all four are given"),
    bounding_xmin=Arg(int, -1, "the same"),
    bounding_height=Arg(int, -1, "the same"),
    bounding_width=Arg(int, -1, "the same"),
    label_type=Arg(
        int,
        0,
        "0: one number; 1: indices of those that hold, 2: or 5: num_labels numbers; 3: indices "
        "and, in a tensor of their own, weights; 4: a number, and a weight that is not read",
    ),
    needs="files if db",
    num_labels=Arg(int, 0, "the length of a row of label, unless it is one number"),
    output_sizes=Arg(list[int], None, "the length of rows of the additional outputs; default 1"),
    use_caffe_datum=Arg(int, 0, "1: records are Caffe 1's"),
    max_decode_error_ratio=Arg(float, 1.0, "an error if more of a batch cannot be decoded"),
    decode_threads=Arg(int, 4, "images that are decoded at the same time, at most"),
    db=Arg(str, "", "path of the database, if there is no reader"),
    db_type=Arg(str, "leveldb", "its type: minidb, lmdb (leveldb is Caffe2's default)"),
    use_gpu_transform=Arg(int, 0, "for CUDA only"),
    output_type=Arg((int, str), 1, "without effect on the CPU, where data is float32"),
    no_prefetch=Arg(int, 0, "without effect: nothing is read in advance"),
    doc="""
    data = the next images of a database, float32 (batch_size, crop, crop, 3 or 1), blue first;
    label = their labels, int32 or float32 as the records have them; additional outputs = the
    tensors that follow. A record is a TensorProtos: the image, as the bytes of a JPEG or PNG file
    (STRING) or as pixels (BYTE, height x width x channels), its label, weights if the kind of label
    has them, one tensor for each additional output, and maybe a box (INT32: top, left, height,
    width), which is ignored if it is not inside of the image. Decoding needs Pillow.

    The box is cut out, resized by the mean of covered pixels, cut to the crop, mirrored, recolored,
    and normalized: (value - mean) / std. What is random depends on the seed, the run and the number
    of the image in its batch only. An image that cannot be decoded is black, with a warning in the
    log, as long as max_decode_error_ratio allows.

    Raises ModelFormatError for records that are something else, ValueRangeError for labels that
    there are not and images too narrow to be resized, ShapeError where labels or outputs differ in
    type or length; each names the database and the key.
    """,
    example="""
    reader = photos of cats and dogs, batch_size = 32, scale = 256, crop = 224, mirror = 1
    data = float32 (32, 224, 224, 3); label = [0, 1, 1, ...]
    """,
)


class _Item(NamedTuple):
    """A record of the batch, and what error messages call it."""

    record: Record
    where: str


def _reader(call: Call) -> Reader:
    if call.input_count:
        return held(call, 0, Reader, "CreateDB")
    reader: Reader | None = call.kept.get("reader")
    if reader is None:
        args = call.args
        if not args.db:
            raise ArgumentError("argument 'db' must be given: there is no reader")
        path = permitted(call.scope.trust, args.db, trusted_path=args.db, writes=False)
        database = open_database(args.db_type, path, Mode.read)
        reader = call.kept["reader"] = Reader(database, type_=args.db_type, path=path)
    return reader


def _next_item(reader: Reader, call: Call) -> _Item:
    key, value = reader.read()
    where = f"{reader.path}, record '{key.decode(errors='backslashreplace')[:80]}'"
    try:
        return _Item(read_record(value, call.args, call.output_count - 2), where)
    except Error as error:
        raise error.with_where(where) from None


@image_input.cpu_dynamic()
def read_images(call: Call) -> None:
    """Read, decode and transform a batch."""
    args = call.args
    reader = _reader(call)
    call.kept["database"] = reader.database
    channels = 3 if args.color else 1
    data = call.output(0, (args.batch_size, args.crop, args.crop, channels), _FLOAT)
    items = [_next_item(reader, call) for _ in range(args.batch_size)]
    state = call.random_state()
    with np.errstate(over="ignore"):  # the generator's words wrap around
        run = stream(state)
        keys = [split(run, number) for number in range(len(items))]
        advance(state)

    def work(number: int) -> str | None:
        item = items[number]
        image, failure = _decoded(item, gray=not args.color)
        box = item.record.box or _default_box(args)
        try:
            for launch in transform(image, box, args, Draws(keys[number]), data[number]):
                call.run_now(launch)
        except Error as error:
            raise error.with_where(item.where) from None
        return failure

    threads = min(args.decode_threads, thread_count(), len(items))
    if threads == 1:
        failures = [work(number) for number in range(len(items))]
    else:
        with ThreadPoolExecutor(threads) as pool:
            failures = list(pool.map(work, range(len(items))))
    _check_failures([text for text in failures if text], args)
    _put_rows(call, 1, items, [item.record.label for item in items], labels=True)
    for k in range(2, call.output_count):
        _put_rows(call, k, items, [item.record.extras[k - 2] for item in items], labels=False)


def _decoded(item: _Item, *, gray: bool) -> tuple[Array, str | None]:
    """The image, or a black one and what is wrong."""
    image = item.record.image
    if not isinstance(image, bytes):
        return image, None
    try:
        return decode_image(image, gray=gray, where=item.where), None
    except FileError as error:
        return _BLACK, str(error)


def _check_failures(failures: Sequence[str], args: Args) -> None:
    if not failures:
        return
    if len(failures) / args.batch_size > args.max_decode_error_ratio:
        raise ModelFormatError(
            f"{len(failures)} of {args.batch_size} images cannot be decoded, more than "
            f"max_decode_error_ratio, {args.max_decode_error_ratio:g}: {failures[0]}"
        )
    for failure in failures:
        log.warning("a black image takes its place: %s", failure)


def _default_box(args: Args) -> Box | None:
    numbers = [getattr(args, name) for name in _BOX_ARGS]
    if min(numbers) < 0:
        return None
    if min(numbers[2:]) < 1:
        raise ArgumentError("arguments 'bounding_height' and 'bounding_width' must be at least 1")
    return Box(*numbers)


def _put_rows(
    call: Call, index: int, items: Sequence[_Item], rows: Sequence[Array], *, labels: bool
) -> None:
    """Make an output of one row for each image."""
    args, first = call.args, rows[0]
    sizes = args.output_sizes
    width = first.size if labels else (sizes[index - 2] if sizes else 1)
    for item, row in zip(items, rows, strict=True):
        if row.dtype != first.dtype or row.size != width:
            raise ShapeError(
                f"output {index} '{call.output_blob(index)}': expected {dtype_name(first.dtype)} "
                f"{shape_text((width,))}, found {dtype_name(row.dtype)} {shape_text(row.shape)}",
                where=item.where,
            )
    single = labels and args.label_type in (SINGLE, SINGLE_WEIGHTED)
    shape = (len(rows),) if single else (len(rows), width)
    call.output(index, shape, first.dtype)[...] = np.stack(rows).reshape(shape)
