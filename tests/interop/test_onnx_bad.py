"""ONNX files that are no models, lie about their sizes, or reach out of their folder."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import caffe2py.core  # noqa: F401
from caffe2py.errors import (
    ArgumentError,
    ArityError,
    Error,
    FileError,
    MemoryBudgetError,
    ModelFormatError,
    NetError,
    UnsupportedError,
    UsageError,
)
from caffe2py.interop.onnx.importer import import_model
from caffe2py.interop.onnx.read import read_model
from tests.interop.models import model, run_nets, value

node = helper.make_node
RELU = [node("Relu", ["x"], ["y"])]


def _add(**weights):
    names = list(weights)
    nodes = [node("Add", ["x", names[0]], ["y"])]
    return model(nodes, {"x": (2,)}, {"y": (2,)}, weights)


def _tensor(proto, **fields):
    """The model with its first weight changed."""
    tensor = proto.graph.initializer[0]
    for name, content in fields.items():
        if isinstance(content, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(content)
        else:
            setattr(tensor, name, content)
    return proto


def _without_opset():
    proto = model(RELU, {"x": (2,)}, {"y": (2,)})
    del proto.opset_import[:]
    return proto


def _attribute(name, content):
    return model([node("LeakyRelu", ["x"], ["y"], **{name: content})], {"x": (2,)}, {"y": (2,)})


def _nested(depth):
    graph = helper.make_graph([node("Relu", ["x"], ["y0"])], "g0", [], [value("y0", (2,))])
    for k in range(depth):
        inner = [node("If", ["f"], [f"y{k + 1}"], then_branch=graph, else_branch=graph)]
        graph = helper.make_graph(inner, f"g{k}", [], [value(f"y{k + 1}", (2,))])
    return graph


def _random_bits():
    return np.random.default_rng(1).bytes(4000)


W = np.ones(2, np.float32)

#: What is wrong -> a model or bytes, the error, and what it says.
BAD = {
    "nothing": (lambda: b"", ModelFormatError, "found nothing"),
    "cut off": (lambda: _add(w=W).SerializeToString()[:-5], ModelFormatError, "cut off"),
    "noise": (_random_bits, ModelFormatError, "cut off, damaged|without a graph"),
    "another message": (lambda: b"\x08\x07", ModelFormatError, "without a graph"),
    "no opset": (_without_opset, ModelFormatError, "opset_import"),
    "an opset of the future": (
        lambda: model(RELU, {"x": (2,)}, {"y": (2,)}, opset=99), UnsupportedError, "opset 99"),
    "a cycle": (
        lambda: model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])],
                      {"x": (2,)}, {"b": (2,)}), NetError, "cyclic"),
    "an input from nowhere": (
        lambda: model([node("Add", ["x", "none"], ["y"])], {"x": (2,)}, {"y": (2,)}),
        NetError, "reads 'none', which nothing makes"),
    "an output from nowhere": (
        lambda: model(RELU, {"x": (2,)}, {"z": (2,)}), NetError, "output 'z'"),
    "a name made twice": (
        lambda: model([*RELU, *RELU], {"x": (2,)}, {"y": (2,)}), NetError, "made twice"),
    "no operator": (
        lambda: model([onnx.NodeProto(input=["x"], output=["y"])], {"x": (2,)}, {"y": (2,)}),
        ModelFormatError, "has no operator"),
    "a long name": (
        lambda: model(RELU, {"x": (2,), "n" * 5000: (2,)}, {"y": (2,)}),
        ModelFormatError, "5000 characters"),
    "a missing input": (
        lambda: model([node("Add", ["x"], ["y"])], {"x": (2,)}, {"y": (2,)}),
        ArityError, "input 1 is missing"),
    "a missing output": (
        lambda: model([node("Relu", ["x"], [])], {"x": (2,)}, {"x": (2,)}),
        ArityError, "has no output"),
    "an attribute of another type": (
        lambda: _attribute("alpha", "high"), ArgumentError, "attribute 'alpha'"),
    "a negative dimension": (
        lambda: _tensor(_add(w=W), dims=[-2]), ModelFormatError, "negative dimension"),
    "huge dimensions": (
        lambda: _tensor(_add(w=W), dims=[2**40, 2**40]), MemoryBudgetError, "needs"),
    "too little data": (
        lambda: _tensor(_add(w=W), dims=[1000]), ModelFormatError, "needs 4000 bytes"),
    "too much data": (
        lambda: _tensor(_add(w=W), raw_data=b"\0" * 12), ModelFormatError, "needs 8 bytes"),
    "a type that no blob has": (
        lambda: _tensor(_add(w=W), data_type=TensorProto.COMPLEX64), UnsupportedError,
        "COMPLEX64"),
    "a type that nobody has": (
        lambda: _tensor(_add(w=W), data_type=77), UnsupportedError, "number 77"),
    "shapes that do not fit": (
        lambda: model([node("Add", ["x", "w"], ["y"])], {"x": (3,)}, {"y": (3,)}, {"w": W}),
        Error, "node #0"),
    "a constant too large for this world": (
        lambda: model([node("ConstantOfShape", ["s"], ["y"])], {}, {"y": None},
                      {"s": np.array([2**40, 2**40])}), MemoryBudgetError, "needs"),
    "a sequence": (
        lambda: model(RELU, {"x": helper.make_tensor_sequence_value_info("x", 1, None)},
                      {"y": None}), UnsupportedError, "is a sequence"),
    "padding without end": (
        lambda: model([node("Pad", ["x", "p"], ["y"], mode="edge")], {"x": (2,)}, {"y": None},
                      {"p": np.array([0, 2**62])}), Error, "node #0"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_models(what):
    make, error, text = BAD[what]
    made = make()
    with pytest.raises(error, match=text) as found:
        import_model(made if isinstance(made, bytes) else made.SerializeToString())
    assert isinstance(found.value, Error)


@pytest.mark.parametrize("what", ["nothing", "cut off", "a cycle", "too little data"])
def test_files_are_named(what, tmp_path):
    make, error, _ = BAD[what]
    made = make()
    path = tmp_path / "bad.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    with pytest.raises(error, match=r"bad\.onnx" if what != "too little data" else "tensor 'w'"):
        import_model(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="expected a path"):
        read_model(7)


def test_graphs_within_graphs_end_somewhere():
    inputs = {"f": value("f", (), TensorProto.BOOL), "x": (2,)}
    proto = model([node("Identity", ["x"], ["y"])], inputs, {"y": (2,)})
    proto.graph.node.append(node("If", ["f"], ["z"], then_branch=_nested(12)))
    with pytest.raises(Error):
        import_model(proto.SerializeToString())


# ---------------------------------------------------------------- data in other files


@pytest.fixture
def external(tmp_path):
    """`external(location, ...)` saves a model whose weight is in another file; gives its path."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"\0" * 4 + np.array([3, 4], "<f4").tobytes())
    (tmp_path / "secret.bin").write_bytes(np.array([8, 9], "<f4").tobytes())

    def save(location="weights.bin", offset="4", length="8", dims=(2,)):
        proto = _add(w=W)
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.dims[:] = dims
        for key, text in {"location": location, "offset": offset, "length": length}.items():
            if text is not None:
                tensor.external_data.add(key=key, value=text)
        path = folder / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        return path

    return save


@pytest.mark.parametrize("length", ["8", None])
def test_external_data_are_read(external, length):
    made = import_model(external(length=length))
    found = run_nets(made.init, made.predict, {"x": np.zeros(2, np.float32)})
    assert found["y"].tolist() == [3, 4]


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/hostname", "sub/../../secret.bin", "..\\secret.bin", "./weights.bin/..",
     "", "sub//weights.bin", "weights\0.bin"],
)  # fmt: skip
def test_external_data_stay_in_the_folder(external, location):
    with pytest.raises(FileError, match=r"outside of|null character"):
        import_model(external(location))


def test_links_are_not_followed(external, tmp_path):
    folder = tmp_path / "model"
    (folder / "soft.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "sub").symlink_to(tmp_path)
    os.link(tmp_path / "secret.bin", folder / "hard.bin")
    os.mkfifo(folder / "pipe.bin")
    (folder / "dir.bin").mkdir()
    for location in ("soft.bin", "sub/secret.bin", "hard.bin", "pipe.bin", "dir.bin"):
        with pytest.raises(FileError, match=r"cannot be read|is a link, or no plain file"):
            import_model(external(location, offset="0"))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"offset": "8"}, "has 12 bytes, and 8 from byte 8 are needed"),
        ({"offset": "-4"}, "no number"),
        ({"offset": "9" * 30}, "no number"),
        ({"length": "800"}, "needs 8 bytes of external data, found 800"),
        ({"length": "4"}, "needs 8 bytes of external data, found 4"),
        ({"length": None, "dims": (2000,)}, "has 12 bytes"),
        ({"location": "none.bin"}, "No such file"),
    ],
)
def test_external_data_of_another_size(external, fields, text):
    with pytest.raises((FileError, ModelFormatError), match=text):
        import_model(external(**fields))


def test_external_data_need_a_folder(external):
    with pytest.raises(FileError, match="the model has no folder"):
        import_model(external().read_bytes())


# ---------------------------------------------------------------- chance


def test_mutated_models_end_in_errors_of_ours():
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Reshape", ["a", "s"], ["b"]),
        node("Gemm", ["b", "v"], ["y"], transB=1),
    ]
    weights = {
        "w": np.ones((2, 1, 3, 3), np.float32),
        "s": np.array([1, -1]),
        "v": np.ones((3, 32), np.float32),
    }
    data = model(nodes, {"x": (1, 1, 4, 4)}, {"y": (1, 3)}, weights).SerializeToString()
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(3000):
        mutated = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            mutated[place] = rng.integers(0, 256)
        try:
            import_model(bytes(mutated))
        except Error:
            refused += 1
    assert refused > 300
