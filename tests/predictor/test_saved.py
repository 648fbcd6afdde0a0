"""Saved predictors: Caffe2's files run here, ours are Caffe2's, and what is wrong is said."""

import struct

import numpy as np
import pytest

from caffe2py import core, workspace
from caffe2py.adapters.db import Mode, open_database
from caffe2py.errors import (
    Error,
    FileError,
    MissingBlobError,
    ModelFormatError,
    ShapeError,
    UsageError,
    ValueRangeError,
)
from caffe2py.predictor import predictor_exporter as exporter
from caffe2py.predictor import predictor_py_utils as utils
from caffe2py.predictor.load import load_model
from caffe2py.predictor.session import Session
from caffe2py.predictor.summary import summarize
from caffe2py.predictor_constants import predictor_constants as consts
from caffe2py.proto.caffe2_pb2 import CPU, AOTConfig, BlobProto, NetDef, PlanDef, TensorBoundShapes
from caffe2py.proto.metanet_pb2 import MetaNetDef
from caffe2py.tensor.serialize import blob_from_proto, serialize_blob
from tests.predictor.saved import CASES, answer
from tests.toy import op

META = consts.META_NET_DEF


def records(data):
    """The keys and values of a minidb, in order."""
    found, position = [], 0
    while position < len(data):
        key, value = struct.unpack_from("<ii", data, position)
        position += 8 + key + value
        found.append(
            (data[position - value - key : position - value], data[position - value : position])
        )
    return found


def minidb(pairs):
    return b"".join(struct.pack("<ii", len(k), len(v)) + k + v for k, v in pairs)


def meta_of(data):
    """The table of contents in the first record."""
    proto = BlobProto.FromString(dict(records(data))[META.encode()])
    return MetaNetDef.FromString(blob_from_proto(proto))


def with_meta(data, edit):
    """A minidb with another table of contents."""
    meta = meta_of(data)
    edit(meta)
    changed = META.encode(), serialize_blob(META, meta.SerializePartialToString())
    return minidb([changed, *records(data)[1:]])


def inputs_of(case):
    return {key[3:]: value for key, value in case.items() if key.startswith("in/")}


def assert_answers(case, fetch):
    for key, expected in case.items():
        if key.startswith("out/"):
            found = fetch(key[4:])
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            else:
                assert found.tolist() == expected.tolist()


@pytest.fixture
def fc(golden, tmp_path):
    """Writes Caffe2's file of a layer, changed by a function of its bytes."""

    def write(edit=lambda data: data, name="m.minidb"):
        path = tmp_path / name
        path.write_bytes(edit(golden["fc"]["file"]))
        return path

    return write


# ---------------------------------------------------------------- Caffe2's files and ours


@pytest.mark.parametrize("name", CASES)
def test_caffe2_files_are_loaded(name, c2, golden, tmp_path):
    case = golden[name]
    path = tmp_path / "m.minidb"
    path.write_bytes(case["file"])
    net = exporter.prepare_prediction_net(str(path), "minidb")
    for blob, array in inputs_of(case).items():
        assert workspace.FetchBlob(blob).dtype == np.float32  # zeros, or what the extra net made
        workspace.FeedBlob(blob, array)
    workspace.RunNet(net)
    assert_answers(case, workspace.FetchBlob)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("type_", ["minidb", "lmdb"])
@pytest.mark.parametrize("optimize", [False, True])
def test_caffe2_files_are_models(name, type_, optimize, golden, tmp_path):
    case = golden[name]
    path = tmp_path / "without_suffix"
    if type_ == "minidb":
        path.write_bytes(case["file"])
    else:
        with open_database("lmdb", str(path), Mode.new) as database:
            transaction = database.new_transaction()
            for key, value in records(case["file"]):
                transaction.put(key, value)
            transaction.commit()
    run = Session(load_model(path), optimize=optimize)
    for blob, array in inputs_of(case).items():
        run.feed(blob, array)
    run.require_inputs()
    run.run()
    assert_answers(case, run.workspace.fetch)


@pytest.mark.parametrize("name", CASES)
def test_our_files_are_caffe2s(name, c2, golden, tmp_path):
    case = golden[name]
    path = tmp_path / "m.minidb"
    ours = answer(c2, name, path)
    assert_answers(case, lambda blob: ours[f"out/{blob}"])
    assert str(meta_of(path.read_bytes())) == str(meta_of(case["file"]))
    assert path.read_bytes() == case["file"]
    for part in ("mobile/init", "mobile/predict"):
        if part in case:
            assert str(NetDef.FromString(ours[part])) == str(NetDef.FromString(case[part]))


def test_lmdb_from_our_own_exporter(c2, tmp_path):
    saved = CASES["fc"](c2)
    meta = exporter.PredictorExportMeta(**saved.meta)
    exporter.save_to_db("lmdb", tmp_path / "db", meta)
    workspace.ResetWorkspace()
    net = exporter.prepare_prediction_net(tmp_path / "db", "lmdb")
    workspace.FeedBlob("data", saved.feeds["data"])
    workspace.RunNet(net)
    assert workspace.FetchBlob("y").shape == (2, 10)
    for place in (tmp_path / "db", tmp_path / "db" / "data.mdb"):
        assert set(load_model(place).blobs) == {"y_w", "y_b"}


# ---------------------------------------------------------------- the parts


def test_what_is_left_in_the_workspace(c2, fc):
    meta = exporter.load_from_db(str(fc()), "minidb")
    assert set(workspace.Blobs()) == {META, consts.PREDICTOR_DBREADER}
    assert MetaNetDef.FromString(workspace.FetchBlob(META)) == meta
    assert [entry.key for entry in meta.nets] == [
        "PREDICT_INIT_NET_TYPE",
        "GLOBAL_INIT_NET_TYPE",
        "PREDICT_NET_TYPE",
    ]


@pytest.mark.parametrize("scoped", [False, True])
def test_the_device_of_operators(c2, fc, scoped):
    option = core.DeviceOption(CPU, 1)
    if scoped:
        with core.DeviceScope(option):
            meta = exporter.load_from_db(str(fc()), "minidb")
    else:
        meta = exporter.load_from_db(str(fc()), "minidb", option)
    assert all(o.device_option == option for entry in meta.nets for o in entry.value.op)


def test_names_of_keys():
    named = exporter.get_predictor_exporter_helper("sub")
    assert named.name == "sub"
    assert named.predict_net_name() == "PREDICT_NET_TYPE_sub"
    assert named.inputs_name() == "INPUTS_BLOB_TYPE_sub"
    plain = exporter.PredictorExportMeta(PlanDef(), [], [], [], trainer_prefix="t")
    assert plain.outputs_name() == "OUTPUTS_BLOB_TYPE"
    assert plain.train_plan_name() == "t_TRAIN_PLAN_TYPE"
    assert named.train_init_plan_name() == "TRAIN_INIT_PLAN_TYPE_sub"


def test_plans_and_texts_lie_beside_the_nets(c2):
    saved = CASES["fc"](c2)
    made = exporter.get_meta_net_def(exporter.PredictorExportMeta(**saved.meta))
    utils.AddPlan(made, "p", PlanDef(name="plan"))
    made.applicationSpecificInfo.add(key="k", value="text")
    exporter.set_model_info(made, "project", "class", "1")
    again = MetaNetDef.FromString(made.SerializeToString())
    assert utils.GetPlan(again, "p").name == "plan"
    assert utils.GetPlan(again, "q") is None
    assert utils.GetNet(again, "q") is None
    assert utils.GetApplicationSpecificInfo(again, "k") == "text"
    assert utils.GetBlobsByTypePrefix(again, "") == ["y_w", "y_b", "data", "y"]
    assert again.modelInfo.modelClass == "class"
    with pytest.raises(UsageError, match=r"no list of blobs 'q' \(lists: PARAMETERS_BLOB_TYPE"):
        utils.ReplaceBlobs(again, "q", [])


def test_what_else_a_table_holds():
    meta = MetaNetDef()
    for _ in range(2):  # the second time replaces messages and adds to lists
        utils.SetBlobsOrder(meta, ["a"])
        utils.SetPreLoadBlobs(meta, ["b"])
        utils.SetRequestOnlyEmbeddings(meta, ["c"])
        utils.SetTensorBoundShapes(meta, TensorBoundShapes(max_batch_size=4))
        utils.SetAOTConfig(meta, AOTConfig(max_batch_size=5, max_seq_size=6))
    assert list(utils.GetBlobsOrder(meta)) == ["a", "a"]
    assert list(meta.preLoadBlobs) == ["b", "b"]
    assert list(meta.requestOnlyEmbeddings) == ["c", "c"]
    assert meta.tensorBoundShapes.max_batch_size == 4
    assert (meta.aotConfig.max_batch_size, meta.aotConfig.max_seq_size) == (5, 6)


def test_figures_without_running(fc):
    model = load_model(fc())
    assert model.inputs == ("data",)
    assert model.outputs == ("y",)
    found = summarize(model, model.predict, {})
    assert (found.parameters, found.types["y"].shape) == (60, (1, 10))


def test_an_input_that_the_extra_net_makes(golden, tmp_path):
    path = tmp_path / "m.minidb"
    path.write_bytes(golden["picture"]["file"])
    model = load_model(path)
    assert model.stand_ins == ("data",)
    run = Session(model)
    run.run()
    assert run.fetch(["prob"])["prob"].shape == (1, 3)


# ---------------------------------------------------------------- what is wrong


def _describe(net=None, parameters=("w",), inputs=("x",), outputs=("y",), **more):
    return exporter.PredictorExportMeta(
        net or NetDef(name="n", op=[op("Add", "x w", "y")]), parameters, inputs, outputs, **more
    )


WRONG_PARTS = {
    "input twice": ({"inputs": ["x", "z", "x"]}, "an input is named twice: x"),
    "parameter and input": ({"inputs": ["x", "w"]}, "a parameter and an input: w"),
    "parameter and output": ({"outputs": ["w"]}, "a parameter and an output: w"),
    "no net": ({"net": "net"}, "expected a net or plan that predicts, found 'net'"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_wrong_descriptions(arguments, message):
    with pytest.raises(UsageError, match=message):
        _describe(**arguments)


@pytest.mark.parametrize(
    ("fed", "shapes", "message"),
    [
        ("", {"x": (1,), "y": (1,)}, r"1 of 1 parameters are not in the workspace: w \(try"),
        ("w", {"x": (1,)}, r"the shape of 'y' is not given, and it is not in the workspace"),
    ],
    ids=["parameter", "shape"],
)
def test_saving_what_is_missing(c2, tmp_path, fed, shapes, message):
    (tmp_path / "m.minidb").write_text("old")
    for name in fed.split():
        workspace.FeedBlob(name, np.ones(1, np.float32))
    with pytest.raises(MissingBlobError, match=message):
        exporter.save_to_db("minidb", str(tmp_path / "m.minidb"), _describe(shapes=shapes))
    assert (tmp_path / "m.minidb").read_text() == "old"


def test_a_plan_cannot_predict(c2):
    with pytest.raises(UsageError, match="expected a net that predicts, found a PlanDef"):
        exporter.get_meta_net_def(_describe(PlanDef(), (), (), ()))


def without_b(data):
    return minidb(pair for pair in records(data) if not pair[0].startswith(b"y_b"))


def with_short_b(data):
    short = serialize_blob("y_b", np.ones(9, np.float32))
    return minidb([*records(without_b(data)), (b"y_b", short)])


def rename_nets(data):
    def edit(meta):
        meta.nets[2].key = "NO_NET"

    return with_meta(data, edit)


def several(data):
    def edit(meta):
        meta.nets[2].key += "_a"
        meta.nets.add(key="PREDICT_NET_TYPE_b", value=NetDef())

    return with_meta(data, edit)


def no_init(data):
    return with_meta(data, lambda meta: meta.nets.pop(0))


def cut_meta(data):
    first = dict(records(data))[META.encode()]
    content = blob_from_proto(BlobProto.FromString(first))[:-3]
    return minidb([(META.encode(), serialize_blob(META, content)), *records(data)[1:]])


def tensor_as_meta(data):
    wrong = serialize_blob(META, np.ones(2, np.float32))
    return minidb([(META.encode(), wrong), *records(data)[1:]])


def incomplete_chunks(data):
    pairs = [(k, v) for k, v in records(data) if not k.startswith(b"y_w")]
    proto = BlobProto.FromString(dict(records(data))[b"y_w#%0"])
    proto.tensor.float_data.pop()
    proto.tensor.segment.begin, proto.tensor.segment.end = 0, 49
    return minidb([*pairs, (b"y_w#%0", proto.SerializeToString())])


#: Name -> edit, error of the exporter, error of a model, message.
DAMAGE = {
    "missing parameter": (without_b, ValueRangeError, ModelFormatError, "y_b"),
    "wrong shape": (with_short_b, ShapeError, ShapeError, r"parameters .*'y_b' float32.9."),
    "missing net": (rename_nets, ModelFormatError, ModelFormatError, "no net 'PREDICT_NET_TYPE'"),
    "several": (several, ModelFormatError, ModelFormatError, "several predictors: a, b"),
    "no init": (no_init, ModelFormatError, ModelFormatError, "no net 'PREDICT_INIT_NET_TYPE'"),
    "cut table": (
        cut_meta,
        ModelFormatError,
        ModelFormatError,
        f"record '{META}': is no MetaNetDef",
    ),
    "tensor": (
        tensor_as_meta,
        ModelFormatError,
        ModelFormatError,
        f"record '{META}' holds a Tensor",
    ),
    "chunks": (incomplete_chunks, ModelFormatError, ModelFormatError, "blob 'y_w': elements 49"),
    "truncated": (lambda data: data[:-5], ModelFormatError, ModelFormatError, "damaged minidb"),
    "cut early": (lambda data: data[:20], ModelFormatError, ModelFormatError, "damaged minidb"),
    "foreign": (
        lambda data: minidb([(b"00001", b"x"), (b"00002", b"y")]),
        ModelFormatError,
        ModelFormatError,
        f"is no saved predictor: no record '{META}' .it has 00001, 00002",
    ),
    "empty": (lambda data: b"", Error, Error, "no record"),
    "text": (lambda data: b"no database at all", ModelFormatError, ModelFormatError, "damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_met_by_the_exporter(c2, fc, name):
    edit, error, _, message = DAMAGE[name]
    path = str(fc(edit))
    with pytest.raises(error, match=message) as caught:
        exporter.prepare_prediction_net(path, "minidb")
    assert path in str(caught.value)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_met_by_a_model(fc, name):
    edit, _, error, message = DAMAGE[name]
    path = str(fc(edit))
    with pytest.raises(error, match=message) as caught:
        Session(load_model(path))
    assert path in str(caught.value)


def test_an_input_that_does_not_fit(fc):
    path = str(fc())
    run = Session(load_model(path))
    run.feed("data", np.ones((1, 4), np.float32))
    with pytest.raises(ShapeError, match="op #0 FC") as caught:
        run.run()
    assert path in str(caught.value)


def test_missing_file(c2, tmp_path):
    path = str(tmp_path / "none.minidb")
    for load in (lambda: load_model(path), lambda: exporter.load_from_db(path, "minidb")):
        with pytest.raises(FileError, match="no such file") as caught:
            load()
        assert path in str(caught.value)


def test_a_database_has_its_own_init_net(fc):
    with pytest.raises(UsageError, match="is a database, which has its own init net"):
        load_model(fc(), NetDef())
