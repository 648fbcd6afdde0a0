"""Python functions for rows of operators that call some: registered, and known by a token."""

from caffe2py.registry.functions import register_function, register_gradient

__all__ = ["register_function", "register_gradient"]
