"""SpatialBN beyond single uses: gradient rules, several batches, statistics of hard data."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import NoGradientError
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.operator import lookup

VECTORS = ["scale", "bias", "mean", "var"]
OUTPUTS = ["Y", "mean", "var", "saved_mean", "saved_inv"]


def batch_norm(inputs, outputs, **args):
    op = OperatorDef(type="SpatialBN", input=inputs, output=outputs)
    op.arg.extend(make_argument(name, value) for name, value in args.items())
    return op


def run(op, **blobs):
    workspace = Workspace()
    for name, value in blobs.items():
        workspace.feed(name, value)
    workspace.run_operator_once(op)
    return workspace


def vectors(rng, channels=3):
    draw = {name: rng.uniform(-1, 1, channels).astype(np.float32) for name in VECTORS}
    return {**draw, "var": np.abs(draw["var"])}


def backward(op, dy="dY"):
    grads = [dy] + [None] * (len(op.output) - 1)
    return lookup("SpatialBN").gradient_of(op, grads)


def test_gradient_in_training_reads_the_saved_statistics():
    gradient = backward(batch_norm(["X", *VECTORS], OUTPUTS, is_test=0, order="NHWC"))
    (op,) = gradient.ops
    assert op.type == "SpatialBNGradient"
    assert list(op.input) == ["X", "scale", "dY", "saved_mean", "saved_inv"]
    assert list(op.output) == ["X_grad", "scale_grad", "bias_grad"]
    assert {a.name for a in op.arg} == {"is_test", "order"}
    assert gradient.input_grads == ("X_grad", "scale_grad", "bias_grad", None, None)


def test_gradient_in_a_test_reads_the_fixed_statistics():
    (op,) = backward(batch_norm(["X", *VECTORS], ["Y"], is_test=1)).ops
    assert list(op.input) == ["X", "scale", "dY", "mean", "var"]


def test_gradient_of_several_batches_reads_their_sums():
    inputs = ["X", *VECTORS, "sums", "sumsq"]
    gradient = backward(batch_norm(inputs, OUTPUTS, is_test=0, num_batches=2))
    (op,) = gradient.ops
    assert list(op.input[5:]) == ["scale_grad", "bias_grad"]
    assert gradient.input_grads[3:] == (None,) * 4


def test_gradient_needs_that_of_the_first_output():
    with pytest.raises(NoGradientError, match="first output"):
        backward(batch_norm(["X", *VECTORS], ["Y"], is_test=1), None)


def test_two_halves_are_normalised_as_the_whole():
    rng = np.random.default_rng(5)
    x = rng.normal(2, 3, (4, 3, 2, 5)).astype(np.float32)
    fixed = vectors(rng)
    whole = run(batch_norm(["X", *VECTORS], OUTPUTS, is_test=0), X=x, **fixed)
    sums = {"sums": x.sum((0, 2, 3)), "sumsq": (x * x).sum((0, 2, 3))}
    half = batch_norm(["X", *VECTORS, "sums", "sumsq"], OUTPUTS, is_test=0, num_batches=2)
    for part in (slice(0, 2), slice(2, 4)):
        found = run(half, X=x[part], **fixed, **sums)
        np.testing.assert_allclose(found.fetch("Y"), whole.fetch("Y")[part], atol=2e-5)
        for name in OUTPUTS[1:]:
            np.testing.assert_allclose(found.fetch(name), whole.fetch(name), rtol=2e-5)


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_mean_costs_no_digits(order, dtype):
    rng = np.random.default_rng(6)
    x = rng.normal(3000, 1, (8, 3, 30, 30)).astype(dtype)
    if order == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    over = (0, 2, 3) if order == "NCHW" else (0, 1, 2)
    fixed = {name: v.astype(dtype) for name, v in vectors(rng).items()}
    op = batch_norm(["X", *VECTORS], OUTPUTS, is_test=0, order=order, epsilon=2.0**-20)
    found = run(op, X=x, **fixed)
    wide = x.astype(np.float64)
    inverse = 1 / np.sqrt(wide.var(over) + 2.0**-20)
    exact = 1e-7 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found.fetch("saved_mean"), wide.mean(over), rtol=exact)
    np.testing.assert_allclose(found.fetch("saved_inv"), inverse, rtol=exact)


def test_a_constant_channel_becomes_the_bias():
    rng = np.random.default_rng(7)
    fixed = vectors(rng)
    x = np.broadcast_to(np.float32([[[0.1]], [[-70.3]], [[1e6]]]), (3, 5, 7))[None]
    found = run(batch_norm(["X", *VECTORS], OUTPUTS, is_test=0), X=x, **fixed)
    expected = np.broadcast_to(fixed["bias"][:, None, None], (3, 5, 7))
    assert np.array_equal(found.fetch("Y")[0], expected)


def test_running_statistics_converge():
    rng = np.random.default_rng(8)
    fixed = vectors(rng)
    x = rng.normal(1, 2, (64, 3, 4)).astype(np.float32)
    workspace = Workspace()
    for name, value in {"X": x, **fixed}.items():
        workspace.feed(name, value)
    op = batch_norm(["X", *VECTORS], OUTPUTS, is_test=0, momentum=0.5)
    for _ in range(30):
        workspace.run_operator_once(op)
    np.testing.assert_allclose(workspace.fetch("mean"), x.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(workspace.fetch("var"), x.var((0, 2), ddof=1), rtol=1e-5)
