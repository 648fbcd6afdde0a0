"""Operators that call a Python function: registered here, and known to the net by a token."""

from __future__ import annotations

from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.operators import CreateOperator
from caffe2py.proto.caffe2_pb2 import OperatorDef
from caffe2py.registry.functions import register_function, register_gradient

__all__ = ["CreatePythonOperator", "python_token"]


def CreatePythonOperator(
    f: Any,
    inputs: Any,
    outputs: Any,
    grad_f: Any = None,
    pass_workspace: bool = False,
    python_func_type: Any = None,
    *args: Any,
    **kwargs: Any,
) -> OperatorDef:
    """An operator that calls `f(inputs, outputs)` with lists of views of tensors.

    `grad_f` gets inputs, outputs and output gradients as its inputs. With `pass_workspace` f gets
    the workspace as its third argument. `python_func_type(f)` makes an object whose methods forward
    and backward are used instead; a tuple (builder, args, kwargs) is called at once and makes the
    function. The other arguments are those of CreateOperator. Raises UsageError for no function.
    """
    token = python_token(f, grad_f, python_func_type, pass_workspace)
    return CreateOperator("Python", inputs, outputs, *args, token=token, **kwargs)


def python_token(
    f: Any, grad_f: Any, python_func_type: Any, pass_workspace: bool, *, build: bool = False
) -> str:
    """Register a function and its gradient; with `build` tuples make one for every operator."""
    if python_func_type is not None:
        made = python_func_type(f)
        f, grad_f = made.forward, made.backward
    if build and grad_f and isinstance(f, tuple) != isinstance(grad_f, tuple):
        raise UsageError("f and grad_f must both be tuples (builder, args, kwargs), or neither")
    if not build:
        f, grad_f = _built(f), _built(grad_f)
    token = register_function(f, pass_workspace, build=isinstance(f, tuple))
    if grad_f:
        register_gradient(token, grad_f, build=isinstance(grad_f, tuple))
    return token


def _built(function: Any) -> Any:
    if not isinstance(function, tuple):
        return function
    builder, args, kwargs = function
    return builder(*args, **kwargs)
