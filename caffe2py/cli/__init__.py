"""The command line. Importing it imports neither numba, protobuf nor any operator."""

from caffe2py.cli.entry import main, program

__all__ = ["main", "program"]
