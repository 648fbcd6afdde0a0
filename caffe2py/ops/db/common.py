"""What the operators on databases share: where a database lies, and the arguments that say so."""

from __future__ import annotations

import os

import caffe2py.adapters.lmdb_file
import caffe2py.adapters.minidb  # noqa: F401  (both register their types)
from caffe2py.adapters import db as databases
from caffe2py.adapters.paths import permitted
from caffe2py.errors import ArgumentError
from caffe2py.registry.context import Call
from caffe2py.registry.operator import provide
from caffe2py.registry.schema import Arg

ABSOLUTE = Arg(int, 0, "1: names of databases are paths; 0: they begin in the root folder")
DB_TYPE = Arg(str, "", "type of the database: minidb, lmdb")
CHUNK = Arg(int, None, "elements in one record; 0: all of a tensor; default 1 000 000")

provide("databases", lambda: databases)


def require_text(name: str, value: str | None, what: str) -> str:
    """The value of an argument that must not be empty."""
    if not value:
        raise ArgumentError(f"argument '{name}' must be given: {what}")
    return value


def full_path(call: Call, name: str, *, writes: bool = False) -> str:
    """Where a database lies; TrustError where the net may not have it, as `permitted`."""
    absolute = getattr(call.args, "absolute_path", 0)
    path = name if absolute else os.path.join(call.root_folder, name)  # noqa: PTH118
    return permitted(call.scope.trust, name, trusted_path=path, writes=writes)
