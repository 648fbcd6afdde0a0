"""Fully connected layers, products of matrices and of batches of them."""

from caffe2py.ops.linalg import layers, matmul, parts

__all__ = ["layers", "matmul", "parts"]
