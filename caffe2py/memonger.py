"""Caffe2's memonger module: nets that need less memory and compute the same.

model.net._net = memonger.share_grad_blobs(model.net, ["loss"], set(grads), "")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import caffe2py.core  # noqa: F401  (brings in the operators)
from caffe2py.errors import Error
from caffe2py.executor.session import FetchBlob
from caffe2py.graph.liveness import (
    AssignmentAlgorithm,
    Entry,
    LiveRange,
    compute_assignments,
    compute_assignments_dp,
    compute_assignments_greedy,
    compute_blob_assignments,
    compute_interference_graph,
    compute_ranges,
    get_memory_usage,
    get_updated_ranges,
    is_compatible,
    topological_sort_traversal,
    topological_sort_traversal_longest_path,
    verify_assignments,
)
from caffe2py.graph.memonger import (
    Optimization,
    apply_assignments,
    estimate_memory_usage,
    optimize_inference_fast,
    optimize_inference_for_dag,
    optimize_interference,
    release_blobs_when_used,
    share_grad_blobs,
    verify_graph_equality,
    verify_inplace_blobs,
)
from caffe2py.proto.caffe2_pb2 import NetDef

__all__ = [
    "AssignmentAlgorithm",
    "LiveRange",
    "Optimization",
    "Statistics",
    "apply_assignments",
    "blob_nbytes",
    "collect_blob_sizes",
    "compute_assignments",
    "compute_assignments_dp",
    "compute_assignments_greedy",
    "compute_blob_assignments",
    "compute_interference_graph",
    "compute_ranges",
    "compute_statistics",
    "estimate_memory_usage",
    "get_memory_usage",
    "get_updated_ranges",
    "is_compatible",
    "optimize_inference_fast",
    "optimize_inference_for_dag",
    "optimize_interference",
    "release_blobs_when_used",
    "share_grad_blobs",
    "topological_sort_traversal",
    "topological_sort_traversal_longest_path",
    "verify_assignments",
    "verify_graph_equality",
    "verify_inplace_blobs",
]


class Statistics(NamedTuple):
    """Bytes that blobs take each on its own, and shared."""

    baseline_nbytes: int
    optimized_nbytes: int


def blob_nbytes(blob: str) -> int:
    """The bytes of a tensor in the workspace; 0 if there is none."""
    try:
        return int(getattr(FetchBlob(blob), "nbytes", 0))
    except Error:
        return 0


def compute_statistics(assignments: Iterable[Sequence[Entry]]) -> Statistics:
    """How much memory assignments save, by what the blobs in the workspace hold now."""
    sizes = [[blob_nbytes(name) for name, _ in entries] for entries in assignments]
    return Statistics(sum(map(sum, sizes)), sum(max(entries, default=0) for entries in sizes))


def collect_blob_sizes(net: NetDef) -> dict[str, int]:
    """The bytes of every blob of a net, as they are in the workspace now."""
    names = dict.fromkeys(name for op in net.op for name in (*op.input, *op.output))
    return {name: blob_nbytes(name) for name in names}
