"""What the CPU takes from the C library, and devices compute in ways of their own."""

from __future__ import annotations

import numpy as np

from caffe2py.kernels.params import ByType


def _third_root(x):
    return np.cbrt(x)


def _down(x):
    return np.floor(x)


def _up(x):
    return np.ceil(x)


#: The cube root, of negative numbers, too.
third_root = ByType(_third_root, _third_root)

#: The largest integer that is at most x, and the smallest that is at least x, as floats.
down, up = ByType(_down, _down), ByType(_up, _up)
