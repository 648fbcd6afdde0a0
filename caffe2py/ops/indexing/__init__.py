"""Elements by their indices: gather, scatter, slices, the largest ones."""

from caffe2py.ops.indexing import gather, scatter, slices, top

__all__ = ["gather", "scatter", "slices", "top"]
