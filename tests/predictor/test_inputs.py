"""What may stand behind --input."""

import numpy as np
import pytest
from PIL import Image

from caffe2py.errors import Error, FileError, MemoryBudgetError, UnsupportedError, UsageError
from caffe2py.predictor.inputs import ImageOptions, Invented, parse_inputs, read_arrays, types_of
from caffe2py.predictor.load import load_model
from tests.toy import net, op

ONE = load_model(net(op("Relu", "x", "y")))
TWO = load_model(net(op("Add", "x y", "z"), op("Add", "y x", "u")))


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", pixels


@pytest.mark.parametrize(
    ("text", "dtype", "shape"),
    [
        ("1x3x8x8", "float32", (1, 3, 8, 8)),
        ("1x3x8x8:f32:rand", "float32", (1, 3, 8, 8)),
        ("5:f16:ones", "float16", (5,)),
        ("5:f64", "float64", (5,)),
        ("2x0:i8", "int8", (2, 0)),
        ("5:i16:zeros", "int16", (5,)),
        ("5:i32", "int32", (5,)),
        ("5:i64", "int64", (5,)),
        ("5:u8", "uint8", (5,)),
        ("5:u16", "uint16", (5,)),
        ("5:bool", "bool", (5,)),
        ("5:ones", "float32", (5,)),
        (":f32:ones", "float32", ()),
    ],
)
@pytest.mark.parametrize("prefix", ["", "x="])
def test_invented(text, dtype, shape, prefix):
    found = parse_inputs([prefix + text], ONE)["x"]
    assert isinstance(found, Invented)
    assert (found.type.dtype, found.type.shape) == (np.dtype(dtype), shape)
    array = found.array("x")
    assert (array.dtype, array.shape) == (np.dtype(dtype), shape)
    if text.endswith(("ones", "zeros")):
        assert np.all(array == text.endswith("ones"))
    assert np.array_equal(array, found.array("x"))


def test_random_inputs_differ_by_name_and_stay_in_range():
    made = Invented((1000,), np.dtype(np.float32))
    assert not np.array_equal(made.array("a"), made.array("b"))
    assert 0 <= made.array("a").min() < made.array("a").max() < 1
    ints = Invented((1000,), np.dtype(np.int64)).array("a")
    assert set(ints) == set(range(10))
    assert Invented((1000,), np.dtype(np.uint8)).array("a").max() > 200


def test_npy_and_npz(tmp_path):
    x, y = np.arange(3, dtype=np.float32), np.arange(4)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "xy.npz", x=x, y=y)
    assert np.array_equal(parse_inputs([f"{tmp_path}/x.npy"], ONE)["x"], x)
    assert np.array_equal(parse_inputs([f"x={tmp_path}/x.npy"], TWO)["x"], x)
    both = parse_inputs([f"{tmp_path}/xy.npz"], TWO)
    assert np.array_equal(both["x"], x)
    assert np.array_equal(both["y"], y)
    assert np.array_equal(parse_inputs([f"y={tmp_path}/xy.npz"], TWO)["y"], y)
    assert {n: str(t) for n, t in types_of(both).items()} == {"x": "float32(3)", "y": "int64(4)"}


def test_a_name_may_hold_an_equals_sign(tmp_path):
    model = load_model(net(op("Relu", "a=b", "y")))
    assert list(parse_inputs(["a=b=3x4"], model)) == ["a=b"]
    np.save(tmp_path / "k=v.npy", np.ones(2))
    assert list(parse_inputs([f"{tmp_path}/k=v.npy"], ONE)) == ["x"]


def test_image(photo):
    path, pixels = photo
    found = parse_inputs([str(path)], ONE, ImageOptions.parse(mean="128"))["x"]
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.array_equal(found[0], pixels[:, :, ::-1].transpose(2, 0, 1) - np.float32(128))


def test_image_options(photo):
    path, pixels = photo
    options = ImageOptions.parse("4x5", "1,2,3", 0.5, "rgb", "nearest")
    assert parse_inputs([str(path)], ONE, options)["x"].shape == (1, 3, 4, 5)
    options = ImageOptions.parse(None, "1,2,3", 0.5, "rgb")
    expected = (pixels.astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5)
    assert np.array_equal(
        parse_inputs([str(path)], ONE, options)["x"][0], expected.transpose(2, 0, 1)
    )
    gray = ImageOptions.parse(None, None, 1 / 255, "gray")
    found = parse_inputs([str(path)], ONE, gray)["x"]
    assert found.shape == (1, 1, 6, 8)
    assert found.max() <= 1


def test_a_photo_is_turned_upright(tmp_path, photo):
    _, pixels = photo
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = parse_inputs([f"{tmp_path}/turned.png"], ONE)["x"]
    assert found.shape == (1, 3, 8, 6)


def test_without_pillow(photo, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(UnsupportedError, match=r"needs: pip install caffe2py\[image\]"):
        parse_inputs([str(photo[0])], ONE)


BAD = [
    (["1x3:f31"], UsageError, "'f31' in '1x3:f31' is no type.*for example"),
    (["1x3:f32:random"], UsageError, "'random' in .* is no filling"),
    (["1x3xx"], UsageError, "neither a file nor a shape; for example"),
    (["-1x3"], UsageError, "neither a file nor a shape"),
    (["x="], UsageError, "has no value"),
    (["y=3"], UsageError, "takes no blob 'y' from outside"),
    (["3", "x=3"], UsageError, "'x' is given twice"),
    (["missing.npy"], FileError, "missing.npy: no such file"),
    (["{}/damaged.npy"], FileError, "damaged.npy: cannot be read"),
    (["{}/damaged.npz"], FileError, "damaged.npz: cannot be read"),
    (["{}/objects.npy"], FileError, "Python objects"),
    (["{}/objects.npz"], FileError, "Python objects"),
    (["x={}/others.npz"], UsageError, "holds no 'x'; it holds a, b"),
    (["{}/others.npz"], UsageError, "takes no blob 'a'"),
    (["{}/text.jpg"], FileError, "is not an image"),
    (["{}/damaged.png"], FileError, "cannot be read as an image"),
    (["{}"], FileError, "found a folder"),
    (["a\0b.npy"], FileError, "cannot be read"),
]


@pytest.fixture
def files(tmp_path, photo):
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    np.savez(tmp_path / "others.npz", a=np.ones(1), b=np.ones(1))
    np.save(tmp_path / "whole.npy", np.ones(100))
    for kind in ("npy", "npz", "png"):
        whole = {"npy": "whole.npy", "npz": "others.npz", "png": "photo.png"}[kind]
        data = (tmp_path / whole).read_bytes()
        (tmp_path / f"damaged.{kind}").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    return tmp_path


@pytest.mark.parametrize(("texts", "error", "match"), BAD, ids=[str(b[0]) for b in BAD])
def test_bad(texts, error, match, files):
    with pytest.raises(error, match=match):
        parse_inputs([text.format(files) for text in texts], ONE)


def test_a_name_is_needed_where_there_are_two_inputs():
    with pytest.raises(UsageError, match=r"2 inputs \(x, y\): say which"):
        parse_inputs(["3"], TWO)


def test_too_large():
    with pytest.raises(MemoryBudgetError):
        parse_inputs(["9999999999x9999999999"], ONE)["x"].array("x")


@pytest.mark.parametrize(
    "options",
    [
        {"size": "0"},
        {"size": "a"},
        {"size": "3x"},
        {"size": "99999999"},
        {"mean": "1,2"},
        {"mean": "a"},
        {"mean": "nan"},
        {"mean": "1,2,3", "order": "gray"},
    ],
)
def test_bad_image_options(options):
    with pytest.raises(UsageError, match="for example"):
        ImageOptions.parse(**options)


def test_bad_filter(photo):
    with pytest.raises(UsageError, match="no resampling filter; known"):
        parse_inputs([str(photo[0])], ONE, ImageOptions.parse("3", filter_name="best"))


def test_a_huge_picture_is_refused(photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(Error, match="too large an image"):
        parse_inputs([str(photo[0])], ONE)


def test_read_arrays_refuses_other_files(files):
    with pytest.raises(FileError, match=r"neither \.npy nor \.npz"):
        read_arrays(files / "text.jpg")
