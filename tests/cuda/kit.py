"""What the tests of devices have in common."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.tensor.device import CPU, Device
from tests.cuda.conftest import SETTINGS

ROOT = Path(__file__).parents[2]
CUDA = Device("cuda")


def child(program, *, fails=False, **settings):
    """What a Python program prints in a process of its own: its output, or its errors."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**clean, **settings},
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def moved(net, device=CUDA):
    """The net with all of its operators on a device, unless they have one."""
    made = NetDef()
    made.CopyFrom(net)
    for op in made.op:
        if not op.HasField("device_option"):
            op.device_option.CopyFrom(device.to_option())
    return made


def at(device, op):
    """The operator, on a device."""
    op.device_option.CopyFrom(device.to_option())
    return op


def run(net, blobs, device=CPU, times=1, host=()):
    """A workspace in which the net has run on a device, with these blobs there but for `host`."""
    workspace = Workspace()
    for name, value in blobs.items():
        workspace.feed(name, value, CPU if name in host else device)
    made = net if device == CPU else moved(net, device)
    workspace.create_net(made)
    for _ in range(times):
        workspace.run_net(made.name)
    return workspace


def assert_same(found, expected, names, rtol=1e-6, atol=1e-6):
    for name in names:
        x, y = found.fetch(name), expected.fetch(name)
        assert x.dtype == y.dtype, name
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=name)
