"""Caffe2's context module: classes whose objects are found while their `with` block is open.

class Place(context.Managed): ...
with Place() as here:
    assert Place.current() is here
"""

from __future__ import annotations

from caffe2py.jobs.context import DefaultManaged, Managed

__all__ = ["DefaultManaged", "Managed"]
