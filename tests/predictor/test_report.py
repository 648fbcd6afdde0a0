"""Figures of arrays, comparisons, and arrays on disk."""

import numpy as np
import pytest

from caffe2py.errors import FileError, UsageError
from caffe2py.predictor.inputs import read_arrays
from caffe2py.predictor.report import compare, ranking, statistics
from caffe2py.predictor.save import write_arrays


def test_statistics():
    found = statistics(np.array([1.0, np.nan, 3.0, np.inf]))
    assert (found.minimum, found.maximum, found.mean, found.std) == (1, 3, 2, 1)
    assert found.non_finite == 2
    assert statistics(np.array([True, False])).mean == 0.5
    assert statistics(np.zeros(0)).minimum is None
    assert statistics(np.array([np.nan])).non_finite == 1
    assert statistics(np.array([b"a"], object)).minimum is None
    assert (
        statistics(np.full(9, 6e4, np.float16)).mean == statistics(np.full(1, 6e4, np.float16)).mean
    )


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1), (4, 1)])
def test_ranking(shape):
    values = np.array([0.1, np.nan, 0.7, 0.3], np.float32).reshape(shape)
    assert [i for i, _ in ranking(values)] == [2, 3, 0, 1]
    assert [i for i, _ in ranking(values, 1)] == [2]


@pytest.mark.parametrize("array", [np.ones(4), np.ones((2, 4)), np.ones(()), np.ones((1, 1))])
def test_no_ranking(array):
    assert ranking(array) == []


def test_compare():
    expected = np.array([1.0, 2.0, 0.0], np.float32)
    assert compare(expected, expected, 0, 0).fits
    found = compare(expected + np.array([0, 0.02, 0.001], np.float32), expected, 0.001, 0.001)
    assert not found.fits
    assert found.mismatches in (1, 2)
    assert found.max_abs == pytest.approx(0.02, rel=1e-4)
    assert found.max_rel == pytest.approx(0.01, rel=1e-4)
    assert compare(expected.astype(np.float64), expected, 0, 0).fits


@pytest.mark.parametrize(
    ("found", "expected", "fits"),
    [
        ([np.nan, np.inf], [np.nan, np.inf], True),
        ([np.nan], [1.0], False),
        ([np.inf], [1.0], False),
        ([np.inf], [-np.inf], False),
        ([1.0], [np.inf], False),
        ([], [], True),
        ([2**60 + 1], [2**60], False),
        ([True], [True], True),
    ],
)
def test_compare_extremes(found, expected, fits):
    assert compare(np.array(found), np.array(expected), 0, 0).fits == fits


def test_compare_shapes_kinds_and_strings():
    assert "has the shape (2), expected (3)" in compare(np.ones(2), np.ones(3), 0, 0).reason
    assert "not a tensor" in compare(b"text", np.ones(3), 0, 0).reason
    strings = np.array([b"a", b"b"], object)
    assert compare(strings, np.array(["a", "b"]), 0, 0).fits
    assert compare(strings, np.array([b"a", b"c"]), 0, 0).mismatches == 1
    assert "expected float64" in compare(strings, np.ones(2), 0, 0).reason


def test_save(tmp_path):
    arrays = {"a/b": np.ones((2, 3)), "file": np.arange(3), "s": np.array([b"xy", b"z"], object)}
    write_arrays(tmp_path / "x.npz", arrays)
    found = read_arrays(tmp_path / "x.npz")
    assert list(found) == list(arrays)
    assert np.array_equal(found["a/b"], arrays["a/b"])
    assert list(found["s"]) == [b"xy", b"z"]
    write_arrays(tmp_path / "x.npy", {"any": np.float32(3) * np.ones((), np.float32)})
    assert read_arrays(tmp_path / "x.npy")[""] == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "x.npz"]


def test_save_refuses(tmp_path):
    with pytest.raises(UsageError, match=r"holds one array, not 2 \(a, b\)"):
        write_arrays(tmp_path / "x.npy", {"a": np.ones(1), "b": np.ones(1)})
    with pytest.raises(UsageError, match=r"neither \.npz nor \.npy"):
        write_arrays(tmp_path / "x.txt", {"a": np.ones(1)})
    with pytest.raises(FileError, match="cannot be written"):
        write_arrays(tmp_path / "no" / "x.npz", {"a": np.ones(1)})
