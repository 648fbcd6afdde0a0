"""Activations: functions of one element, or of one element and the channel it is in."""

from caffe2py.ops.activation import basic, glu, limited, prelu, smooth

__all__ = ["basic", "glu", "limited", "prelu", "smooth"]
