"""Statistics: named counters that nets add to and programs export; timers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from caffe2py.errors import ArgumentError, DTypeError, ValueRangeError
from caffe2py.registry.context import Call
from caffe2py.registry.gradient import NotDifferentiable
from caffe2py.registry.held import held, tensor_of
from caffe2py.registry.infer import Query, fixed, require_dtype, require_same_shape
from caffe2py.registry.operator import operator
from caffe2py.registry.schema import Arg
from caffe2py.registry.statistics import COMMON, StatRegistry, wrapped
from caffe2py.tensor.types import STRING, TensorType, dtype_name

_INT64 = np.dtype(np.int64)
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_NONE = NotDifferentiable("statistics have no derivative")

create = operator(
    "StatRegistryCreate",
    " -> handle",
    gradient=_NONE,
    doc="Makes a set of counters apart from the common one.",
    example="""
    handle = an empty set of counters
    """,
)


@create.everywhere_dynamic()
def make_registry(call: Call) -> None:
    """A new one in every run."""
    call.put(0, StatRegistry())


def _registry(call: Call, index: int) -> StatRegistry:
    if call.input_count <= index:
        return COMMON
    return held(call, index, StatRegistry, "StatRegistryCreate")


def _infer_export(query: Query) -> Sequence[TensorType]:
    return [TensorType(STRING, (None,)), *[TensorType(_INT64, (None,))] * 2]


export = operator(
    "StatRegistryExport",
    "handle? -> keys, values, timestamps",
    infer=_infer_export,
    gradient=_NONE,
    reset=Arg(bool, True, "all counters begin at 0 again"),
    doc="""
    keys = the names of the counters, sorted; values = what they are, int64; timestamps = the time,
    in nanoseconds since 1970. Without an input those of the common set.
    """,
    example="""
    a counter "queue/reads" at 3
    keys = ["queue/reads"]; values = [3]; timestamps = [1500000000000000000]
    """,
)


@export.cpu_dynamic()
def export_all(call: Call) -> None:
    """Write them down."""
    found = _registry(call, 0).export(reset=call.args.reset)
    shape = (len(found),)
    call.output(0, shape, STRING)[:] = [name.encode() for name, _, _ in found]
    call.output(1, shape, _INT64)[:] = [value for _, value, _ in found]
    call.output(2, shape, _INT64)[:] = [now for _, _, now in found]


def _infer_update(query: Query) -> Sequence[TensorType]:
    require_dtype(query, 0, STRING)
    require_dtype(query, 1, np.int64)
    require_same_shape(query, 0, 1)
    return []


update = operator(
    "StatRegistryUpdate",
    "keys, values, handle? -> ",
    infer=_infer_update,
    gradient=_NONE,
    doc="Gives the counters of these names these values, and makes those that there are not.",
    example="""
    keys = ["a"]; values = [3]
    a counter "a" at 3
    """,
)


@update.cpu_dynamic()
def assign(call: Call) -> None:
    """Give them their values."""
    keys, values = tensor_of(call, 0).reshape(-1), tensor_of(call, 1).reshape(-1)
    names = [key.decode(errors="backslashreplace") for key in keys]
    _registry(call, 2).assign(zip(names, values.tolist(), strict=True))


# ---------------------------------------------------------------- numbers from nets


def _infer_put(query: Query) -> Sequence[TensorType]:
    dtype = query.inputs[0].dtype
    if dtype is not None and dtype.kind not in "iuf":
        raise DTypeError(f"input 0 'value' is {dtype_name(dtype)}; supported: integers and floats")
    if query.args.magnitude_expand < 1:
        raise ArgumentError(
            f"argument 'magnitude_expand' must be at least 1, found {query.args.magnitude_expand}"
        )
    return []


def _amount(call: Call) -> int:
    """The number as a counter takes it; the product is that of the type, as in Caffe2."""
    args, array = call.args, tensor_of(call, 0)
    if array.size:
        value = array.reshape(-1)[0]
    elif "default_value" in args.given:
        value = array.dtype.type(args.default_value)
    else:
        raise ValueRangeError(
            f"Default value must be provided when receiving empty tensors for {_name(call)}"
        )
    limit = _MOST // args.magnitude_expand
    if math.isnan(value):
        if not args.bound:
            raise ValueRangeError("Input value cannot be NaN!")
        return 0
    if abs(float(value)) >= limit:
        if not args.bound:
            raise ValueRangeError(
                f"Input value is too large for the given magnitude expansion! {value} times "
                f"{args.magnitude_expand} does not fit into 64 bits"
            )
        return int(_LEAST if value < 0 else _MOST)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            product = value.astype(np.float64) if array.dtype.itemsize == 2 else value
            return int(product * product.dtype.type(args.magnitude_expand))
    return wrapped(int(value) * args.magnitude_expand)


def _name(call: Call) -> str:
    return call.args.stat_name or call.input_blob(0)


_PUT = {
    "stat_name": Arg(str, None, "name of the counters; default: the name of the blob"),
    "name": Arg(str, None, "without effect: stat_name is the one"),
    "magnitude_expand": Arg(int, 1, "the number is multiplied by this, and cut to an integer"),
    "bound": Arg(bool, False, "what does not fit becomes the largest number that does, NaN 0"),
    "default_value": Arg(float, 0.0, "taken where the input is empty"),
}

_Amounts = Callable[[Call, str, int], list[tuple[str, int]]]


def _put(name: str, doc: str, amounts: _Amounts) -> None:
    made = operator(
        name,
        "value -> ",
        infer=_infer_put,
        gradient=_NONE,
        arguments=_PUT,
        doc=f"""
        With v = the first element of value, times magnitude_expand, cut to an integer: {doc}

        Raises ValueRangeError for an empty input without default_value and, unless `bound`, for NaN
        or a number that does not fit.
        """,
        example="""
        value = [1.5], stat_name = "loss", magnitude_expand = 1000
        v = 1500
        """,
    )

    @made.cpu_dynamic()
    def put(call: Call) -> None:
        COMMON.add(amounts(call, f"{_name(call)}/stat_value", _amount(call)))


def _average(call: Call, key: str, value: int) -> list[tuple[str, int]]:
    return [(f"{key}/sum", value), (f"{key}/count", 1)]


def _deviation(call: Call, key: str, value: int) -> list[tuple[str, int]]:
    offset = wrapped(value - call.kept.setdefault("first", value))
    return [
        *_average(call, key, value),
        (f"{key}/sumoffset", offset),
        (f"{key}/sumsqoffset", wrapped(offset * offset)),
    ]


_put(
    "IncrementPut",
    "stat_name/stat_value grows by v.",
    lambda call, key, value: [(key, value)],
)
_put(
    "AveragePut",
    "stat_name/stat_value/sum grows by v, stat_name/stat_value/count by 1.",
    _average,
)
_put(
    "StdDevPut",
    """as AveragePut; and with d = v - the first v of this operator, .../sumoffset grows by d and
        .../sumsqoffset by d * d, so that the variance is
        (sumsqoffset - sumoffset^2 / count) / (count - 1).""",
    _deviation,
)


# ---------------------------------------------------------------- timers


class Timer:
    """Measures from its beginning; its end adds to the common counters."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._began: int | None = time.perf_counter_ns()

    def get(self, action: str) -> int:
        """Nanoseconds since it began; ValueRangeError if it was stopped."""
        if self._began is None:
            raise ValueRangeError(f"Called {action} on a stopped timer.")
        return time.perf_counter_ns() - self._began

    def end(self, action: str) -> int:
        """Stop, and add the time to the counters; returns it."""
        with self._lock:
            took = self.get(action)
            self._began = None
        COMMON.add([(f"{self._name}/time_ns/sum", took), (f"{self._name}/time_ns/count", 1)])
        return took


begin = operator(
    "TimerBegin",
    " -> timer",
    gradient=_NONE,
    counter_name=Arg(str, None, "name of the counters; default: the name of the blob"),
    doc="Starts a timer.",
    example="""
    timer = a timer that runs
    """,
)


@begin.everywhere_dynamic()
def start_timer(call: Call) -> None:
    """A new timer in every run."""
    call.put(0, Timer(call.args.counter_name or call.output_blob(0)))


end = operator(
    "TimerEnd",
    "timer -> ",
    gradient=_NONE,
    doc="""
    Stops a timer and adds its time to the common counters: <name>/time_ns/sum, and 1 to
    <name>/time_ns/count. Raises ValueRangeError if it was stopped before.
    """,
    example="""
    timer = a timer that runs
    timer = a timer that was stopped
    """,
)


@end.everywhere_dynamic()
def stop_timer(call: Call) -> None:
    """Stop it."""
    held(call, 0, Timer, "TimerBegin").end("TimerEnd")


get = operator(
    "TimerGet",
    "timer -> nanos",
    infer=fixed(np.int64),
    gradient=_NONE,
    doc="""
    nanos = nanoseconds since the timer was started, an int64 scalar. Raises ValueRangeError if it
    was stopped.
    """,
    example="""
    timer = a timer that runs
    nanos = 1200
    """,
)


@get.cpu_dynamic()
def look_at_timer(call: Call) -> None:
    """Look."""
    call.outputs[0][...] = held(call, 0, Timer, "TimerBegin").get("TimerGet")


get_and_end = operator(
    "TimerGetAndEnd",
    "timer -> nanos",
    infer=fixed(np.int64, (1,)),
    gradient=_NONE,
    doc="As TimerGet and then TimerEnd: nanos = nanoseconds since the start, int64[1].",
    example="""
    timer = a timer that runs
    nanos = [1200]; timer = a timer that was stopped
    """,
)


@get_and_end.cpu_dynamic()
def look_and_stop(call: Call) -> None:
    """Look and stop."""
    call.outputs[0][...] = held(call, 0, Timer, "TimerBegin").end("TimerGetAndEnd")
