"""The case tables: one module per family of operators, one generator function per operator."""

from tools.golden.families import (
    arithmetic,
    cast,
    conv,
    elementwise,
    fill,
    matmul,
    normalization,
    pool,
    shape,
    utility,
)

# family -> operator -> generator of its cases
FAMILIES = {
    "elementwise": elementwise.CASES,
    "shape": shape.CASES,
    "cast": cast.CASES,
    "conv": conv.CASES,
    "pool": pool.CASES,
    "matmul": matmul.CASES,
    "normalization": normalization.CASES,
    "arithmetic": arithmetic.CASES,
    "fill": fill.CASES,
    "utility": utility.CASES,
}
