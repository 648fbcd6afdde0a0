"""Control flow: nets under a condition, in loops, in workspaces of their own; and checks."""

from caffe2py.ops.control import branch, checks, do, onnx_while, select, stack

__all__ = ["branch", "checks", "do", "onnx_while", "select", "stack"]
