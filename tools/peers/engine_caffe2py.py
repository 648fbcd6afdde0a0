"""caffe2py itself, as `caffe2py run` runs a net: inference optimised, training as the net is."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import caffe2py
import caffe2py.core  # the operators
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session

_THREADS = "caffe2py.executor.threads"


def version():
    return caffe2py.__version__


class Engine:
    def __init__(self, threads):
        if importlib.util.find_spec(_THREADS) is not None:
            importlib.import_module(_THREADS).set_threads(threads)

    def load(self, folder, net, arrays):
        model = load_model(Path(folder) / "predict_net.pb")
        infers = net["kind"] != "train"
        self.session = Session(model, keep=net["outputs"], optimize=infers)
        for name, array in arrays.items():
            if name in model.reads:
                self.session.feed(name, array)
        self.session.prepare()
        self.net = self.session.created
        self.names = net["outputs"]

    def run(self, count):
        self.net.run(count)

    def outputs(self):
        return self.session.fetch(self.names)
