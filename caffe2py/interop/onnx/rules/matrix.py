"""Products of matrices."""

from __future__ import annotations

import numpy as np

from caffe2py.interop.onnx.emitter import Emitter
from caffe2py.interop.onnx.node import Node
from caffe2py.interop.onnx.table import Table

__all__ = ["RULES"]

RULES = Table()

#: The longest axis whose triangle of ones is made.
_MOST_SUMMED = 2048


def product(g: Emitter, a: str, b: str, out: str | None = None) -> str:
    """The matrix product as numpy has it."""
    ranks = g.rank(a), g.rank(b)
    if ranks == (2, 2):
        return g.emit("MatMul", a, b, out=out)
    if ranks == (1, 1):
        dot = g.emit("BatchMatMul", a, b, broadcast=1)
        return g.emit("Squeeze", dot, out=out, dims=[0])
    return g.emit("BatchMatMul", a, b, out=out, broadcast=1)


@RULES("MatMul")
def matmul(g: Emitter, n: Node) -> None:
    """MatMul of matrices, BatchMatMul of all else."""
    dtype = g.dtype(n.input(0))
    if dtype.kind in "iu":  # exact as long as sums stay below 2 ** 53
        wide = [g.cast(name, "float64") for name in (n.input(0), n.input(1))]
        g.cast(product(g, *wide), dtype, out=n.out)
        return
    product(g, n.input(0), n.input(1), n.out)


@RULES("Gemm")
def gemm(g: Emitter, n: Node) -> None:
    """FC where it is one, else MatMul, Scale and Add."""
    a, b, c = n.input(0), n.input(1), n.maybe_input(2)
    alpha, beta = n.float("alpha", 1.0), n.float("beta", 1.0)
    trans_a, trans_b = n.int("transA"), n.int("transB")
    shape = None if c is None else g.type(c).full_shape
    columns = g.type(b).shape
    width = None if columns is None else columns[0 if trans_b else 1]
    flat = shape is not None and len(shape) == 1 and shape[0] == width
    if c is not None and flat and alpha == beta == 1 and not trans_a:
        g.emit("FC" if trans_b else "FCTransposed", a, b, c, out=n.out)
        return
    made = g.emit("MatMul", a, b, trans_a=trans_a, trans_b=trans_b)
    if alpha != 1:
        made = g.emit("Mul", made, g.scalar(alpha, made))
    if c is not None:
        term = c if beta == 1 else g.emit("Mul", c, g.scalar(beta, c))
        g.emit("Add", made, term, out=n.out)
    else:
        g.alias(made, n.out)


@RULES("CumSum")
def cumulative_sum(g: Emitter, n: Node) -> None:
    """The product with a triangle of ones, with the axis moved to the end."""
    x = n.input(0)
    axis = g.axis(x, int(g.require_constant(n.input(1), "the axis").reshape(-1)[0]))
    size, dtype = g.size(x, axis), g.dtype(x)
    if size > _MOST_SUMMED:
        n.fail(f"sums along {size} elements")
    ones = np.ones((size, size))
    exclusive = n.int("exclusive")
    triangle = np.tril(ones, -exclusive) if n.int("reverse") else np.triu(ones, exclusive)
    wide = g.cast(x, np.float64) if dtype.kind in "iu" else x
    order = [k for k in range(g.rank(x)) if k != axis] + [axis]
    made = product(g, g.transpose(wide, order), g.const(triangle, g.dtype(wide)))
    g.cast(g.transpose(made, [int(k) for k in np.argsort(order)]), dtype, out=n.out)
