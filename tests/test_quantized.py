"""Quantized tensors in a workspace: fed, fetched, refused, and seen by plans."""

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.errors import BlobTypeError, DTypeError
from caffe2py.executor.workspace import Workspace
from caffe2py.tensor.types import Quantum
from caffe2py.workspace import Int8Tensor

DATA = np.array([[0, 10, 255]], np.uint8)


@pytest.fixture(autouse=True)
def _fresh():
    workspace.ResetWorkspace()


def test_what_is_fed_is_fetched():
    workspace.FeedBlob("x", Int8Tensor(DATA, 0.1, 10))
    found = workspace.FetchInt8Blob("x")
    assert found.data.tolist() == DATA.tolist()
    assert (found.scale, found.zero_point) == (np.float32(0.1), 10)
    assert workspace.FetchInt8BlobRealVal("x").tolist() == [[np.float32(-1), 0.0, np.float32(24.5)]]


def test_each_fetch_refuses_the_other_kind():
    workspace.FeedBlob("x", Int8Tensor(DATA, 0.5, 10))
    workspace.FeedBlob("y", DATA)
    with pytest.raises(BlobTypeError, match="Use FetchInt8Blob to fetch Int8 Blob x"):
        workspace.FetchBlob("x")
    with pytest.raises(BlobTypeError, match="You are not fetching an Int8Blob y"):
        workspace.FetchInt8Blob("y")


def test_only_integers_can_be_quantized():
    with pytest.raises(DTypeError, match="holds uint8 or int32, found float32"):
        workspace.FeedBlob("x", Int8Tensor(np.ones(2, np.float32), 1.0, 0))


def test_ordinary_operators_refuse_them():
    workspace.FeedBlob("x", Int8Tensor(DATA, 0.5, 10))
    with pytest.raises(BlobTypeError, match=r"found a quantized one.*Int8Dequantize"):
        workspace.RunOperatorOnce(core.CreateOperator("Copy", "x", "y"))


def test_a_blob_can_become_an_ordinary_tensor_again():
    workspace.FeedBlob("x", Int8Tensor(DATA, 0.5, 10))
    workspace.FeedBlob("x", DATA)
    assert workspace.FetchBlob("x").tolist() == DATA.tolist()
    workspace.FeedBlob("x", Int8Tensor(DATA, 0.5, 10))
    workspace.RunOperatorOnce(core.CreateOperator("Int8Dequantize", "x", "y"))
    assert workspace.FetchBlob("y").tolist() == [[-5.0, 0.0, 122.5]]


def test_a_net_sees_another_scale():
    local = Workspace()
    local.feed("x", Int8Tensor(DATA, 0.5, 10))
    net = core.Net("n")
    net.Int8Dequantize("x", "y")
    bound = local.bind(net.Proto())
    bound.run()
    local.feed("x", Int8Tensor(DATA, 2.0, 11))
    bound.run()
    assert local.fetch("y").tolist() == [[-22.0, -2.0, 488.0]]
    assert local.blob("x").quantum == Quantum(2.0, 11)


def test_types_are_inferred_with_the_quantum():
    workspace.FeedBlob("x", np.ones((2, 3), np.float32))
    net = core.Net("n")
    net.Int8Quantize("x", "q", Y_scale=0.5)
    net.Int8Relu("q", "r", Y_scale=0.5)
    net.Int8Dequantize("r", "y")
    shapes, types = workspace.InferShapesAndTypes([net])
    assert shapes["y"] == [2, 3]
    assert types["y"] == core.DataType.FLOAT
