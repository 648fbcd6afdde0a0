"""Operators whose launches are cut up: the same bits for every number of threads."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import ValueRangeError
from caffe2py.executor import chains
from caffe2py.executor.workspace import Workspace
from caffe2py.kernels import parallel
from caffe2py.kernels.parallel import blocks_of
from caffe2py.registry import threads
from tests.toy import net, op

RNG = np.random.default_rng(5)


def real(*shape, dtype=np.float32):
    return RNG.uniform(-1, 1, shape).astype(dtype)


def positive(*shape):
    return RNG.uniform(0.1, 1, shape).astype(np.float32)


def whole(low, high, *shape, dtype=np.int32):
    return RNG.integers(low, high, shape).astype(dtype)


def chances(rows, columns):
    found = positive(rows, columns).astype(np.float64)
    return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)


#: Flat arrays are cut where pages end.
LONG = 5000

IMAGES, LAST = real(3, 5, 11, 13), real(3, 11, 13, 5)
ONE_IMAGE = real(1, 11, 13, 5)
VECTORS = [positive(5) for _ in range(4)]
LENGTHS = np.array([3, 0, 5, 1, 9, 2, 4, 6], np.int32)
ITEMS = int(LENGTHS.sum())
TABLE, PLACES = real(40, 19), whole(0, 40, ITEMS)
BYTES = whole(0, 200, 40, 27, dtype=np.uint8)
BYTES[:, -8:] = positive(40, 2).view(np.uint8)
RATE = np.array([-0.1], np.float32)
WINDOW = {"kernel": 3, "stride": 2, "pad": 1}
NHWC = {"order": "NHWC"}

#: name -> operator, arguments, inputs, how many outputs
CASES = {
    "copy": ("Copy", {}, [real(LONG)], 1),
    "cast to int": ("Cast", {"to": 2}, [real(LONG) * 9], 1),
    "cast to float": ("Cast", {"to": 1}, [whole(-9, 9, LONG)], 1),
    "cast to half": ("Cast", {"to": 12}, [real(LONG)], 1),
    "cast to bool": ("Cast", {"to": 5}, [whole(0, 2, LONG)], 1),
    "fill": ("ConstantFill", {"shape": [LONG], "value": 2.0}, [], 1),
    "concat of rows": ("Concat", {"axis": 1}, [real(9, 7), real(9, 4)], 2),
    "split of rows": ("Split", {"axis": 1, "split": [4, 7]}, [real(9, 11)], 2),
    "transpose of squares": ("Transpose", {"axes": [1, 0]}, [real(70, 300)], 1),
    "transpose of many squares": ("Transpose", {"axes": [0, 2, 1]}, [real(9, 30, 70)], 1),
    "transpose of tiles": ("Transpose", {"axes": [2, 1, 0]}, [real(7, 3, 200)], 1),
    "transpose of rows": ("Transpose", {"axes": [1, 0, 2]}, [real(9, 5, 7)], 1),
    "colours apart": ("Transpose", {"axes": [0, 2, 1]}, [real(2, 300, 3)], 1),
    "colours together": ("Transpose", {"axes": [0, 2, 1]}, [real(2, 3, 300)], 1),
    "tile of columns": ("Tile", {"tiles": 9, "axis": 1}, [real(8, 1)], 1),
    "tile of rows": ("Tile", {"tiles": 9, "axis": 0}, [real(1, 50)], 1),
    "add a row": ("Add", {"broadcast": 1}, [real(9, 40), real(40)], 1),
    "add a column": ("Add", {}, [real(9, 40), real(9, 1)], 1),
    "add a number": ("Add", {}, [real(LONG), real(1)], 1),
    "max pool": ("MaxPool", WINDOW, [IMAGES], 1),
    "max pool of one image": ("MaxPool", {**WINDOW, **NHWC}, [ONE_IMAGE], 1),
    "max pool, last": ("MaxPool", {**WINDOW, **NHWC}, [LAST], 1),
    "max pool of all": ("MaxPool", {"global_pooling": 1}, [IMAGES], 1),
    "average pool": ("AveragePool", WINDOW, [IMAGES], 1),
    "average pool of one image": ("AveragePool", {**WINDOW, **NHWC}, [ONE_IMAGE], 1),
    "average pool of all": ("AveragePool", {"global_pooling": 1}, [IMAGES], 1),
    "average of all, back": (
        "AveragePoolGradient", {"global_pooling": 1},
        [IMAGES, real(3, 5, 1, 1), real(3, 5, 1, 1)], 1,
    ),
    "average pool, back": (
        "AveragePoolGradient", WINDOW, [IMAGES, real(3, 5, 6, 7), real(3, 5, 6, 7)], 1,
    ),
    "max pool, back": (
        "MaxPoolGradient", WINDOW,
        [np.ones_like(IMAGES), np.ones((3, 5, 6, 7), np.float32), real(3, 5, 6, 7)], 1,
    ),
    "max pool, back, last": (
        "MaxPoolGradient", {**WINDOW, **NHWC},
        [np.ones_like(LAST), np.ones((3, 6, 7, 5), np.float32), real(3, 6, 7, 5)], 1,
    ),
    "max pool of all, back": (
        "MaxPoolGradient", {"global_pooling": 1},
        [np.ones_like(IMAGES), np.ones((3, 5, 1, 1), np.float32), real(3, 5, 1, 1)], 1,
    ),
    "norms of windows": ("LpPool", WINDOW, [IMAGES], 1),
    "softmax": ("Softmax", {}, [real(9, 70)], 1),
    "softmax, back": ("SoftmaxGradient", {}, [real(9, 70), real(9, 70)], 1),
    "normalize": ("SpatialBN", {"is_test": 1}, [IMAGES, *VECTORS], 1),
    "normalize, last": ("SpatialBN", {"is_test": 1, **NHWC}, [LAST, *VECTORS], 1),
    "responses": ("LRN", {"size": 3, "alpha": 0.5, "beta": 0.75}, [IMAGES], 2),
    "responses of one image": ("LRN", {"size": 3, "beta": 0.75, **NHWC}, [ONE_IMAGE], 1),
    "responses, back": (
        "LRNGradient", {"size": 3, "alpha": 0.5, "beta": 0.75},
        [IMAGES, real(*IMAGES.shape), real(*IMAGES.shape)], 1,
    ),
    "layers": ("LayerNorm", {}, [real(9, 70)], 3),
    "layers, back": (
        "LayerNormGradient", {},
        [real(500, 9), real(500, 9), positive(500, 1), positive(500, 1), real(500, 9)], 1,
    ),
    "layers with scales, back": (
        "LayerNormGradient", {"elementwise_affine": 1},
        [real(500, 9), real(500, 9), positive(500, 1), positive(500, 1), real(500, 9), real(9)], 3,
    ),
    "instances": ("InstanceNorm", {}, [IMAGES, *VECTORS[:2]], 3),
    "groups": ("GroupNorm", {"group": 5}, [IMAGES, *VECTORS[:2]], 3),
    "groups, back": (
        "GroupNormGradient", {"group": 5},
        [real(*IMAGES.shape), IMAGES, *VECTORS[:2], positive(3, 5), positive(3, 5)], 3,
    ),
    "squares": ("RMSNorm", {}, [real(9, 70), real(70), real(70)], 2),
    "units": ("Normalize", {}, [real(9, 70)], 1),
    "sums of channels": ("ChannelStats", {}, [IMAGES], 2),
    "sums of rows": ("ReduceSum", {"axes": [1]}, [real(9, 70)], 1),
    "sums of columns": ("ReduceSum", {"axes": [0]}, [real(9, 70)], 1),
    "sums of whole columns": ("ReduceSum", {"axes": [0]}, [whole(-9, 9, 9, 70)], 1),
    "sums in the middle": ("ReduceSum", {"axes": [1]}, [real(9, 7, 30)], 1),
    "largest of rows": ("ReduceMax", {"axes": [1]}, [real(9, 70)], 1),
    "largest of columns": ("ReduceMax", {"axes": [0]}, [real(9, 70)], 1),
    "smallest of columns": ("ReduceMin", {"axes": [0]}, [real(9, 70)], 1),
    "place of the largest": ("ArgMax", {"axis": 1}, [real(9, 70)], 1),
    "gather": ("Gather", {}, [TABLE, PLACES], 1),
    "gather columns": ("Gather", {"axis": 1}, [TABLE, whole(0, 19, 8)], 1),
    "sums of looked up rows": ("SparseLengthsSum", {}, [TABLE, PLACES, LENGTHS], 1),
    "weighted ones": (
        "SparseLengthsWeightedSum", {}, [TABLE, real(ITEMS), PLACES, LENGTHS], 1,
    ),
    "sums of bytes": (
        "SparseLengthsSumFused8BitRowwise", {}, [BYTES, PLACES.astype(np.int64), LENGTHS], 1,
    ),
    "sums of few bits": (
        "SparseLengthsSumFused4BitRowwise", {},
        [np.concatenate([BYTES[:, :9], positive(40, 1).astype(np.float16).view(np.uint8),
                         positive(40, 1).astype(np.float16).view(np.uint8)], axis=1),
         PLACES.astype(np.int64), LENGTHS], 1,
    ),
    "sums of segments": ("LengthsSum", {}, [real(ITEMS, 19), LENGTHS], 1),
    "means of segments": ("LengthsMean", {}, [real(ITEMS, 19), LENGTHS], 1),
    "largest of segments": ("LengthsMax", {}, [real(ITEMS, 19), LENGTHS], 1),
    "bytes of rows": ("FloatToFused8BitRowwiseQuantized", {}, [real(9, 70)], 1),
    "rows of bytes": ("Fused8BitRowwiseQuantizedToFloat", {}, [BYTES], 1),
    "dropout": ("Dropout", {"ratio": 0.4, "is_test": 0}, [real(LONG)], 2),
    "losses of labels": ("SoftmaxWithLoss", {}, [real(9, 70), whole(0, 70, 9)], 2),
    "losses of chances": (
        "SoftmaxWithLoss", {"label_prob": 1}, [real(9, 70), chances(9, 70)], 2,
    ),
    "losses of pixels": ("SpatialSoftmaxWithLoss", {}, [IMAGES, whole(0, 5, 3, 11, 13)], 2),
    "entropy": ("CrossEntropy", {}, [chances(9, 7), chances(9, 7)], 1),
    "entropy of labels": ("LabelCrossEntropy", {}, [chances(9, 7), whole(0, 7, 9)], 1),
    "logistic losses": (
        "SigmoidCrossEntropyWithLogits", {}, [real(9, 70), positive(9, 70)], 1,
    ),
    "distances": ("SquaredL2Distance", {}, [real(9, 70), real(9, 70)], 1),
    "distances of magnitudes": ("L1Distance", {}, [real(9, 70), real(9, 70)], 1),
    "adam": (
        "Adam", {},
        [*(positive(LONG) for _ in range(4)), RATE, np.array([3], np.int64)], 3,
    ),
    "adagrad": ("Adagrad", {}, [*(positive(LONG) for _ in range(3)), RATE], 2),
    "momentum": ("MomentumSGD", {"momentum": 0.9}, [real(LONG), real(LONG), RATE], 2),
    "momentum and parameter": (
        "MomentumSGDUpdate", {"momentum": 0.9}, [real(LONG), real(LONG), RATE, real(LONG)], 3,
    ),
    "mean squares": ("RmsProp", {}, [*(positive(LONG) for _ in range(3)), RATE], 3),
    "adadelta": ("Adadelta", {}, [*(positive(LONG) for _ in range(4)), RATE], 3),
    "ftrl": ("Ftrl", {}, [real(LONG), positive(LONG, 2), real(LONG)], 2),
}  # fmt: skip


@pytest.fixture
def always_split(monkeypatch):
    monkeypatch.setattr(parallel, "WORTH", 1e-9)
    monkeypatch.setattr(parallel, "CHUNK", 64)
    monkeypatch.setattr(chains, "_LEAST", 1)
    monkeypatch.setattr(threads, "_count", 1)


def outputs_of(made, inputs, keep):
    """What a net computes in each of two runs, and whether its launches stand side by side."""
    workspace = Workspace()
    for name, array in inputs.items():
        workspace.feed(name, array)
    workspace.create_net(made)
    found = []
    for _ in range(2):
        workspace.run_net(made.name)
        found += [workspace.fetch(name) for name in keep]
    table = workspace.net(made.name).runner.steps[0]._table
    return found, any(launch.beside for launch in table.launches)


def assert_same_for_all(made, inputs, keep):
    first = None
    for count in (1, 2, 3, 7):
        threads.set_thread_count(count)
        found, split = outputs_of(made, inputs, keep)
        assert split == (count > 1)
        first = first or found
        for a, b in zip(first, found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", CASES)
def test_same_bits(always_split, name):
    type_, args, arrays, count = CASES[name]
    inputs = {f"x{k}": array for k, array in enumerate(arrays)}
    outputs = [f"y{k}" for k in range(count)]
    made = net(op(type_, " ".join(inputs), " ".join(outputs), **args))
    assert_same_for_all(made, inputs, outputs)


def test_training_statistics(always_split):
    """Normalisation of a batch, forward and back, for both orders of the axes."""
    for order, x in (("NCHW", IMAGES), ("NHWC", real(3, 11, 13, 50))):
        vectors = [positive(x.shape[1 if order == "NCHW" else 3]) for _ in range(4)]
        forward = op("SpatialBN", "x s b m v", "y m v sm sv", order=order, is_test=0)
        back = op("SpatialBNGradient", "x s dy sm sv", "dx ds db", order=order, is_test=0)
        inputs = {"x": x, "dy": real(*x.shape), **dict(zip("sbmv", vectors, strict=True))}
        assert_same_for_all(
            net(forward, back), inputs, ["y", "m", "v", "sm", "sv", "dx", "ds", "db"]
        )


def test_errors_name_the_place_in_the_whole(always_split):
    threads.set_thread_count(3)
    workspace = Workspace()
    workspace.feed("x", chances(9, 7))
    workspace.feed("l", np.array([0, 1, 2, 3, 4, 5, 6, 7, 0], np.int32))
    workspace.create_net(net(op("LabelCrossEntropy", "x l", "y")))
    with pytest.raises(ValueRangeError, match="label 7 at position 7"):
        workspace.run_net("toy")


def test_blocks_depend_on_rows_alone():
    assert [blocks_of(n) for n in (0, 1, 127, 128, 10**6)] == [1, 1, 1, 2, 32]
