"""Caffe2's dyndep module: libraries with more operators.

Caffe2's own libraries are part of this package already. Those of others are machine code for the
real Caffe2, and cannot be used here.
"""

from __future__ import annotations

import logging
from pathlib import Path

from caffe2py.errors import UnsupportedError

__all__ = ["GetImportedOpsLibraries", "InitOpsLibrary"]

log = logging.getLogger(__name__)

#: Parts of the file names of libraries that belong to Caffe2.
_KNOWN = (
    "caffe2_detectron",
    "caffe2/contrib",
    "caffe2/distributed",
    "caffe2/experiments",
    "caffe2/fb/",
    "caffe2/python/",
    "nccl_ops",
    "redis_store_handler_ops",
    "file_store_handler_ops",
    "allreduce_ops",
    "prof_dag_stats_op",
    "zmq_ops",
    "mpi_ops",
    "gloo_ops",
)
_imported: set[str] = set()


def InitOpsLibrary(name: str, trigger_lazy: bool = True) -> None:
    """Accept a library of Caffe2's, or one that does not exist, which Caffe2 ignores too.

    Raises UnsupportedError for a file that exists and is nobody known's.
    """
    path = str(name)
    known = any(part in path for part in _KNOWN)
    if not known and Path(path).exists():
        raise UnsupportedError(
            f"{path} is a library for the real Caffe2, and cannot be loaded here",
            hint="write its operators in Python: caffe2py.extend",
        )
    if known:
        _imported.add(path)
    else:
        log.info("Ignoring %s as it is not a valid file.", path)


def GetImportedOpsLibraries() -> set[str]:
    """The libraries that were accepted."""
    return _imported
