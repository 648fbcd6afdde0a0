"""Sums of blobs that are one on each of several devices, put onto every one of them.

Nets get Copy and Add operators only, so it works wherever these do. The sum is taken along a tree:
its order depends on the number of devices alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe2py.errors import UsageError
from caffe2py.graph.device import DeviceOption
from caffe2py.graph.net import Net
from caffe2py.graph.reference import BlobReference
from caffe2py.graph.scope import DeviceScope
from caffe2py.proto.caffe2_pb2 import PROTO_CPU, PROTO_CUDA


def OnGPU(index: int) -> Any:
    """The device option of a GPU."""
    return DeviceOption(PROTO_CUDA, index)


def OnCPU() -> Any:
    """The device option of the CPU."""
    return DeviceOption(PROTO_CPU)


def Allreduce(
    net: Net,
    blobs: Sequence[Any],
    reduced_affix: str = "_reduced",
    gpu_indices: Sequence[int] | None = None,
) -> tuple[BlobReference, ...]:
    """The sum of `blobs`, of which number k is on GPU gpu_indices[k] (k by default), on each GPU.

    The results are called as the blobs, with `reduced_affix`. They may be the blobs themselves
    (an affix of ""). UsageError for no blobs, or other numbers of blobs and of GPUs.
    """
    gpus = list(range(len(blobs))) if gpu_indices is None else list(gpu_indices)
    if not blobs or len(gpus) != len(blobs):
        raise UsageError(f"expected a GPU for each blob, found {len(blobs)} blobs and GPUs {gpus}")
    names = [str(blob) for blob in blobs]
    sums = [f"{name}{reduced_affix}" for name in names]
    current = list(names)
    step = 1
    while step < len(names):
        for k in range(0, len(names) - step, 2 * step):
            _add(net, current[k], current[k + step], sums[k], gpus[k], gpus[k + step])
            current[k] = sums[k]
        step *= 2
    if len(names) == 1:
        with DeviceScope(OnGPU(gpus[0])):
            net.Copy(names[0], sums[0])
    while step > 1:
        step //= 2
        for k in range(0, len(names) - step, 2 * step):
            _copy(net, sums[k], sums[k + step], gpus[k + step])
    return tuple(BlobReference(name, net) for name in sums)


def _add(net: Net, here: str, there: str, total: str, gpu: int, other: int) -> None:
    """total = here + there, where `there` is on another GPU."""
    source = there
    if gpu != other:
        source = f"{there}_gpu_{gpu}_copy"
        _copy(net, there, source, gpu)
    with DeviceScope(OnGPU(gpu)):
        net.Add([here, source], total)


def _copy(net: Net, source: str, target: str, gpu: int) -> None:
    with DeviceScope(OnGPU(gpu)):
        net.Copy(source, target)


def AllreduceFallback(
    net: Net,
    blobs: Sequence[Any],
    reduced_affix: str = "_reduced",
    gpu_indices: Sequence[int] | None = None,
) -> tuple[BlobReference, ...]:
    """The same by way of the first GPU alone: all blobs are copied there, added up, and back."""
    gpus = list(range(len(blobs))) if gpu_indices is None else list(gpu_indices)
    if not blobs or len(gpus) != len(blobs):
        raise UsageError(f"expected a GPU for each blob, found {len(blobs)} blobs and GPUs {gpus}")
    sums = [f"{blob}{reduced_affix}" for blob in blobs]
    total = str(blobs[0])
    for blob, gpu in zip(blobs[1:], gpus[1:], strict=True):
        _add(net, total, str(blob), sums[0], gpus[0], gpu)
        total = sums[0]
    if len(sums) == 1:
        _copy(net, total, sums[0], gpus[0])
    for name, gpu in zip(sums[1:], gpus[1:], strict=True):
        _copy(net, sums[0], name, gpu)
    return tuple(BlobReference(name, net) for name in sums)


def of_exactly(count: int) -> Any:
    """`Allreduce` for so many blobs; UsageError for another number of them."""

    def reduce(
        net: Net, blobs: Sequence[Any], reduced_affix: str, gpu_indices: Sequence[int]
    ) -> tuple[BlobReference, ...]:
        if len(blobs) != count:
            raise UsageError(f"expected {count} blobs, found {len(blobs)}")
        return Allreduce(net, blobs, reduced_affix, gpu_indices)

    reduce.__doc__ = f"`Allreduce` for {count} blobs; UsageError for another number of them."
    return reduce
