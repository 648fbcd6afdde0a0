"""Caffe2's muji module: sums over the GPUs of one machine, without NCCL."""

from __future__ import annotations

from caffe2py.modeling.allreduce import (
    Allreduce,
    AllreduceFallback,
    OnCPU,
    OnGPU,
    of_exactly,
)

__all__ = [
    "Allreduce",
    "Allreduce2",
    "Allreduce4",
    "Allreduce4Group2",
    "Allreduce8",
    "AllreduceFallback",
    "OnCPU",
    "OnGPU",
]

Allreduce2 = of_exactly(2)
Allreduce4 = of_exactly(4)
Allreduce4Group2 = of_exactly(4)
Allreduce8 = of_exactly(8)
