"""Losses and what they are made of: softmax, entropies, distances."""

from caffe2py.ops.loss import distance, entropy, softmax, softmax_loss

__all__ = ["distance", "entropy", "softmax", "softmax_loss"]
