"""Regions of images, pooled."""

from caffe2py.ops.region import align, cover, pool, rotated

__all__ = ["align", "cover", "pool", "rotated"]
