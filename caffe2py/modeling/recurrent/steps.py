"""What the steps of a recurrent network have left behind."""

from __future__ import annotations

from typing import Any

from caffe2py.executor.session import FetchBlob, RunOperatorOnce
from caffe2py.graph.operators import CreateOperator

__all__ = ["retrieve_step_blobs"]


def retrieve_step_blobs(net: Any, prefix: str = "rnn") -> list[Any]:
    """Copy the blobs of all steps of a net's recurrent networks into the current workspace.

    The net has been run. The blobs are called "<prefix>_<blob>_<step>"; returns their names.
    """
    networks = [op for op in net.Proto().op if op.type == "RecurrentNetwork"]
    found: list[Any] = []
    for number, op in enumerate(networks, 1):
        names = f"{prefix}_{number}"
        fetch = [op.output[-1]], [names]
        RunOperatorOnce(CreateOperator("RecurrentNetworkBlobFetcher", *fetch, prefix=prefix))
        found += FetchBlob(names).tolist()
    return found
