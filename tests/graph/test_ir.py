"""Versions of blobs: who makes and who reads which."""

from caffe2py import core
from tests.toy import net, op

NET = net(
    op("Relu", "x", "y"),
    op("Relu", "y", "y"),
    op("Add", "y y", "z"),
    op("Add", "y x", "z"),
)


def test_versions():
    ir = core.IR(NET.op)
    assert [(row.in_versions, row.out_versions) for row in ir.ssa] == [
        ({"x": 0}, {"y": 0}),
        ({"y": 0}, {"y": 1}),
        ({"y": 1}, {"z": 0}),
        ({"y": 1, "x": 0}, {"z": 1}),
    ]
    assert [row.op.type for row in ir.ssa] == ["Relu", "Relu", "Add", "Add"]
    assert ir.frontier == {"x": 0, "y": 1, "z": 1}
    assert ir.input_usages == {"x": {0: [0, 3]}, "y": {0: [1], 1: [2, 2, 3]}}


def test_makers_and_users():
    ir = core.IR(NET.op)
    assert [ir.maker("y", version) for version in (0, 1, 2)] == [0, 1, None]
    assert ir.maker("x", 0) is None
    assert [ir.users("y", version) for version in (0, 1, 2)] == [[1], [2, 3], []]
    assert ir.users("z", 1) == ir.users("nowhere", 0) == []
    assert "nowhere" not in ir.input_usages
