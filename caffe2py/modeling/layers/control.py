"""Conditions and loops around models."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from caffe2py.graph.branches import add_if_op, add_while_op
from caffe2py.modeling.helper import helper
from caffe2py.modeling.model import ModelHelper


@helper
def cond(
    model: ModelHelper,
    cond_blob: Any,
    external_blobs: Collection[str],
    then_model: ModelHelper,
    else_model: ModelHelper | None = None,
) -> None:
    """If: the net of one model runs where `cond_blob` is true, that of the other where it is not.

    `external_blobs` are the names of blobs that the nets share with `model`.
    """
    other = None if else_model is None else else_model.net
    add_if_op(model.net, cond_blob, external_blobs, then_model.net, other)


@helper
def loop(
    model: ModelHelper,
    cond_blob: Any,
    external_blobs: Collection[str],
    loop_model: ModelHelper,
    cond_model: ModelHelper | None = None,
) -> None:
    """While: the net of `loop_model` runs as long as `cond_blob` is true.

    The net of `cond_model` runs before each look. `external_blobs` as in `cond`.
    """
    condition = None if cond_model is None else cond_model.net
    add_while_op(model.net, cond_blob, external_blobs, loop_model.net, condition)
