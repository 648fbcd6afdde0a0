"""Caffe2's visualize module: tensors as pictures. Needs Matplotlib.

image = visualize.PatchVisualizer().ShowMultiple(weights)     # one patch a row
visualize.NCHW.ShowMultiple(workspace.FetchBlob("conv1_w"))
"""

from __future__ import annotations

from typing import Any

from caffe2py.adapters.pictures import ChannelFirst, ChannelLast, PatchVisualizer
from caffe2py.tensor.tensor import Array

__all__ = ["NCHW", "NHWC", "ChannelFirst", "ChannelLast", "PatchVisualizer"]

_visualizer = PatchVisualizer()


class NHWC:
    """The functions of a PatchVisualizer for arrays with the channels last; they return None."""

    @staticmethod
    def ShowSingle(*args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowSingle."""
        _visualizer.ShowSingle(*args, **kwargs)

    @staticmethod
    def ShowMultiple(*args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowMultiple."""
        _visualizer.ShowMultiple(*args, **kwargs)

    @staticmethod
    def ShowImages(*args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowImages."""
        _visualizer.ShowImages(*args, **kwargs)

    @staticmethod
    def ShowChannels(*args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowChannels."""
        _visualizer.ShowChannels(*args, **kwargs)


class NCHW:
    """As NHWC, for arrays with the channels before height and width."""

    @staticmethod
    def ShowSingle(patch: Array, *args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowSingle."""
        _visualizer.ShowSingle(ChannelLast(patch), *args, **kwargs)

    @staticmethod
    def ShowMultiple(patch: Array, *args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowMultiple."""
        _visualizer.ShowMultiple(ChannelLast(patch), *args, **kwargs)

    @staticmethod
    def ShowImages(patch: Array, *args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowImages."""
        _visualizer.ShowImages(ChannelLast(patch), *args, **kwargs)

    @staticmethod
    def ShowChannels(patch: Array, *args: Any, **kwargs: Any) -> None:
        """As PatchVisualizer.ShowChannels."""
        _visualizer.ShowChannels(ChannelLast(patch), *args, **kwargs)
