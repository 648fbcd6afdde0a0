"""ONNX's own node tests, and the rule that says which of them are expected to pass."""

import warnings
from collections import Counter
from functools import cache

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

from caffe2py.errors import UnsupportedError
from caffe2py.interop.onnx import backend
from caffe2py.interop.onnx.tensors import array_of

OPSET = 13

#: Why there is no counterpart -> the operators of which that is true.
WITHOUT_COUNTERPART = {
    "texts are not computed with": "StringNormalizer TfIdfVectorizer LabelEncoder",
    "blobs are no sequences": """
        SequenceInsert SequenceConstruct SequenceEmpty SequenceLength SequenceAt SplitToSequence
        ConcatFromSequence OptionalHasElement OptionalGetElement""",
    "boxes are chosen by BoxWithNMSLimit, in another way": "NonMaxSuppression",
    "no operator computes it": """
        BitShift Det Einsum MaxUnpool NonZero ReduceProd RandomUniformLike Scan Unique
        ArrayFeatureExtractor Binarizer TreeEnsemble FlexAttention""",
    "updates of optimizers have other inputs": "Adagrad Adam Momentum",
}
_LACKING = {op: why for why, ops in WITHOUT_COUNTERPART.items() for op in ops.split()}
_TYPES = {"float32", "float64", "float16", "bool", "int8", "int16", "int32", "int64", "uint8",
          "uint16", "object"}  # fmt: skip


@cache
def cases():
    """Every case of the package, by name."""
    with warnings.catch_warnings():  # making the cases overflows on purpose
        warnings.simplefilter("ignore")
        return {case.name: case for case in collect_testcases(None)}


def valid_at(model, opset):
    """Whether a model means something at an older opset: no newer operator, input or type."""
    older = onnx.ModelProto()
    older.CopyFrom(model)
    older.ir_version = 7
    for entry in older.opset_import:
        if entry.domain == "":
            entry.version = min(entry.version, opset)
    try:
        onnx.checker.check_model(older)
        onnx.shape_inference.infer_shapes(older, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def operators(graph):
    """The operators of a graph and of those within its nodes."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from operators(attribute.g)


def excluded(case):
    """Why a case is not expected to pass, None if it is."""
    if not valid_at(case.model, OPSET):
        return f"newer than opset {OPSET}"
    for op in operators(case.model.graph):
        if op in _LACKING:
            return _LACKING[op]
    for value in (*case.model.graph.input, *case.model.graph.output):
        if value.type.WhichOneof("value") != "tensor_type":
            return "blobs are no sequences"
    values = [value for data in case.data_sets for side in data for value in side]
    numbers = {v.type.tensor_type.elem_type for v in case.model.graph.input}
    numbers |= {v.type.tensor_type.elem_type for v in case.model.graph.output}
    names = {onnx.TensorProto.DataType.Name(number) for number in numbers}
    if names & {"UINT32", "UINT64", "BFLOAT16"} or not all(map(_is_held, values)):
        return "no blob holds uint32, uint64 or bfloat16"
    if case.name.startswith("test_training_dropout") and "zero_ratio" not in case.name:
        return "random numbers are others"
    return None


def _is_held(value):
    if isinstance(value, onnx.TensorProto):
        return True
    return isinstance(value, list) or np.asarray(value).dtype.name in _TYPES or _is_text(value)


def _is_text(value):
    return np.asarray(value).dtype.kind in "OUS"


@cache
def expected():
    """The names of the cases that have to pass."""
    return tuple(name for name, case in cases().items() if excluded(case) is None)


def causes():
    """Reason -> number of cases, those that are expected included."""
    return Counter(excluded(case) or "expected" for case in cases().values())


def array(value):
    """A value of a case as an array."""
    return array_of(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def check(name):
    """Run a case; AssertionError where results differ, or caffe2py's error."""
    case = cases()[name]
    for inputs, outputs in case.data_sets:
        if any(isinstance(value, list) for value in (*inputs, *outputs)):
            raise UnsupportedError("a sequence")
        found = backend.prepare(case.model).run([array(value) for value in inputs])
        for ours, value in zip(found, map(array, outputs), strict=True):
            assert ours.shape == value.shape
            if value.dtype.kind in "OUS":
                assert [_text(v) for v in ours.flat] == [_text(v) for v in value.flat]
                continue
            assert ours.dtype == value.dtype
            np.testing.assert_allclose(ours, value, rtol=case.rtol, atol=case.atol)


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)
