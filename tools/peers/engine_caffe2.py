"""The real Caffe2, as its wheel comes. Python 3.8, which the last wheel needs."""

from __future__ import annotations

from pathlib import Path

import torch
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace


def version():
    return torch.__version__


class Engine:
    def __init__(self, threads):
        workspace.GlobalInit(["caffe2", f"--caffe2_omp_num_threads={threads}"])
        torch.set_num_threads(threads)

    def load(self, folder, net, arrays):
        workspace.ResetWorkspace()
        if (Path(folder) / "init_net.pb").is_file():
            workspace.RunNetOnce(_read(folder, "init_net.pb"))
        for name, array in arrays.items():
            workspace.FeedBlob(name, array)
        self.names = net["outputs"]
        self.net = _read(folder, "predict_net.pb")
        workspace.CreateNet(self.net)

    def run(self, count):
        workspace.RunNet(self.net.name, count)

    def outputs(self):
        return {name: workspace.FetchBlob(name) for name in self.names}


def _read(folder, name):
    net = caffe2_pb2.NetDef()
    net.ParseFromString((Path(folder) / name).read_bytes())
    return net
