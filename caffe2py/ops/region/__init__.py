"""Regions of images, pooled."""

from caffe2py.ops.region import align, pool, rotated

__all__ = ["align", "pool", "rotated"]
