"""ImageInput beyond its row: sizes, boxes, labels, chance, gray, damage, and threads."""

import io
import logging
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.errors import Error
from caffe2py.executor.workspace import Workspace
from caffe2py.kernels.photo import covered, two_neighbours
from caffe2py.proto.caffe2_pb2 import NetDef, TensorProto
from caffe2py.registry.threads import set_thread_count, thread_count
from tests.ops.rows.image_input import (
    GOOD,
    GRAY,
    IMAGES,
    database,
    datum,
    encoded,
    floats,
    ints,
    pixels,
    png,
    record,
)
from tests.toy import op


def run(*values, outputs=2, runs=1, seed=7, **args):
    """The outputs of the last of some runs on a database of these records."""
    path = database("run", *values)
    names = [f"out{k}" for k in range(outputs)]
    args = {"batch_size": len(values), "db": path, "db_type": "minidb", **args}
    one = op("ImageInput", "", " ".join(names), **args)
    one.device_option.random_seed = seed
    workspace = Workspace()
    workspace.create_net(NetDef(name="n", op=[one]))
    for _ in range(runs):
        workspace.run_net("n")
    return [workspace.fetch(name) for name in names]


def plain(image, **args):
    """What a test net shows of one image, given as pixels."""
    return run(record(pixels(image), ints(0)), is_test=1, **args)[0][0]


def gradient(height, width):
    """An image that shows where its pixels are."""
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, rows + columns], 2).astype(np.uint8)


# ---------------------------------------------------------------- size and place


@given(
    st.integers(1, 60), st.integers(1, 60), st.sampled_from([covered, two_neighbours]), st.data()
)
def test_taps_are_means_of_pixels_that_exist(size, count, make, data):
    begin = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(begin + 1, count))
    first, weights = make(size, count, begin, end)
    assert first.shape == (end - begin,)
    assert weights.shape[0] == end - begin
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert (weights >= 0).all()
    used = (first[:, None] + np.arange(weights.shape[1]))[weights > 0]
    assert 0 <= used.min() <= used.max() < size


@given(st.integers(1, 40), st.integers(1, 40))
def test_what_shrinks_keeps_its_sum(one, other):
    size, count = max(one, other), min(one, other)
    first, weights = covered(size, count, 0, count)
    x = np.append(np.sin(np.arange(size)), np.zeros(weights.shape[1]))
    found = [x[f : f + len(w)] @ w for f, w in zip(first, weights, strict=True)]
    # shares of less than a thousandth are left out
    np.testing.assert_allclose(np.sum(found) * size / count, x.sum(), atol=2e-3 * size)


@pytest.mark.parametrize(
    ("args", "size", "corner"),
    [
        ({"scale": 20, "crop": 20}, (20, 30), (0, 5)),
        ({"scale": 20, "crop": 10}, (20, 30), (5, 10)),
        ({"minsize": 10, "crop": 10}, (20, 30), (5, 10)),
        ({"minsize": 20, "crop": 19}, (20, 30), (0, 5)),
    ],
)
def test_images_of_the_right_size_are_cut_in_the_middle(args, size, corner):
    image = gradient(*size)
    crop = args["crop"]
    top, left = corner
    np.testing.assert_array_equal(
        plain(image, **args), image[top : top + crop, left : left + crop].astype(np.float32)
    )


def test_sizes_follow_the_shorter_side():
    constant = np.full((10, 15, 3), 77, np.uint8)
    for args in ({"scale": 40}, {"minsize": 40}, {"scale": 5}, {"scale": 40, "warp": 1}):
        crop = min(args.values()) if "warp" not in args else 40
        assert (plain(constant, crop=crop, **args) == 77).all()
    tall = plain(gradient(30, 10), scale=5, crop=5)
    np.testing.assert_array_equal(tall[:, :, 1], [[0, 2, 4, 6, 8]] * 5)  # 0.5, 2.5, ... to even


def test_a_narrow_image_takes_no_memory_for_what_is_not_shown():
    line = np.zeros((1, 3_000_000, 3), np.uint8)
    assert plain(line, scale=500, crop=4).shape == (4, 4, 3)
    with pytest.raises(Error, match=r"record '0000'.*1 x 3000000 is too narrow to be resized"):
        plain(line, scale=1000, crop=4)


@pytest.mark.parametrize("box", [(2, 3, 8, 8), (0, 0, 8, 8), (12, 22, 8, 8)])
def test_boxes_are_cut_out(box):
    image = gradient(20, 30)
    top, left, height, width = box
    wanted = image[top : top + height, left : left + width].astype(np.float32)
    names = ("bounding_ymin", "bounding_xmin", "bounding_height", "bounding_width")
    args = {"scale": 8, "crop": 8, "is_test": 1}
    everywhere = dict(zip(names, box, strict=True))
    np.testing.assert_array_equal(plain(image, scale=8, crop=8, **everywhere), wanted)
    own = run(record(pixels(image), ints(0), ints(*box)), **args)[0][0]
    np.testing.assert_array_equal(own, wanted)
    outside = run(record(pixels(image), ints(0), ints(top + 20, left, 8, 8)), **args)[0][0]
    np.testing.assert_array_equal(outside, plain(image, scale=8, crop=8))
    extra = run(record(pixels(image), ints(0), ints(4), ints(*box)), outputs=3, **args)
    np.testing.assert_array_equal(extra[0][0], wanted)


# ---------------------------------------------------------------- contents


def test_gray_and_color():
    args = {"scale": 24, "crop": 24, "is_test": 1}
    gray = run(record(encoded(png(GRAY)), ints(0)), color=0, **args)[0][0]
    np.testing.assert_array_equal(gray[:, :, 0], GRAY[:, 3:27])
    both = run(record(pixels(GRAY), ints(0)), **args)[0][0]
    np.testing.assert_array_equal(both, np.repeat(gray, 3, 2))
    mixed = plain(IMAGES[0], scale=24, crop=24, color=0)[:, :, 0]
    np.testing.assert_allclose(mixed, IMAGES[0] @ [0.114, 0.587, 0.299], atol=0.51)
    decoded = run(record(GOOD, ints(0)), color=0, **args)[0][0, :, :, 0]
    np.testing.assert_allclose(decoded, mixed, atol=1)


def test_kinds_of_files():
    image = gradient(24, 24)
    args = {"scale": 24, "crop": 24, "is_test": 1}
    jpeg = run(record(encoded(png(image, "JPEG")), ints(0)), **args)[0][0]
    assert np.abs(jpeg - image).max() < 12
    turned = Image.fromarray(image[:, :, ::-1])
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its right side
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    upright = run(record(encoded(file.getvalue()), ints(0)), **args)[0][0]
    np.testing.assert_array_equal(upright, np.rot90(image, -1))
    deep = io.BytesIO()
    Image.fromarray((GRAY.astype(np.uint16) << 8) + 255).save(deep, "PNG")
    found = run(record(encoded(deep.getvalue()), ints(0)), color=0, **args)[0][0, :, :, 0]
    np.testing.assert_array_equal(found, GRAY[:, 3:27])
    clear = np.dstack([image[:, :, ::-1], GRAY[:, :24]])
    file = io.BytesIO()
    Image.fromarray(clear).save(file, "PNG")
    np.testing.assert_array_equal(
        run(record(encoded(file.getvalue()), ints(0)), **args)[0][0], image
    )


@pytest.mark.parametrize(
    ("kind", "protos", "row"),
    [
        (0, [floats(2.5)], 2.5),
        (1, [ints(2, 0)], [1, 0, 1]),
        (1, [floats(1)], [0.0, 1, 0]),
        (2, [floats(1, 2, 3)], [1.0, 2, 3]),
        (5, [ints(4, 5, 6)], [4, 5, 6]),
        (3, [ints(2, 1), floats(0.5, 0.25)], [0, 0.25, 0.5]),
        (4, [ints(9), floats(0.5)], 9),
    ],
)
def test_labels(kind, protos, row):
    found = run(record(GOOD, *protos), label_type=kind, num_labels=3, scale=24, crop=8, is_test=1)[
        1
    ]
    wanted = np.array([row])
    assert found.dtype == (np.float32 if wanted.dtype == np.float64 else np.int32)
    np.testing.assert_array_equal(found, wanted)


def test_additional_outputs_keep_their_type():
    protos = [
        floats(1.5, 2.5),
        TensorProto(data_type=TensorProto.INT64, int64_data=[2**40]),
        TensorProto(data_type=TensorProto.UINT8, int32_data=[255, 0, 1]),
    ]
    args = {"scale": 24, "crop": 8, "output_sizes": [2, 1, 3]}
    found = run(record(GOOD, ints(1), *protos), outputs=5, **args)[2:]
    for array, dtype, values in zip(
        found, ("f4", "i8", "u1"), ([1.5, 2.5], [2**40], [255, 0, 1]), strict=True
    ):
        assert array.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(array, [values])


def test_datums_of_caffe():
    image = IMAGES[0][:5, :6]
    raw = datum(3, 5, 6, np.ascontiguousarray(np.moveaxis(image, 2, 0)).tobytes(), 4)
    args = {"scale": 5, "crop": 5, "is_test": 1, "use_caffe_datum": 1}
    data, label = run(raw, **args)
    np.testing.assert_array_equal(data[0], image[:, :5])
    assert label.tolist() == [4]
    data, label = run(datum(0, 0, 0, png(image), 7, coded=1), **args)
    np.testing.assert_array_equal(data[0], image[:, :5])
    assert label.tolist() == [7]


# ---------------------------------------------------------------- chance

RANDOM = {"scale": 24, "crop": 16, "mirror": 1}


def test_chance_depends_on_seed_run_and_place_only():
    values = [record(GOOD, ints(k)) for k in range(6)]
    count = thread_count()
    try:
        found = []
        for threads in (1, 4):
            set_thread_count(threads)
            found.append(run(*values, color_jitter=1, color_lighting=1, **RANDOM)[0])
    finally:
        set_thread_count(count)
    np.testing.assert_array_equal(*found)
    assert len({image.tobytes() for image in found[0]}) == 6
    assert not np.array_equal(found[0], run(*values, seed=8, **RANDOM)[0])
    twice = run(*values, runs=2, color_jitter=1, color_lighting=1, **RANDOM)[0]
    assert not np.array_equal(found[0], twice)


def test_crops_and_mirrors_are_all_there():
    image = gradient(18, 18)
    data = run(*[record(pixels(image), ints(0))] * 200, scale=18, crop=16, mirror=1)[0]
    seen = {(int(x[0, 0, 0]), int(x[0, :, 1].min()), bool(x[0, 0, 1] > x[0, 1, 1])) for x in data}
    assert seen == {(top, left, m) for top in range(3) for left in range(3) for m in (False, True)}
    for x in data:
        columns = x[0, :, 1]
        assert set(np.diff(columns)) in ({1.0}, {-1.0})


def test_nothing_is_random_in_tests():
    values = [record(GOOD, ints(0))] * 2
    args = {**RANDOM, "is_test": 1, "color_jitter": 1, "color_lighting": 1, "scale_jitter_type": 1}
    first, second = run(*values, **args)[0]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, IMAGES[0][4:20, 4:20])


def test_colors_move_as_they_should():
    image = np.full((16, 16, 3), (40, 80, 160), np.uint8)
    values = [record(pixels(image), ints(0))] * 300
    args = {"scale": 16, "crop": 16}
    gray = image[0, 0] @ [0.114, 0.587, 0.299]
    only = {"img_saturation": 0.0, "img_brightness": 0.0, "img_contrast": 0.0, "color_jitter": 1}
    brightness = run(*values, **args, **{**only, "img_brightness": 0.5})[0][:, 0, 0]
    factors = brightness[:, 0] / 40
    np.testing.assert_allclose(brightness / [40, 80, 160], factors[:, None] * [1, 1, 1], rtol=1e-5)
    assert 0.5 <= factors.min() < 0.55
    assert 1.45 < factors.max() < 1.5
    for name in ("img_saturation", "img_contrast"):
        moved = run(*values, **args, **{**only, name: 0.5})[0][:, 0, 0]
        factors = (moved[:, 0] - gray) / (40 - gray)
        np.testing.assert_allclose(
            moved - gray, factors[:, None] * ([40, 80, 160] - gray), atol=1e-3
        )
        assert factors.std() > 0.2
    light = run(*values, **args, color_lighting=1, color_lighting_std=0.5)[0][:, 0, 0]
    shift = light - [40, 80, 160]
    # the largest component by far is gray, the components are at right angles in red, green, blue
    assert np.corrcoef(shift.T)[0, 2] > 0.9
    assert 10 < shift.std(0).min() <= shift.std(0).max() < 30


def test_random_sizes():
    image = gradient(40, 40)
    values = [record(pixels(image), ints(0))] * 64
    drawn = run(*values, random_scale=[48, 80], crop=32)[0]
    spread = drawn[:, -1, 0, 0] - drawn[:, 0, 0, 0]  # rows of the image that 32 places show
    assert 12 <= spread.min() < 20
    assert 22 < spread.max() <= 27
    assert (run(*values, random_scale=[-1, -1], minsize=40, crop=40)[0] == image).all()
    parts = run(*values, scale=40, crop=8, scale_jitter_type=1)[0]
    spread = parts[:, -1, 0, 0] - parts[:, 0, 0, 0]
    assert spread.min() < 16
    assert spread.max() > 24


# ---------------------------------------------------------------- damage


def lying(width=60_000, height=60_000):
    """A PNG that says to be much larger than it is."""
    data = bytearray(png(IMAGES[0]))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lying(), "too large an image"),
        (lying(60, 60), "cannot be read as an image"),
        (png(IMAGES[0])[:200], "cannot be read as an image"),
        (b"", "not an image"),
        (b"GIF89a", "not an image"),
    ],
)
def test_images_that_cannot_be_decoded(data, why, caplog):
    values = [record(GOOD, ints(1)), record(encoded(data), ints(2))]
    args = {"scale": 24, "crop": 8, "is_test": 1}
    with caplog.at_level(logging.WARNING, "caffe2py"):
        shown, labels = run(*values, **args)
    assert not shown[1].any()
    assert shown[0].any()
    assert labels.tolist() == [1, 2]
    assert len(caplog.messages) == 1
    assert "black image" in caplog.text
    assert why in caplog.text
    with pytest.raises(Error, match=f"1 of 2 images cannot be decoded.*record '0001'.*{why}"):
        run(*values, max_decode_error_ratio=0.4, **args)
    run(*values, max_decode_error_ratio=0.5, **args)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mutated_records_are_refused_by_name(data):
    good = bytearray(record(encoded(png(GRAY[:6, :6])), ints(1), floats(1), ints(0, 0, 4, 4)))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    message = ""
    try:
        found = run(bytes(good), outputs=3, scale=6, crop=4, max_decode_error_ratio=0.0)
    except Error as error:
        message = str(error)
    assert "op #0 ImageInput: " in message or found[0].shape == (1, 4, 4, 3)
