"""Caffe2's session module: what runs nets, plans, tasks and groups of tasks.

with LocalSession() as session:
    session.run(net)
    session.run(group)
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.jobs.session import CompiledRunnable, LocalSession, Session

__all__ = ["CompiledRunnable", "LocalSession", "Session"]
