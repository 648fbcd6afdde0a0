"""`caffe2py extract-weights`: the weights of a model as one file of arrays."""

from __future__ import annotations

import click
import numpy as np

import caffe2py.core  # noqa: F401  (the operators)
from caffe2py.cli import common
from caffe2py.cli.common import bytes_text, log, number, plain
from caffe2py.predictor.extract import model_weights, require_weights_file, write_weights
from caffe2py.predictor.load import load_model
from caffe2py.tensor.types import dtype_name, shape_text


@common.command("extract-weights")
@common.model_options
@common.trust_options
@click.option("-o", "--out", required=True, metavar="FILE", help="A .npz or .safetensors.")
@common.json_option
def extract(net: str, init: str | None, out: str, json_: bool) -> None:
    """Write the weights of NET, under the names of their blobs.

    NET is a saved predictor (.minidb, lmdb), a folder, a .pb or a .pbtxt; the init net is found as
    `caffe2py run` finds it. FILE appears in full or not at all.
    """
    require_weights_file(out)
    found = model_weights(load_model(net, init, apart=True, trust=common.given_trust()))
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    for name in found.keys() - arrays.keys():
        log.warning("'%s' holds a %s and is left out", plain(name), type(found[name]).__name__)
    write_weights(out, arrays)
    if json_:
        types = {
            n: {"dtype": dtype_name(a.dtype), "shape": list(a.shape)} for n, a in arrays.items()
        }
        common.print_json({"weights": types})
        return
    rows = [(plain(n), dtype_name(a.dtype), shape_text(a.shape)) for n, a in arrays.items()]
    click.echo(common.table(("weight", "type", "shape"), rows))
    values, size = (sum(getattr(a, of) for a in arrays.values()) for of in ("size", "nbytes"))
    click.echo(f"{len(arrays)} weights, {number(values)} values, {bytes_text(size)}: {plain(out)}")


COMMANDS = {"extract-weights": extract}
