"""Rows of embeddings as small integers with a scale and a bias each."""

from caffe2py.ops.rowwise import chance, codes, convert, sparse, sums

__all__ = ["chance", "codes", "convert", "sparse", "sums"]
