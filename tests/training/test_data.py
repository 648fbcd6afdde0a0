"""Rows: which arrays, in which order, and what is wrong with files."""

import numpy as np
import pytest

from caffe2py.errors import DTypeError, Error, FileError, MissingBlobError, ShapeError, UsageError
from caffe2py.training.data import ArraySource, Batches, open_source

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.arange(6, dtype=np.int32)


def test_every_row_once_an_epoch_in_another_order():
    batches = Batches(ArraySource({"x": X}, "rows"), 2, seed=5)
    epochs = [np.concatenate([batches.rows(3 * e + k) for k in range(3)]) for e in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(6))
    assert len({tuple(order) for order in epochs}) == 3
    assert np.array_equal(batches.take(4)["x"], X[batches.rows(4)])


def test_the_order_is_a_function_of_seed_and_iteration():
    def order(seed, iterations):
        batches = Batches(ArraySource({"x": np.zeros((50, 1))}, "rows"), 8, seed)
        return [batches.rows(k).tolist() for k in iterations]

    assert order(1, range(20)) == order(1, range(20))
    assert order(1, [17, 3]) == [order(1, range(20))[k] for k in (17, 3)]
    assert order(1, range(3)) != order(2, range(3))


def test_the_order_never_changes():
    batches = Batches(ArraySource({"x": np.zeros((8, 1))}, "rows"), 8, 0)
    assert batches.rows(0).tolist() == FIRST


FIRST = [0, 2, 1, 5, 4, 3, 6, 7]


def test_what_makes_no_whole_batch_is_left_out():
    batches = Batches(ArraySource({"x": X}, "rows"), 4, 0)
    assert batches.per_epoch == 1
    with pytest.raises(UsageError, match=r"rows: a batch of 7 rows, and there are 6 .*--batch 6"):
        Batches(ArraySource({"x": X}, "rows"), 7, 0)


def test_parts(tmp_path):
    path = tmp_path / "both.npz"
    np.savez(path, **{"train/x": X, "train/y": Y, "test/x": X[:2], "other": Y})
    train, test = open_source(path, "train", ["x", "y"]), open_source(path, "test", ["x"])
    assert (train.rows, test.rows) == (6, 2)
    assert train.names == ("x", "y")
    assert {n: str(t) for n, t in train.types(4).items()} == {"x": "float32(4,2)", "y": "int32(4)"}
    np.savez(path, **{"x": X, "test/x": X[:1]})
    assert open_source(path, "train", ["x"]).rows == 6
    assert open_source(path, "test", ["x"]).rows == 1


def test_folders(tmp_path):
    (tmp_path / "train").mkdir()
    np.save(tmp_path / "train" / "x.npy", X)
    np.savez(tmp_path / "test.npz", x=X[:3])
    assert open_source(tmp_path, "train", ["x"]).rows == 6
    assert open_source(tmp_path, "test", ["x"]).rows == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"no \.npy or \.npz in this folder; it holds nothing"):
        open_source(tmp_path / "empty", "train", ["x"])


def test_strings_and_digests():
    words = ArraySource({"w": np.array(["a", "b"]), "x": X[:2]}, "rows")
    assert words.take(np.array([1]))["w"].tolist() == [b"b"]
    others = [{"x": X}, {"y": X}, {"x": X + 1}, {"x": X.reshape(6, 2, 1)}, {"x": X.astype(float)}]
    digests = {ArraySource(arrays, "rows").digest() for arrays in others}
    assert len(digests) == len(others)
    assert words.digest() == ArraySource({"x": X[:2], "w": np.array(["a", "b"])}, "z").digest()


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"x": X, "y": Y[:5]}, ShapeError, "different numbers of rows: 'x' 6, 'y' 5"),
        ({"x": X, "y": np.float32(3)}, ShapeError, "array 'y' is one number, not rows"),
        ({"x": X[:0], "y": Y[:0]}, UsageError, "it has no rows .*an .npz with an array for each"),
        ({"x": X.astype(complex), "y": Y}, DTypeError, "array 'x': no tensor holds complex128"),
        ({"x": X, "why": Y}, MissingBlobError, "holds no array 'y'.* it holds x, why"),
        ({"x": X, "ys": Y}, MissingBlobError, "did you mean 'ys'"),
        ({"x": X, "y": np.array([None] * 6)}, FileError, "holds Python objects"),
        ({}, UsageError, "holds no arrays to train on"),
    ],
)
def test_files_that_will_not_do(tmp_path, arrays, error, message):
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(error, match=message) as caught:
        open_source(tmp_path / "rows.npz", "train", ["x", "y"])
    assert "rows.npz" in str(caught.value)


def test_files_that_hold_no_rows_by_name(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(UsageError, match="one array without a name"):
        open_source(tmp_path / "x.npy", "train", ["x"])
    with pytest.raises(Error, match="no such file"):
        open_source(tmp_path / "none.npz", "train", ["x"])
