"""LearningRate: a rate that follows the number of iterations by one of many policies."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2py.errors import ArgumentError
from caffe2py.kernels import schedule
from caffe2py.kernels.copy import launch_copy
from caffe2py.ops.optimizer.common import flat, require_counter
from caffe2py.registry.context import Call, Launch
from caffe2py.registry.gradient import NoGradient
from caffe2py.registry.infer import Query
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg, Args
from caffe2py.tensor.types import TensorType

#: The arguments that policies read; a composite reads them again for each of its parts.
NUMBERS: dict[str, Arg] = {
    "power": Arg(float, 0.0, "inv, poly, hill: the exponent"),
    "gamma": Arg(float, 0.0, "step, exp: the factor; inv, hill: how fast it falls"),
    "stepsize": Arg(int, 0, "step: iterations a step; cyclical: iterations of half a cycle"),
    "max_lr": Arg(float, 0.005, "cyclical (0.005), cosine (0.5): the highest rate"),
    "active_first": Arg(bool, True, "alter: begin with the active period"),
    "active_period": Arg(int, -1, "alter: iterations at the full rate"),
    "inactive_period": Arg(int, -1, "alter: iterations at rate 0"),
    "max_iter": Arg(int, -1, "poly: where the rate reaches 0; -1 is never"),
    "num_iter": Arg(int, 0, "gate, hill and the warmups: the length of the first stage"),
    "start_multiplier": Arg(float, 0.0, "linearWarmup, hill: the factor to begin with"),
    "end_multiplier": Arg(float, 0.0, "hill: the factor is not below this"),
    "multiplier": Arg(float, 0.5, "constantWarmup: the factor of the first stage"),
    "multiplier_1": Arg(float, 0.0, "gate (1 there), slope: the factor of the first stage"),
    "multiplier_2": Arg(float, 0.0, "gate (1 there), slope: the factor at the end"),
    "num_iter_1": Arg(int, 0, "slope: where it begins to fall"),
    "num_iter_2": Arg(int, 0, "slope: where it ends to fall"),
    "m1": Arg(float, 0.5, "pieceWarmup: the first factor"),
    "n1": Arg(int, 0, "pieceWarmup: where the second factor begins"),
    "m2": Arg(float, 0.5, "pieceWarmup: the second factor"),
    "n2": Arg(int, 0, "pieceWarmup: where the third factor begins"),
    "m3": Arg(float, 0.5, "pieceWarmup: the third factor"),
    "decay": Arg(float, 1.0, "cyclical: the factor of the height, each cycle"),
    "min_lr": Arg(float, 0.1, "cosine: the lowest rate"),
    "period": Arg(int, 50, "cosine: iterations of the first period"),
    "t_mult": Arg(float, 1.0, "cosine: the factor of the period, each time"),
    "lr_shrink": Arg(float, 0.99, "cosine: the factor of the rate, each time"),
    "start_warmup_multiplier": Arg(float, 0.1, "policies with two warmups: the factor to begin"),
    "constant_warmup_num_iter": Arg(int, 10000000, "the same: iterations at that factor"),
    "linear_warmup_num_iter": Arg(int, 10000000, "the same: iterations up to factor 1"),
    "cyclical_max_lr": Arg(float, 0.05, "compositeCyclical: max_lr of its cyclical part"),
    "cyclical_step_size": Arg(int, 1000000, "compositeCyclical: stepsize of that part"),
    "cyclical_decay": Arg(float, 1.0, "compositeCyclical: decay of that part"),
    "cosine_min_lr": Arg(float, 0.1, "compositeCosine: min_lr of its cosine part"),
    "cosine_max_lr": Arg(float, 0.5, "compositeCosine: max_lr of that part"),
    "cosine_period": Arg(int, 50, "compositeCosine: period of that part"),
    "cosine_t_mult": Arg(float, 1.0, "compositeCosine: t_mult of that part"),
    "cosine_lr_shrink": Arg(float, 0.99, "compositeCosine: lr_shrink of that part"),
    "lr_scale": Arg(float, 1.0, "a part of a composite: a factor of its own"),
}

#: Policies whose defaults are not those of other policies.
OTHER_DEFAULTS: dict[tuple[str, str], float] = {
    ("gate", "multiplier_1"): 1.0,
    ("gate", "multiplier_2"): 1.0,
    ("cosine", "max_lr"): 0.5,
}


@dataclass(frozen=True)
class Reader:
    """The arguments of one policy; those of a part of a composite have a prefix."""

    args: Args
    policy: str
    prefix: str = ""

    def number(self, name: str) -> Any:
        """An argument, or what it is by default for this policy."""
        full = f"{self.prefix}{name}"
        if full in self.args.given:
            return getattr(self.args, full)
        return OTHER_DEFAULTS.get((self.policy, name), NUMBERS[name].default)

    def numbers(self, *names: str) -> list[Any]:
        """Several arguments."""
        return [self.number(name) for name in names]

    def nonzero(self, name: str) -> int:
        """An integer that something is divided by; ArgumentError if it is 0."""
        value: int = self.number(name)
        if value == 0:
            raise ArgumentError(
                f"policy '{self.policy}': argument '{self.prefix}{name}' must not be 0"
            )
        return value

    def ratio(self, name: str) -> float:
        """The highest rate relative to base_lr; infinite for a base of 0."""
        with np.errstate(all="ignore"):
            return float(abs(np.float32(self.number(name))) / abs(np.float32(self.args.base_lr)))


#: A policy as the kernel reads it: its number, integers and reals.
Row = tuple[int, list[int], list[float]]


def _alter(read: Reader) -> Row:
    active, inactive = read.numbers("active_period", "inactive_period")
    if active + inactive == 0:
        raise ArgumentError("policy 'alter': active_period + inactive_period must not be 0")
    return schedule.ALTER, [active, inactive], [float(read.number("active_first"))]


def _poly(read: Reader) -> Row:
    last = read.number("max_iter")
    # a negative number stands for an end that is never reached
    return schedule.POLY, [], [read.number("power"), float(last if last >= 0 else last + 2**64)]


def _warm_cyclical(read: Reader) -> Row:
    integers = read.numbers("constant_warmup_num_iter", "linear_warmup_num_iter")
    reals = [read.number("start_warmup_multiplier"), read.ratio("cyclical_max_lr")]
    half = read.nonzero("cyclical_step_size")
    return schedule.WARM_CYCLICAL, [*integers, half], [*reals, read.number("cyclical_decay")]


def _plain(number: int, integers: str, reals: str) -> Callable[[Reader], Row]:
    """A policy that reads its numbers as they are."""

    def row(read: Reader) -> Row:
        return number, read.numbers(*integers.split()), read.numbers(*reals.split())

    return row


_WARM = "constant_warmup_num_iter linear_warmup_num_iter"
_COSINE = "cosine_min_lr cosine_max_lr cosine_t_mult cosine_lr_shrink"

POLICIES: dict[str, Callable[[Reader], Row]] = {
    "fixed": _plain(schedule.FIXED, "", ""),
    "alter": _alter,
    "step": lambda r: (schedule.STEP, [r.nonzero("stepsize")], [r.number("gamma")]),
    "exp": _plain(schedule.EXP, "", "gamma"),
    "gate": _plain(schedule.GATE, "num_iter", "multiplier_1 multiplier_2"),
    "inv": _plain(schedule.INV, "", "gamma power"),
    "poly": _poly,
    "linearWarmup": _plain(schedule.LINEAR, "num_iter", "start_multiplier"),
    "constantWarmup": lambda r: (
        schedule.GATE,
        [r.number("num_iter")],
        [r.number("multiplier"), 1.0],
    ),
    "pieceWarmup": _plain(schedule.PIECES, "n1 n2", "m1 m2 m3"),
    "hill": _plain(schedule.HILL, "num_iter", "start_multiplier gamma power end_multiplier"),
    "slope": _plain(schedule.SLOPE, "num_iter_1 num_iter_2", "multiplier_1 multiplier_2"),
    "cyclical": lambda r: (
        schedule.CYCLICAL,
        [r.nonzero("stepsize")],
        [r.ratio("max_lr"), r.number("decay")],
    ),
    "cosine": _plain(schedule.COSINE, "period", "min_lr max_lr t_mult lr_shrink"),
    "constantThenLinearWarmup": _plain(schedule.WARMUP, _WARM, "start_warmup_multiplier"),
    "compositeCyclical": _warm_cyclical,
    "compositeCosine": _plain(
        schedule.WARM_COSINE, f"{_WARM} cosine_period", f"start_warmup_multiplier {_COSINE}"
    ),
}


def _row(args: Args, policy: str, prefix: str = "") -> Row:
    if not policy:
        raise ArgumentError(f"argument '{prefix}policy' must be set")
    make = POLICIES.get(policy)
    if make is None:
        near = difflib.get_close_matches(policy, [*POLICIES, "composite"], 1)
        guess = f"; did you mean '{near[0]}'?" if near else ""
        raise ArgumentError(
            f"Unknown learning rate policy '{policy}'{guess}", hint=", ".join(POLICIES)
        )
    return make(Reader(args, policy, prefix))


def _parts(args: Args) -> list[tuple[int, float, Row]]:
    """(first iteration, scale, policy) of each stage; all but composites have one."""
    if args.policy != "composite":
        return [(0, 1.0, _row(args, args.policy))]
    lengths = args.sub_policy_num_iters or []
    if not lengths:
        raise ArgumentError("policy 'composite': sub_policy_num_iters must name a part")
    parts, first = [], 1
    for k, length in enumerate(lengths):
        if length <= 0:
            raise ArgumentError(f"sub_policy_num_iters[{k}] must be above 0, found {length}")
        prefix = f"sub_policy_{k}_"
        policy = getattr(args, f"{prefix}policy", "")
        if policy == "composite":
            raise ArgumentError(f"'{prefix}policy' must not be a composite itself")
        scale = getattr(args, f"{prefix}lr_scale", 1.0)
        parts.append((first, scale, _row(args, policy, prefix)))
        first += length
    return parts


def _tables(args: Args) -> tuple[Any, Any]:
    """All stages as the kernel reads them."""
    if args.base_lr is None:
        raise ArgumentError("argument 'base_lr' must be set")
    parts = _parts(args)
    integers = np.zeros((len(parts), schedule.HEAD + schedule.INTEGERS), np.int64)
    reals = np.zeros((len(parts), 1 + schedule.REALS), np.float64)
    for k, (first, scale, (policy, whole, real)) in enumerate(parts):
        integers[k, : schedule.HEAD] = first, policy
        integers[k, schedule.HEAD : schedule.HEAD + len(whole)] = whole
        # arguments are single precision, also those by default
        reals[k, : 1 + len(real)] = np.array([scale, *real], np.float32)
    return integers, reals


def _infer(query: Query) -> Sequence[TensorType]:
    _tables(query.args)
    require_counter(query, 0)
    return [TensorType(np.dtype(np.float32), ())]


learning_rate = operator(
    "LearningRate",
    "input -> output",
    infer=_infer,
    gradient=NoGradient("it depends on the number of iterations alone"),
    doc="""
    output = base_lr * f(t), a float32 number, for the int64 number of iterations t in `input`.
    The policy says what f is:

    fixed: 1. step: gamma ^ floor(t / stepsize). exp: gamma ^ t. inv: (1 + gamma t) ^ -power.
    poly: (1 - t / max_iter) ^ power. gate: multiplier_1 while t < num_iter, then multiplier_2.
    alter: 1 for active_period, 0 for inactive_period, and again. linearWarmup: from
    start_multiplier to 1 in num_iter. constantWarmup: multiplier while t < num_iter, then 1.
    pieceWarmup: m1 while t < n1, m2 while t < n2, then m3. hill: linearWarmup, then inv from there,
    not below end_multiplier. slope: multiplier_1 while t < num_iter_1, then on a line that is at
    multiplier_2 in num_iter_2 and not below it. cyclical: a triangle between base_lr and max_lr of
    2 stepsize iterations, lower by decay each time. cosine: half a cosine from max_lr to min_lr
    (times base_lr) in `period` iterations, then again, longer by t_mult and lower by lr_shrink.
    constantThenLinearWarmup: start_warmup_multiplier for constant_warmup_num_iter, then a line to 1
    in linear_warmup_num_iter. compositeCyclical, compositeCosine: that, and then cyclical or cosine
    with arguments of their own, counted from there. composite: other policies one after the other,
    the k-th for sub_policy_num_iters[k] iterations beginning with iteration 1, with arguments
    `sub_policy_<k>_<name>` and times sub_policy_<k>_lr_scale; all of them see t itself, and the
    last one goes on for ever.

    Raises ArgumentError for an unknown policy, without base_lr, and where a period is 0. In
    iteration 0 a composite is at its first part; Caffe2 crashes there.
    """,
    example="""
    input = [25]; base_lr = 0.1; policy = "step"; stepsize = 10; gamma = 0.5
    output = 0.025
    """,
    arguments={
        "base_lr": Arg(float, None, "the rate that the policy multiplies; must be set"),
        "policy": Arg(str, "", "which policy"),
        **NUMBERS,
        "sub_policy_num_iters": Arg(list[int], None, "composite: iterations of each part"),
        "sub_policy_*_policy": Arg(str, "", "composite: the policy of the k-th part"),
        **{
            f"sub_policy_*_{name}": Arg(arg.type, arg.default, f"of the k-th part; {arg.doc}")
            for name, arg in NUMBERS.items()
        },
    },
)


def launch_rate(call: Call) -> list[Launch]:
    """The policies as tables; the kernel, which is the host's, reads the number of iterations."""
    integers, reals = _tables(call.args)
    rate = flat(call.outputs[0])
    base = rate.dtype.type(call.args.base_lr)
    here = rate if isinstance(rate, np.ndarray) else np.empty(1, rate.dtype)
    launch = schedule.learning_rate(flat(call.inputs[0]), integers, reals, base, here)
    return [launch] if here is rate else [launch, launch_copy(here, rate)]


learning_rate.cpu(launch_rate)
learning_rate.cuda(launch_rate, host_inputs=(0,))
