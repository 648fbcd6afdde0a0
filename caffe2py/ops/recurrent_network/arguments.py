"""What the arguments of recurrent networks say: links, aliases, nets, and what must fit."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2py.errors import ArgumentError, ShapeError
from caffe2py.kernels.elementwise import FLOATS
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.proto.text import from_text
from caffe2py.registry.infer import Query, require_dtype
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import shape_text

STEP_ARGS: dict[str, Arg] = {
    "step_net": Arg((NetDef, str), None, "the net of one step, or its text"),
    "timestep": Arg(str, "timestep", "blob that holds the step's number in its workspace"),
    "recurrent_states": Arg(list[str], (), "blobs for the states of all steps"),
    "initial_recurrent_state_ids": Arg(list[int], (), "which inputs are the states' first values"),
    "link_internal": Arg(list[str], (), "blobs of the step net that are parts of outer blobs"),
    "link_external": Arg(list[str], (), "the outer blob of each link: a state, or the input"),
    "link_offset": Arg(list[int], (), "step of the outer blob that belongs to step 0"),
    "alias_src": Arg(list[str], (), "the states that outputs are parts of"),
    "alias_dst": Arg(list[str], (), "the outputs"),
    "alias_offset": Arg(list[int], (), "where each output begins; negative: from the end"),
    "param": Arg(list[int], (), "which inputs are parameters that get a gradient"),
    "param_grads": Arg(list[str], (), "their gradients' blobs in the backward step net"),
    "outputs_with_grads": Arg(list[int], (), "the outputs whose gradients come in"),
    "backward_step_net": Arg((NetDef, str), "", "the backward net of one step, or its text"),
    "backward_link_internal": Arg(list[str], (), "as link_internal, for the backward step net"),
    "backward_link_external": Arg(list[str], (), "as link_external; gradients"),
    "backward_link_offset": Arg(list[int], (), "as link_offset"),
    "enable_rnn_executor": Arg(bool, False, "accepted; steps run one after another"),
}
NETWORK_ARGS: dict[str, Arg] = {
    **STEP_ARGS,
    "link_window": Arg(list[int], (), "number of steps that each link covers; 1 by default"),
    "backward_link_window": Arg(list[int], (), "as link_window, for the backward step net"),
    "recompute_blobs_on_backward": Arg(
        list[str], (), "blobs that the backward step net makes anew; all steps share them"
    ),
    "backward_alias_src": Arg(list[str], (), "accepted, not used"),
    "backward_alias_dst": Arg(list[str], (), "accepted, not used"),
    "backward_alias_offset": Arg(list[int], (), "accepted, not used"),
    "rnn_executor.num_threads": Arg(int, None, "accepted, not used"),
    "rnn_executor.max_cuda_streams": Arg(int, None, "accepted, not used"),
}


@dataclass(frozen=True)
class Link:
    """`internal` of step t is `external[t + offset : t + offset + window]`."""

    internal: str
    external: str
    offset: int
    window: int


@dataclass(frozen=True)
class Alias:
    """`target` is `source[offset:]`."""

    source: str
    target: str
    offset: int


def require_lengths(args: Args, *names: str) -> None:
    """ArgumentError unless these lists are as long as the first one."""
    counts = {name: len(getattr(args, name)) for name in names}
    if len(set(counts.values())) > 1:
        text = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ArgumentError(f"these arguments must have one length: {text}")


def links_of(args: Args, prefix: str) -> list[Link]:
    """The links in `<prefix>_internal`, `_external`, `_offset` and `_window`; ArgumentError."""
    names = [f"{prefix}_{part}" for part in ("internal", "external", "offset")]
    windows = tuple(getattr(args, f"{prefix}_window", ()))
    require_lengths(args, *names, *([f"{prefix}_window"] if windows else []))
    inner, outer, offsets = (getattr(args, name) for name in names)
    sizes = windows or (1,) * len(inner)
    links = [Link(*row) for row in zip(inner, outer, offsets, sizes, strict=True)]
    for link in links:
        if link.window < 1:
            raise ArgumentError(f"{prefix}_window must be at least 1, found {link.window}")
    return links


def aliases_of(args: Args) -> list[Alias]:
    """The outputs that are parts of states; ArgumentError unless the lists fit."""
    names = ("alias_src", "alias_dst", "alias_offset")
    require_lengths(args, *names)
    aliases = [Alias(*row) for row in zip(*(getattr(args, name) for name in names), strict=True)]
    for alias in aliases:
        if alias.source not in args.recurrent_states:
            known = ", ".join(args.recurrent_states) or "none"
            raise ArgumentError(f"alias_src '{alias.source}' is no recurrent state; those: {known}")
    return aliases


def net_of(value: NetDef | str | None, name: str) -> NetDef:
    """The net in an argument; ArgumentError where there is none, or none with a name."""
    if not value:
        raise ArgumentError(f"argument '{name}' (net or its text) is required")
    net = value if isinstance(value, NetDef) else from_text(value, NetDef)
    if not net.name:
        raise ArgumentError(f"the net in '{name}' must have a name")
    return net


def require_ids(query: Query, first: int) -> None:
    """ArgumentError where an argument names an input that is not there, counted from `first`."""
    args = query.args
    require_lengths(args, "recurrent_states", "initial_recurrent_state_ids")
    for name in ("initial_recurrent_state_ids", "param"):
        for number in getattr(args, name):
            if not 0 <= number < len(query.inputs) - first:
                raise ArgumentError(
                    f"{name}: there is no input {number} among {len(query.inputs) - first}"
                )


def require_sequence(query: Query, index: int) -> None:
    """ShapeError or DTypeError unless an input is a sequence of batches."""
    require_dtype(query, index, *FLOATS)
    shape = query.inputs[index].shape
    if shape is not None and len(shape) < 2:
        raise ShapeError(
            f"input {index} '{query.name(index)}' must be (T,N,...), found {shape_text(shape)}"
        )
