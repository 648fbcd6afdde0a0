"""Caffe2's NetDef, executed by Numba. Importing this package imports nothing else."""

__version__ = "0.1.0"
