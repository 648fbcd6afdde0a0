"""OpenVINO on the CPU: tuned for latency, float32 throughout."""

from __future__ import annotations

import numpy as np
import onnx_graph
import openvino


def version():
    return openvino.__version__.split("-")[0]


class Engine:
    def __init__(self, threads):
        self.core = openvino.Core()
        self.settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def load(self, folder, net, arrays):
        model = self.core.read_model(onnx_graph.build(net, arrays))
        self.compiled = self.core.compile_model(model, "CPU", self.settings)
        self.request = self.compiled.create_infer_request()
        self.fed = []
        for port in self.compiled.inputs:
            # what only looks at an input may have given it a second name
            (name,) = port.get_names() & set(net["inputs"])
            self.fed.append(openvino.Tensor(arrays[name]))
            self.request.set_tensor(port, self.fed[-1])
        self.ports = self.compiled.outputs
        self.names = net["outputs"]

    def run(self, count):
        for _ in range(count):
            self.request.infer()

    def outputs(self):
        found = [np.array(self.request.get_tensor(port).data) for port in self.ports]
        return dict(zip(self.names, found))  # noqa: B905
