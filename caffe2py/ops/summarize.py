"""A tensor in four numbers: Summarize."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import numpy as np

from caffe2py.adapters.paths import open_file, permitted
from caffe2py.errors import FileError, ShapeError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.infer import Query, product, require_dtype
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.tensor.types import TensorType, shape_text

log = logging.getLogger("caffe2py.summarize")


def _infer(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, "float32", "float64")
    shape = query.inputs[0].shape
    if shape is not None and product(shape) == 0:
        raise ShapeError(f"input 0 'data' must have elements, found {shape_text(shape)}")
    return [TensorType(query.inputs[0].dtype, (4,))] * query.outputs


summarize = operator(
    "Summarize",
    "data -> output?",
    infer=_infer,
    gradient=NotDifferentiable("it only looks"),
    needs="files if to_file",
    to_file=Arg(int, 0, "1: a line to <name of the blob>.summary in the root folder ('/' is '#')"),
    doc="""
    output = [min, max, mean, standard deviation] of all elements, the deviation with n - 1, and 0
    for one element. With to_file the numbers are a line of a file, which each new operator begins
    anew; else they are logged by "caffe2py.summarize". Raises ShapeError for a tensor without
    elements, FileError if the file cannot be written.
    """,
    example="""
    data = [1, 2, 4]
    output = [1, 4, 2.333333, 1.527525]
    """,
)


@summarize.cpu_dynamic()
def look(call: Call) -> None:
    """Look."""
    x = call.inputs[0].astype(np.float64).reshape(-1)
    deviation = float(np.std(x, ddof=1)) if x.size > 1 else 0.0
    found = (x.min(), x.max(), x.mean(), deviation)
    line = " ".join(f"{value:g}" for value in found)
    if call.args.to_file:
        _append(call, line)
    else:
        log.info("%s: min max mean std: %s", call.input_blob(0), line)
    for out in call.outputs:
        out[:] = found


def _append(call: Call, line: str) -> None:
    name = call.input_blob(0).replace("/", "#") + ".summary"
    full = os.path.join(call.root_folder, name)  # noqa: PTH118
    path = permitted(call.scope.trust, name, trusted_path=full, writes=True)
    mode = "a" if call.kept.get("began") else "w"
    call.kept["began"] = True
    try:
        with open_file(path, mode, encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise FileError(f"cannot be written: {error.strerror}", where=path) from None


summarize.cuda_by_host("it writes numbers as text")
