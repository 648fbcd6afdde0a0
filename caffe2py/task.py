"""Caffe2's task module: steps that run side by side, on named nodes.

with TaskGroup() as group, Node("trainer"):
    with Task(name="double") as task:
        y = final_output(ops.Add([x, x]))
session.LocalSession().run(group)
y.fetch()
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.jobs.nodes import Cluster, Node, WorkspaceType
from caffe2py.jobs.outputs import TaskOutput, TaskOutputList
from caffe2py.jobs.setup import SetupNets, add_setup_steps, get_setup_nets
from caffe2py.jobs.task import Task, TaskGroup, final_output

__all__ = [
    "Cluster",
    "Node",
    "SetupNets",
    "Task",
    "TaskGroup",
    "TaskOutput",
    "TaskOutputList",
    "WorkspaceType",
    "add_setup_steps",
    "final_output",
    "get_setup_nets",
]
