"""Datasets: tensors that grow, and trees of them that are read record by record."""

from caffe2py.ops.dataset import append, collect, cursor, pack, read, split

__all__ = ["append", "collect", "cursor", "pack", "read", "split"]
