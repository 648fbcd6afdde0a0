"""Caffe2's onnx.helper module: nets in files, and running them once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.errors import UsageError
from caffe2py.executor.workspace import Workspace
from caffe2py.interop.onnx.package import onnx_package
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.proto.files import read_net, write_message

__all__ = ["c2_native_run_net", "c2_native_run_op", "load_caffe2_net", "save_caffe2_net"]


def load_caffe2_net(file: str | os.PathLike[str]) -> NetDef:
    """The net in a file, binary or text."""
    return read_net(file, allow_empty=True)


def save_caffe2_net(net: NetDef, file: str | os.PathLike[str], output_txt: bool = False) -> None:
    """Write a net; with `output_txt` a second time as text, to the same name with "txt" behind."""
    write_message(file, net)
    if output_txt:
        write_message(f"{os.fspath(file)}txt", net)


def c2_native_run_net(
    init_net: NetDef | None, predict_net: NetDef, inputs: Any
) -> tuple[Workspace, Any]:
    """Run two nets on inputs, in order or by name; the workspace and the outputs by name."""
    workspace = Workspace()
    if init_net is not None:
        workspace.run_net_once(init_net)
    names = [n for n in predict_net.external_input if not workspace.has_blob(n)]
    _feed(workspace, names, inputs)
    workspace.run_net_once(predict_net)
    return workspace, _outputs(workspace, list(predict_net.external_output))


def c2_native_run_op(op_def: OperatorDef, inputs: Any) -> tuple[Workspace, Any]:
    """Run one operator on inputs, in order or by name; the workspace and the outputs by name."""
    workspace = Workspace()
    _feed(workspace, list(dict.fromkeys(op_def.input)), inputs)
    workspace.run_operator_once(op_def)
    return workspace, _outputs(workspace, list(op_def.output))


def _feed(workspace: Workspace, names: list[str], inputs: Any) -> None:
    if isinstance(inputs, Mapping):
        given = dict(inputs)
    elif len(inputs) == len(names):
        given = dict(zip(names, inputs, strict=True))
    else:
        raise UsageError(f"{len(inputs)} inputs for {len(names)}: {names}")
    for name, value in given.items():
        workspace.feed(name, value)


def _outputs(workspace: Workspace, names: list[str]) -> Any:
    made = onnx_package("backend.base").namedtupledict("Outputs", names)
    return made(*(workspace.fetch(name) for name in names))
