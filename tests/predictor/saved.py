"""Predictors to save, made alike by the real Caffe2 and by caffe2py.

Each of CASES is a function `case(c2)` -> Saved; `c2` has caffe2.python's modules. Parameters are in
the workspace then, so that the caller can save, export and run.
"""

from types import SimpleNamespace as _Namespace

import numpy as _np


def values(*shape, dtype="float32", step=7):
    """Small numbers of both signs that float32 holds exactly."""
    count = int(_np.prod(shape))
    return ((_np.arange(count) * step % 23 - 11) / 8).reshape(shape).astype(dtype)


def _parameters(c2, **arrays):
    for name, array in arrays.items():
        c2.workspace.FeedBlob(name, array)
    return list(arrays)


def _saved(net, parameters, feeds, outputs, db=None, export=True, **meta):
    """`feeds` are inputs by name; `meta` more of the description, `db` arguments of Save."""
    described = {
        "predict_net": net,
        "parameters": parameters,
        "inputs": list(feeds),
        "outputs": outputs,
        **meta,
    }
    return _Namespace(feeds=feeds, meta=described, db=db or {}, export=export)


def fc(c2):
    net = c2.core.Net("fc")
    net.FC(["data", "y_w", "y_b"], "y")
    parameters = _parameters(c2, y_w=values(10, 5), y_b=values(10))
    shapes = {"data": (1, 5), "y": (1, 10)}
    return _saved(net, parameters, {"data": values(2, 5, step=5)}, ["y"], shapes=shapes)


def shapes_of_the_workspace(c2):
    net = c2.core.Net("fc")
    net.FC(["data", "y_w", "y_b"], "y")
    _parameters(c2, data=values(3, 5), y=values(3, 4))
    parameters = _parameters(c2, y_w=values(4, 5), y_b=values(4))
    return _saved(net, parameters, {"data": values(3, 5)}, ["y"])


def picture(c2):
    """Layers, a net type, workers, nets of the user's and a model_id."""
    net = c2.core.Net("picture")
    net.Conv(["data", "conv_w", "conv_b"], "conv", kernel=3, pad=1)
    net.Relu("conv", "conv")
    net.MaxPool("conv", "pool", kernel=2, stride=2)
    net.FC(["pool", "fc_w", "fc_b"], "fc")
    net.Softmax("fc", "prob")
    net.Proto().arg.extend([c2.utils.MakeArgument("model_id", 41)])
    first, each = c2.core.Net("first"), c2.core.Net("each")
    first.Scale("fc_b", "fc_b", scale=0.5)
    each.ConstantFill("data", "data", value=1.0)
    parameters = _parameters(
        c2,
        conv_w=values(4, 1, 3, 3),
        conv_b=values(4),
        fc_w=values(3, 16, step=3),
        fc_b=values(3),
    )
    return _saved(
        net,
        parameters,
        {"data": values(2, 1, 4, 4)},
        ["prob"],
        export=False,
        shapes={"data": (1, 1, 4, 4), "prob": (1, 3)},
        extra_init_net=each,
        global_init_net=first,
        net_type="dag",
        num_workers=2,
    )


def named(c2):
    net = c2.core.Net("ranker")
    net.Add(["x", "offset"], "sum")
    net.Sigmoid("sum", "score")
    parameters = _parameters(c2, offset=values(2, 3))
    shapes = {"x": (2, 3), "score": (2, 3)}
    return _saved(
        net, parameters, {"x": values(2, 3, step=4)}, ["score"], shapes=shapes, name="ranker"
    )


def types(c2):
    """Parameters of several types, in chunks."""
    net = c2.core.Net("lookup")
    net.Gather(["table", "ids"], "rows")
    net.Cast("rows", "halves", to=1)
    net.Add(["halves", "bias"], "sum")
    net.Gather(["words", "ids"], "picked")
    net.Cast("flags", "shown", to=2)
    parameters = _parameters(
        c2,
        table=_np.arange(60, dtype="int64").reshape(12, 5) * 1000003,
        bias=values(5),
        words=_np.array([b"a", b"", b"gr\xc3\xb6\xc3\x9fe", b"z"] * 3, dtype=object),
        flags=_np.array([True, False, True]),
    )
    return _saved(
        net,
        parameters,
        {"ids": _np.array([3, 0, 11], "int32")},
        ["sum", "picked", "shown"],
        db={"chunk_size": 7},
        export=False,
        shapes={"ids": (3,), "sum": (3, 5), "picked": (3,), "shown": (3,)},
    )


def bytes_and_integers(c2):
    """What a mobile net keeps in other ways."""
    net = c2.core.Net("")
    net.Cast("mask", "wide", to=1)
    net.Add(["wide", "x"], "sum")
    net.Gather(["names", "which"], "name")
    net.Cast("big", "small", to=2)
    parameters = _parameters(
        c2,
        mask=_np.array([[0, 7, 255]], "uint8"),
        which=_np.array([1, 0], "int32"),
        big=_np.array([[5], [-2]], "int64"),
        names=_np.array([b"no", b"yes"], dtype=object),
    )
    shapes = {"x": (1, 3), "sum": (1, 3), "name": (2,), "small": (2, 1)}
    return _saved(net, parameters, {"x": values(1, 3)}, ["sum", "name", "small"], shapes=shapes)


CASES = {
    case.__name__: case
    for case in (fc, shapes_of_the_workspace, picture, named, types, bytes_and_integers)
}


def answer(c2, name, path):
    """Save a case to `path`; its arrays in and out, and the nets of the mobile exporter."""
    saved = CASES[name](c2)
    meta = c2.exporter.PredictorExportMeta(**saved.meta)
    c2.exporter.save_to_db("minidb", str(path), meta, **saved.db)
    answers = {}
    if saved.export:
        nets = c2.mobile.Export(c2.workspace, saved.meta["predict_net"], meta.parameters)
        answers["mobile/init"], answers["mobile/predict"] = (n.SerializeToString() for n in nets)
    for blob, array in saved.feeds.items():
        answers["in/" + blob] = array
        c2.workspace.FeedBlob(blob, array)
    if meta.global_init_net:
        c2.workspace.RunNetOnce(meta.global_init_net)
    c2.workspace.RunNetOnce(saved.meta["predict_net"])
    for blob in meta.outputs:
        answers["out/" + blob] = c2.workspace.FetchBlob(blob)
    return answers
