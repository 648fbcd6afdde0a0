"""Queues between nets that run side by side, and a database that reads from one."""

from caffe2py.ops.queue import blobs, database, rebatching

__all__ = ["blobs", "database", "rebatching"]
