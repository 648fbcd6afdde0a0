"""Operators of detectors: boxes, proposals, regions, keypoints."""

from caffe2py.ops.detection import boxes, proposals, pyramid

__all__ = ["boxes", "proposals", "pyramid"]
