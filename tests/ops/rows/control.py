"""Rows: control flow, checks, and what passes blobs on. tests/ops/test_control.py has the loops."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    KernelError,
    MissingBlobError,
    NoGradientError,
    ShapeError,
    UnknownOperatorError,
    UnsupportedError,
    ValueRangeError,
)
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef, TensorProto
from caffe2py.testing import Bad, Case, Sample
from caffe2py.testing.functions import register_function, register_gradient


def _net(name, *ops, **external):
    made = [OperatorDef(type=t, input=i.split(), output=o.split()) for t, i, o in ops]
    return NetDef(name=name, op=made, **{k: v.split() for k, v in external.items()})


DOUBLE = _net("double", ("Add", "in1 in1", "out0"))
SQUARE = _net("square", ("Mul", "in1 in1", "half"), ("Copy", "half", "out0"))
YES, NO = np.array([True]), np.array([False])
X = np.ones(3, np.float32)
OPEN = {
    "infer_full": "what its nets write is not known to it",
    "inplace": "a net may write what it reads, or not",
}


# ---------------------------------------------------------------- If, While, ONNXWhile


def _if(condition, x, *, then_net, else_net):
    return x + x if condition.reshape(-1)[0] else x * x


def _if_samples(rng):
    nets = {"then_net": DOUBLE, "else_net": SQUARE}
    for shape in ((), (3,), (2, 0)):
        for condition in (np.array(True), np.array([False]), np.array([[True]])):
            yield Sample([condition, np.asarray(rng.uniform(-1, 1, shape), np.float32)], nets)


ROUND = _net("round", ("Copy", "in1", "out0"), ("ConstantFill", "", "in0"))
ROUND.op[1].arg.extend([make_argument("dtype", TensorProto.BOOL), make_argument("shape", [1])])


def _while_samples(rng):
    for shape in ((), (3,)):
        x = np.asarray(rng.uniform(-1, 1, shape), np.float32)
        yield Sample([YES, x], {"loop_net": ROUND}, same=[(0, 1)], outputs=2)


BODY = _net(
    "body",
    ("Add", "v w", "next"),
    ("Copy", "next", "seen"),
    ("Copy", "going", "still"),
    external_input="number going v w",
    external_output="still next w seen",
)
BODY_WITHOUT = _net("body", external_input="number", external_output="number")


def _onnx_while(limit, going, v, w, *, body, has_trip_count=0, has_cond=0, **_):
    seen = []
    while (not has_trip_count or len(seen) < limit) and (not has_cond or going):
        v = v + w
        seen.append(np.atleast_1d(v))
    return v, w, np.concatenate(seen) if seen else np.zeros(0, np.int32)


def _onnx_while_samples(rng):
    for limit in (0, 1, 4):
        for more in ({}, {"has_cond": 1}, {"save_scopes": 1}, {"disable_scopes": 1}):
            for shape in ((), (1,), (2, 3)):
                v, w = (np.asarray(rng.uniform(-1, 1, shape), np.float32) for _ in range(2))
                args = {"body": BODY, "has_trip_count": 1, **more}
                yield Sample([np.int64(limit), np.array(True), v, w], args, outputs=3)
    count = {"body": BODY, "has_trip_count": 1, "has_cond": 1, "num_loop_carried_deps": 2}
    for going in (NO, np.array([0], np.int32), np.array(0, np.int64)):
        yield Sample([np.array([3]), going, X, X], count, outputs=3)


ONCE = {"body": BODY, "has_trip_count": 1}
ONE = np.array(1)


# ---------------------------------------------------------------- Do and its workspaces

BINDING = {"net": DOUBLE, "inner_blobs": ["in1", "out0"], "outer_blobs_idx": [0, 1]}


def _nothing(*inputs, **args):
    return ()


def _no_samples(rng):
    return []


# ---------------------------------------------------------------- Python


def _twice(inputs, outputs):
    outputs[0].reshape(inputs[0].shape)
    outputs[0].data[...] = inputs[0].data * 2


def _twice_back(inputs, outputs):
    outputs[0].feed(inputs[2].data * 2)


def _packed(inputs, outputs):
    outputs[0].feed(np.from_dlpack(_Packed(inputs[0].data)) * np.float32(2))


def _packed_back(inputs, outputs):
    outputs[0].feed(np.from_dlpack(_Packed(inputs[2].data)) * np.float32(2))


class _Packed:
    """What from_dlpack asks for the capsule."""

    def __init__(self, capsule):
        self._capsule = capsule

    def __dlpack__(self, **_):
        return self._capsule

    def __dlpack_device__(self):
        return (1, 0)


TWICE = register_gradient(register_function(_twice), _twice_back)
PACKED = register_gradient(register_function(_packed), _packed_back)
LONELY = register_function(_twice, name="lonely")


def _doubled(x, *, token):
    return x * 2


def _doubled_gradient(x, y, grad, *, token):
    return grad * 2


def _python_samples(token, count):
    def samples(rng):
        for shape in ((3,), (2, 3), (1, 1)):
            arrays = [np.asarray(rng.uniform(-1, 1, shape), np.float32) for _ in range(count)]
            yield Sample(arrays, {"token": token})

    return samples


PYTHON_BAD = [
    Bad([X], UnknownOperatorError, "knows no Python function 'nobody'", {"token": "nobody"}),
    Bad([X], UnsupportedError, "nothing here unpickles", {"pickled_builder": b"cos\nsystem\n"}),
]
PYTHON_SKIP = {"infer_full": "what a function writes is not known before it runs"}


def _python(name, token):
    return [
        Case(name, _doubled, _python_samples(token, 1), PYTHON_BAD, skip=PYTHON_SKIP),
        Case(
            f"{name}Gradient",
            _doubled_gradient,
            _python_samples(token, 3),
            [
                *PYTHON_BAD,
                Bad([X, X, X], NoGradientError, "has no gradient", {"token": LONELY}),
            ],
            skip=PYTHON_SKIP,
        ),
    ]


# ---------------------------------------------------------------- the others


def _conditional(condition, x, y):
    return np.where(condition.reshape(-1, *(1,) * (x.ndim - 1)), x, y)


def _conditional_samples(rng):
    for dtype in ("float32", "int64", "bool", "uint8", "float16", "float64"):
        for shape in ((0,), (1,), (5,), (4, 3), (2, 0), (3, 2, 2)):
            x, y = (np.asarray(rng.uniform(-9, 9, shape)).astype(dtype) for _ in range(2))
            yield Sample([rng.integers(0, 2, shape[0]) > 0, x, y])
    texts = [np.array([b"a", b"b"], object), np.array([b"c", b"d"], object)]
    yield Sample([np.array([True, False]), *texts])


def _barrier(*inputs):
    return inputs


def _barrier_samples(rng):
    for count in (1, 3):
        arrays = [np.asarray(rng.uniform(-1, 1, (2, k)), np.float32) for k in range(count)]
        yield Sample(arrays, outputs=count)
    yield Sample([np.array([b"text"], object)])


def _assert_samples(rng):
    for x in (True, [True, True], [[1, 2], [-3, 4]], [], np.int32(7)):
        array = np.asarray(x)
        yield Sample([array.astype(bool) if array.dtype.kind == "f" else array], outputs=0)
    yield Sample([np.array([2], np.int32)], {"error_msg": "no"}, outputs=0)


def _raising(name, message):
    bad = [Bad([], KernelError, message, outputs=0), Bad([X], ArityError, "expected 0", outputs=0)]
    if name != "Fail":
        bad.append(Bad([], KernelError, "stop", {"message": "stop"}, outputs=0))
    skip = {"forward": "it fails", "infer": "it fails"}
    return Case(name, None, _no_samples, bad, skip=skip)


CASES = [
    Case(
        "If",
        _if,
        _if_samples,
        [
            Bad([X, X], DTypeError, "supported: bool", {"then_net": DOUBLE}),
            Bad([np.ones(2, bool), X], ShapeError, "one element", {"then_net": DOUBLE}),
            Bad([b"yes", X], BlobTypeError, "expected a tensor, found", {"then_net": DOUBLE}),
            Bad([YES, X], ArgumentError, "expected a net", {"then_net": "text"}),
            Bad(
                [YES, X],
                MissingBlobError,
                "does not exist",
                {"then_net": _net("lost", ("Copy", "nowhere", "out0"))},
            ),
        ],
        skip=OPEN,
    ),
    Case(
        "While",
        None,
        _while_samples,
        [
            Bad([X, X], DTypeError, "supported: bool", {"loop_net": ROUND}),
            Bad([np.ones(2, bool), X], ShapeError, "one element", {"loop_net": ROUND}),
            Bad([YES, X], ArgumentError, "'loop_net' \\(net\\) is required"),
            Bad([b"yes", X], BlobTypeError, "expected a tensor, found", {"loop_net": ROUND}),
        ],
        skip={
            **OPEN,
            "forward": "the condition is an output as well: tests/ops/test_control.py",
            "gradient": "that of a Do inside: tests/ops/test_control.py",
        },
    ),
    Case(
        "ONNXWhile",
        _onnx_while,
        _onnx_while_samples,
        [
            Bad([X, YES, X, X], DTypeError, "supported: int64", ONCE, outputs=3),
            Bad([ONE, X, X, X], DTypeError, "supported: bool", ONCE, outputs=3),
            Bad([np.array([1, 2]), YES, X, X], ShapeError, "one element", ONCE, outputs=3),
            Bad([ONE, YES, X, X], ArityError, "body makes 3", ONCE, outputs=2),
            Bad([ONE, YES, X, X], ArgumentError, "'body' \\(net\\) is required", outputs=3),
            Bad([ONE, YES, X], ArgumentError, "at least 3 external", {"body": BODY_WITHOUT}),
            Bad(
                [ONE, YES, X, X],
                ArgumentError,
                "save_scopes needs scopes",
                {**ONCE, "save_scopes": 1, "disable_scopes": 1},
                outputs=3,
            ),
        ],
        skip=OPEN,
    ),
    Case(
        "Do",
        None,
        _no_samples,
        [
            Bad([X, X], BlobTypeError, "expected workspaces", BINDING, 2, same=[(1, 1)]),
            Bad([X], ArgumentError, "must be one blob", BINDING),
            Bad([X], ArgumentError, "'net' \\(net\\) is required", same=[(0, 0)]),
            Bad(
                [X, X],
                ArgumentError,
                "none of the 2 blobs",
                {**BINDING, "outer_blobs_idx": [0, 2]},
                2,
                same=[(1, 1)],
            ),
            Bad(
                [X, X],
                ArgumentError,
                "is bound twice",
                {**BINDING, "outer_blobs_idx": [0, 0]},
                2,
                same=[(1, 1)],
            ),
            Bad(
                [X, X],
                ArgumentError,
                "must bind every blob; out0 is not",
                {"net": DOUBLE, "inner_blobs": ["a"], "outer_blobs_idx": [0]},
                2,
                same=[(1, 1)],
            ),
            Bad(
                [X, X],
                ArgumentError,
                "2 name\\(s\\), outer_blobs_idx 1",
                {**BINDING, "outer_blobs_idx": [0]},
                2,
                same=[(1, 1)],
            ),
        ],
        skip={
            "forward": "its workspaces are no array: tests/ops/test_control.py",
            "gradient": "tests/ops/test_control.py",
            "inplace": "the net may write what it reads, or not",
            "infer": "tests/ops/test_control.py",
        },
    ),
    Case(
        "CreateScope",
        None,
        _no_samples,
        [Bad([X], ArityError, "expected 0 input")],
        skip={"forward": "its output is no tensor: tests/ops/test_control.py"},
    ),
    Case(
        "HasScope",
        None,
        _no_samples,
        [
            Bad([X], BlobTypeError, "expected workspaces from CreateScope, found Tensor"),
            Bad([], ArityError, "expected 1 input"),
        ],
        skip={"forward": "its input is no tensor: tests/ops/test_control.py"},
    ),
    Case(
        "Conditional",
        _conditional,
        _conditional_samples,
        [
            Bad([X, X, X], DTypeError, "supported: bool"),
            Bad([np.ones((3, 1), bool), X, X], ShapeError, "must have 1 dimension"),
            Bad([YES, X, X], ShapeError, "has 1 element\\(s\\), so inputs 1 and 2"),
            Bad([np.array([], bool), ONE, ONE], ShapeError, "must have as many rows"),
            Bad([np.ones(3, bool), X, X[:2]], ShapeError, "one shape"),
            Bad([np.ones(3, bool), X, X.astype(np.int32)], DTypeError, "one type"),
            Bad([YES, X], ArityError, "expected 3 input"),
            Bad([np.ones(3, bool), X, X], InplaceError, "does not allow", same=[(1, 0)]),
        ],
    ),
    Case(
        "AsyncNetBarrier",
        _barrier,
        _barrier_samples,
        [
            Bad([X, X], ArityError, "as many outputs as inputs"),
            Bad([], ArityError, "at least 1 input"),
            Bad([X, X], InplaceError, "does not allow", outputs=2, same=[(1, 0)]),
        ],
    ),
    Case(
        "Free",
        None,
        _no_samples,
        [
            Bad([X], InplaceError, "must be the same blob as input 0"),
            Bad([X, X], ArityError, "as many outputs as inputs", same=[(0, 0)]),
        ],
        skip={
            "forward": "nothing is left to look at: tests/ops/test_control.py",
            "inplace": "always, and nothing is left to compare",
        },
    ),
    Case(
        "Assert",
        _nothing,
        _assert_samples,
        [
            Bad([np.array([1, 0])], ValueRangeError, "element 1 of 'in0', value: 0", outputs=0),
            Bad([NO], ValueRangeError, "told you so", {"error_msg": "told you so"}, outputs=0),
            Bad([X], DTypeError, "supported: bool, int32, int64", outputs=0),
            Bad([YES], ArityError, "expected 0 output"),
        ],
    ),
    _raising("Fail", "Fail fails, always"),
    _raising("ThrowException", "Exception from ThrowExceptionOp"),
    _raising("ThrowChildThreadException", "Exception from ThrowChildThreadExceptionOp"),
    _raising("LogFatal", "Logging from LogFatalOp"),
    *_python("Python", TWICE),
    *_python("PythonDLPack", PACKED),
]
