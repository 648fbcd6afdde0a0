"""Figures of a net, without running it."""

import numpy as np
import pytest

import caffe2py.core  # noqa: F401
from caffe2py.errors import ShapeError
from caffe2py.predictor.load import load_model
from caffe2py.predictor.summary import summarize
from caffe2py.registry.cost import COSTS, bytes_moved, multiply_adds
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import known_caffe2_operators, registered
from caffe2py.registry.schema import Args, Schema
from caffe2py.tensor.types import TensorType
from tests.toy import PREDICT, net, op

FLOAT = np.dtype(np.float32)


def floats(*shape):
    return TensorType(FLOAT, shape)


def figures(message, **given):
    return summarize(load_model(message), message, given)


def test_shapes_and_parameters():
    made = figures(PREDICT, x=floats(2, 3), w=floats(3))
    assert [str(t) for row in made.rows for t in row.outputs] == ["float32(2,3)", "float32(2,3)"]
    assert [row.parameters for row in made.rows] == [0, 3]
    assert (made.parameters, made.parameter_bytes) == (3, 12)
    assert made.unknown == 0


def test_shared_weights_count_once():
    twice = net(op("Add", "x w", "y"), op("Add", "y w", "z"), reads="x w")
    made = figures(twice, x=floats(3), w=floats(3))
    assert [row.parameters for row in made.rows] == [3, 3]
    assert made.parameters == 3


def test_memory_with_last_use():
    chain = net(op("Relu", "x", "a"), op("Relu", "a", "b"), op("Relu", "b", "c"), gives="c")
    made = figures(chain, x=floats(100))
    assert made.activation_bytes == 1200
    assert made.peak_bytes == 800  # two neighbours at a time


def test_memory_in_place():
    chain = net(op("Relu", "x", "a"), op("Relu", "a", "a"), op("Relu", "a", "a"))
    made = figures(chain, x=floats(100))
    assert (made.activation_bytes, made.peak_bytes) == (400, 400)


def test_outputs_live_to_the_end():
    fan = net(op("Relu", "x", "a"), op("Relu", "x", "b"), op("Relu", "b", "c"), gives="a c")
    assert figures(fan, x=floats(100)).peak_bytes == 1200


def test_unknown_inputs_are_counted():
    made = figures(PREDICT, x=floats(2, 3))
    assert made.unknown == 1
    assert made.rows[1].parameters is None


def test_an_error_ends_nothing():
    wrong = net(op("Add", "x y", "z"), op("Relu", "x", "u"))
    made = figures(wrong, x=floats(2), y=floats(3))
    assert isinstance(made.rows[0].error, ShapeError)
    assert str(made.rows[0].error).startswith("net 'toy', op #0 Add: ")
    assert made.rows[1].outputs == (floats(2),)


#: operator, arguments, types of inputs and output -> multiply-adds, counted by hand.
WORK = [
    ("Conv", {"kernel": 3}, [(2, 3, 10, 10), (8, 3, 3, 3), (8,)], (2, 8, 8, 8), 2 * 8 * 64 * 27),
    ("Conv", {"kernel": 3, "group": 3}, [(1, 3, 5, 5), (3, 1, 3, 3)], (1, 3, 3, 3), 27 * 9),
    ("FC", {}, [(4, 5), (6, 5), (6,)], (4, 6), 4 * 5 * 6),
    ("FC", {}, [(4, 5, 2), (6, 10), (6,)], (4, 6), 4 * 10 * 6),
    ("FCTransposed", {}, [(4, 5), (5, 6), (6,)], (4, 6), 4 * 5 * 6),
    ("MatMul", {}, [(4, 5), (5, 6)], (4, 6), 4 * 5 * 6),
    ("MatMul", {"trans_a": 1}, [(5, 4), (5, 6)], (4, 6), 4 * 5 * 6),
    ("BatchMatMul", {}, [(7, 4, 5), (7, 5, 6)], (7, 4, 6), 7 * 4 * 5 * 6),
    ("ConvTranspose", {"kernel": 2}, [(1, 3, 4, 4), (3, 5, 2, 2)], (1, 5, 5, 5), 48 * 20),
    ("MaxPool", {"kernel": 2, "stride": 2}, [(1, 3, 4, 4)], (1, 3, 2, 2), 12 * 4),
    ("AveragePool", {"global_pooling": 1}, [(1, 3, 4, 4)], (1, 3, 1, 1), 48),
    ("MaxPool", {"kernels": [2, 3]}, [(1, 3, 4, 4)], (1, 3, 3, 2), 18 * 6),
    ("MaxPool", {"kernel_h": 2, "kernel_w": 1}, [(1, 3, 4, 4)], (1, 3, 3, 4), 36 * 2),
    ("LRN", {"size": 5, "alpha": 0.1, "beta": 0.5}, [(1, 3, 4, 4)], (1, 3, 4, 4), 48 * 5),
    ("Relu", {}, [(3,)], (3,), 0),
    ("FusedConv", {"kernel": 1}, [(1, 3, 4, 4), (2, 3, 1, 1)], (1, 2, 4, 4), 32 * 3),
    ("FCGradient", {}, [(4, 5), (6, 5), (4, 6)], (6, 5), 4 * 5 * 6),
    ("ConvGradient", {"kernel": 1}, [(1, 3, 4, 4), (2, 3, 1, 1), (1, 2, 4, 4)], (2, 3, 1, 1), 96),
]


@pytest.mark.parametrize(("type_", "args", "inputs", "output", "expected"), WORK)
def test_multiply_adds(type_, args, inputs, output, expected):
    schema = Schema(type_, "inputs* -> Y")
    types = tuple(floats(*shape) for shape in inputs)
    query = Query(schema, types, Args(**args), 1)
    assert multiply_adds(query, [floats(*output)]) == expected
    unknown = Query(schema, tuple(TensorType() for _ in types), query.args, 1)
    assert multiply_adds(unknown, [TensorType()]) in (None, 0)


def test_costs_name_operators():
    assert not set(COSTS) - known_caffe2_operators() - set(registered())


def test_a_gradient_for_the_data_is_as_much_again():
    types = (floats(4, 5), floats(6, 5), floats(4, 6))
    query = Query(Schema("FCGradient", "inputs* -> Y"), types, Args(), 3)
    assert multiply_adds(query, [floats(6, 5), floats(6), floats(4, 5)]) == 2 * 4 * 5 * 6


def test_bytes_moved():
    table, rows = floats(1000, 8), TensorType(np.dtype(np.int64), (3,))
    assert bytes_moved("Add", [floats(5), floats(5)], [floats(5)]) == 60
    assert bytes_moved("Gather", [table, rows], [floats(3, 8)]) == 3 * 32 + 24 + 3 * 32
    assert bytes_moved("Add", [floats(5), TensorType()], [floats(5)]) is None
