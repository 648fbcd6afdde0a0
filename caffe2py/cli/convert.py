"""`caffe2py convert`: a net in its other form, and models of ONNX and Caffe 1 from and to nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from caffe2py.cli import common
from caffe2py.cli.common import log, plain
from caffe2py.errors import Error, FileError, ModelFormatError, UsageError
from caffe2py.predictor.load import SUFFIXES
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.proto.files import MAX_BYTES, read_net_or_plan, replace_file, write_message

_ONNX = ".onnx"
_CAFFEMODEL = ".caffemodel"
#: The largest difference from onnxruntime, relative to values above 1, that passes.
_MOST_DIFFERENCE = 1e-4


@common.command("convert")
@click.argument("paths", metavar="FROM... TO", nargs=-1, required=True)
@common.input_option
@click.option("--init", metavar="FILE", help="The init net of FROM; otherwise found by its name.")
@click.option("--opset", type=int, default=13, help="The opset of an ONNX model.  [13]")
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Compare with onnxruntime, where it is installed, before anything is written.  [verify]",
)
def convert(
    paths: tuple[str, ...],
    inputs: tuple[str, ...],
    init: str | None,
    opset: int,
    verify: bool,
) -> None:
    """Write a net or model in another form.

    \b
    convert net.pb net.pbtxt            a net or plan, as text or binary
    convert model.onnx folder/          an ONNX model as init_net.pb and predict_net.pb
    convert folder/ model.onnx --input data=1x3x224x224
                                        a net and its weights as an ONNX model
    convert deploy.prototxt weights.caffemodel folder/
                                        a model of Caffe 1 as init_net.pb and predict_net.pb

    TO appears in full or not at all.
    """  # noqa: D301  (click wants the character)
    if len(paths) == 3:
        _caffe1(*paths)
        return
    if len(paths) != 2:
        raise UsageError(f"{len(paths)} paths: FROM and TO are needed", hint="convert --help")
    source, target = paths
    if Path(source).suffix.lower() == _ONNX:
        _from_onnx(source, target, inputs, verify)
    elif Path(target).suffix.lower() == _ONNX:
        _to_onnx(source, target, init, inputs, opset, verify)
    elif Path(target).suffix.lower() in SUFFIXES:
        write_message(target, read_net_or_plan(source))
    else:
        raise UsageError(f"'{target}' ends in none of {', '.join((*SUFFIXES, _ONNX))}")


def _write_pair(folder: str, init: NetDef, predict: NetDef) -> None:
    """The two nets under the names that other tools look for."""
    target = Path(folder)
    if target.suffix.lower() in (*SUFFIXES, _ONNX, _CAFFEMODEL):
        raise UsageError(f"'{folder}' is the name of a file, and two nets are to be written",
                         hint="name a folder")  # fmt: skip
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made: {error.strerror}", where=folder) from None
    write_message(target / "init_net.pb", init)
    write_message(target / "predict_net.pb", predict)
    click.echo(f"{plain(folder)}: {len(predict.op)} operators")


def _caffe1(prototxt: str, caffemodel: str, folder: str) -> None:
    from caffe2py.interop.caffe1 import translate_files

    _write_pair(folder, *translate_files(prototxt, caffemodel))


# ---------------------------------------------------------------- ONNX


def _from_onnx(source: str, folder: str, texts: Sequence[str], verify: bool) -> None:
    import caffe2py.core  # noqa: F401  (the operators)
    from caffe2py.interop.onnx.emitter import VariesError
    from caffe2py.interop.onnx.importer import import_model
    from caffe2py.interop.onnx.read import input_names, read_model

    model, _ = read_model(source)
    given = _given(texts, input_names(model))
    shapes = {name: tuple(value.shape) for name, value in given.items()}
    fixed: dict[str, Any] = {}
    while True:
        rest = {name: shape for name, shape in shapes.items() if name not in fixed}
        try:
            made = import_model(source, rest, values=fixed)
            break
        except VariesError as error:
            new = [n for n in error.inputs if isinstance(given.get(n), np.ndarray)]
            if not new or set(new) <= set(fixed):
                error.hint = f"--input {error.inputs[0]}=values.npy fixes them"
                raise error.with_where(source) from None
            fixed |= {name: given[name] for name in new}
            log.info("fixed: %s", plain(", ".join(new)))
        except Error as error:
            raise error.with_where(source) from None
    if verify:
        arrays = {n: v for n, v in given.items() if isinstance(v, np.ndarray)}
        outputs = {name: name for name in made.outputs}
        _verify(source, made.predict, made.weights, made.inputs, arrays, outputs)
    _write_pair(folder, made.init, made.predict)


def _to_onnx(
    source: str, target: str, init: str | None, texts: Sequence[str], opset: int, verify: bool
) -> None:
    import caffe2py.core  # noqa: F401  (the operators)
    from caffe2py.interop.onnx.exporter import export_model
    from caffe2py.predictor.extract import model_weights
    from caffe2py.predictor.inputs import parse_inputs, types_of
    from caffe2py.predictor.load import load_model

    model = load_model(source, init, apart=True, trust=common.given_trust())
    if not isinstance(model.predict, NetDef):
        raise UsageError(f"'{source}' is a plan, and ONNX has none")
    given = parse_inputs(texts, model)
    missing = [name for name in model.data_inputs if name not in given]
    if missing:
        raise UsageError(
            f"the shape of input '{missing[0]}' is needed",
            hint=f"--input {missing[0]}=1x3x224x224",
        )
    found = model_weights(model) if set(model.reads) - set(given) else {}
    weights = {n: v for n, v in found.items() if n not in given and isinstance(v, np.ndarray)}
    types = types_of(given)
    made = export_model(model.predict, weights, types, opset=opset, outputs=model.outputs)
    data = _serialized(made, target)
    if verify:
        arrays = {n: v for n, v in given.items() if isinstance(v, np.ndarray)}
        names = [value.name for value in made.graph.output]
        outputs = dict(zip(names, model.outputs, strict=True))
        _verify(data, model.predict, weights, types, arrays, outputs)
    replace_file(target, data)
    click.echo(f"{plain(target)}: {len(made.graph.node)} nodes, opset {opset}")


def _serialized(model: Any, target: str) -> bytes:
    """The bytes of a model; ModelFormatError where a message cannot hold them."""
    if model.ByteSize() > MAX_BYTES:
        raise ModelFormatError("more than the 2 GB that a protobuf message may have", where=target)
    data: bytes = model.SerializeToString()
    return data


def _given(texts: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """What --input says of the inputs of an ONNX model."""
    from caffe2py.predictor.inputs import parse_inputs
    from caffe2py.predictor.load import Model

    reader = NetDef(op=[OperatorDef(input=names)])
    return dict(parse_inputs(texts, Model(reader, None, tuple(names), ())))


def _verify(
    onnx_model: str | bytes,
    predict: NetDef,
    weights: Mapping[str, Any],
    types: Mapping[str, Any],
    arrays: Mapping[str, Any],
    outputs: Mapping[str, str],
) -> None:
    """Raise Error where the net and the model differ; say so where they cannot be compared.

    `outputs` are the model's names, with those of the net's blobs.
    """
    from caffe2py.executor.workspace import Workspace
    from caffe2py.interop.onnx.package import has_onnxruntime
    from caffe2py.interop.onnx.verify import differences, random_inputs, run_onnxruntime
    from caffe2py.registry.trust import SAFE

    if not has_onnxruntime():
        log.info("onnxruntime is not installed: the result is not verified")
        return
    try:
        fed = {**random_inputs({n: t for n, t in types.items() if n not in arrays})}
        fed |= {name: arrays[name] for name in types if name in arrays}
        extra = {n: a for n, a in arrays.items() if n not in types}
        theirs = run_onnxruntime(onnx_model, {**fed, **extra}, list(outputs))
        workspace = Workspace(trust=SAFE)
        for name, value in {**weights, **fed}.items():
            workspace.feed(name, value)
        workspace.run_net_once(predict)
    except Error as error:
        log.warning("not verified: %s", plain(str(error)))
        return
    ours = {name: workspace.fetch_array(blob) for name, blob in outputs.items()}
    found = differences(ours, theirs)
    worst = max(found, key=lambda name: found[name])
    if found[worst] > _MOST_DIFFERENCE:
        raise Error(f"output '{worst}' differs by {found[worst]:.3g} from onnxruntime's",
                    hint="--no-verify writes it all the same")  # fmt: skip
    click.echo(f"agrees with onnxruntime: largest difference {found[worst]:.2g}")


COMMANDS = {"convert": convert}
