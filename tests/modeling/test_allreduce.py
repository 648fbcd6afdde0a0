import os
import subprocess
import sys

import pytest

from caffe2py import core, muji
from caffe2py.errors import UsageError

#: Sums over GPUs, run on as many simulated ones.
_PROGRAM = """
import numpy as np
from caffe2py import core, muji, workspace

for count in (1, 2, 3, 4, 5):
    for reduce in (muji.Allreduce, muji.AllreduceFallback):
        workspace.ResetWorkspace()
        net = core.Net("sum")
        blobs = [f"gpu_{k}/x" for k in range(count)]
        values = [np.arange(6, dtype=np.float32) * 10**k for k in range(count)]
        for k, (blob, value) in enumerate(zip(blobs, values)):
            workspace.FeedBlob(blob, value, muji.OnGPU(k))
        made = reduce(net, blobs)
        workspace.RunNetOnce(net)
        for k, blob in enumerate(made):
            assert str(blob) == f"gpu_{k}/x_reduced"
            assert np.array_equal(workspace.FetchBlob(blob), sum(values)), (count, k)
            assert np.array_equal(workspace.FetchBlob(blobs[k]), values[k])
print("fine")
"""


def test_sums_on_every_device():
    environment = {**os.environ, "CAFFE2PY_CUDA": "simulator:5"}
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.stdout == "fine\n", done.stderr


def test_operators_are_where_their_results_are():
    net = core.Net("sum")
    muji.Allreduce4(net, ["a", "b", "c", "d"], "_sum", [3, 2, 1, 0])
    found = [(op.type, op.output[0], op.device_option.device_id) for op in net.Proto().op]
    assert found == [
        ("Copy", "b_gpu_3_copy", 3),
        ("Add", "a_sum", 3),
        ("Copy", "d_gpu_1_copy", 1),
        ("Add", "c_sum", 1),
        ("Copy", "c_sum_gpu_3_copy", 3),
        ("Add", "a_sum", 3),
        ("Copy", "c_sum", 1),
        ("Copy", "b_sum", 2),
        ("Copy", "d_sum", 0),
    ]


def test_what_does_not_fit():
    net = core.Net("sum")
    with pytest.raises(UsageError, match="expected 2 blobs, found 3"):
        muji.Allreduce2(net, ["a", "b", "c"], "", [0, 1, 2])
    with pytest.raises(UsageError, match=r"a GPU for each blob, found 2 blobs and GPUs \[0\]"):
        muji.Allreduce(net, ["a", "b"], gpu_indices=[0])
    with pytest.raises(UsageError, match="found 0 blobs"):
        muji.Allreduce(net, [])
