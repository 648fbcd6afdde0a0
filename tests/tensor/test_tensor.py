"""Storage that tensors own, share or are lent."""

import numpy as np

from caffe2py.tensor.tensor import Blob

FLOAT = np.dtype(np.float32)


def test_a_lent_part_is_kept_by_every_shape_that_fits():
    whole = np.zeros((3, 2, 4), FLOAT)
    blob = Blob("step")
    blob.lend(whole[1:2])
    blob.resize((2, 4), FLOAT)[...] = 1
    assert whole.sum(axis=(1, 2)).tolist() == [0, 8, 0]


def test_a_lent_part_is_left_when_it_is_too_small():
    whole = np.zeros((3, 2), FLOAT)
    blob = Blob("step")
    blob.lend(whole[1:2])
    blob.resize((2, 2), FLOAT)[...] = 1
    assert not whole.any()


def test_plans_notice_that_a_part_was_lent():
    blob = Blob("step")
    before = blob.generation
    blob.lend(np.zeros(2, FLOAT))
    assert blob.generation > before


def test_a_shared_view_ends_with_the_next_shape():
    whole = np.zeros((3, 2), FLOAT)
    blob = Blob("view")
    blob.share(whole[1:])
    blob.resize((2,), FLOAT)[...] = 1
    assert not whole.any()
