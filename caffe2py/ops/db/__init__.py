"""Blobs in files and databases: save, load, read records, read lines of text."""

from caffe2py.ops.db import exists, load, reader, save, text

__all__ = ["exists", "load", "reader", "save", "text"]
