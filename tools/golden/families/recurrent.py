"""Cell units, and networks that run a step net: LSTMUnit, GRUUnit, RecurrentNetwork."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tools.golden.case import Case, Cases, Step, grid, pick, wrong_arity

# ---------------------------------------------------------------- units


def unit_inputs(rng: np.random.Generator, states: Sequence[str], gates: int) -> list[tuple]:
    """Inputs of a cell unit in order, and its arguments."""
    variants = []
    for number in range(22):
        batch, size = int(rng.integers(1, 5)), int(rng.integers(1, 6))
        if number == 3:
            batch = 0
        feed = {name: grid(rng, (1, batch, size)) for name in states}
        feed["gates"] = grid(rng, (1, batch, gates * size))
        args: dict[str, Any] = {}
        if number % 3 == 1:
            args["sequence_lengths"] = 0
        else:
            feed["lengths"] = rng.integers(0, 4, batch).astype("int32")
        feed["timestep"] = rng.integers(0, 4, 1).astype("int32")
        if number % 2:
            args["drop_states"] = 1
        if "cell_prev" in states and number % 4 > 1:
            args["forget_bias"] = pick(rng, [1.0, -0.5])
        variants.append((feed, args))
    return variants


def refused_unit(op: str, feed: dict, outputs: Sequence[str]) -> Cases:
    yield Case(op, {**feed, "gates": feed["gates"][..., :-1]}, outputs, refused=True)
    yield Case(op, {**feed, "lengths": feed["lengths"][:-1]}, outputs, refused=True)
    yield Case(op, {**feed, "lengths": feed["lengths"].astype("int64")}, outputs, refused=True)
    yield Case(op, {**feed, "timestep": feed["timestep"].astype("int64")}, outputs, refused=True)
    first = next(iter(feed))
    yield Case(op, feed, [first, *outputs[1:]], refused=True)
    yield from wrong_arity(op, feed, outputs)


def lstm(rng: np.random.Generator) -> Cases:
    outputs = ["hidden", "cell"]
    for feed, args in unit_inputs(rng, ["hidden_prev", "cell_prev"], 4):
        yield Case("LSTMUnit", feed, outputs, args)
    yield from refused_unit(
        "LSTMUnit", unit_inputs(rng, ["hidden_prev", "cell_prev"], 4)[0][0], outputs
    )


def lstm_gradient(rng: np.random.Generator) -> Cases:
    outputs = ["dhidden_prev", "dcell_prev", "dgates"]
    made = ("hidden", "cell", "dhidden", "dcell")
    for feed, args in unit_inputs(rng, ["hidden_prev", "cell_prev"], 4):
        more = {name: grid(rng, feed["cell_prev"].shape) for name in made}
        yield Case("LSTMUnitGradient", {**feed, **more}, outputs, args)
    feed = unit_inputs(rng, ["hidden_prev", "cell_prev"], 4)[0][0]
    more = {name: grid(rng, feed["cell_prev"].shape) for name in made}
    yield from wrong_arity("LSTMUnitGradient", {**feed, **more}, outputs)


def gru(rng: np.random.Generator) -> Cases:
    for feed, args in unit_inputs(rng, ["hidden_prev"], 3):
        yield Case("GRUUnit", feed, ["hidden"], args)
    yield from refused_unit("GRUUnit", unit_inputs(rng, ["hidden_prev"], 3)[0][0], ["hidden"])


def gru_gradient(rng: np.random.Generator) -> Cases:
    outputs = ["dhidden_prev", "dgates"]
    for feed, args in unit_inputs(rng, ["hidden_prev"], 3):
        more = {name: grid(rng, feed["hidden_prev"].shape) for name in ("hidden", "dhidden")}
        yield Case("GRUUnitGradient", {**feed, **more}, outputs, args)
    feed = unit_inputs(rng, ["hidden_prev"], 3)[0][0]
    more = {name: grid(rng, feed["hidden_prev"].shape) for name in ("hidden", "dhidden")}
    yield from wrong_arity("GRUUnitGradient", {**feed, **more}, outputs)


# ---------------------------------------------------------------- networks


def op_text(type_: str, inputs: str, outputs: str, **ints: int) -> str:
    lines = [f'input: "{name}"' for name in inputs.split()]
    lines += [f'output: "{name}"' for name in outputs.split()]
    lines += [f'arg {{ name: "{name}" i: {value} }}' for name, value in ints.items()]
    return f'op {{ type: "{type_}" {" ".join(lines)} }}'


def net_text(name: str, *ops: str) -> str:
    """A net that declares what it reads before it makes it: Caffe2 asks for that in step nets."""
    made: set[str] = set()
    outer: dict[str, None] = {}
    for text in ops:
        outer.update(dict.fromkeys(n for n in re.findall(r'input: "(\w+)"', text) if n not in made))
        made.update(re.findall(r'output: "(\w+)"', text))
    external = [f'external_input: "{blob}"' for blob in outer]
    return " ".join([f'name: "{name}" type: "simple"', *ops, *external])


@dataclass
class Cell:
    """A step net with its backward net; `reads` are the blobs behind the first states."""

    states: Sequence[str]
    gates: int
    step: str
    back: str
    reads: Sequence[str] = ()
    params: Sequence[str] = ()


COPY_BACK = (op_text("Copy", "h_grad", "x_t_grad"), op_text("Copy", "h_grad", "h_prev_grad"))

CELLS = {
    "sum": Cell(
        ["h"], 1, net_text("step", op_text("Add", "x_t h_prev", "h")), net_text("back", *COPY_BACK)
    ),
    "tanh": Cell(
        ["h"],
        1,
        net_text(
            "step",
            op_text("FC", "h_prev W b", "z", axis=2),
            op_text("Sum", "z x_t", "s"),
            op_text("Tanh", "s", "h"),
        ),
        net_text(
            "back",
            op_text("TanhGradient", "h h_grad", "s_grad"),
            op_text("Copy", "s_grad", "x_t_grad"),
            op_text("FCGradient", "h_prev W s_grad", "W_grad b_grad h_prev_grad", axis=2),
        ),
        ["W", "b"],
        ["W", "b"],
    ),
    "lstm": Cell(
        ["h", "c"],
        4,
        net_text(
            "step",
            op_text("FC", "h_prev W b", "z", axis=2),
            op_text("Sum", "z x_t", "s"),
            op_text("LSTMUnit", "h_prev c_prev s lengths timestep", "h c"),
        ),
        net_text(
            "back",
            op_text(
                "LSTMUnitGradient",
                "h_prev c_prev s lengths timestep h c h_grad c_grad",
                "h_unit_grad c_prev_grad s_grad",
            ),
            op_text("Copy", "s_grad", "x_t_grad"),
            op_text("FCGradient", "h_prev W s_grad", "W_grad b_grad h_fc_grad", axis=2),
            op_text("Sum", "h_unit_grad h_fc_grad", "h_prev_grad"),
        ),
        ["W", "b", "lengths"],
        ["W", "b"],
    ),
}


@dataclass
class Network:
    """One use of a cell: everything that both operators need."""

    feed: dict[str, np.ndarray]
    inputs: list[str]
    outputs: list[str]
    args: dict[str, Any]
    firsts: list[str]
    params: list[str]


def links(cell: Cell, suffix: str = "") -> dict[str, Any]:
    prefix = "backward_" if suffix else ""
    rows = [("x_t", "x", 0)]
    for state in cell.states:
        rows += [(f"{state}_prev", f"{state}_states", 0), (state, f"{state}_states", 1)]
    parts = ("internal", "external", "offset")
    columns = dict(zip(parts, zip(*rows, strict=True), strict=True))
    for part in parts[:2]:
        columns[part] = tuple(name + suffix for name in columns[part])
    return {f"{prefix}link_{part}": list(values) for part, values in columns.items()}


def network(rng: np.random.Generator, name: str, rank: int = 3, steps: int = 3) -> Network:
    cell = CELLS[name]
    batch, size = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    feed = {"x": grid(rng, (steps, batch, cell.gates * size))}
    firsts = [f"{state}0" for state in cell.states]
    feed |= {first: grid(rng, (1, batch, size)[3 - rank :]) for first in firsts}
    if cell.params:
        feed |= {"W": grid(rng, (cell.gates * size, size)), "b": grid(rng, (cell.gates * size,))}
    if "lengths" in cell.reads:
        feed["lengths"] = rng.integers(0, steps + 2, batch).astype("int32")
    inputs = ["x", *firsts, *cell.reads]
    aliases = [
        (f"{s}_states", f"{s}_{part}", at)
        for s in cell.states
        for part, at in (("all", 1), ("last", -1))
    ]
    sources, targets, offsets = (list(column) for column in zip(*aliases, strict=True))
    args = {
        "step_net": cell.step,
        "timestep": "timestep",
        "recurrent_states": [f"{state}_states" for state in cell.states],
        "initial_recurrent_state_ids": [inputs.index(first) for first in firsts],
        "alias_src": sources,
        "alias_dst": targets,
        "alias_offset": offsets,
        **links(cell),
    }
    return Network(feed, inputs, [*targets, "workspaces"], args, firsts, list(cell.params))


def with_backward(
    rng: np.random.Generator, made: Network, name: str, wanted: Sequence[int]
) -> Network:
    """The same with what the gradient needs: backward net, and gradients for some outputs."""
    cell = CELLS[name]
    args = {
        **made.args,
        "backward_step_net": cell.back,
        "outputs_with_grads": list(wanted),
        "param": [made.inputs.index(param) for param in cell.params],
        "param_grads": [f"{param}_grad" for param in cell.params],
        **links(cell, "_grad"),
    }
    steps, batch, _ = made.feed["x"].shape
    size = made.feed[made.firsts[0]].shape[-1]
    feed = dict(made.feed)
    for output in wanted:
        shape = (1 if output % 2 else steps, batch, size)
        feed[f"{made.outputs[output]}_grad"] = grid(rng, shape)
    return replace(made, feed=feed, args=args)


def forward_case(made: Network, note: str = "", refused: bool = False, **changed: Any) -> Case:
    args = {name: value for name, value in {**made.args, **changed}.items() if value is not None}
    return Case(
        "RecurrentNetwork", made.feed, made.outputs, args, made.inputs, note=note, refused=refused
    )


def recurrent_network(rng: np.random.Generator) -> Cases:
    for name in CELLS:
        for rank in (3, 2, 1):
            for steps in (1, 4):
                yield forward_case(network(rng, name, rank, steps))
        yield forward_case(network(rng, name, 3, 0))
        yield forward_case(network(rng, name), enable_rnn_executor=1)
        yield forward_case(with_backward(rng, network(rng, name), name, [0]))
    plain = network(rng, "sum")
    yield forward_case(plain, alias_offset=[0, -2])
    yield forward_case(plain, timestep=None)
    yield forward_case(plain, timestep="t")
    yield forward_case(plain, link_window=[1, 1, 1])
    yield forward_case(plain, step_net=None, refused=True)
    yield forward_case(plain, link_offset=[0, 0], refused=True)
    size = plain.feed["x"].shape[1:]
    for shape in ((1, 9, size[1]), (1, 1, *size)):
        feed = {**plain.feed, "h0": grid(rng, shape)}
        yield forward_case(replace(plain, feed=feed), refused=True)


def gradient_case(made: Network, **changed: Any) -> Case:
    args = {name: value for name, value in {**made.args, **changed}.items() if value is not None}
    forward = Step("RecurrentNetwork", made.inputs, made.outputs, args)
    given = [f"{made.outputs[k]}_grad" for k in args["outputs_with_grads"]]
    outputs = [f"{name}_grad" for name in ["x", *made.params, *made.firsts]]
    reads = [*given, *made.inputs, *made.outputs]
    return Case(
        "RecurrentNetworkGradient", made.feed, outputs, args, reads, before=[forward], whole=True
    )


def recurrent_network_gradient(rng: np.random.Generator) -> Cases:
    for name in CELLS:
        for wanted in ([0], [1], [0, 1]) if name != "lstm" else ([0], [3], [0, 2], [0, 1, 2, 3]):
            for rank in (3, 2, 1):
                made = network(rng, name, rank, int(rng.integers(1, 5)))
                yield gradient_case(with_backward(rng, made, name, wanted))
        executed = with_backward(rng, network(rng, name), name, [0])
        yield gradient_case(executed, enable_rnn_executor=1)
    made = with_backward(rng, network(rng, "tanh"), "tanh", [0])
    yield gradient_case(made, timestep="t")


# ---------------------------------------------------------------- what step nets are made of


def apply_link(rng: np.random.Generator) -> Cases:
    op = "rnn_internal_apply_link"
    for number in range(24):
        steps = int(rng.integers(2, 6))
        shape = (steps, *rng.integers(1, 4, number % 3))
        window = int(rng.integers(1, steps + 1))
        offset = int(rng.integers(0, steps - window + 1))
        step = np.array([int(rng.integers(0, steps - window - offset + 1))], "int32")
        feed = {"timestep": step, "x": grid(rng, shape)}
        yield Case(op, feed, ["part", "x"], {"offset": offset, "window": window})
    yield Case(op, feed, ["part", "x"], {"window": 1}, refused=True)
    yield Case(op, feed, ["part", "x"], {"offset": 0}, refused=True)
    yield Case(op, feed, ["part", "other"], {"offset": 0, "window": 1}, refused=True)
    yield from wrong_arity(op, feed, ["part", "x"], offset=0, window=1)


def accumulate(rng: np.random.Generator) -> Cases:
    op = "rnn_internal_accumulate_gradient_input"
    for number in range(24):
        steps = int(rng.integers(1, 5))
        rest = rng.integers(1, 4, number % 3 + 1)
        offset = number % 2
        feed = {
            "timestep": rng.integers(0, steps, 1).astype("int32"),
            "given": grid(rng, (steps, *rest)),
            "total": grid(rng, (steps + offset, *rest)),
        }
        yield Case(op, feed, ["total"], {"offset": offset})
    yield Case(op, feed, ["total"], refused=True)
    yield Case(op, feed, ["other"], {"offset": 0}, refused=True)
    wrong = {**feed, "given": grid(rng, (steps, 9))}
    yield Case(op, wrong, ["total"], {"offset": 0}, refused=True)


CASES = {
    "LSTMUnit": lstm,
    "LSTMUnitGradient": lstm_gradient,
    "GRUUnit": gru,
    "GRUUnitGradient": gru_gradient,
    "RecurrentNetwork": recurrent_network,
    "RecurrentNetworkGradient": recurrent_network_gradient,
    "rnn_internal_apply_link": apply_link,
    "rnn_internal_accumulate_gradient_input": accumulate,
}
