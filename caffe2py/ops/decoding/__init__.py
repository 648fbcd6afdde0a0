"""From scores to sequences of labels."""

from caffe2py.ops.decoding import ctc, ngram, path

__all__ = ["ctc", "ngram", "path"]
