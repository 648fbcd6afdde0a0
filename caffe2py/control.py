"""Caffe2's control module: loops and branches, as execution steps.

step = control.While("loop", condition_net, [body_net])
workspace.RunPlan(core.Plan(step))
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.graph.control import (
    BoolNet,
    CombineConditions,
    Do,
    DoParallel,
    DoUntil,
    DoWhile,
    For,
    GetConditionBlobFromNet,
    If,
    IfNot,
    MergeConditionNets,
    NotNet,
    Switch,
    SwitchNot,
    Until,
    While,
)

__all__ = [
    "BoolNet",
    "CombineConditions",
    "Do",
    "DoParallel",
    "DoUntil",
    "DoWhile",
    "For",
    "GetConditionBlobFromNet",
    "If",
    "IfNot",
    "MergeConditionNets",
    "NotNet",
    "Switch",
    "SwitchNot",
    "Until",
    "While",
]
