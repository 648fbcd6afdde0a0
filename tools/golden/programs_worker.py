"""Runs programs with the real Caffe2 and writes down what they yield; for the oracle's Python 3.8.

programs_worker.py PROGRAMS.py ANSWERS.json: a JSON object, program -> list of texts.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import (
    brew,
    cnn,
    core,
    model_helper,
    optimizer,
    optimizer_context,
    regularizer,
    scope,
    utils,
    workspace,
)
from caffe2.python.modeling import initializers, parameter_info, parameter_sharing


def refuses(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception:
        return "refused"
    return "accepted"


def run(program, text):
    workspace.ResetWorkspace()
    core.Net._net_names_used.clear()
    core.ExecutionStep._step_names_used.clear()
    optimizer._optimizer_instance_count.clear()
    c2 = SimpleNamespace(
        core=core,
        scope=scope,
        utils=utils,
        workspace=workspace,
        caffe2_pb2=caffe2_pb2,
        np=np,
        refuses=refuses,
        brew=brew,
        cnn=cnn,
        initializers=initializers,
        model_helper=model_helper,
        optimizer=optimizer,
        optimizer_context=optimizer_context,
        parameter_info=parameter_info,
        parameter_sharing=parameter_sharing,
        regularizer=regularizer,
    )
    return [text(value) for value in program(c2)]


def main(programs, answers):
    module = runpy.run_path(programs)
    found = {program.__name__: run(program, module["text"]) for program in module["PROGRAMS"]}
    Path(answers).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
