"""Answers golden cases with the real Caffe2; runs under the oracle's Python 3.8, on its own.

worker.py FOLDER: reads FOLDER/cases.json and FOLDER/arrays.npz, writes FOLDER/answers.npz (in the
form that tests/golden/README.md describes) and FOLDER/report.json (one line per case).
"""

import json
import os
import pickle
import resource
import signal
import sys
import zlib
from pathlib import Path

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace
from google.protobuf import text_format

SECONDS_PER_CASE = 30
SAMPLES = 20000  # how many random values to collect for the statistics
NUMPY_NAME = {
    1: "float32",
    2: "int32",
    3: "uint8",
    4: "str",
    5: "bool",
    6: "uint8",
    7: "int8",
    8: "uint16",
    9: "int16",
    10: "int64",
    12: "float16",
    13: "float64",
}
DATA_TYPE = {name: code for code, name in NUMPY_NAME.items() if code != 3}


def build_operator(operator, description):
    operator.type = description["type"]
    operator.input.extend(description["inputs"])
    operator.output.extend(description["outputs"])
    for name, kind, value in description["args"]:
        argument = operator.arg.add()
        argument.name = name
        if kind == "s":
            argument.s = value.encode("utf-8")
        elif kind == "bytes":
            argument.s = value.encode("latin-1")
        elif kind == "strings":
            argument.strings.extend(text.encode("utf-8") for text in value)
        elif kind == "n":
            text_format.Merge(value, argument.n)
        elif kind in ("f", "i"):
            setattr(argument, kind, value)
        elif kind != "empty":
            getattr(argument, kind).extend(value)


def build_net(*descriptions):
    net = caffe2_pb2.NetDef()
    net.name = "golden"
    made = set()
    for description in descriptions:
        build_operator(net.op.add(), description)
        read = dict.fromkeys(description["inputs"])
        net.external_input.extend(name for name in read if name not in made)
        made.update(description["outputs"])
    net.external_output.extend(dict.fromkeys(descriptions[-1]["outputs"]))
    return net


def feed(name, array):
    if array.dtype.kind in "UO":
        texts = [text.encode("utf-8", "surrogateescape") for text in array.ravel()]
        array = np.array(texts, dtype=object).reshape(array.shape)
    workspace.FeedBlob(name, array)


def fetch(name):
    """A blob's array, strings as text; None where the blob holds no tensor."""
    try:
        value = workspace.FetchBlob(name)
    except Exception:
        return None
    if isinstance(value, tuple):  # the integers of a quantized tensor, scale and zero point
        value = value[0]
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype == object:
        # numpy's own strings lose zero bytes at their end
        texts = [text.decode("utf-8", "surrogateescape") for text in value.ravel()]
        return np.array(texts, dtype=object).reshape(value.shape)
    return value


def quanta(names):
    """Scale and zero point of those blobs that hold quantized tensors."""
    found = {}
    for name in names:
        try:
            value = workspace.C.fetch_blob(name)
        except Exception:
            continue
        if isinstance(value, tuple):
            found[name] = [float(value[1]), int(value[2])]
    return found


def prepare(case, arrays, number):
    """Feeds the case and runs the steps before it; returns what the operator will read."""
    workspace.ResetWorkspace()
    for name in case["feed"]:
        feed(name, arrays[f"{number}/{name}"])
    for step in [] if case["whole"] else case["before"]:
        workspace.RunNetOnce(build_net(step))
    random = np.random.RandomState(zlib.crc32(case["key"].encode()))
    for name, model in case["like"].items():
        values = random.randint(-32, 33, workspace.FetchBlob(model).shape)
        workspace.FeedBlob(name, np.asarray(values / 16, "float32"))
    names = case["feed"] if case["whole"] else case["op"]["inputs"]
    found = {name: fetch(name) for name in names}
    return {name: array for name, array in found.items() if array is not None}


def infer(net, inputs):
    """What shape inference says of each output."""
    shapes = {name: list(array.shape) for name, array in inputs.items()}
    types = {
        name: DATA_TYPE["str" if array.dtype.kind in "UO" else array.dtype.name]
        for name, array in inputs.items()
    }
    message = caffe2_pb2.TensorShapes()
    serialized = [net.SerializeToString()]
    message.ParseFromString(workspace.C.infer_shapes_and_types_from_map(serialized, shapes, types))
    said = {shape.name: shape for shape in message.shapes}
    answer = {}
    for name in net.op[-1].output:
        shape = said.get(name)
        known = shape is not None and not shape.unknown_shape
        answer[name] = {
            "dtype": NUMPY_NAME.get(shape.data_type) if known else None,
            "shape": list(shape.dims) if known else None,
        }
    return answer


def statistics(net, inputs, outputs):
    """Shape, type and moments of random outputs over many seeded runs."""
    collected = {name: [array] for name, array in outputs.items()}
    seeded = caffe2_pb2.NetDef()
    seeded.CopyFrom(net)
    per_run = max(1, max((array.size for array in outputs.values()), default=1))
    for seed in range(1, 1 + min(2000, SAMPLES // per_run)):
        workspace.ResetWorkspace()
        for name, array in inputs.items():
            feed(name, array)
        seeded.op[0].device_option.random_seed = seed
        workspace.RunNetOnce(seeded)
        for name in collected:
            if seed == 1:
                collected[name] = []  # the first run had a seed of its own
            collected[name].append(workspace.FetchBlob(name))
    answer = {}
    for name, arrays in collected.items():
        entry = {"shape": list(arrays[0].shape), "dtype": arrays[0].dtype.name}
        values = np.concatenate([array.ravel() for array in arrays]).astype("float64")
        entry["count"] = int(values.size)
        for statistic in ("mean", "std", "min", "max") if values.size else ():
            entry[statistic] = float(getattr(values, statistic)())
        answer[name] = entry
    return answer


def answer(case, arrays, number, save):
    """Runs one case; saves after each stage, so that a crash keeps what was known."""
    try:
        inputs = prepare(case, arrays, number)
    except Exception as error:
        save({"skipped": first_line(error)})
        return
    net = build_net(*(case["before"] if case["whole"] else []), case["op"])
    result = {"net": net.SerializeToString(), "inputs": inputs}
    save(result)
    try:
        workspace.RunNetOnce(net)
    except Exception as error:
        save(dict(result, error=first_line(error)))
        return
    outputs = {name: fetch(name) for name in dict.fromkeys(case["op"]["outputs"])}
    result["outputs"] = {name: array for name, array in outputs.items() if array is not None}
    if quanta(outputs):
        result["quantum"] = quanta(outputs)
    save(result)
    if case["random"]:
        result["random"] = statistics(net, inputs, result.pop("outputs"))
        save(result)
    result["infer"] = infer(net, inputs)
    save(result)


def first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def in_child(case, arrays, number, path):
    """Answers a case in a forked process: Caffe2 may die of a division by zero."""

    def save(result):
        path.write_bytes(pickle.dumps(result))

    if path.exists():
        path.unlink()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS_PER_CASE)
        answer(case, arrays, number, save)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not path.exists():
        return {"skipped": "died before the operator ran"}
    result = pickle.loads(path.read_bytes())
    if os.WIFSIGNALED(status) and "outputs" not in result and "random" not in result:
        result["error"] = "crash: " + signal.Signals(os.WTERMSIG(status)).name
    return result


def as_bytes(text):
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)


def store(answers, key, result, case):
    """Adds one case to the arrays of the answer file."""
    answers[key + "/net"] = np.frombuffer(result["net"], dtype=np.uint8)
    for part, side in (("inputs", "in"), ("outputs", "out")):
        for name, array in result.get(part, {}).items():
            if array.dtype.kind in "UO":
                answers[f"{key}/{side}_str/{name}"] = as_bytes(json.dumps(array.tolist()))
            else:
                answers[f"{key}/{side}/{name}"] = array
    if "error" in result:
        answers[key + "/error"] = as_bytes(result["error"])
    for part in ("random", "infer", "quantum"):
        if part in result:
            answers[f"{key}/{part}"] = as_bytes(json.dumps(result[part]))
    if case["refused"] and "error" not in result:
        answers[key + "/lax"] = as_bytes("accepted")
    if case["note"]:
        answers[key + "/note"] = as_bytes(case["note"])


def main(folder):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cases = json.loads((folder / "cases.json").read_text())
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    answers, report = {}, []
    for number, case in enumerate(cases):
        result = in_child(case, arrays, number, folder / "child.pkl")
        if "skipped" not in result:
            store(answers, case["key"], result, case)
        outcome = [case["key"], case["refused"], result.get("error"), result.get("skipped")]
        report.append(outcome)
    np.savez(folder / "answers.npz", **answers)
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
