"""Losses and what they are made of: softmax, entropies, distances, rankings, detections."""

from caffe2py.ops.loss import (
    binary,
    detection,
    distance,
    entropy,
    ranking,
    similarity,
    softmax,
    softmax_loss,
)

__all__ = [
    "binary",
    "detection",
    "distance",
    "entropy",
    "ranking",
    "similarity",
    "softmax",
    "softmax_loss",
]
