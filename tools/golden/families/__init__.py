"""The case tables: one module per family of operators, one generator function per operator."""

from tools.golden.families import (
    arithmetic,
    cast,
    conv,
    elementwise,
    fill,
    image,
    indexing,
    loss,
    math,
    matmul,
    normalization,
    optimizer,
    pool,
    products,
    recurrent,
    reduction,
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
    "recurrent": recurrent.CASES,
    "math": math.CASES,
    "reduction": reduction.CASES,
    "matmul": matmul.CASES,
    "normalization": normalization.CASES,
    "optimizer": optimizer.CASES,
    "arithmetic": arithmetic.CASES,
    "fill": fill.CASES,
    "image": image.CASES,
    "utility": utility.CASES,
    "loss": loss.CASES,
    "indexing": indexing.CASES,
    "products": products.CASES,
}
