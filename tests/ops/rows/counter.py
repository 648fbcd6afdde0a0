"""Rows: counters, small questions to a program, shared sums and flags, timers and statistics."""

import numpy as np

from caffe2py.errors import (
    ArgumentError,
    ArityError,
    BlobTypeError,
    DTypeError,
    InplaceError,
    ShapeError,
    ValueRangeError,
)
from caffe2py.testing import Bad, Case, Made, Sample
from tests.toy import op

X = np.ones(3, np.float32)
TEXTS = np.array([b"a", b"b"], object)
TIMES = {"forward": "it tells the time"}


def counter(count):
    return Made([op("CreateCounter", "", "made", init_count=count)])


def _each_count(rng, **args):
    for count in (0, 1, 5, 2**40):
        yield Sample([counter(count)], args)


def _count(ref):
    """A reference that knows where the counter began."""
    return lambda made, **args: ref(made.ops[0].arg[0].i, **args)


MUST_BE = [
    Bad([X], BlobTypeError, "expected what CreateCounter makes, found a tensor"),
    Bad([], ArityError, "expected 1 input"),
]


def _starts(rng):
    for count in (0, 3, 3.0, 2**40):
        yield Sample([], {"init_count": count})
    yield Sample([])


def _resets(rng):
    for outputs in (0, 1):
        for count in (0, 3, 2.0):
            yield Sample([counter(7)], {"init_count": count}, outputs)


COUNTERS = [
    Case(
        "CreateCounter",
        lambda **_: None,
        _starts,
        [
            Bad([], ArgumentError, "negative init_count", {"init_count": -1}),
            Bad([], ArgumentError, "must be a whole number, found 2.5", {"init_count": 2.5}),
            Bad([X], ArityError, "expected 0 input"),
        ],
    ),
    Case(
        "ResetCounter",
        lambda *_, **__: np.array(7),
        _resets,
        [*MUST_BE, Bad([counter(1)], ArgumentError, "negative", {"init_count": -3})],
    ),
    Case("CountUp", _count(np.array), _each_count, MUST_BE),
    Case("CountDown", _count(lambda n: np.array(n <= 0)), _each_count, MUST_BE),
    Case("CheckCounterDone", _count(lambda n: np.array(n <= 0)), _each_count, MUST_BE),
    Case("RetrieveCount", _count(np.array), _each_count, MUST_BE),
]


def _some(rng):
    empty = np.zeros((2, 0))
    for inputs in ([X], [empty], [empty, empty], [empty, X], [TEXTS], [np.array(3)]):
        yield Sample(inputs)


def _named(rng):
    for shared in (0, 1):
        yield Sample([], {"include_shared": shared})


QUESTIONS = [
    Case(
        "HasElements",
        lambda *xs: np.array(any(x.size for x in xs)),
        _some,
        [
            Bad([X, b"text"], BlobTypeError, "expected a tensor, found a string"),
            Bad([], ArityError, "at least 1 input"),
        ],
    ),
    Case(
        "WallClockTime",
        None,
        lambda rng: [Sample([])],
        [Bad([X], ArityError, "expected 0 input")],
        skip=TIMES,
    ),
    Case(
        "GetAllBlobNames",
        lambda **_: np.array([b"out0"], object),
        _named,
        [Bad([X], ArityError, "expected 0 input")],
        skip={"infer_full": "how many blobs there are is not known before"},
    ),
]

# ---------------------------------------------------------------- shared sums and flags

MUTEX = Made([op("CreateMutex", "", "made")])


def _sums(type_name):
    def samples(rng):
        for before, more in ((3, 4), (-2, 2), (np.iinfo(type_name).max, 1)):
            for shape in ((), (1,), (2, 2)):
                values = [np.full(shape, n, type_name) for n in (before, more)]
                yield Sample([MUTEX, *values], outputs=2)

    return samples


def _added(mutex, value, increment):
    with np.errstate(over="ignore"):
        return (value + increment).reshape(-1)[0], value.reshape(-1)[0]


def _sum_errors(type_name):
    one = np.array([1], type_name)
    return [
        Bad([MUTEX, X, one], DTypeError, "'mut_value' is float32", outputs=2),
        Bad([MUTEX, one, X], DTypeError, "'increment' is float32", outputs=2),
        Bad([MUTEX, one[:0], one], ShapeError, "has no element", outputs=2),
        Bad([one, one, one], BlobTypeError, "expected what CreateMutex makes", outputs=2),
        Bad([MUTEX, one, one], ArityError, "expected 2 output"),
        Bad([MUTEX, one, one], InplaceError, "does not allow", outputs=2, same=[(2, 0)]),
    ]


FLAG = Made([op("CreateAtomicBool", "", "made")])
FLAG_SET = Made(
    [op("CreateAtomicBool", "", "made"), op("ConditionalSetAtomicBool", "made yes", "")],
    {"yes": np.array([True])},
)
FLAG_LEFT = Made(
    [op("CreateAtomicBool", "", "made"), op("ConditionalSetAtomicBool", "made no", "")],
    {"no": np.array(False)},
)


def _flags(rng):
    for flag in (FLAG, FLAG_SET, FLAG_LEFT):
        yield Sample([flag])


def _conditions(rng):
    for condition in (np.array(True), np.array([False]), np.array([[True, False]])):
        yield Sample([FLAG, condition], outputs=0)


ATOMIC = [
    Case("AtomicFetchAdd", _added, _sums("int32"), _sum_errors("int32")),
    Case("AtomicFetchAdd64", _added, _sums("int64"), _sum_errors("int64")),
    Case(
        "CreateAtomicBool",
        lambda: None,
        lambda rng: [Sample([])],
        [Bad([X], ArityError, "expected 0 input")],
    ),
    Case(
        "ConditionalSetAtomicBool",
        lambda *_: (),
        _conditions,
        [
            Bad([FLAG, X], DTypeError, "supported: bool", outputs=0),
            Bad([FLAG, np.zeros(0, bool)], ShapeError, "must have an element", outputs=0),
            Bad([X, np.array(True)], BlobTypeError, "CreateAtomicBool makes", outputs=0),
            Bad([FLAG, b"yes"], BlobTypeError, "expected a tensor, found a string", outputs=0),
        ],
    ),
    Case(
        "CheckAtomicBool",
        lambda flag: np.array([flag is FLAG_SET]),
        _flags,
        [Bad([X], BlobTypeError, "expected what CreateAtomicBool makes")],
    ),
]

# ---------------------------------------------------------------- statistics

NOTHING = Made([op("StatRegistryCreate", "", "made")])
TWO = {"k": TEXTS, "v": np.array([3, -4])}
SOME = Made([op("StatRegistryCreate", "", "made"), op("StatRegistryUpdate", "k v made", "")], TWO)


def _exports(rng):
    for made in (NOTHING, SOME):
        for reset in (True, False):
            yield Sample([made], {"reset": reset}, outputs=2)


def _exported(made, **_):
    if made is NOTHING:
        return np.array([], object), np.array([], np.int64), None
    return TEXTS, TWO["v"], None


def _updates(rng):
    for keys in (TEXTS, TEXTS[:0]):
        values = np.arange(len(keys))
        yield Sample([keys, values, NOTHING], outputs=0)
    yield Sample([TEXTS, TWO["v"]], outputs=0)


OPEN = {"infer_full": "how many counters there are is not known before"}


def _put_samples(rng):
    for name in ("float32", "float64", "float16", "int32", "int64", "uint8", "int8", "int16"):
        for shape in ((), (3,)):
            yield Sample([np.full(shape, 7, name)], {"stat_name": "s"}, outputs=0)
    value = np.array([1.5])
    yield Sample([value], {"magnitude_expand": 1000}, outputs=0)
    yield Sample([value[:0]], {"default_value": 2.0}, outputs=0)
    for far in (1e30, -1e30, np.nan, np.inf):
        yield Sample([np.array([far])], {"bound": True, "magnitude_expand": 10}, outputs=0)


PUT_ERRORS = [
    Bad([X[:0]], ValueRangeError, "Default value must be provided", outputs=0),
    Bad([X * np.nan], ValueRangeError, "cannot be NaN", outputs=0),
    Bad([X * 1e30], ValueRangeError, "too large for the given magnitude", outputs=0),
    Bad([X], ArgumentError, "must be at least 1", {"magnitude_expand": 0}, outputs=0),
    Bad([TEXTS], DTypeError, "is string; supported", outputs=0),
    Bad([b"1"], BlobTypeError, "expected a tensor, found a string", outputs=0),
]

TIMER = Made([op("TimerBegin", "", "made")])
STOPPED = Made([op("TimerBegin", "", "made", counter_name="t"), op("TimerEnd", "made", "")])


def _timer(name, outputs):
    return Case(
        name,
        None,
        lambda rng: [Sample([TIMER], outputs=outputs)],
        [
            Bad([STOPPED], ValueRangeError, f"Called {name} on a stopped timer", outputs=outputs),
            Bad([X], BlobTypeError, "expected what TimerBegin makes", outputs=outputs),
        ],
        skip=TIMES,
    )


STATS = [
    Case(
        "StatRegistryCreate",
        lambda: None,
        lambda rng: [Sample([])],
        [Bad([X], ArityError, "expected 0 input")],
    ),
    Case(
        "StatRegistryExport",
        _exported,
        lambda rng: [Sample(s.inputs, s.args, 3) for s in _exports(rng)],
        [
            Bad([X], BlobTypeError, "expected what StatRegistryCreate makes", outputs=3),
            Bad([NOTHING], ArityError, "expected 3 output", outputs=2),
        ],
        skip=OPEN,
    ),
    Case(
        "StatRegistryUpdate",
        lambda *_: (),
        _updates,
        [
            Bad([X, TWO["v"]], DTypeError, "supported: string", outputs=0),
            Bad([TEXTS, X[:2]], DTypeError, "supported: int64", outputs=0),
            Bad([TEXTS, np.arange(3)], ShapeError, "must have one shape", outputs=0),
            Bad([TEXTS, TWO["v"], X], BlobTypeError, "StatRegistryCreate makes", outputs=0),
        ],
    ),
    *(
        Case(name, lambda *_, **__: (), _put_samples, PUT_ERRORS)
        for name in ("IncrementPut", "AveragePut", "StdDevPut")
    ),
    Case(
        "TimerBegin",
        lambda **_: None,
        lambda rng: [Sample([]), Sample([], {"counter_name": "t"})],
        [Bad([X], ArityError, "expected 0 input")],
    ),
    _timer("TimerEnd", 0),
    _timer("TimerGet", 1),
    _timer("TimerGetAndEnd", 1),
]

CASES = [*COUNTERS, *QUESTIONS, *ATOMIC, *STATS]
