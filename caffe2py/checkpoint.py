"""Caffe2's checkpoint module: jobs of many epochs that can go on where they were stopped.

with Job() as job: ...
manager = CheckpointManager("folder", "trainer", "minidb")
JobRunner(job, manager, resume_from_epoch=None).train(LocalSession())
"""

from __future__ import annotations

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.jobs.checkpoint import (
    CheckpointManager,
    MultiNodeCheckpointManager,
    db_name,
    get_ckpt_filename,
)
from caffe2py.jobs.job import Job, JobRunner, UploadTaskGroupBuilder, epoch_limiter

__all__ = [
    "CheckpointManager",
    "Job",
    "JobRunner",
    "MultiNodeCheckpointManager",
    "UploadTaskGroupBuilder",
    "db_name",
    "epoch_limiter",
    "get_ckpt_filename",
]
