"""Winograd's short convolutions F(m x m, 3 x 3): matrices, and the names of their vector code.

    Y = A^T [ (G g G^T) * (B^T d B) ] A

gives m x m results of a 3 x 3 filter g from (m + 2) x (m + 2) elements d with (m + 2)^2 products
instead of 9 m^2: 2.25 times fewer for m = 2, 4 times for m = 4. The matrices are those of Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), with the points 0, 1, -1 and, for
m = 4, 2 and -2. Rounding errors grow with the coefficients: up to about 6e-7 of the largest
result in float32 for m = 2, 2e-5 for m = 4.
"""

from __future__ import annotations

from typing import NamedTuple

from caffe2py.kernels.params import Intrinsic

Matrix = tuple[tuple[float, ...], ...]


class Winograd(NamedTuple):
    """The matrices of F(m x m, 3 x 3); `data` is B^T, `filter` G, `result` A^T."""

    data: Matrix
    filter: Matrix
    result: Matrix


MATRICES = {
    2: Winograd(
        data=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        filter=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
        result=((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
    4: Winograd(
        data=(
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
        filter=(
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
        result=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    ),
}

_FILES = ("emit.py", "winograd_matrices.py", "emit_winograd.py")

#: spread(x, x_at, x_row, v, v_at, v_plane): B^T d B for lanes(x) tiles side by side. Element (i, j)
#: of tile t is x[x_at + i * x_row + m t + j]; plane p of the result goes to v[v_at + p * v_plane +
#: t]. Reads up to m * lanes + m elements of a row beyond the position, writes whole vectors.
spread2, spread4 = Intrinsic("spread2", _FILES), Intrinsic("spread4", _FILES)

#: gather(p, p_at, p_plane, y, y_at, y_row): A^T p A for lanes(p) tiles side by side. Element (i, j)
#: of tile t goes to y[y_at + i * y_row + m t + j].
gather2, gather4 = Intrinsic("gather2", _FILES), Intrinsic("gather4", _FILES)
