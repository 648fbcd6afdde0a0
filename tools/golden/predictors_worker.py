"""Saves predictors with the real Caffe2; runs under the oracle's Python 3.8.

predictors_worker.py FOLDER SAVED.py: writes FOLDER/answers.npz in the form tests/golden/README.md
describes.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from caffe2.python import core, utils, workspace
from caffe2.python.predictor import mobile_exporter, predictor_exporter


def stored(value):
    """Bytes and texts as arrays of numbers: an npz without pickle holds nothing else."""
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype=np.uint8)
    if value.dtype == object:
        texts = [text.decode("utf-8") for text in value.ravel()]
        return np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8)
    return value


def main(folder, programs):
    saved = runpy.run_path(programs)
    c2 = SimpleNamespace(
        core=core,
        utils=utils,
        workspace=workspace,
        exporter=predictor_exporter,
        mobile=mobile_exporter,
    )
    answers = {}
    for name in saved["CASES"]:
        workspace.ResetWorkspace()
        core.Net._net_names_used.clear()
        path = folder / (name + ".minidb")
        for part, value in saved["answer"](c2, name, path).items():
            text = not isinstance(value, bytes) and value.dtype == object
            answers[name + "/" + part + ("_str" if text else "")] = stored(value)
        answers[name + "/file"] = stored(path.read_bytes())
    np.savez(folder / "answers.npz", **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
