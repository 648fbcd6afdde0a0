"""How ONNX's operators are said in Caffe2's: one small function each, in tables by family."""

from caffe2py.interop.onnx.rules import (
    control,
    elementwise,
    indexing,
    matrix,
    normalization,
    pairs,
    quantized,
    recurrent,
    reduction,
    resizing,
    shaping,
    window,
)
from caffe2py.interop.onnx.table import Rule

__all__ = ["RULES"]

#: ONNX operator -> what emits its meaning.
RULES: dict[str, Rule] = {
    **control.RULES,
    **elementwise.RULES,
    **indexing.RULES,
    **matrix.RULES,
    **normalization.RULES,
    **pairs.RULES,
    **quantized.RULES,
    **recurrent.RULES,
    **reduction.RULES,
    **resizing.RULES,
    **shaping.RULES,
    **window.RULES,
}
