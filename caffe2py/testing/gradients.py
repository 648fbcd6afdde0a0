"""Gradients of operators and nets against central differences, in the current workspace."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from caffe2py.errors import Error, NetError, UsageError
from caffe2py.executor import session
from caffe2py.graph.blob_devices import InferOpBlobDevicesAsDict
from caffe2py.graph.gradients import GradientRegistry
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.proto.caffe2_pb2 import DeviceOption, NetDef, OperatorDef
from caffe2py.registry.gradient import GradientSlice
from caffe2py.tensor.tensor import Array
from caffe2py.tensor.types import number_from_dtype

log = logging.getLogger(__name__)

#: Elements at each end of a tensor that CheckSimple looks at; CAFFE2_FULL_GRAD_CHECK=1: all.
_LOOKED_AT = 3


class GradientError(Error, AssertionError):
    """Gradients, or results, differ."""


def getGradientForOp(op: OperatorDef) -> tuple[list[OperatorDef], list[Any]]:
    """The backward operators of `op`, whose output gradients are "<output>_grad"."""
    return GradientRegistry.GetGradientForOp(op, [f"{name}_grad" for name in op.output])


def _assert_close(found: Array, expected: Array, threshold: float, what: str) -> tuple[Any, Any]:
    """The mean and the largest difference; GradientError where one is too large."""
    if not np.allclose(found, expected, atol=threshold, rtol=threshold, equal_nan=True):
        raise GradientError(f"{what}: found {found}, expected {expected} (within {threshold})")
    difference = np.abs(np.asarray(found) - np.asarray(expected)).reshape(-1)
    return np.mean(difference), np.max(difference)


def _dense(gradient: Any, like: str) -> Array:
    """The values of a gradient in the workspace, dense, with the shape of a blob."""
    if not isinstance(gradient, GradientSlice):
        return np.asarray(session.FetchBlob(gradient))
    total = np.zeros_like(session.FetchBlob(like), dtype=np.float32)
    rows = np.asarray(session.FetchBlob(str(gradient.indices))).reshape(-1)
    values = np.asarray(session.FetchBlob(str(gradient.values)))
    np.add.at(total, rows, values.reshape(rows.shape + total.shape[1:]))
    return total


# ---------------------------------------------------------------- nets


def _run_backward(
    net: Net, losses: Sequence[Any], values: Mapping[Any, Any] | None, inputs: Sequence[Any]
) -> tuple[Net, dict[Any, Array]]:
    """A copy of the net with its backward pass, after a run, and the gradients of the inputs."""
    copy = net.Clone(f"{net.Name()}_copy")
    gradients = copy.AddGradientOperators(list(losses))
    for name, value in (values or {}).items():
        session.FeedBlob(name, value)
    for blob in inputs:
        if BlobReference(blob) not in gradients:
            raise NetError(f"'{blob}' has no gradient, so it cannot be checked")
        if not session.HasBlob(blob):
            raise NetError(f"'{blob}' has no value", hint="input_values={...}")
    session.RunNetOnce(copy)
    return copy, {b: _dense(gradients[BlobReference(b)], str(b)) for b in inputs}


class NetGradientChecker:
    """Checks of whole nets."""

    @staticmethod
    def CompareNets(
        nets: Sequence[Net],
        outputs: Sequence[Sequence[Any]],
        outputs_with_grad_ids: Sequence[int],
        inputs_with_grads: Sequence[Any],
        input_values: Mapping[Any, Any] | None = None,
        threshold: float = 0.0000001,
        print_net_images: bool = False,
    ) -> None:
        """GradientError unless all nets give the same outputs, and gradients of the same inputs.

        `outputs` has one list for each net; those numbered by `outputs_with_grad_ids` are the
        losses. `print_net_images` is accepted: net_drawer draws nets.
        """
        first: tuple[list[Array], dict[Any, Array]] | None = None
        for net, blobs in zip(nets, outputs, strict=True):
            losses = [blobs[k] for k in outputs_with_grad_ids]
            _, gradients = _run_backward(net, losses, input_values, inputs_with_grads)
            results = [np.asarray(session.FetchBlob(blob)) for blob in blobs]
            if first is None:
                first = results, gradients
                continue
            for k, (found, expected) in enumerate(zip(results, first[0], strict=True)):
                _assert_close(found, expected, threshold, f"net '{net}', output {k} '{blobs[k]}'")
            for blob, expected in first[1].items():
                what = f"net '{net}', gradient of '{blob}'"
                _assert_close(gradients[blob], expected, threshold, what)

    @staticmethod
    def Check(
        net: Net,
        outputs_with_grad: Sequence[Any],
        input_values: Mapping[Any, Array],
        input_to_check: Any,
        step_size: float = 0.0001,
        threshold: float = 0.05,
        print_net: bool = True,
    ) -> tuple[Any, Any]:
        """Compare a gradient with differences of the sum of the losses.

        Returns the mean and the largest difference; GradientError where one is above `threshold`,
        absolute and relative. With `print_net` its message shows the net.
        """
        full, gradients = _run_backward(net, outputs_with_grad, input_values, [input_to_check])
        value = np.array(input_values[input_to_check])

        def loss() -> float:
            session.FeedBlob(input_to_check, value)
            session.RunNetOnce(full)
            return float(sum(np.sum(session.FetchBlob(blob)) for blob in outputs_with_grad))

        estimate = np.zeros_like(value)
        for index in range(value.size):
            estimate.flat[index] = _slope(value, index, step_size, loss)
        shown = f": {net.Proto()}" if print_net else ""
        what = f"net '{net}', gradient of '{input_to_check}'{shown}"
        return _assert_close(gradients[input_to_check], estimate, threshold, what)


def _slope(value: Array, index: int, step: float, loss: Any) -> float:
    """The central difference of a loss along one element of `value`, which it is left as it was."""
    before = value.flat[index]
    value.flat[index] = before + step
    above = loss()
    value.flat[index] = before - step
    below = loss()
    value.flat[index] = before
    return float((above - below) / step / 2)


# ---------------------------------------------------------------- operators


class GradientChecker:
    """Checks of single operators: the loss is half the sum of the squares of some outputs."""

    def __init__(
        self,
        stepsize: float,
        threshold: float,
        device_option: DeviceOption | None = None,
        workspace_name: str = "gradient_check",
        input_device_options: Mapping[str, DeviceOption] | None = None,
    ) -> None:
        self._stepsize = stepsize
        self._threshold = threshold
        self._device_option = device_option or DeviceOption()
        self._workspace_name = workspace_name
        self._input_device_options = dict(input_device_options or {})

    def GetLossAndGrad(
        self,
        op: OperatorDef,
        grad_ops: Sequence[OperatorDef],
        inputs: Sequence[Any],
        input_names: Sequence[str],
        input_to_check: int,
        grad_name: Any,
        outputs_with_grads: Sequence[int],
    ) -> tuple[float, Array]:
        """Run the operator and its backward operators: the loss, and one input's gradient."""
        for name, value in zip(input_names, inputs, strict=False):
            session.FeedBlob(name, value, self._device_of(name))
        session.RunOperatorOnce(op)
        loss = 0.0
        for index in outputs_with_grads:
            name = op.output[index]
            result = session.FetchBlob(name)
            loss += float(np.sum(np.square(result, dtype=np.float64))) / 2
            session.FeedBlob(f"{name}_grad", result, self._device_option)
        session.RunOperatorsOnce(grad_ops)
        session.FeedBlob("gradient_check_input", inputs[input_to_check])
        return loss, _dense(grad_name, "gradient_check_input")

    def _device_of(self, name: str) -> DeviceOption:
        return self._input_device_options.get(name, self._device_option)

    def CheckSimple(
        self,
        op: OperatorDef,
        inputs: MutableSequence[Any],
        input_to_check: int,
        outputs_with_grads: Sequence[int],
        grad_ops: Sequence[OperatorDef] | None = None,
        input_device_options: Mapping[str, DeviceOption] | None = None,
        ensure_outputs_are_inferred: bool = False,
    ) -> tuple[bool, Array, Array]:
        """Whether the gradient of an input agrees with differences, the gradient, the estimate.

        Of a large input the first and last three elements are looked at, unless
        CAFFE2_FULL_GRAD_CHECK=1. `ensure_outputs_are_inferred` checks shapes and types of the
        backward operators' outputs too. Raises GradientError for a gradient of another shape.
        """
        op.device_option.CopyFrom(self._device_option)
        own, gradients = getGradientForOp(op)
        backward = own if grad_ops is None else list(grad_ops)
        self._input_device_options = dict(input_device_options or InferOpBlobDevicesAsDict(op)[0])
        gradient_name = gradients[input_to_check]
        if gradient_name is None:
            raise UsageError(f"input {input_to_check} of {op.type} has no gradient")
        value = np.array(inputs[input_to_check])
        given = list(inputs)
        given[input_to_check] = value

        def run() -> tuple[float, Array]:
            return self.GetLossAndGrad(
                op, backward, given, op.input, input_to_check, gradient_name, outputs_with_grads
            )

        with self._workspace():
            gradient = run()[1]
            if gradient.shape != value.shape:
                raise GradientError(f"input {value.shape} has a gradient of {gradient.shape}")
            if ensure_outputs_are_inferred:
                _check_inference(op, backward)
            estimate = np.array(gradient, dtype=value.dtype)
            for index in _elements(value.size):
                estimate.flat[index] = _slope(value, index, self._stepsize, lambda: run()[0])
        return self._agrees(gradient, estimate), gradient, estimate

    def _agrees(self, gradient: Array, estimate: Array) -> bool:
        close = np.isclose(gradient, estimate, atol=self._threshold, rtol=self._threshold)
        for index in np.flatnonzero(~close):
            found, expected = gradient.flat[index], estimate.flat[index]
            log.error("element %d: gradient %s, estimated %s", index, found, expected)
        return bool(np.all(close))

    @contextmanager
    def _workspace(self) -> Iterator[None]:
        """Work in the checker's workspace, and leave it empty, unless it is the current one."""
        before = session.CurrentWorkspace()
        if before == self._workspace_name:
            yield
            return
        session.SwitchWorkspace(self._workspace_name, True)
        try:
            yield
        finally:
            session.ResetWorkspace()
            session.SwitchWorkspace(before)


def _elements(count: int) -> Iterator[int]:
    """The elements to look at."""
    full = os.getenv("CAFFE2_FULL_GRAD_CHECK") == "1"
    for index in range(count):
        if full or index < _LOOKED_AT or index + _LOOKED_AT >= count:
            yield index


def _check_inference(op: OperatorDef, backward: Sequence[OperatorDef]) -> None:
    """GradientError where inference says something else than the blobs of backward operators."""
    shapes, types = session.InferShapesAndTypes([NetDef(op=[op, *backward])], nets_proto=True)
    for name in dict.fromkeys(name for made in backward for name in made.output):
        if name not in shapes:
            raise GradientError(f"expected output {name} to be inferred")
        found = np.asarray(session.FetchBlob(name))
        expected = list(found.shape), number_from_dtype(found.dtype)
        if (list(shapes[name]), types[name]) != expected:
            raise GradientError(
                f"'{name}' was inferred as {shapes[name]}, type {types[name]}; is {expected[0]}, "
                f"type {expected[1]}"
            )
