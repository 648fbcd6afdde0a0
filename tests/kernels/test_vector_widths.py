"""Kernels on vectors of every width, whatever this CPU has: products, convolutions of all ways."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np
from caffe2py.kernels.convolve import Correlation
from caffe2py.kernels.linalg import launch_product
from caffe2py.kernels.table import Table
from caffe2py.kernels.vector import tile_lines, vector_lanes
from caffe2py.kernels.window import Window
from caffe2py.kernels.winograd import Plan, launch_winograd
from caffe2py.tensor.tensor import empty

class Call:
    def scratch(self, shape, dtype, *, brief=False):
        return empty(shape, np.dtype(dtype))

rng = np.random.default_rng(0)
draw = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float32)
lanes = vector_lanes("float32")
for rows, columns, terms in ((9, 2 * lanes + 1, 5), (33, 50, 200), (5, lanes + 3, 7)):
    a, b, c = draw(rows, terms), draw(terms, columns), draw(rows, columns)
    assert Table(launch_product(Call(), a, b, c)).run() == 0
    assert np.allclose(c, a.astype(float) @ b, atol=1e-4)
x, w, y = draw(1, 5, 9, 13), draw(4, 5, 3, 3), draw(1, 4, 7, 11)
plan = Plan.make(4, (7, 11), 9, np.dtype(np.float32))
assert Table(launch_winograd(Call(), x, w, None, y, plan, (0, 0))).run() == 0
wanted = sum(np.einsum("oc,nchw->nohw", w[:, :, i, j], x[:, :, i : i + 7, j : j + 11])
             for i in range(3) for j in range(3))
assert np.allclose(y, wanted, atol=1e-4)
for groups, channels, filters, size, step in (
    (1, 3, 8, 3, 2), (2, 2, 4, 3, 1), (3, 1, 1, 3, 1), (3, 1, 1, 5, 2), (1, 9, 5, 5, 2),
    (1, 9, 5, 4, 1),
):
    x, w = draw(2, groups * channels, 11, 23), draw(groups * filters, channels, size, size)
    window = Window((size,) * 2, (step,) * 2, (1, 1), (size // 2,) * 4)
    use = Correlation(2, groups, channels, filters, (11, 23), window, False)
    y = draw(2, groups * filters, *window.out((11, 23)))
    assert Table(use.launch(Call(), x, w, None, y)).run() == 0
    around = np.pad(x, [(0, 0), (0, 0), *[(size // 2,) * 2] * 2])
    wanted = np.zeros_like(y)
    for f in range(groups * filters):
        mine = around[:, f // filters * channels :][:, :channels]
        for i in range(size):
            for j in range(size):
                part = mine[:, :, i :: step, j :: step][:, :, : y.shape[2], : y.shape[3]]
                wanted[:, f] += np.einsum("c,nchw->nhw", w[f, :, i, j], part)
    assert np.allclose(y, wanted, atol=1e-4), (groups, channels, filters, size, step)
    dy, dx = draw(*y.shape), draw(*x.shape)
    assert Table(use.launch_image_gradient(Call(), dy, w, dx)).run() == 0
    assert np.isclose(np.sum(dx * x, dtype=float), np.sum(dy * y, dtype=float), atol=1e-2)
print(lanes, tile_lines())
"""


@pytest.mark.parametrize("width", [16, 32])
def test_every_width_gives_the_same(width):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "CAFFE2PY_VECTOR_BYTES": str(width)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == str(width // 4)


def test_another_width_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "CAFFE2PY_VECTOR_BYTES": "24"},
    )
    assert "CAFFE2PY_VECTOR_BYTES is '24'; expected 16, 32 or 64" in done.stderr
