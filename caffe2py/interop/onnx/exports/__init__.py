"""How Caffe2's operators are said in ONNX's: one small function each, in tables by family."""

from caffe2py.interop.onnx.exports import elementwise, layers, matrix, reduction, shaping
from caffe2py.interop.onnx.writer import ExportRule

__all__ = ["EXPORTS"]

#: Caffe2 operator -> what adds the nodes that mean the same.
EXPORTS: dict[str, ExportRule] = {
    **elementwise.EXPORTS,
    **layers.EXPORTS,
    **matrix.EXPORTS,
    **reduction.EXPORTS,
    **shaping.EXPORTS,
}
