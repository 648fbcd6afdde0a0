"""Whether there is a database."""

from __future__ import annotations

import numpy as np

from caffe2py.adapters.db import database_exists
from caffe2py.errors import FileError
from caffe2py.ops.db.common import ABSOLUTE, DB_TYPE, full_path
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import fixed
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg

exists = operator(
    "DBExists",
    " -> exists",
    infer=fixed(np.bool_),
    gradient=NotDifferentiable("it has no inputs"),
    needs="files",
    absolute_path=ABSOLUTE,
    db_name=Arg(str, "", "the database"),
    db_type=DB_TYPE,
    doc="""
    exists = whether the database can be opened for reading. Raises UnsupportedError for a type that
    there is not.
    """,
    example="""
    db_name = "nowhere", db_type = "minidb"
    exists = false
    """,
)


@exists.cpu_dynamic()
def look(call: Call) -> None:
    """Try to open it."""
    try:
        path = full_path(call, call.args.db_name)
    except FileError:
        call.outputs[0][...] = False
        return
    call.outputs[0][...] = database_exists(call.args.db_type, path)
