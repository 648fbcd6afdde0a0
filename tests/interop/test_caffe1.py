"""Models of Caffe 1 as nets, beside numpy."""

import numpy as np
import pytest
from google.protobuf import text_format

from caffe2py.errors import (
    Error,
    FileError,
    ModelFormatError,
    NetError,
    UnsupportedError,
    UsageError,
)
from caffe2py.executor.workspace import Workspace
from caffe2py.interop import caffe1
from caffe2py.proto import caffe_pb2
from caffe2py.proto.args import find
from caffe2py.tensor.serialize import tensor_to_proto
from tests.interop.models import net as toy_net

RNG_SEED = 9


def parse(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def blob(array, old=False):
    """A BlobProto; `old` ones have four dimensions and no shape."""
    made = caffe_pb2.BlobProto(data=np.asarray(array, np.float32).reshape(-1).tolist())
    if old:
        shape = (1,) * (4 - np.ndim(array)) + np.shape(array)
        made.num, made.channels, made.height, made.width = shape
    else:
        made.shape.dim.extend(np.shape(array))
    return made


def small_net():
    return parse("""
name: "small"
input: "data"  input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
""")


def with_weights(net):
    """The small net with weights, as a .caffemodel has them."""
    rng = np.random.default_rng(RNG_SEED)
    made = caffe_pb2.NetParameter()
    made.CopyFrom(net)
    shapes = {"conv": [(4, 3, 3, 3), (4,)], "fc": [(5, 16), (5,)]}
    for layer in made.layer:
        for shape in shapes.get(layer.name, []):
            layer.blobs.append(blob(rng.uniform(-0.5, 0.5, shape)))
    return made


def run(net, weights, inputs, *outputs):
    """Translate and run; the named blobs."""
    predict, params = caffe1.TranslateModel(net, weights, is_test=True)
    init = caffe1.ConvertTensorProtosToInitNet(params, "unused")
    workspace = Workspace()
    workspace.run_net_once(init)
    for name, array in inputs.items():
        workspace.feed(name, np.asarray(array, np.float32))
    workspace.run_net_once(predict)
    return [workspace.fetch(name) for name in outputs]


def layer(text, *weights, shape=(2, 3, 6, 5)):
    """What one layer makes of random data: input, output."""
    net = parse(f'input: "x" layer {{ name: "l" bottom: "x" top: "y" {text} }}')
    saved = caffe_pb2.NetParameter()
    saved.CopyFrom(net)
    saved.layer[0].blobs.extend(blob(w) for w in weights)
    data = np.random.default_rng(RNG_SEED).uniform(-1, 1, shape).astype(np.float32)
    return data, run(net, saved, {"x": data}, "y")[0]


def _pooled(data, kernel, stride, pad, reduce):
    """Pooling as Caffe 1 does it: sizes rounded up, windows cut at the padded image."""
    size = [int(np.ceil((n + 2 * pad - kernel) / stride)) + 1 for n in data.shape[2:]]
    if pad:
        size = [
            s - ((s - 1) * stride >= n + pad) for s, n in zip(size, data.shape[2:], strict=True)
        ]
    made = np.zeros((*data.shape[:2], *size))
    for i, j in np.ndindex(*size):
        top, left = i * stride - pad, j * stride - pad
        window = data[:, :, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
        ends = [min(b + kernel, n + pad) for b, n in zip((top, left), data.shape[2:], strict=True)]
        count = (ends[0] - top) * (ends[1] - left)
        made[:, :, i, j] = reduce(window, count)
    return made


def _largest(window, count):
    return window.max((2, 3))


def _mean(window, count):
    return window.sum((2, 3)) / count


@pytest.mark.parametrize(
    ("kind", "kernel", "stride", "pad"),
    [("MAX", 3, 2, 0), ("MAX", 3, 2, 1), ("AVE", 3, 2, 0), ("AVE", 3, 3, 0), ("AVE", 3, 1, 1)],
)
def test_pooling_rounds_up(kind, kernel, stride, pad):
    text = f"pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad}"
    data, found = layer(f'type: "Pooling" pooling_param {{ {text} }}', shape=(2, 3, 7, 6))
    reduce = _largest if kind == "MAX" else _mean
    np.testing.assert_allclose(
        found, _pooled(data, kernel, stride, pad, reduce), rtol=1e-4, atol=1e-6
    )


S = np.array([0.5, 2, -1], np.float32)
B = np.array([1, 0, -2], np.float32)


def _column(array):
    return array[:, None, None]


#: Layer -> weights, and the same in numpy.
LAYERS = {
    'type: "ReLU"': ([], lambda x: np.maximum(x, 0)),
    'type: "ReLU" relu_param { negative_slope: 0.1 }': ([], lambda x: np.where(x > 0, x, 0.1 * x)),
    'type: "PReLU"': ([S], lambda x: np.where(x > 0, x, _column(S) * x)),
    'type: "ELU"': ([], lambda x: np.where(x > 0, x, np.expm1(x))),
    'type: "Sigmoid"': ([], lambda x: 1 / (1 + np.exp(-x))),
    'type: "TanH"': ([], np.tanh),
    'type: "AbsVal"': ([], np.abs),
    'type: "BNLL"': ([], lambda x: np.log1p(np.exp(x))),
    'type: "Dropout"': ([], lambda x: x),
    'type: "Split"': ([], lambda x: x),
    'type: "Power" power_param { power: 2 scale: 3 shift: 1 }': ([], lambda x: (1 + 3 * x) ** 2),
    'type: "Power"': ([], lambda x: x),
    'type: "Flatten"': ([], lambda x: x.reshape(len(x), -1)),
    'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 5 } }': (
        [], lambda x: x.reshape(2, -1, 5)),
    'type: "Tile" tile_param { axis: 1 tiles: 2 }': ([], lambda x: np.tile(x, (1, 2, 1, 1))),
    'type: "Scale" scale_param { bias_term: true }': (
        [S, B], lambda x: x * _column(S) + _column(B)),
    'type: "Scale"': ([S], lambda x: x * _column(S)),
    'type: "Bias"': ([B], lambda x: x + _column(B)),
    'type: "BatchNorm"': (
        [B * 4, S * S * 4, np.array([4])],
        lambda x: (x - _column(B)) / np.sqrt(_column(S * S) + 1e-5)),
    'type: "Softmax"': (
        [], lambda x: np.exp(x) / np.exp(x).sum((1, 2, 3), keepdims=True)),
    'type: "InnerProduct" inner_product_param { num_output: 2 bias_term: false }': (
        [np.arange(180).reshape(2, 90) / 90], lambda x: x.reshape(2, 90) @ (
            np.arange(180).reshape(2, 90) / 90).T),
    'type: "ArgMax" argmax_param { axis: 1 }': ([], lambda x: x.argmax(1, keepdims=True)),
    'type: "Pooling" pooling_param { pool: AVE global_pooling: true }': (
        [], lambda x: x.mean((2, 3), keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("text", LAYERS)
def test_layers(text):
    weights, reference = LAYERS[text]
    data, found = layer(text, *weights)
    np.testing.assert_allclose(found, reference(data), rtol=1e-4, atol=1e-5)


def test_lrn():
    text = 'type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }'
    data, found = layer(text)
    padded = np.pad(data**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    np.testing.assert_allclose(found, data / (2 + 0.5 / 3 * sums) ** 0.75, rtol=1e-4)


def test_deconvolution_undoes_the_steps_of_a_convolution():
    param = "convolution_param { num_output: 2 kernel_size: 2 stride: 2 bias_term: false }"
    weights = np.random.default_rng(1).uniform(-1, 1, (3, 2, 2, 2))
    data, found = layer(f'type: "Deconvolution" {param}', weights)
    expected = np.einsum("nmij,mckl->ncikjl", data, weights).reshape(2, 2, 12, 10)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_layers_of_several_blobs():
    net = parse("""
input: "a" input: "b"
layer { name: "cat" type: "Concat" bottom: "a" bottom: "b" top: "cat" }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum"
        eltwise_param { coeff: 1 coeff: -2 } }
layer { name: "prod" type: "Eltwise" bottom: "a" bottom: "b" bottom: "a" top: "prod"
        eltwise_param { operation: PROD } }
layer { name: "max" type: "Eltwise" bottom: "a" bottom: "b" top: "max"
        eltwise_param { operation: MAX } }
layer { name: "cut" type: "Slice" bottom: "cat" top: "p" top: "q" top: "r"
        slice_param { slice_point: 1 slice_point: 3 } }
layer { name: "half" type: "Slice" bottom: "cat" top: "h1" top: "h2" }
""")
    rng = np.random.default_rng(RNG_SEED)
    a, b = (rng.uniform(-1, 1, (2, 2, 3)).astype(np.float32) for _ in range(2))
    names = ["cat", "sum", "prod", "max", "p", "q", "r", "h1", "h2"]
    found = dict(zip(names, run(net, net, {"a": a, "b": b}, *names), strict=True))
    cat = np.concatenate([a, b], 1)
    expected = {
        "cat": cat, "sum": a - 2 * b, "prod": a * b * a, "max": np.maximum(a, b),
        "p": cat[:, :1], "q": cat[:, 1:3], "r": cat[:, 3:], "h1": a, "h2": b,
    }  # fmt: skip
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6)


def test_a_whole_net_and_its_names():
    net = small_net()
    predict, params = caffe1.TranslateModel(net, with_weights(net), is_test=True)
    assert [p.name for p in params.protos] == ["conv_w", "conv_b", "fc_w", "fc_b"]
    assert [op.type for op in predict.op] == ["Conv", "Relu", "MaxPool", "Dropout", "FC", "Softmax"]
    assert predict.op[0].input[0] == "data"
    assert not predict.external_input  # which scripts add
    (prob,) = run(net, with_weights(net), {"data": np.ones((1, 3, 8, 8))}, "prob")
    assert prob.shape == (1, 5)


def test_the_first_version_means_the_same():
    new = small_net()
    weights = with_weights(new)
    words = {
        name: name.upper() for name in ("Convolution", "ReLU", "Pooling", "Dropout", "Softmax")
    }
    words["InnerProduct"] = "INNER_PRODUCT"
    old = caffe_pb2.NetParameter(name="small", input=["data"], input_dim=[1, 3, 8, 8])
    for one in weights.layer:
        made = old.layers.add(name=one.name, bottom=one.bottom, top=one.top)
        made.type = caffe_pb2.V1LayerParameter.LayerType.Value(words[one.type])
        for field in ("convolution_param", "pooling_param", "inner_product_param"):
            if one.HasField(field):
                getattr(made, field).CopyFrom(getattr(one, field))
        for saved in one.blobs:
            made.blobs.append(blob(np.reshape(saved.data, saved.shape.dim), old=True))
    data = {"data": np.random.default_rng(2).uniform(-1, 1, (1, 3, 8, 8))}
    (a,) = run(new, weights, data, "prob")
    (b,) = run(old, old, data, "prob")
    np.testing.assert_array_equal(a, b)


def test_layers_of_the_training_phase_are_left_out():
    net = parse("""
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "noise" type: "Mystery" bottom: "data" top: "data" include { phase: TRAIN } }
layer { name: "out" type: "ReLU" bottom: "data" top: "out" exclude { phase: TRAIN } }
layer { name: "loss" type: "EuclideanLoss" bottom: "out" bottom: "data" top: "loss" }
""")
    predict, _ = caffe1.TranslateModel(net, net, is_test=True)
    assert [op.type for op in predict.op] == ["Relu"]


def test_plain_pads_give_the_same_sizes():
    net = small_net()
    weights = with_weights(net)
    data = {"data": np.random.default_rng(2).uniform(-1, 1, (1, 3, 8, 8))}
    (expected,) = run(net, weights, data, "prob")
    made, params = caffe1.TranslateModel(
        net, weights, is_test=True, remove_legacy_pad=True, input_dims=[1, 3, 8, 8]
    )
    pool = next(op for op in made.op if op.type == "MaxPool")
    assert find(pool, "legacy_pad") is None
    assert find(pool, "pad_b").i == 1
    workspace = Workspace()
    workspace.run_net_once(caffe1.ConvertTensorProtosToInitNet(params, "other"))
    workspace.feed("data", data["data"].astype(np.float32))
    workspace.run_net_once(made)
    np.testing.assert_array_equal(workspace.fetch("prob"), expected)
    with pytest.raises(UsageError, match="needs input_dims"):
        caffe1.TranslateModel(net, weights, is_test=True, remove_legacy_pad=True)


def test_a_script_may_add_translators(monkeypatch):
    monkeypatch.setattr(caffe1.TranslatorRegistry, "registry_", {})

    @caffe1.TranslatorRegistry.Register("Mystery")
    def _mystery(layer, blobs, is_test, **kwargs):
        (op,) = toy_net(("Add", f"{layer.bottom[0]} c", layer.top[0], {"broadcast": 1})).op
        return op, [tensor_to_proto(np.array([3], np.float32), "c")]

    data, found = layer('type: "Mystery"')
    np.testing.assert_allclose(found, data + 3)


# ---------------------------------------------------------------- what is wrong with a model


BAD = {
    "an unknown layer": ('type: "Mystery"', UnsupportedError, "layer 'l' \\(Mystery\\)"),
    "no weights": ('type: "Convolution"', Error, "layer 'l'"),
    "a window of nothing": (
        'type: "Pooling" pooling_param { kernel_size: 0 }', ModelFormatError, "a window of"),
    "strange pooling": (
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', UnsupportedError,
        "stochastic"),
    "an argument of NaN": (
        'type: "ELU" elu_param { alpha: nan }', ModelFormatError, "no finite number"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_layers(what):
    text, error, message = BAD[what]
    net = parse(f'input: "x" layer {{ name: "l" bottom: "x" top: "y" {text} }}')
    with pytest.raises(error, match=message):
        caffe1.TranslateModel(net, net, is_test=True)


def test_all_unknown_layers_are_listed_at_once():
    net = parse("""
input: "x"
layer { name: "a" type: "Mystery" bottom: "x" top: "a" }
layer { name: "b" type: "ReLU" bottom: "a" top: "b" }
layer { name: "c" type: "Enigma" bottom: "b" top: "c" }
""")
    with pytest.raises(UnsupportedError, match=r"2 layer\(s\).*'a' \(Mystery\).*'c' \(Enigma\)"):
        caffe1.TranslateModel(net, net, is_test=True)


def test_a_blob_that_nothing_makes():
    net = parse('layer { name: "a" type: "ReLU" bottom: "z" top: "a" }')
    with pytest.raises(NetError, match="reads 'z', which nothing makes"):
        caffe1.TranslateModel(net, net, is_test=True)


def test_weights_that_lie_about_their_shape():
    net = small_net()
    weights = with_weights(net)
    weights.layer[0].blobs[0].shape.dim[0] = 2**40
    with pytest.raises(ModelFormatError, match=r"layer 'conv'.*holds 108 values"):
        caffe1.TranslateModel(net, weights, is_test=True)


def test_files(tmp_path):
    text, binary = tmp_path / "n.prototxt", tmp_path / "n.caffemodel"
    text.write_text(str(small_net()) + 'layer { name: "x" type: "ReLU" param { lr_mult: 1 } }')
    assert len(caffe1.read_caffe(text).layer) == 7
    data = with_weights(small_net()).SerializeToString()
    for content, message in ((b"", "0 bytes"), (data[:-7], "cut off"), (b"\x08", "cut off"),
                             (b"layer {", "line"), (b'name: "x"', "without layers")):  # fmt: skip
        binary.write_bytes(content)
        with pytest.raises(ModelFormatError, match=message) as error:
            caffe1.read_caffe(binary)
        assert "n.caffemodel" in str(error.value)
    with pytest.raises(FileError, match="no such file"):
        caffe1.translate_files(tmp_path / "none", binary)


def test_mutated_models_end_in_errors_of_ours(tmp_path):
    raw = with_weights(small_net()).SerializeToString()
    deploy, weights = tmp_path / "n.prototxt", tmp_path / "n.caffemodel"
    weights.write_bytes(raw)
    rng = np.random.default_rng(RNG_SEED)
    refused = 0
    for _ in range(600):
        mutated = bytearray(raw)
        for place in rng.integers(0, 400, rng.integers(1, 4)):
            mutated[place] = rng.integers(0, 256)
        deploy.write_bytes(mutated)
        try:
            caffe1.translate_files(deploy, weights)
        except Error:
            refused += 1
    assert refused > 100
