"""What is checked of a sample: values, gradient, in-place, inference, errors.

Each check raises AssertionError with the operator, the inputs' types and what differs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2py.errors import Error
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.args import make_argument
from caffe2py.proto.caffe2_pb2 import NetDef, OperatorDef
from caffe2py.registry.gradient import (
    GradientRef,
    GradientSlice,
    NoGradient,
    NotDifferentiable,
)
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import lookup
from caffe2py.tensor.tensor import Array, Int8Tensor
from caffe2py.tensor.types import Quantum, TensorType
from caffe2py.testing.case import Bad, Case, Made, Sample

#: Step of the numeric derivative of the float64 reference: error about step**2 + 1e-16 / step.
STEP = 1e-5


def describe(op: str, sample: Sample | Bad) -> str:
    """An operator and a sample in one line, for messages."""
    types = ((x, type_of(x)) for x in sample.inputs)
    inputs = ", ".join(str(type_) if type_.dtype is not None else repr(x) for x, type_ in types)
    return f"{op}({inputs}; {dict(sample.args)})"


def type_of(value: Any) -> TensorType:
    """The type of a tensor, quantized or not; unknown for whatever else a blob can hold."""
    if isinstance(value, Int8Tensor):
        return TensorType.of(value.data, Quantum(value.scale, value.zero_point))
    return TensorType.of(value) if isinstance(value, np.ndarray) else TensorType()


def make_op(op: str, sample: Sample | Bad) -> OperatorDef:
    """The OperatorDef of a sample: inputs in0, in1, ...; outputs out0, ... (or the same blobs)."""
    inputs = [f"in{k}" for k in range(len(sample.inputs))]
    outputs = [f"out{k}" for k in range(sample.outputs)]
    for i, o in sample.same:
        outputs[o] = inputs[i]
    args = [make_argument(name, value) for name, value in sample.args.items()]
    return OperatorDef(type=op, input=inputs, output=outputs, arg=args)


def run(op: OperatorDef, inputs: Sequence[Any], net_type: str = "") -> Workspace:
    """A fresh workspace in which the operator has run on the inputs."""
    workspace = Workspace()
    for name, value in zip(op.input, inputs, strict=True):
        feed(workspace, name, value)
    workspace.run_net_once(NetDef(name="check", op=[op], type=net_type))
    return workspace


def feed(workspace: Workspace, name: str, value: Any) -> None:
    """Put an input into its blob; what has to be made is made there."""
    if not isinstance(value, Made):
        workspace.feed(name, value)
        return
    for blob, content in value.blobs.items():
        workspace.feed(blob, content)
    for op in value.ops:
        own = OperatorDef()
        own.CopyFrom(op)
        for names in (own.input, own.output):
            names[:] = [name if blob == "made" else blob for blob in names]
        workspace.run_operator_once(own)
    workspace.create_blob(name)


def expected_outputs(case: Case, sample: Sample) -> tuple[Any, ...]:
    """What the reference says, as a tuple."""
    assert case.ref is not None
    answer = case.ref(*sample.inputs, **sample.args)
    answers = answer if isinstance(answer, tuple) else (answer,)
    return tuple(a if a is None else np.asarray(a) for a in answers[: sample.outputs])


def assert_close(found: Array, expected: Array, tolerance: float, what: str) -> None:
    """Equal dtype, shape and values: exactly for tolerance 0, else relative to max(1, |value|)."""
    assert found.dtype == expected.dtype, f"{what}: dtype {found.dtype}, expected {expected.dtype}"
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    if tolerance == 0 or found.dtype.kind != "f":
        assert np.array_equal(found, expected), f"{what}: found {found}, expected {expected}"
        return
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(found.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    worst = np.max(np.where(same, 0, np.where(np.isnan(error), np.inf, error)), initial=0)
    assert worst <= tolerance, f"{what}: off by {worst:.3g}, allowed {tolerance:.3g}"


def check_forward(case: Case, sample: Sample) -> None:
    """Values equal the reference's; both runners give the same bits; inputs stay as they were."""
    what = describe(case.op, sample)
    op = make_op(case.op, sample)
    before = [np.array(x, copy=True) if isinstance(x, np.ndarray) else x for x in sample.inputs]
    workspace = run(op, [_strided(x) for x in sample.inputs])
    reference = run(op, sample.inputs, "reference")
    for index, expected in enumerate(expected_outputs(case, sample)):
        if expected is None:
            continue
        found = workspace.fetch_array(op.output[index])
        assert_close(found, expected, case.allowed(expected.dtype), f"{what} output {index}")
        _assert_same_bits(found, reference.fetch_array(op.output[index]), f"{what}: two runners")
    for name, value in zip(op.input, before, strict=True):
        if name not in op.output and isinstance(value, np.ndarray):
            _assert_same_bits(workspace.fetch_array(name), value, f"{what}: input '{name}' changed")


def _strided(value: Any) -> Any:
    """The same values in memory that is not contiguous, as users feed slices."""
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    wide = np.repeat(value, 2, axis=-1)
    return wide[..., ::2]


def _assert_same_bits(found: Array, expected: Array, what: str) -> None:
    assert found.dtype == expected.dtype, what
    assert found.shape == expected.shape, what
    if found.dtype == object:
        assert np.array_equal(found, expected), what
    else:
        assert found.tobytes() == expected.tobytes(), f"{what}: bits differ"


def check_inplace(case: Case, sample: Sample) -> int:
    """Every permitted pair that fits gives the bits of separate blobs. Returns how many did."""
    schema = lookup(case.op).schema
    apart = make_op(case.op, sample)
    expected = run(apart, sample.inputs)
    checked = 0
    for i in range(len(sample.inputs)):
        for o in range(sample.outputs):
            if not schema.allows_inplace(i, o) or (i, o) in sample.same:
                continue
            if type_of(expected.fetch_array(apart.input[i])) != type_of(
                expected.fetch_array(apart.output[o])
            ):
                continue  # an output of another size cannot lie where the input lies
            together = OperatorDef()
            together.CopyFrom(apart)
            together.output[o] = together.input[i]
            found = run(together, sample.inputs)
            for k in range(sample.outputs):
                _assert_same_bits(
                    found.fetch_array(together.output[k]),
                    expected.fetch_array(apart.output[k]),
                    f"{describe(case.op, sample)}: input {i} in place of output {o}, output {k}",
                )
            checked += 1
    return checked


def check_infer(case: Case, sample: Sample) -> None:
    """Inferred types agree with the actual ones, also when less is known of the inputs."""
    op = make_op(case.op, sample)
    declared = lookup(case.op)
    workspace = run(op, sample.inputs)
    arrays = [x if isinstance(x, np.ndarray) else None for x in sample.inputs]
    types = tuple(map(type_of, sample.inputs))
    args = declared.schema.verify(op)
    weaker = [types, tuple(TensorType() for _ in types)]
    for k, type_ in enumerate(types):
        for axis in range(type_.rank or 0):
            shape = tuple(None if d == axis else n for d, n in enumerate(type_.shape or ()))
            weaker.append((*types[:k], type_.with_shape(shape), *types[k + 1 :]))
        weaker.append((*types[:k], TensorType(), *types[k + 1 :]))
    for level, known in enumerate(weaker):

        def value(index: int, known: Any = known) -> Any:
            return arrays[index] if known[index].known else None

        query = Query(declared.schema, known, args, sample.outputs, value)
        for name, inferred in zip(op.output, declared.infer(query), strict=True):
            actual = workspace.find(name)
            if actual is None or actual.array is None:
                continue
            what = f"{describe(case.op, sample)}: '{name}' inferred from {list(map(str, known))}"
            _assert_agrees(inferred, TensorType.of(actual.array, actual.quantum), what)
            if level == 0 and "infer_full" not in case.skip:
                assert inferred.known, f"{what}: {inferred} leaves something open"


def _assert_agrees(inferred: TensorType, actual: TensorType, what: str) -> None:
    text = f"{what}: {inferred}, actually {actual}"
    assert inferred.dtype is None or inferred.dtype == actual.dtype, text
    assert inferred.dtype is None or inferred.quantum == actual.quantum, text
    if inferred.shape is not None and actual.shape is not None:
        assert len(inferred.shape) == len(actual.shape), text
        for a, b in zip(inferred.shape, actual.shape, strict=True):
            assert a is None or a == b, text


def check_gradient(case: Case, sample: Sample, rng: np.random.Generator) -> bool:
    """The gradient operators agree with the reference's numeric derivative in a random direction.

    Loss = sum of w * Y over all outputs with random w; its derivative along random v is taken from
    the float64 reference by central differences. Returns False where there is nothing to check.
    """
    declared = lookup(case.op)
    if isinstance(declared.gradient, NoGradient | NotDifferentiable) or case.ref is None:
        return False
    if not sample.gradient:
        return False
    op = make_op(case.op, sample)
    seeds = _output_gradients(case, sample, rng)
    if not seeds:
        return False
    names = [f"{op.output[k]}_grad" if k in seeds else None for k in range(sample.outputs)]
    gradient = declared.gradient_of(op, names)
    wanted = range(len(sample.inputs)) if case.gradient is None else case.gradient
    indices = [i for i in wanted if gradient.input_grads[i] and _is_float(sample.inputs[i])]
    if not indices:
        return False
    workspace = run(op, sample.inputs)
    for k, seed in seeds.items():
        workspace.feed(f"{op.output[k]}_grad", seed)
    for backward in gradient.ops:
        workspace.run_operator_once(backward)
    for i in indices:
        found = _fetch_gradient(workspace, gradient.input_grads[i], np.shape(sample.inputs[i]))
        direction = rng.standard_normal(np.shape(sample.inputs[i]))
        analytic = float(np.sum(found.astype(np.float64) * direction))
        numeric = _directional(case, sample, i, direction, seeds)
        scale = max(1.0, abs(numeric), float(np.sqrt(np.sum(found.astype(np.float64) ** 2))))
        what = f"{describe(case.op, sample)}: gradient of input {i}"
        assert found.shape == np.shape(sample.inputs[i]), f"{what} has shape {found.shape}"
        assert found.dtype == sample.inputs[i].dtype, f"{what} has dtype {found.dtype}"
        error = abs(analytic - numeric) / scale
        assert error <= case.gradient_tolerance, f"{what}: {analytic}, numerically {numeric}"
    return True


def _fetch_gradient(workspace: Workspace, ref: GradientRef, shape: tuple[int, ...]) -> Array:
    """The gradient of an input; a sparse one as the tensor that it stands for."""
    if not isinstance(ref, GradientSlice):
        return workspace.fetch_array(str(ref))
    values = workspace.fetch_array(str(ref.values))
    dense = np.zeros(shape, values.dtype)
    np.add.at(dense, workspace.fetch_array(str(ref.indices)), values)
    return dense


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _output_gradients(case: Case, sample: Sample, rng: np.random.Generator) -> dict[int, Array]:
    outputs = expected_outputs(case, sample)
    wanted = range(len(outputs)) if case.gradient_outputs is None else case.gradient_outputs
    return {
        k: np.asarray(rng.standard_normal(y.shape)).astype(y.dtype)
        for k, y in enumerate(outputs)
        if k in wanted and _is_float(y)
    }


def _directional(
    case: Case, sample: Sample, index: int, direction: Array, seeds: dict[int, Array]
) -> float:
    def loss(step: float) -> float:
        inputs = [x.astype(np.float64) if _is_float(x) else x for x in sample.inputs]
        inputs[index] = inputs[index] + step * direction
        outputs = expected_outputs(case, Sample(inputs, sample.args, sample.outputs, sample.same))
        return float(sum(np.sum(seed.astype(np.float64) * outputs[k]) for k, seed in seeds.items()))

    return (loss(STEP) - loss(-STEP)) / (2 * STEP)


def check_bad(case: Case, bad: Bad) -> None:
    """The error has the class, names the operator, matches; the inputs survive."""
    what = describe(case.op, bad)
    op = make_op(case.op, bad)
    workspace = Workspace()
    for name, value in zip(op.input, bad.inputs, strict=True):
        feed(workspace, name, value)
    before = {name: workspace.blob(name).value and workspace.fetch(name) for name in op.input}
    try:
        workspace.run_net_once(NetDef(name="check", op=[op]))
    except Error as error:
        assert isinstance(error, bad.error), f"{what}: raised {type(error).__name__}: {error}"
        assert f"op #0 {case.op}" in str(error), f"{what}: no place in {error}"
        assert re.search(bad.match, str(error)), f"{what}: {str(error)!r} lacks {bad.match!r}"
    else:
        raise AssertionError(f"{what}: was accepted")
    for name, value in before.items():
        after = None if value is None else workspace.fetch(name)
        same = after == value if type_of(value).dtype is None else _same_elements(after, value)
        assert same, f"{what}: blob '{name}' changed"


def _same_elements(a: Any, b: Any) -> bool:
    if isinstance(a, Int8Tensor):
        return np.array_equal(a.data, b.data) and a[1:] == b[1:]
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
