"""Which files make a model, and what it takes and gives."""

import numpy as np
import pytest

from caffe2py.errors import FileError, ModelFormatError, UsageError
from caffe2py.predictor.load import load_model, partners
from caffe2py.proto.caffe2_pb2 import NetDef, PlanDef
from caffe2py.proto.files import write_message
from tests.toy import INIT, PREDICT, fill, net, op


def write(folder, **files):
    for name, message in files.items():
        stem, _, suffix = name.rpartition("__")
        write_message(folder / f"{stem}.{suffix}", message)


PAIRS = [
    ("predict_net.pb", "init_net.pb"),
    ("predict_net.pbtxt", "init_net.pb"),
    ("predict_net.pb", "init_net.pbtxt"),
    ("predict_net.prototxt", "init_net.prototxt"),
    ("exec_net.pb", "init_net.pb"),
    ("foo_predict_net.pb", "foo_init_net.pb"),
    ("squeeze_predict.pb", "squeeze_init.pb"),
    ("x.pb", "x_init.pb"),
    ("x.pbtxt", "x_init.pb"),
    ("x.pb", "x_init_net.pb"),
]


@pytest.mark.parametrize(("predict", "init"), PAIRS)
@pytest.mark.parametrize("named", ["folder", "predict", "init"])
def test_pairs(tmp_path, predict, init, named):
    write_message(tmp_path / predict, PREDICT)
    write_message(tmp_path / init, INIT)
    model = load_model(
        {"folder": tmp_path, "predict": tmp_path / predict}.get(named, tmp_path / init)
    )
    assert model.predict == PREDICT
    assert model.init == INIT
    assert model.inputs == ("x",)
    assert model.outputs == ("z",)
    assert model.reads == ("x", "w")
    assert not model.notes


def test_partners_of_both_kinds(tmp_path):
    predict, init = partners(tmp_path / "x.pb")
    assert not predict
    assert tmp_path / "x_init.pb" in init
    predict, init = partners(tmp_path / "a_init_net.pbtxt")
    assert predict[0] == tmp_path / "a_predict_net.pbtxt"
    assert not init


def test_binary_is_preferred_in_a_folder(tmp_path):
    other = NetDef()
    other.CopyFrom(PREDICT)
    other.name = "text"
    write(tmp_path, model__pb=PREDICT, model__pbtxt=other, model_init__pb=INIT)
    model = load_model(tmp_path)
    assert model.predict.name == "toy"
    assert model.predict_file == str(tmp_path / "model.pb")


def test_predict_net_wins_in_a_folder_of_several(tmp_path):
    write(tmp_path, other__pb=PREDICT, predict_net__pb=PREDICT, init_net__pb=INIT)
    assert load_model(tmp_path).predict_file == str(tmp_path / "predict_net.pb")


def test_the_one_pair_wins_over_single_nets(tmp_path):
    write(tmp_path, a__pb=PREDICT, b__pb=PREDICT, b_init__pb=INIT)
    assert load_model(tmp_path).predict_file == str(tmp_path / "b.pb")


def test_explicit_init(tmp_path):
    write(tmp_path, a__pb=PREDICT, weights__pb=INIT)
    model = load_model(tmp_path / "a.pb", tmp_path / "weights.pb")
    assert model.init == INIT
    assert load_model(PREDICT, INIT).inputs == ("x",)


def test_folder_without_nets_lists_what_it_holds(tmp_path):
    for name in ("notes.txt", "x.onnx"):
        (tmp_path / name).write_text("")
    with pytest.raises(ModelFormatError, match=r"no net in this folder.*notes\.txt, x\.onnx"):
        load_model(tmp_path)


def test_empty_folder(tmp_path):
    with pytest.raises(ModelFormatError, match="it holds nothing"):
        load_model(tmp_path)


def test_folder_with_several_nets(tmp_path):
    write(tmp_path, a__pb=PREDICT, b__pb=PREDICT)
    with pytest.raises(ModelFormatError, match=r"several nets: a\.pb, b\.pb \(try: name one"):
        load_model(tmp_path)


def test_folder_with_an_init_net_alone(tmp_path):
    write(tmp_path, init_net__pb=INIT)
    with pytest.raises(ModelFormatError, match=r"only init nets \(init_net\.pb\)"):
        load_model(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        load_model(tmp_path / "predict_net.pb")


def test_swapped(tmp_path):
    write(tmp_path, a__pb=PREDICT, b__pb=INIT)
    with pytest.raises(
        ModelFormatError, match=r"are swapped: .*b\.pb.*reads x, w \(try: .*a\.pb --init"
    ):
        load_model(tmp_path / "b.pb", tmp_path / "a.pb")


def test_swapped_by_name(tmp_path):
    write(tmp_path, predict_net__pb=INIT, init_net__pb=PREDICT)
    with pytest.raises(ModelFormatError, match="are swapped"):
        load_model(tmp_path)


def test_init_given_twice():
    with pytest.raises(ModelFormatError, match="only makes blobs, the same as the init net"):
        load_model(INIT, INIT)


def test_predict_given_twice():
    with pytest.raises(
        ModelFormatError, match="reads x, w, and an init net makes all from nothing"
    ):
        load_model(PREDICT, PREDICT)


def test_a_net_of_fills_alone_is_a_model():
    model = load_model(INIT)
    assert model.inputs == ()
    assert model.outputs == ("w",)


def test_missing_init_net(tmp_path):
    write(tmp_path, predict_net__pb=PREDICT)
    model = load_model(tmp_path / "predict_net.pb")
    assert model.inputs == ("x", "w")
    assert model.data_inputs == ("x",)
    assert model.missing_weights == ("w",)
    assert "init net is missing (looked for init_net with .pb" in model.notes[0]
    assert "besides x: w" in model.notes[0]


def test_incomplete_init_net():
    init = net(fill("other", [1]))
    model = load_model(PREDICT, init)
    assert "the init net does not make" in model.notes[0]


@pytest.mark.parametrize(
    ("stand_in", "inputs"),
    [
        (op("ConstantFill", "", "x", shape=[1]), ("x",)),
        (fill("x", np.arange(6), [2, 3]), ("x",)),  # the first that is read as data
    ],
)
def test_stand_ins(stand_in, inputs):
    init = net(fill("w", [1, 2, 3]), stand_in)
    model = load_model(PREDICT, init)
    assert model.inputs == inputs
    assert model.stand_ins == inputs


def test_outputs_that_nothing_reads():
    bare = net(
        op("Relu", "x", "y"), op("Relu", "y", "y"), op("Relu", "y", "z"), op("Relu", "y", "u")
    )
    assert load_model(bare).outputs == ("z", "u")
    assert load_model(bare).inputs == ("x",)


def test_in_place_input_is_an_input():
    assert load_model(net(op("Relu", "x", "x"))).inputs == ("x",)


def test_plan(tmp_path):
    plan = PlanDef(name="p", network=[INIT, PREDICT])
    step = plan.execution_step.add()
    step.name = "s"
    step.network.append("toy")
    write(tmp_path, plan__pb=plan)
    model = load_model(tmp_path / "plan.pb")
    assert model.predict == plan
    assert model.inputs == ("x",)
    assert len(model.nets) == 2
    assert model.name == "p"


def test_require_input():
    model = load_model(net(op("Relu", "image", "y")))
    model.require_input("image")
    with pytest.raises(UsageError, match="no blob 'imgae' from outside; did you mean image"):
        model.require_input("imgae")


def test_a_declared_input_that_nothing_reads_is_none():
    assert load_model(net(op("Relu", "x", "y"), reads="queue x")).inputs == ("x",)


def test_what_a_nested_net_reads_is_an_input():
    outer = net(op("If", "x", "y"), reads="x w unused")
    argument = outer.op[0].arg.add()
    argument.name = "then_net"
    argument.n.CopyFrom(net(op("Add", "x w", "y")))
    assert load_model(outer).inputs == ("x", "w")
