"""Rows: copies between the host and CUDA devices, for which the CPU has no implementation."""

import numpy as np

from caffe2py.errors import ArityError, UnsupportedError
from caffe2py.testing import Bad, Case
from tests.ops.rows.shape import F4, same_elements

SHAPES = [((2, 3), {}), ((), {}), ((0,), {}), ((3, 0, 2), {}), ((1, 1), {})]


def _copied(name):
    return Case(
        name,
        np.copy,
        same_elements(*SHAPES),
        bad=[
            Bad([F4, F4], ArityError, r"expected 1 input\(s\) \(input\), found 2"),
            Bad([F4], ArityError, "found 2", outputs=2),
            Bad([F4], UnsupportedError, "on the device 'cpu': it has kernels for cuda"),
        ],
    )


CASES = [
    _copied("CopyCPUToGPU"),
    _copied("CopyGPUToCPU"),
    Case(
        "GetGPUMemoryUsage",
        None,
        lambda rng: [],
        bad=[
            Bad([F4], ArityError, r"expected 0 input\(s\) \(none\), found 1"),
            Bad([], UnsupportedError, "on the device 'cpu': it has kernels for cuda"),
        ],
    ),
]
