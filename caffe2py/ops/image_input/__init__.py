"""Photos from databases, decoded, cut, resized and normalized: ImageInput."""

from caffe2py.ops.image_input import operator

__all__ = ["operator"]
