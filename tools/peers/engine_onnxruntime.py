"""onnxruntime on the CPU: all optimisations, inputs and outputs bound once."""

from __future__ import annotations

import onnx_graph
import onnxruntime


def version():
    return onnxruntime.__version__


class Engine:
    def __init__(self, threads):
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.log_severity_level = 3

    def load(self, folder, net, arrays):
        model = onnx_graph.build(net, arrays)
        self.session = onnxruntime.InferenceSession(
            model, self.options, providers=["CPUExecutionProvider"]
        )
        self.binding = self.session.io_binding()
        self.inputs = [arrays[entry.name] for entry in self.session.get_inputs()]
        for entry, array in zip(self.session.get_inputs(), self.inputs):  # noqa: B905
            self.binding.bind_cpu_input(entry.name, array)
        for entry in self.session.get_outputs():
            self.binding.bind_output(entry.name)
        self.names = net["outputs"]

    def run(self, count):
        for _ in range(count):
            self.session.run_with_iobinding(self.binding)

    def outputs(self):
        return dict(zip(self.names, self.binding.copy_outputs_to_cpu()))  # noqa: B905
