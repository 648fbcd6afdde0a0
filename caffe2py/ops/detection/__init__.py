"""Operators of detectors: boxes, proposals, regions, keypoints."""

from caffe2py.ops.detection import boxes, heads, proposals, pyramid, sample

__all__ = ["boxes", "heads", "proposals", "pyramid", "sample"]
